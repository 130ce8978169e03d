"""The box itself: its clock, its disk, its store, and the gateway that may be running on it. Nothing is changed."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from edge.drivers.finding import Finding, fault, ok, warning
from edge.site import Site
from edge.store.look import Look, look, owner
from edge.timekeeping import kernel_clock
from sync.clock import Clock
from sync.timing import UNSET_BEFORE_NS

NS: Final = 1_000_000_000
LEAST_FREE_BYTES: Final = 64 << 20
"""What the write-ahead log, its copy and the receipts need: below it the store sheds or stands."""
SLOW_FSYNC_S: Final = 0.1
CHECK_S: Final = 20.0
WRITE_S: Final = 10.0
PAGE_S: Final = 2.0
NETWORKED: Final = {"nfs", "nfs4", "cifs", "smb3", "9p", "sshfs", "fuse.sshfs", "ceph", "glusterfs"}
"""Filesystems whose locks and shared memory SQLite's log cannot rely on."""


# ── clock ──


def clock_findings(clock: Clock, zone: str) -> list[Finding]:
    """Judge this machine's clock by itself; offsets to others are found where they are spoken to."""
    now = clock.now()
    if now < UNSET_BEFORE_NS:
        return [fault("clock", "box.clock_unset", year=datetime.fromtimestamp(now / NS, UTC).year)]
    synchronised, _ = kernel_clock()
    if synchronised is None:
        return [warning("clock", "box.clock_unknown", zone=zone)]
    if not synchronised:
        return [warning("clock", "box.clock_free", zone=zone)]
    return [ok("clock", "box.clock", zone=zone)]


# ── disk ──


async def disk_findings(site: Site, held: Look) -> list[Finding]:
    """Judge the folder of the store: there, writable, local, with room for the quota, and how fast it really writes."""
    gateway = site.file.gateway
    there = site.data
    while not there.exists() and there != there.parent:
        there = there.parent
    found: list[Finding] = []
    if there != site.data:
        found.append(ok("disk", "box.disk_new", folder=site.data))
    kind = filesystem(there)
    if kind in NETWORKED:
        found.append(fault("disk", "box.disk_network", folder=there, kind=kind))
    elif kind in {"tmpfs", "ramfs"}:
        found.append(warning("disk", "box.disk_memory", folder=there, kind=kind))
    try:
        async with asyncio.timeout(WRITE_S):
            took = await asyncio.to_thread(written, there)
    except TimeoutError:
        return [*found, fault("disk", "box.disk_stuck", folder=there, limit_s=WRITE_S)]
    except OSError as error:
        return [*found, _unwritable(error, there)]
    if took > SLOW_FSYNC_S:
        found.append(warning("disk", "box.disk_slow", took_s=took))
    usage = shutil.disk_usage(there)
    found.append(
        room(
            free=usage.free,
            total=usage.total,
            used=held.size_bytes,
            quota=gateway.quota_mb << 20,
            ballast=0 if (site.data / "ballast").exists() else gateway.ballast_mb << 20,
            took_s=took,
        )
    )
    return found


def room(*, free: int, total: int, used: int, quota: int, ballast: int, took_s: float) -> Finding:
    """Judge free space against what the store may still take. All in bytes."""
    need = max(0, quota - used) + ballast
    words: dict[str, Any] = {
        "free_bytes": free,
        "total_bytes": total,
        "quota_bytes": quota,
        "need_bytes": need,
        "took_s": took_s,
    }
    if free < LEAST_FREE_BYTES + ballast:
        return fault("disk", "box.disk_full", least_bytes=LEAST_FREE_BYTES + ballast, **words)
    if free < need:
        return warning("disk", "box.disk_small", **words)
    return ok("disk", "box.disk", **words)


def written(folder: Path) -> float:
    """Write and sync a page eight times in a file that is gone afterwards; give the median time, s. Raises OSError."""
    times: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(8):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def _unwritable(error: OSError, folder: Path) -> Finding:
    if error.errno == errno.EROFS:
        return fault("disk", "box.disk_read_only", folder=folder)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return fault("disk", "box.disk_no_byte", folder=folder)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return fault("disk", "box.disk_forbidden", folder=folder, user=os.geteuid(), owner=folder.stat().st_uid)
    return fault("disk", "box.disk_broken", folder=folder, why=error.strerror or str(error))


def filesystem(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Give the kind of filesystem a folder is on; empty when the system does not say."""
    try:
        lines = mounts.read_text("utf-8").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    real = str(folder.resolve())
    for line in lines:
        point, this = line.split(" ")[1].replace("\\040", " "), line.split(" ")[2]
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, this
    return kind


# ── store ──


async def look_at_store(site: Site) -> Look:
    return await asyncio.to_thread(look, site.data, CHECK_S)


def store_findings(held: Look) -> list[Finding]:
    """Judge what was seen of the store."""
    words: dict[str, Any] = {"used_bytes": held.size_bytes, "schema": held.schema, "newest": held.newest_schema}
    found: list[Finding] = []
    if held.refused is not None:
        found.append(fault("store", "box.store_refused", why=held.refused))
    elif held.damage is not None:
        found.append(fault("store", "box.store_damaged", why=held.damage, **words))
    elif not held.exists:
        found.append(ok("store", "box.store_new"))
    elif not held.checked:
        found.append(warning("store", "box.store_unchecked", limit_s=CHECK_S, **words))
    elif held.schema < held.newest_schema:
        found.append(ok("store", "box.store_older", **words))
    else:
        found.append(ok("store", "box.store", **words))
    if held.set_aside:
        found.append(warning("store", "box.store_set_aside", files=held.set_aside))
    return found


# ── the gateway that runs ──


async def gateway_findings(site: Site) -> tuple[list[Finding], set[str]]:
    """Tell whether a gateway runs on this store and how it is; and the connections that it holds now."""
    process = await asyncio.to_thread(owner, site.data)
    if process is None:
        return [ok("gateway", "box.gateway_stopped")], set()
    page = site.file.page
    host = "127.0.0.1" if page.host in {"0.0.0.0", "::"} else page.host  # noqa: S104 - a listener on all is asked here
    status = await asyncio.to_thread(_status, f"http://{host}:{page.port}/api/status")
    words: dict[str, Any] = {"process": process}
    if status is None or status.get("gateway") != site.file.gateway.id:
        return [warning("gateway", "box.gateway_mute", port=page.port, **words)], {
            connection.name for connection in site.file.connections
        }
    sources = cast("list[dict[str, Any]]", status["sources"])
    words |= {"uplink": status["uplink"]["state"], "waiting": status["store"]["waiting"]}
    down = [str(source["name"]) for source in sources if source["state"] == "down"]
    connected = {str(source["name"]) for source in sources if source["state"] == "connected"}
    if status["store"]["blocked"]:
        return [fault("gateway", "box.gateway_blocked", why=status["store"]["blocked"], **words)], connected
    if down:
        return [warning("gateway", "box.gateway_down", down=down, **words)], connected
    return [ok("gateway", "box.gateway", **words)], connected


def _status(url: str) -> Mapping[str, Any] | None:
    """Ask the gateway's own page; None when it does not answer as one."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=PAGE_S) as answer:
            said = json.loads(answer.read(4 << 20))
    except (OSError, ValueError):
        return None
    expected = isinstance(said, dict) and {"gateway", "sources", "uplink", "store"} <= set(cast("dict[str, Any]", said))
    return cast("dict[str, Any]", said) if expected else None
