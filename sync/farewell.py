"""The will: what the broker says for a gateway whose link died. Sealed, for the broker is somebody else's machine.

A broker without access lists lets anybody publish on a gateway's state topic. A will is set before the session has a
nonce, so it names the incarnation: one of an earlier start says nothing about this one.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from sync.topics import Address


class _Farewell(msgspec.Struct, frozen=True):
    inc: str
    mac: str
    online: bool = False


_decoder = msgspec.json.Decoder(_Farewell)


def farewell(key: bytes, address: Address, inc: str) -> bytes:
    """Give the will's payload of one start of a gateway."""
    return msgspec.json.encode(_Farewell(inc, _mac(key, address, inc)))


def whose_farewell(payload: bytes, key: bytes, address: Address) -> str | None:
    """Give the incarnation that said farewell; None for what is none of this gateway's."""
    try:
        said = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    genuine = hmac.compare_digest(said.mac.encode(), _mac(key, address, said.inc).encode())
    return said.inc if genuine and not said.online else None


def _mac(key: bytes, address: Address, inc: str) -> str:
    return hmac.new(key, f"triflow-farewell-1\n{address}\n{inc}".encode(), hashlib.sha256).hexdigest()
