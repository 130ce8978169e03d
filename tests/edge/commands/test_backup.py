"""`triflow edge backup|restore|verify|salvage`: with a gateway that runs, and with what people get wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import stat
from pathlib import Path

import apsw
import pytest

from edge.__main__ import main
from edge.store.backup import BackupError, back_up, prove, restore
from edge.store.file import StoreRefusedError
from sync.facts import Audited, Stream
from sync.frames import Watermark
from tests.edge.stores import batch, dictionary, state, store_in
from tests.servers import free_port, process, wait_until

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
language = "en"
quota_mb = 16
ballast_mb = 0
[page]
port = {page}
[[connection]]
name = "press"
driver = "simulated"
period_ms = 20
[[line]]
work_unit = "hall/line-1/press"
connection = "press"
book = "press.toml"
"""
BOOK = 'title = "Press"\n[[tag]]\nname = "oil"\naddress = "a"\nlow = 0\nhigh = 100\n'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "site.toml"
    file.write_text(SITE.format(page=free_port()))
    (tmp_path / "press.toml").write_text(BOOK)
    return file


async def fill(folder: Path, events: int = 5) -> str:
    async with store_in(folder) as store:
        await store.commit(dictionary=dictionary())
        for i in range(events):
            await store.commit(
                facts=[state(i), Audited(at=i, actor="a", action="b")], readings=[batch(200, noise=True)]
            )
        await store.apply([Watermark(inc=store.incarnation, stream=2, stored=2, safe=1)])
        return store.incarnation


def rows(path: Path, query: str) -> list[tuple]:
    connection = apsw.Connection(
        f"{path.as_uri()}?mode=ro&immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def copies(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def test_a_backup_of_a_running_gateway_is_proven_and_restored_and_the_old_store_is_kept(site, tmp_path, capsys):
    data, safe = tmp_path / "data", tmp_path / "safe"
    with process("edge", "run", str(site), log=tmp_path / "gateway.log"):
        wait_until((data / "edge.db-wal").exists, "it runs")
        wait_until(lambda: main(["verify", str(site)]) == 0, "something is in it")
        assert main(["backup", str(site), str(safe)]) == 0
        said = capsys.readouterr().out
        (made,) = copies(safe)
        assert f"backup made: {made}" in said
        assert "proven" in said
        assert main(["restore", str(site), str(made)]) == 1
        assert "the gateway runs on" in capsys.readouterr().err
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["gateway"] == "acme/gumi/gw-1"
    assert (
        manifest["incarnation"] == rows(made / "edge.db", "SELECT inc FROM incarnation ORDER BY ord DESC LIMIT 1")[0][0]
    )
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o600}
    assert sorted(path.name for path in made.iterdir()) == ["edge.db", "manifest.json"]
    assert main(["verify", str(made)]) == 0
    capsys.readouterr()
    assert main(["restore", str(site), str(made)]) == 0
    said = capsys.readouterr().out
    assert "the store before is kept" in said
    assert "new incarnation" in said
    with process("edge", "run", str(site), log=tmp_path / "again.log"):
        wait_until(
            lambda: manifest["incarnation"] in [inc for (inc,) in _incs(data)] and len(_incs(data)) > 1, "it goes on"
        )
    assert len(list(data.glob("edge.db.before-restore-*"))) >= 1


