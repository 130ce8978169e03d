"""Fetches large packages from the cloud over HTTPS: resumed where it was cut, whole at the end or not there at all.

What is fetched is known beforehand: its SHA-256 and its size. So the server, the way and the disk may all lie; at worst
nothing arrives. Whether the bytes may be used (signature, purpose) is not decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import re
import secrets
import shutil
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from sync.clock import Clock
from sync.ticket import NOW_HEADER, Ticket
from sync.topics import Address

log = logging.getLogger(__name__)

MAX_BYTES: Final = 4 << 30
PIECE: Final = 1 << 20
"""Bytes gathered before they go to the file, and read at a time from it."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SAFE = re.compile(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class PackageError(Exception):
    """A package did not arrive; the message says why and what to check. Asking again goes on where it ended."""


class UnreachableError(PackageError):
    """It was given up for now, for reasons that pass: the network, a busy server."""


class _TryAgainError(Exception):
    """One attempt is over, the next one may go better."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on."""

    attempts: int = 8
    """So many in a row that bring nothing, and it is given up for now."""
    total: int = 200
    """So many altogether."""
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    floor_bytes_s: int = 256
    """Slower than this over `floor_over_s`, and the connection is ended: a drip that never ends is no download."""
    floor_over_s: float = 30.0
    connect_s: float = 10.0
    silence_s: float = 30.0
    reserve_bytes: int = 64 << 20
    """What must stay free on the disk beside the package."""


