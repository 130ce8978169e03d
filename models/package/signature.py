"""Who vouches for a package: Ed25519 (RFC 8032) over the SHA-256 of its manifest, which holds every other file's.

A key file holds the 32 bytes of a private key as hex, readable by its owner only (0600). A gateway pins public keys,
hex, in its site file; there is no chain of certificates to get wrong.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from models.package.archive import PackageRefusedError

PREFIX: Final = b"triflow model package 1\n"
"""Before what is signed: a signature under a package can be taken for no other one of ours."""
KEY_HEX: Final = 64

SigningKey = Ed25519PrivateKey
"""What `load_key` gives and `sign` takes."""


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entry `signature`: a detached signature and the key that made it."""

    algorithm: str
    key: str
    """Public key, hex; `key_id` of it is what people compare."""
    signature: str


class KeyFileError(Exception):
    """A key file is missing, damaged, or open to others. The message says what to do."""


def key_id(public: str) -> str:
    """Give the first 16 hex digits of the key's SHA-256: short enough to read out on the telephone."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]


def make_key(path: Path) -> str:
    """Write a new private key, 0600, never over an old one; gives the public key. Raises KeyFileError."""
    key = Ed25519PrivateKey.generate()
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; an existing key is never overwritten") from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(raw.hex() + "\n")
    return _public(key)


def load_key(path: Path) -> SigningKey:
    """Read a private key. Raises KeyFileError, also when others may read the file."""
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path}: others may read this key; chmod 600 {path}, or make a new one")
        text = path.read_text(encoding="ascii").strip()
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; `triflow model key new FILE` makes one") from error
    except ValueError as error:
        raise KeyFileError(f"{path}: this is no key: 64 hex digits on one line") from error


def public_key(key: SigningKey) -> str:
    """Give the public key, hex: what a gateway pins."""
    return _public(key)


def sign(manifest: bytes, key: SigningKey) -> bytes:
    """Give the entry `signature` for a manifest."""
    made = Signature("ed25519", _public(key), key.sign(_statement(manifest)).hex())
    return msgspec.json.encode(made, order="sorted")


_decoder: Final = msgspec.json.Decoder(Signature)
"""Made at import, as in `models.package.content`."""


def parse(entry: bytes | None) -> Signature:
    """Read the entry. Raises PackageRefusedError when there is none, or it is none."""
    if entry is None:
        raise PackageRefusedError(
            "nobody has signed this package", where="signature", check="`triflow model sign` signs it", code="unsigned"
        )
    try:
        return _decoder.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PackageRefusedError(f"this is no signature: {error}", where="signature", check="copy it again") from error


def check(manifest: bytes, entry: bytes | None, trusted: Collection[str]) -> Signature:
    """Give the signature when a trusted key made it; raises PackageRefusedError otherwise.

    trusted: public keys, hex, any case.
    """
    made = parse(entry)
    if made.algorithm != "ed25519" or len(made.key) != KEY_HEX:
        raise PackageRefusedError("the signature is no Ed25519", where="signature", check="sign it anew")
    if made.key.lower() not in {key.strip().lower() for key in trusted}:
        raise PackageRefusedError(
            f"signed by {made.key[:16]}…, a key that is not trusted here",
            where="signature",
            check="pin the key under [models] trusted if you know whose it is",
            code="untrusted",
        )
    if not genuine(manifest, made):
        raise PackageRefusedError(
            "the signature does not belong to this manifest", where="signature", check="copy it again, or sign it anew"
        )
    return made


def genuine(manifest: bytes, made: Signature) -> bool:
    """Tell whether the key that the signature names made it for this manifest; says nothing about trust."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(made.key))
        public.verify(bytes.fromhex(made.signature), _statement(manifest))
    except (InvalidSignature, ValueError):
        return False
    return True


def _statement(manifest: bytes) -> bytes:
    return PREFIX + hashlib.sha256(manifest).digest()


def _public(key: SigningKey) -> str:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
