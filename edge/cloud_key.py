"""The cloud's public key: the first one that came under the seal is kept; another one later is on record and shown.

Receipts count either way, the seal proves them. What the kept key did not sign is not kept as a countersignature.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sync.chain import statement
from sync.facts import Audited
from sync.frames import Witness
from sync.signing import KEY_BYTES, genuine
from sync.topics import Address

CHECKPOINT: Final = "uplink:cloud_key"


class _Kept(msgspec.Struct, frozen=True):
    kept: str = ""
    other: str = ""
    """The newest other one that was put on record."""


class CloudKey:
    """What this gateway knows of the cloud's key."""

    def __init__(self, checkpoint: bytes | None) -> None:
        """Take the checkpoint as the store gave it; None or a damaged one: no key was ever seen."""
        self.now = ""
        """What the newest challenge said."""
        try:
            self._known = _Kept() if checkpoint is None else msgspec.json.decode(checkpoint, type=_Kept)
        except msgspec.DecodeError:
            self._known = _Kept()

    @property
    def kept(self) -> str:
        """The key that countersignatures are verified with, hex; empty before the first."""
        return self._known.kept

    @property
    def changed(self) -> bool:
        """The cloud countersigns with another key than the one that was kept: restored without it, or another cloud."""
        return bool(self.now) and self.now != self.kept

    def meet(self, key: str, at: int) -> Audited | None:
        """Take the key of a challenge (hex); gives the fact that belongs on record, with `checkpoint()`, when it is news.

        at: wall clock, ns.
        """
        self.now = key if _is_key(key) else ""
        if not self.now or self.now in {self._known.kept, self._known.other}:
            return None
        if not self.kept:
            self._known = _Kept(kept=self.now)
            return Audited(at=at, actor="gateway", action="uplink.cloud_key_kept", target="cloud", detail={"key": key})
        self._known = _Kept(kept=self.kept, other=self.now)
        detail = {"kept": self.kept, "now": key}
        return Audited(at=at, actor="gateway", action="uplink.cloud_key_changed", target="cloud", detail=detail)

    def checkpoint(self) -> bytes:
        """Give what to keep in the store under `CHECKPOINT`."""
        return msgspec.json.encode(self._known)

    def signed(self, address: Address, one: Witness) -> bool:
        """Tell whether the kept key made this countersignature for this gateway."""
        try:
            link, signature = bytes.fromhex(one.link), bytes.fromhex(one.signature)
        except ValueError:
            return False
        told = statement(str(address), (one.inc, one.stream), one.seq, link, one.at)
        return bool(self.kept) and genuine(bytes.fromhex(self.kept), told, signature)


def _is_key(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == KEY_BYTES
    except ValueError:
        return False
