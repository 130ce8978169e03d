"""Verifies each package once, however many lines begin with it at the same time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from functools import partial

from models.package import Package
from models.package.verification import verify


class Verifying:
    """Good packages by their hash, for as long as somebody runs them. trusted: public keys, hex; fixed for the process."""

    def __init__(self, trusted: Collection[str]) -> None:
        self._trusted = trusted
        self._good: dict[str, Package] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def verified(self, content: bytes) -> Package:
        """Give the package of a file's bytes. Raises PackageRefusedError; who comes again after that is looked at anew."""
        digest = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
        async with self._locks.setdefault(digest, asyncio.Lock()):
            known = self._good.get(digest)
            if known is None:
                known = (await asyncio.to_thread(partial(verify, content, trusted=self._trusted))).package
                self._good[digest] = known
            return known

    def only(self, digests: Collection[str]) -> None:
        """Forget all packages but these."""
        for digest in self._good.keys() - set(digests):
            del self._good[digest]
        for digest in [d for d, lock in self._locks.items() if d not in digests and not lock.locked()]:
            del self._locks[digest]
