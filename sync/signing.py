"""Ed25519 (RFC 8032): the signatures of gateway and cloud under what the chain says (`sync.chain.statement`).

Keys are raw bytes: 32 of a private key, 32 of the public one, 64 of a signature. On the wire and in files they are hex.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

KEY_BYTES: Final = 32


def make_key() -> bytes:
    """Give a new private key, from the system's randomness."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


class Signer:
    """A private key at work."""

    def __init__(self, key: bytes) -> None:
        """Take 32 bytes; raises ValueError for any other number."""
        self._key = Ed25519PrivateKey.from_private_bytes(key)
        self.public_key: Final = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, statement: bytes) -> bytes:
        """Give the 64 bytes under a statement; the same twice for the same."""
        return self._key.sign(statement)


def genuine(public_key: bytes, statement: bytes, signature: bytes) -> bool:
    """Tell whether the owner of the key signed this; False, too, for what is no key or no signature."""
    try:
        _public(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=64)
def _public(key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key)
