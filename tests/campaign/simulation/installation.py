"""What every seed begins with, made once per process: the cloud's empty database and configuration, a gateway's empty store."""

from __future__ import annotations

import functools
import hashlib
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from cloud.config import load
from cloud.database import migrate
from cloud.plant import Plants
from edge.store import file
from sync.signing import Signer
from sync.topics import Address

GATEWAYS: Final = 4
ADDRESSES: Final = [Address("demo", "seoul", f"gw-{number}") for number in range(GATEWAYS)]
KEY: Final = bytes(range(32))

CLOUD_TOML: Final = """
safe = "{safe}"
[[site]]
tenant = "demo"
id = "seoul"
name = {{ko = "서울", en = "Seoul"}}
timezone = "Asia/Seoul"
[[site.shift]]
code = "A"
start = 06:00:00
end = 18:00:00
[[site.shift]]
code = "B"
start = 18:00:00
end = 06:00:00
[[site.work_unit]]
path = "bottling/line-1/filler"
name = {{ko = "1호기", en = "Line 1"}}
"""
_GATEWAY: Final = '[[gateway]]\ntenant = "demo"\nsite = "seoul"\nid = "{id}"\nkey = {{credential = "gw.key"}}\n'


@dataclass(frozen=True, slots=True)
class Installation:
    """Templates; copied, never changed."""

    plants: dict[str, Plants]
    """By what the operator has chosen to count as safe."""
    cloud: bytes
    """A migrated cloud database."""
    edge: bytes
    """A migrated gateway store."""


@functools.cache
def installation() -> Installation:
    """Give the templates of this process; the first call takes a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "credentials").mkdir()
        (folder / "credentials" / "gw.key").write_text(KEY.hex())
        gateways = "".join(_GATEWAY.format(id=address.gateway) for address in ADDRESSES)
        plants: dict[str, Plants] = {}
        for safe in ("backup", "stored"):
            (folder / "cloud.toml").write_text(CLOUD_TOML.format(safe=safe) + gateways)
            plants[safe] = Plants(load(folder / "cloud.toml"))
        migrate(f"sqlite:///{folder / 'cloud.db'}")
        connection = sqlite3.connect(folder / "cloud.db")
        connection.execute("pragma journal_mode=delete")  # a log cannot be carried in memory
        connection.execute("vacuum")
        cloud = connection.serialize()
        connection.close()
    store = apsw.Connection(":memory:")
    file.migrate(store, Path(":memory:"))
    edge = store.serialize("main")
    store.close()
    return Installation(plants, cloud, edge)


@functools.cache
def signer(name: str) -> Signer:
    """Give the Ed25519 key of a gateway, or of the cloud: always the same one for a name."""
    return Signer(hashlib.sha256(f"simulation/{name}".encode()).digest())