def _incs(data: Path) -> list[tuple]:
    connection = apsw.Connection(str(data / "edge.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute("SELECT inc FROM incarnation").fetchall()
    finally:
        connection.close()


async def test_a_backup_while_commits_go_on_is_one_moment_of_the_store(tmp_path: Path):
    async with store_in(tmp_path / "data") as store:
        await store.commit(dictionary=dictionary())
        stop = False

        async def work() -> None:
            number = 0
            while not stop:
                await store.commit(
                    facts=[state(number), Audited(at=number, actor="a", action="b")],
                    checkpoints={"n": str(number).encode()},
                )
                number += 1

        working = asyncio.create_task(work())
        while store.last.get(Stream.EVENT, 0) < 20:
            await asyncio.sleep(0.01)
        before = store.last[Stream.EVENT]
        folder, manifest = await asyncio.to_thread(
            back_up, tmp_path / "data", tmp_path / "safe", at=10**18, gateway="a/b/c", software="test"
        )
        stop = True
        await working
    prove(folder)
    events, audits = (rows(folder / "edge.db", f"SELECT last FROM lane WHERE stream = {s}")[0][0] for s in (2, 1))
    (value,) = rows(folder / "edge.db", "SELECT value FROM checkpoint WHERE name = 'n'")[0]
    assert before <= events
    assert audits == events == int(value) + 1  # committed together, copied together
    assert manifest.waiting >= events + audits


async def test_a_restored_store_is_the_one_that_was_backed_up_with_a_new_incarnation(tmp_path: Path):
    data = tmp_path / "data"
    first = await fill(data)
    folder, manifest = back_up(data, tmp_path / "safe", at=10**18, gateway="", software="test")
    later = await fill(data, 9)
    done = restore(folder, data, at=2 * 10**18, gateway="a/b/c")
    assert done.kept is not None
    assert done.newer is not None
    assert done.newer.waiting > manifest.waiting
    assert later in str(rows(done.kept, "SELECT inc FROM incarnation"))
    async with store_in(data) as store:
        held, _ = await store.holdings()
        incs = [one.inc for one in held]
        assert first in incs
        assert later not in incs
        assert store.incarnation not in {first, later}
        assert store.recovered is None
        assert store.counts().waiting >= manifest.waiting


@pytest.mark.parametrize("what", ["a byte", "cut off", "no manifest", "other gateway", "newer schema"])
async def test_a_backup_that_is_not_to_be_trusted_changes_nothing(tmp_path: Path, what: str):
    data = tmp_path / "data"
    await fill(data)
    folder, _ = back_up(data, tmp_path / "safe", at=10**18, gateway="a/b/c", software="test")
    before = (data / "edge.db").read_bytes()
    copy, gateway, expected = folder / "edge.db", "a/b/c", "is not the file that was backed up"
    match what:
        case "a byte":
            raw = bytearray(copy.read_bytes())
            raw[random.randrange(4096, len(raw))] ^= 0xFF
            copy.write_bytes(raw)
        case "cut off":
            copy.write_bytes(copy.read_bytes()[:-4096])
        case "no manifest":
            (folder / "manifest.json").unlink()
            expected = "is no backup"
        case "other gateway":
            gateway, expected = "a/b/other", "is of a/b/c, this is a/b/other"
        case _:
            manifest = json.loads((folder / "manifest.json").read_text())
            (folder / "manifest.json").write_text(json.dumps(manifest | {"schema": 99}))
            expected = "install the newer version"
    with pytest.raises(BackupError, match=expected):
        restore(folder, data, at=10**18, gateway=gateway)
    assert (data / "edge.db").read_bytes() == before
    assert not list(data.glob("*.new"))
    assert not list(data.glob("*.before-restore-*"))


async def test_the_folder_of_backups_is_not_a_backup_and_names_those_in_it(tmp_path: Path):
    await fill(tmp_path / "data")
    made = [back_up(tmp_path / "data", tmp_path / "safe", at=10**18, gateway="", software="test")[0] for _ in range(2)]
    assert made[0] != made[1]
    with pytest.raises(BackupError, match=rf"it holds backups, name one: .*{made[1].name}"):
        prove(tmp_path / "safe")


def test_no_store_no_room_no_right_are_said_with_what_to_check(tmp_path: Path, capsys):
    assert main(["backup", str(tmp_path / "nowhere"), str(tmp_path / "safe"), "--language", "en"]) == 1
    assert "there is no store at" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nowhere"), "--language", "ko"]) == 2
    assert "실패" in capsys.readouterr().err
    (tmp_path / "site.toml").write_text("[gateway]\n")
    assert main(["backup", str(tmp_path / "site.toml"), str(tmp_path / "safe")]) == 78
    blocked = tmp_path / "file"
    blocked.write_text("")
    asyncio.run(fill(tmp_path / "data"))
    assert main(["backup", str(tmp_path / "data"), str(blocked / "below"), "--language", "en"]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert main(["salvage", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2


async def test_a_backup_of_a_damaged_store_is_refused_and_leaves_nothing(tmp_path: Path, capsys):
    data = tmp_path / "data"
    await fill(data, 30)
    raw = bytearray((data / "edge.db").read_bytes())
    raw[8 * 4096 : 9 * 4096] = os.urandom(4096)
    (data / "edge.db").write_bytes(raw)
    assert await asyncio.to_thread(main, ["backup", str(data), str(tmp_path / "safe"), "--language", "en"]) == 1
    assert "the store is damaged" in capsys.readouterr().err
    assert list((tmp_path / "safe").iterdir()) == []
    assert await asyncio.to_thread(main, ["verify", str(data), "--language", "en"]) == 1
    assert "NOT sound" in capsys.readouterr().err


async def test_what_can_be_saved_is_saved_in_a_folder_of_its_own_and_the_rest_is_named(tmp_path: Path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    await fill(data, 30)
    raw = bytearray((data / "edge.db").read_bytes())
    at = len(raw) // 2 // 4096 * 4096
    raw[at : at + 4096] = os.urandom(4096)
    (data / "edge.db").write_bytes(raw)
    code = await asyncio.to_thread(main, ["salvage", str(data), str(out), "--language", "en"])
    said = capsys.readouterr().out
    assert code in {0, 1}
    assert "saved: " in said
    assert (data / "edge.db").read_bytes() == bytes(raw)
    assert await asyncio.to_thread(main, ["verify", str(out / "edge.db"), "--language", "en"]) == 0
    assert await asyncio.to_thread(main, ["salvage", str(data), str(out)]) == 2  # the folder is there already
    shutil.copy(out / "edge.db", data / "edge.db")
    async with store_in(data) as store:
        assert store.recovered is None


async def test_a_store_in_use_is_not_restored_or_salvaged(tmp_path: Path):
    data = tmp_path / "data"
    await fill(data)
    folder, _ = back_up(data, tmp_path / "safe", at=10**18, gateway="", software="test")
    async with store_in(data):
        with pytest.raises(StoreRefusedError, match=rf"runs on .*process {os.getpid()}.*stop it first"):
            restore(folder, data, at=1, gateway="")
        assert await asyncio.to_thread(main, ["salvage", str(data), str(tmp_path / "out")]) == 2


async def test_a_restore_that_is_cut_short_leaves_the_old_store_or_the_new_one(tmp_path: Path, monkeypatch):
    data = tmp_path / "data"
    await fill(data)
    folder, manifest = back_up(data, tmp_path / "safe", at=10**18, gateway="", software="test")
    await fill(data)
    real, calls, failing = os.fsync, [], 0

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for failing in range(1, 8):  # noqa: B007 - read by fsync
        calls.clear()
        with contextlib.suppress(BackupError):
            restore(folder, data, at=1, gateway="")
        with monkeypatch.context() as plain:
            plain.setattr(os, "fsync", real)
            async with store_in(data) as store:
                assert store.recovered is None
                assert store.counts().waiting >= manifest.waiting
