"""Packages that the cloud offers: fetched one at a time into `<data>/packages`, what became of each on record.

The offer being fetched is a checkpoint, so a restart goes on with it where it ended. What it came to is an audited fact
(`package.received`, or `package.refused` with why) in one transaction with the checkpoint that lets go of the offer;
offers that still waited are said again by the cloud. Short of room the oldest packages go that no open offer names
(`package.dropped`). Nothing here uses what is in a package.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from edge.packages import MAX_BYTES, PackageError, PackageFolder, UnreachableError
from edge.site import Site
from edge.store import Store
from sync.clock import Clock
from sync.facts import Audited
from sync.frames import Offer
from sync.tls import TlsError, client_context

log = logging.getLogger(__name__)

CHECKPOINT: Final = "packages"
OPEN: Final = 32
"""Offers that may wait; the cloud says further ones again later."""
ANSWERED: Final = 64
"""Answers remembered, so that an offer said again is not answered again."""
MOST: Final = 16
"""Packages kept, and their bytes, parts on their way included."""
MOST_BYTES: Final = 8 << 30
AGAIN_S: Final = 60.0
"""Rest after a download was given up for now."""
NO_ADDRESS: Final = (
    'this gateway has no address to fetch from; write packages = "https://…" in [uplink] of its site file'
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class _Open(msgspec.Struct, frozen=True, array_like=True):
    """An offer without its session; a package offered again later is another one."""

    digest: str
    size: int
    expires: int
    """The cloud's clock, ns."""


class _Kept(msgspec.Struct, frozen=True):
    """The checkpoint."""

    open: list[_Open] = []
    answered: list[_Open] = []


class _Room:
    """The folder's bounds: what may stay, what has to go. Called on a thread."""

    def __init__(self, folder: Path, most: int, most_bytes: int) -> None:
        self._folder, self._most, self._most_bytes = folder, most, most_bytes

    def tidy(self, needed: set[str]) -> None:
        """Take away what was begun for offers that are over. needed: digests of open offers."""
        for path in self._folder.glob("*.part"):
            if path.stem not in needed:
                path.unlink()

    def to_go(self, wanted: _Open, needed: set[str]) -> list[tuple[Path, int]]:
        """Give the packages (path, bytes), oldest first, that must go for this one. Raises PackageError if none suffice."""
        others = {path: path.stat() for path in self._folder.glob("*") if path.stem != wanted.digest}
        count, total = len(others) + 1, sum(stat.st_size for stat in others.values()) + wanted.size
        gone: list[tuple[Path, int]] = []
        for path, stat in sorted(others.items(), key=lambda item: item[1].st_mtime_ns):
            if count <= self._most and total <= self._most_bytes:
                break
            if path.stem not in needed:
                gone.append((path, stat.st_size))
                count, total = count - 1, total - stat.st_size
        if total > self._most_bytes or count > self._most:
            raise PackageError(
                f"there is no room for {wanted.size} bytes: at most {self._most} packages of {self._most_bytes} bytes"
                " altogether are kept"
            )
        return gone


