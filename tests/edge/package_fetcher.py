"""`python -m tests.edge.package_fetcher FOLDER URL DIGEST SIZE KEY [CA CERTIFICATE PRIVATE_KEY]`, to be killed while it fetches."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from edge.packages import PackageFolder, Patience
from sync.clock import WallClock
from sync.tls import client_context
from sync.topics import Address


async def main(folder: str, url: str, digest: str, size: str, key: str, *tls: str) -> None:
    packages = PackageFolder(
        Path(folder),
        Address("demo", "seoul", "gw-1"),
        bytes.fromhex(key),
        WallClock(),
        tls=client_context(tls[0], (Path(tls[1]), Path(tls[2]))) if tls else None,
        patience=Patience(first_wait_s=0.01, reserve_bytes=0),
    )
    await packages.fetch(url, digest, int(size))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
