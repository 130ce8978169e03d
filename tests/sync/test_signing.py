from __future__ import annotations

import pytest

from sync.signing import Signer, genuine, make_key


def test_signatures_are_those_of_the_standard():
    """RFC 8032 §7.1, TEST 2."""
    signer = Signer(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert signer.public_key.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert signer.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_a_signature_holds_for_its_key_and_its_text_only():
    one, other = Signer(make_key()), Signer(make_key())
    signature = one.sign(b"up to 7")
    assert genuine(one.public_key, b"up to 7", signature)
    assert not genuine(one.public_key, b"up to 8", signature)
    assert not genuine(other.public_key, b"up to 7", signature)
    for place in (0, 31, 63):
        turned = bytearray(signature)
        turned[place] ^= 1
        assert not genuine(one.public_key, b"up to 7", bytes(turned))


@pytest.mark.parametrize(("key", "signature"), [(b"", b"x"), (b"\x01" * 31, b"y" * 64), (b"\x02" * 32, b"")])
def test_what_is_no_key_or_no_signature_proves_nothing(key, signature):
    assert not genuine(key, b"text", signature)


def test_a_private_key_has_32_bytes():
    with pytest.raises(ValueError):
        Signer(b"short")