class Deliveries:
    """Takes offers and sees each of them through.

    packages: where they go, or why none can be fetched. url: the cloud's address. ahead_ms: how far our clock is ahead
    of the cloud's; while nobody knows, no offer counts as expired.
    """

    def __init__(
        self,
        store: Store,
        packages: PackageFolder | str,
        url: str,
        clock: Clock,
        ahead_ms: Callable[[], int | None],
        *,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
        again_s: float = AGAIN_S,
    ) -> None:
        self._store, self._packages, self._url, self._clock, self._ahead_ms = store, packages, url, clock, ahead_ms
        self._room = None if isinstance(packages, str) else _Room(packages.folder, most, most_bytes)
        self._again_s = again_s
        self._news = asyncio.Event()
        self._waits_for: dict[_Open, str] = {}
        """Why an open one is not here yet."""
        try:
            kept = msgspec.json.decode(store.checkpoint(CHECKPOINT) or b"{}", type=_Kept)
        except msgspec.DecodeError:
            kept = _Kept()  # damaged: the cloud says again what is open
        self._open, self._answered = list(kept.open), list(kept.answered)

    def offered(self, offer: Offer) -> None:
        """Take an offer; one that is open or answered already is passed over."""
        one = _Open(offer.digest, offer.size, offer.expires)
        if not _DIGEST.fullmatch(one.digest) or not 0 <= one.size <= MAX_BYTES or not 0 <= one.expires < 2**63:
            log.warning("an offer that cannot be is passed over: digest=%.80s size=%d", one.digest, one.size)
        elif offer.path != f"/packages/{one.digest}":
            log.warning("an offer from another place is passed over: path=%.120s", offer.path)
        elif one not in self._open and one not in self._answered and len(self._open) < OPEN:
            self._open.append(one)
            self._news.set()

    async def run(self) -> None:
        """See offers through until cancelled. Raises StoreError."""
        while True:
            while not self._open:
                self._news.clear()
                await self._news.wait()
            one = self._open[0]
            await self._store.commit(checkpoints=self._checkpoint())
            try:
                why = await self._see_through(one)
            except UnreachableError as error:
                log.warning("package waits: %s", error)
                self._waits_for[one] = f"; before: {error}"
                self._open.remove(one)
                self._open.append(one)
                await self._clock.sleep(self._again_s)
                continue
            await self._answer(one, why)

    async def _see_through(self, one: _Open) -> str:
        """Give why a package is refused; nothing when it is here. Raises UnreachableError while it may still come."""
        packages, room = self._packages, self._room
        if isinstance(packages, str) or room is None:
            return str(packages)
        try:
            async with asyncio.timeout(self._left_s(one)):
                await self._make_room(room, one)
                await packages.fetch(f"{self._url}/packages/{one.digest}", one.digest, one.size)
        except TimeoutError:
            return f"it expired before it was here{self._waits_for.get(one, '')}"
        except UnreachableError:
            raise
        except PackageError as error:
            return str(error)
        return ""

    def _left_s(self, one: _Open) -> float | None:
        ahead_ms = self._ahead_ms()
        if ahead_ms is None:
            return None
        return max(0.0, (one.expires - self._clock.now()) / 1e9 + ahead_ms / 1e3)

    async def _make_room(self, room: _Room, one: _Open) -> None:
        """Let the oldest packages go for this one. Raises PackageError."""
        needed = {other.digest for other in self._open}
        try:
            await asyncio.to_thread(room.tidy, needed)
            for path, size in await asyncio.to_thread(room.to_go, one, needed):
                detail = {"size": size, "for": one.digest}
                await self._store.commit(facts=[self._audited("package.dropped", path.name, detail)])
                await asyncio.to_thread(path.unlink)
                log.warning("package %s gives way to %s", path.name[:12], one.digest[:12])
        except OSError as error:
            raise PackageError(f"the packages' folder cannot be used: {error}; check the disk") from error

    async def _answer(self, one: _Open, why: str) -> None:
        self._open.remove(one)
        self._waits_for.pop(one, None)
        self._answered = [*self._answered, one][-ANSWERED:]
        detail = {"size": one.size, "expires": one.expires} | ({"why": why} if why else {})
        fact = self._audited("package.refused" if why else "package.received", one.digest, detail)
        await self._store.commit(facts=[fact], checkpoints=self._checkpoint())
        if why:
            log.warning("package refused: digest=%s why=%s", one.digest, why)
        else:
            log.info("package received: digest=%s size=%d", one.digest, one.size)

    def _audited(self, action: str, digest: str, detail: dict[str, Any]) -> Audited:
        return Audited(at=self._clock.now(), actor="gateway", action=action, target=digest, detail=detail)

    def _checkpoint(self) -> dict[str, bytes]:
        return {CHECKPOINT: msgspec.json.encode(_Kept(self._open, self._answered))}


def deliveries_of(site: Site, store: Store, clock: Clock, ahead_ms: Callable[[], int | None]) -> Deliveries:
    """Give the deliveries of a gateway with an uplink.

    Without an address, or with certificates that cannot be used, they refuse and say so.
    """
    uplink = site.file.uplink
    if uplink is None or uplink.packages is None:
        return Deliveries(store, NO_ADDRESS, "", clock, ahead_ms)
    url = uplink.packages.rstrip("/")
    try:
        tls = client_context(site.uplink_ca, site.uplink_certificate)
    except TlsError as error:
        return Deliveries(store, str(error), url, clock, ahead_ms)
    key = bytes.fromhex(uplink.key.read(site.folder).get_secret_value())
    packages = PackageFolder(site.data / "packages", site.address, key, clock, tls=tls)
    return Deliveries(store, packages, url, clock, ahead_ms)
