"""The box examined: clock, disk, store, and the gateway that may be running on it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.commands.doctor_box import (
    _unwritable,
    clock_findings,
    filesystem,
    gateway_findings,
    room,
    store_findings,
    written,
)
from edge.site import load
from edge.store import open_store
from edge.store.look import look, owner, remembered
from edge.timekeeping import kernel_clock
from sync.clock import WallClock
from tests.servers import ROOT, free_port

MB = 1 << 20


class Unset(WallClock):
    """A box without a battery, just switched on."""

    def now(self) -> int:
        return 12 * 10**9


def test_a_clock_that_was_never_set_is_a_fault():
    (found,) = clock_findings(Unset(), "Asia/Seoul")
    assert (found.severity, found.words["year"]) == ("fault", 1970)


def test_the_kernel_says_whether_anything_keeps_the_clock():
    (found,) = clock_findings(WallClock(), "Asia/Seoul")
    expected = {True: "box.clock", False: "box.clock_free", None: "box.clock_unknown"}
    assert found.key == expected[kernel_clock()[0]]


def test_a_disk_is_judged_by_what_the_store_may_still_take():
    disk = {"total": 32_000 * MB, "quota": 2048 * MB, "ballast": 16 * MB, "took_s": 0.003}
    assert room(free=9000 * MB, used=0, **disk).key == "box.disk"
    assert room(free=1000 * MB, used=0, **disk).key == "box.disk_small"
    assert room(free=1000 * MB, used=1900 * MB, **disk).key == "box.disk"
    nearly = room(free=70 * MB, used=2048 * MB, **disk)
    assert (nearly.severity, nearly.key) == ("fault", "box.disk_full")


def test_what_keeps_a_folder_from_being_written_is_named(tmp_path):
    for number, key in (
        (errno.EROFS, "box.disk_read_only"),
        (errno.ENOSPC, "box.disk_no_byte"),
        (errno.EACCES, "box.disk_forbidden"),
        (errno.EIO, "box.disk_broken"),
    ):
        assert _unwritable(OSError(number, os.strerror(number)), tmp_path).key == key


def test_a_folder_that_is_not_ours_to_write_in_raises_as_the_system_says(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o555)
    tmp_path.chmod(0o755)
    assert written(tmp_path) >= 0
    assert list(tmp_path.iterdir()) == [folder]
    drop = "os.setuid(65534);" if os.geteuid() == 0 else ""  # root may write anywhere: ask as somebody else
    code = f"import os; from pathlib import Path; from edge.commands.doctor_box import written; {drop} written(Path({str(folder)!r}))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "PermissionError" in told.stderr


def test_the_filesystem_of_a_folder_is_that_of_the_nearest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\nnas:/plant /mnt/plant\\040data nfs4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n")
    assert filesystem(Path("/var/lib/triflow"), mounts) == "ext4"
    assert filesystem(Path("/mnt/plant data/gw"), mounts) == "nfs4"
    assert filesystem(Path("/mnt/plant database"), mounts) == "ext4"
    assert filesystem(Path("/"), tmp_path / "none") == ""


def opened(folder: Path):
    return open_store(folder, clock=WallClock(), quota_bytes=16 * MB, ballast_bytes=0, software="triflow test")


def stamps(folder: Path) -> dict[str, int]:
    """Give when each file was written last; edge.db-shm is where readers say that they read."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if not path.name.endswith("-shm")}


async def test_a_store_is_looked_at_without_touching_it(tmp_path):
    folder = tmp_path / "data"
    assert [finding.key for finding in store_findings(look(folder, 5))] == ["box.store_new"]
    async with opened(folder) as store:
        await store.commit(checkpoints={"line:a": b"state"})
        assert owner(folder) == os.getpid()
        held = look(folder, 5)
        assert (held.damage, held.checked) == (None, True)
        assert remembered(folder, "line:a") == b"state"
    assert owner(folder) is None
    before = stamps(folder)
    assert [finding.key for finding in store_findings(look(folder, 5))] == ["box.store"]
    assert remembered(folder, "line:a") == b"state"
    assert remembered(folder, "line:b") is None
    assert stamps(folder) == before


async def test_a_damaged_store_is_a_fault_and_left_as_it_is(tmp_path):
    folder = tmp_path / "data"
    async with opened(folder) as store:
        await store.commit(checkpoints={f"line:{i}": os.urandom(8000) for i in range(40)})
    path = folder / "edge.db"
    data = bytearray(path.read_bytes())
    data[5 * 4096 : 40 * 4096] = os.urandom(35 * 4096)
    path.write_bytes(data)
    (found,) = store_findings(look(folder, 5))
    assert (found.severity, found.key) == ("fault", "box.store_damaged")
    assert path.read_bytes() == bytes(data)
    (folder / "edge.db.damaged-1700000000").write_bytes(b"old")
    assert store_findings(look(folder, 5))[-1].words["files"] == ("edge.db.damaged-1700000000",)


def test_somebody_elses_file_is_refused_in_the_stores_own_words(tmp_path):
    (tmp_path / "edge.db").write_text("hello")
    (found,) = store_findings(look(tmp_path, 5))
    assert (found.severity, found.key) == ("fault", "box.store_refused")
    assert "not a Triflow store" in found.what("en")


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site.toml").write_text(
        f'[gateway]\nid = "gw-1"\ntenant = "acme"\nsite = "gumi"\n[page]\nport = {free_port()}\n'
        '[[connection]]\nname = "sim"\ndriver = "simulated"\n'
    )
    return load(tmp_path / "site.toml")


async def test_whether_a_gateway_runs_is_known_from_its_store(site):
    (found,), held = await gateway_findings(site)
    assert (found.key, held) == ("box.gateway_stopped", set())
    async with opened(site.data):
        (found,), held = await gateway_findings(site)
    assert (found.key, held) == ("box.gateway_mute", {"sim"})
