from __future__ import annotations

import msgspec
import pytest

from edge.cloud_key import CloudKey
from sync.chain import statement
from sync.frames import Witness
from sync.signing import Signer
from sync.topics import Address

ADDRESS = Address("demo", "seoul", "gw-1")
CLOUD, OTHER = Signer(b"c" * 32), Signer(b"o" * 32)
INC = "a" * 32


def witness(signer: Signer, **changed) -> Witness:
    link, at = b"\x07" * 32, 5
    told = statement(str(ADDRESS), (INC, 1), 9, link, at)
    made = Witness(inc=INC, stream=1, seq=9, link=link.hex(), at=at, signature=signer.sign(told).hex())
    return msgspec.structs.replace(made, **changed)


def test_the_first_key_is_kept_over_restarts_and_another_is_news_once():
    key = CloudKey(None)
    fact = key.meet(CLOUD.public_key.hex(), 7)
    assert fact is not None
    assert (fact.action, fact.at, key.changed) == ("uplink.cloud_key_kept", 7, False)
    assert key.meet(CLOUD.public_key.hex(), 8) is None
    again = CloudKey(key.checkpoint())
    assert again.kept == CLOUD.public_key.hex()
    fact = again.meet(OTHER.public_key.hex(), 9)
    assert fact is not None
    assert fact.detail == {"kept": CLOUD.public_key.hex(), "now": OTHER.public_key.hex()}
    assert again.changed
    assert CloudKey(again.checkpoint()).meet(OTHER.public_key.hex(), 10) is None
    assert again.meet(CLOUD.public_key.hex(), 11) is None
    assert not again.changed


@pytest.mark.parametrize("text", ["", "zz", "ab", "a" * 63, "키" * 64])
def test_what_is_no_key_is_none(text: str):
    key = CloudKey(None)
    assert key.meet(text, 0) is None
    assert (key.now, key.kept, key.changed) == ("", "", False)


@pytest.mark.parametrize("checkpoint", [b"", b"junk", b"[]", b'{"kept": 5}'])
def test_a_damaged_note_is_as_if_there_were_none(checkpoint: bytes):
    assert not CloudKey(checkpoint).kept


def test_only_what_the_kept_key_signed_for_us_counts():
    key = CloudKey(None)
    assert not key.signed(ADDRESS, witness(CLOUD))
    key.meet(CLOUD.public_key.hex(), 0)
    assert key.signed(ADDRESS, witness(CLOUD))
    assert not key.signed(Address("demo", "seoul", "gw-2"), witness(CLOUD))
    key.meet(OTHER.public_key.hex(), 0)
    assert not key.signed(ADDRESS, witness(OTHER))
    assert key.signed(ADDRESS, witness(CLOUD))


@pytest.mark.parametrize(
    "changed",
    [{"seq": 10}, {"stream": 2}, {"inc": "b" * 32}, {"at": 6}, {"link": "08" * 32}, {"link": "x"}, {"signature": "x"}],
)
def test_a_countersignature_vouches_for_every_word_of_it(changed: dict):
    key = CloudKey(None)
    key.meet(CLOUD.public_key.hex(), 0)
    assert not key.signed(ADDRESS, witness(CLOUD, **changed))