class PackageFolder:
    """Where packages lie: `<sha256>` for a whole one, `<sha256>.part` for one on its way. One is fetched at a time."""

    def __init__(
        self,
        folder: Path,
        address: Address,
        key: bytes,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.folder, self._address, self._key, self._clock = folder, address, key, clock
        self._tls = True if tls is None else tls
        self._patience = Patience() if patience is None else patience
        self._one = asyncio.Lock()
        self._ahead_s = 0
        """Cloud's clock minus ours, once it was told."""

    async def fetch(self, url: str, digest: str, size: int) -> Path:
        """Give the file with this SHA-256 and size (bytes), fetched from `url` where it is not there yet.

        Raises PackageError: when it does not arrive, does not fit, or there is no room. What came so far stays.
        """
        if not _DIGEST.fullmatch(digest) or not 0 <= size <= MAX_BYTES:
            raise PackageError(f"no package can be {digest[:80]!r} of {size} bytes (at most {MAX_BYTES})")
        if not _SAFE.match(url):
            raise PackageError(f"{url[:200]}: packages come over https; plain http is for this machine's own tests")
        async with self._one:
            await asyncio.to_thread(self.folder.mkdir, mode=0o750, parents=True, exist_ok=True)
            whole = self.folder / digest
            try:
                if await asyncio.to_thread(_is, whole, digest, size):
                    return whole
                return await self._bring(url, digest, size)
            except OSError as error:
                raise PackageError(f"package {digest[:12]}: cannot be kept: {error}; check the disk") from error

    async def _bring(self, url: str, digest: str, size: int) -> Path:
        part, whole = self.folder / f"{digest}.part", self.folder / digest
        patience, spoilt, barren, wait = self._patience, 0, 0, self._patience.first_wait_s
        timeout = httpx.Timeout(patience.silence_s, connect=patience.connect_s)
        why: Exception = _TryAgainError("never tried")
        async with httpx.AsyncClient(verify=self._tls, timeout=timeout, trust_env=False) as client:
            for _ in range(patience.total):
                before = _size(part)
                try:
                    if before is None or before < size:
                        await self._attempt(client, url, part, digest, size)
                    if await asyncio.to_thread(_keep, part, whole, digest, size):
                        return whole
                    why, spoilt = _TryAgainError("its content is not what was announced"), spoilt + 1
                except (_TryAgainError, httpx.TransportError) as error:
                    why = _unless_foreign(error, url)
                if spoilt == 2:  # once may have been a disk that lost its last seconds at a power cut
                    break
                grown = (_size(part) or 0) > (before or 0)
                barren = 0 if grown else barren + 1
                if barren >= patience.attempts:
                    break
                wait = patience.first_wait_s if grown else min(patience.longest_wait_s, wait * 2)
                least = min(getattr(why, "wait_s", 0.0), patience.longest_wait_s)
                log.info(
                    "package %s: %s of %d bytes, goes on soon: %s",
                    digest[:12],
                    _size(part) or 0,
                    size,
                    why or repr(why),
                )
                await self._clock.sleep(least + random.uniform(wait / 2, wait))  # noqa: S311 - spreading, not a secret
        raise (PackageError if spoilt == 2 else UnreachableError)(
            f"package {digest[:12]} from {url}: given up at {_size(part) or 0} of {size} bytes: {why or repr(why)}; "
            "check the network and the cloud; asking again goes on from here"
        )

    async def _attempt(self, client: httpx.AsyncClient, url: str, part: Path, digest: str, size: int) -> None:
        """Bring what is missing, as far as one connection carries."""
        have = await asyncio.to_thread(_room, part, size, self._patience.reserve_bytes)
        headers = {"Accept-Encoding": "identity", "Authorization": self._ticket(url)}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": f'"{digest}"'}
        async with client.stream("GET", url, headers=headers) as answer:
            at = self._start(answer, have, size, url)
            with _open_at(part, at) as writing:
                async with contextlib.aclosing(self._pieces(answer)) as pieces:
                    async for piece in pieces:
                        at += len(piece)
                        if at > size:
                            raise PackageError(f"{url}: sends more than the {size} bytes announced")
                        await asyncio.to_thread(writing.write, piece)
        if at < size:
            raise _TryAgainError("the connection ended early")

    def _start(self, answer: httpx.Response, have: int, size: int, url: str) -> int:
        """Give where the answer's bytes begin. Raises PackageError or _TryAgainError for one that has none for us."""
        status = answer.status_code
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise PackageError(
                f"{url}: answers packed ({answer.headers['content-encoding']!r}); nothing between may do that"
            )
        if status == 206:
            match = _RANGE.fullmatch(answer.headers.get("content-range", ""))
            if match is None or tuple(map(int, match.groups())) != (have, size - 1, size):
                raise PackageError(
                    f"{url}: answers {answer.headers.get('content-range')!r}, not bytes {have}-{size - 1}/{size}"
                )
            return have
        if status == 200:
            said = answer.headers.get("content-length")
            if said is not None and said != str(size):
                raise PackageError(f"{url}: is {said[:20]} bytes; {size} were announced")
            return 0
        if status == 401 and (told := answer.headers.get(NOW_HEADER, "")).isdecimal() and len(told) <= 12:
            ahead = int(told) - self._clock.now() // 1_000_000_000
            if abs(ahead - self._ahead_s) > 60:
                self._ahead_s = ahead
                raise _TryAgainError("our clock is wrong; the cloud's is taken for this")
        if status == 401:
            raise PackageError(
                f"{url}: does not know us; check that the cloud has this gateway's key ({self._address})"
            )
        if status == 404:
            raise PackageError(f"{url}: there is no such package for this gateway")
        if status in {408, 416, 425, 429} or status >= 500:
            after = answer.headers.get("retry-after", "")
            raise _TryAgainError(f"the server answers {status}", float(after) if after.isdecimal() else 0.0)
        raise PackageError(
            f"{url}: answers {status}; check that this is the cloud's address and nothing stands between"
        )

    async def _pieces(self, answer: httpx.Response) -> AsyncGenerator[bytes]:
        """Give the body in pieces of about a MiB, watching that it does not merely drip."""
        gathered, drip = bytearray(), _Drip(self._patience, self._clock)
        try:
            async for raw in answer.aiter_raw():
                gathered += raw
                if len(gathered) >= PIECE:
                    yield bytes(gathered)
                    gathered.clear()
                drip.watch(len(raw))
        except (httpx.TransportError, _TryAgainError):
            if gathered:
                yield bytes(gathered)  # what came counts, also when it ends badly
            raise
        if gathered:
            yield bytes(gathered)

    def _ticket(self, url: str) -> str:
        at = max(0, self._clock.now() // 1_000_000_000 + self._ahead_s)
        return Ticket(str(self._address), at, secrets.token_hex(16)).signed(self._key, "GET", httpx.URL(url).path)


class _Drip:
    """Ends a connection that brings less than the floor, looked at over `floor_over_s`."""

    def __init__(self, patience: Patience, clock: Clock) -> None:
        self._patience, self._clock = patience, clock
        self._since, self._got = clock.monotonic(), 0

    def watch(self, count: int) -> None:
        """Count bytes; raises _TryAgainError."""
        self._got += count
        lasted = (self._clock.monotonic() - self._since) / 1e9
        if lasted < self._patience.floor_over_s:
            return
        if self._got < self._patience.floor_bytes_s * lasted:
            raise _TryAgainError(f"only {self._got} bytes in {lasted:.0f} s")
        self._since, self._got = self._clock.monotonic(), 0


def _unless_foreign(error: Exception, url: str) -> Exception:
    """Give the error back; raises PackageError when the other end did not prove to be ours: no retry mends that."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLCertVerificationError):
            raise PackageError(
                f"{url}: TLS failed: {below}; check the CA, the name in the server's certificate and this machine's clock"
            ) from error
        below = below.__cause__ or below.__context__
    return error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _room(part: Path, size: int, reserve: int) -> int:
    """Give how many bytes are there; a part longer than it may be is begun anew. Raises PackageError without room."""
    have = _size(part) or 0
    if have > size:
        part.unlink()
        have = 0
    free = shutil.disk_usage(part.parent).free
    if free < size - have + reserve:
        raise PackageError(
            f"{size - have} bytes are missing, {free} are free in {part.parent} and {reserve} of them must stay so; "
            "make room on the disk"
        )
    return have


def _open_at(part: Path, at: int) -> BinaryIO:
    """Open a part for writing behind its first `at` bytes."""
    writing = part.open("r+b" if part.exists() else "xb")
    writing.truncate(at)
    writing.seek(at)
    return writing


def _is(path: Path, digest: str, size: int) -> bool:
    """Tell whether a file is whole and what it should be; one that is not is taken away."""
    if not path.exists():
        return False
    found = hashlib.sha256()
    if path.stat().st_size == size:
        with path.open("rb") as reading:
            while piece := reading.read(PIECE):
                found.update(piece)
        if found.hexdigest() == digest:
            return True
    path.unlink()
    return False


def _keep(part: Path, whole: Path, digest: str, size: int) -> bool:
    """Give the finished part its name, once it is on disk and is what it should be."""
    if not _is(part, digest, size):
        return False
    descriptor = os.open(part, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(whole)
    if os.name != "nt":
        folder = os.open(whole.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return True
