"""A disk that fails: the process ends at once rather than guess, the next one goes on, and nothing promised is lost."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from edge.store import StoreError, StoreRefusedError, file, salvage
from sync.facts import Stream
from sync.frames import Watermark
from tests.campaign import load
from tests.campaign.books import Bodies, integrity, opened, read, wrong
from tests.campaign.images.script import store_in as hasty_store_in
from tests.campaign.power.mount import Volume, why_not
from tests.edge.store.failing import Faults, failing
from tests.edge.stores import MB, dictionary, state, store_in, until
from tests.servers import ROOT, free_port, process, wait_until

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
language = "en"
data = "{data}"
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


def write_site(folder: Path, data: str = "data") -> Path:
    (folder / "press.toml").write_text(BOOK)
    site = folder / "site.toml"
    site.write_text(SITE.format(page=free_port(), data=data))
    return site


def records(folder: Path) -> int:
    """Count what stands in the outbox; 0 while nothing does."""
    try:
        with opened(folder / "edge.db") as connection:
            return connection.execute("SELECT total(count) FROM chunk").fetchone()[0]
    except apsw.Error:
        return 0


# --- the n-th call of every kind ---


async def live(folder: Path) -> dict[str, int]:
    """Use the store a little; give how many events of each incarnation were promised. Ends where the disk does."""
    promised: dict[str, int] = {}
    try:
        async with hasty_store_in(folder) as store:  # nobody waits for company
            for number in range(3):
                inc = store.incarnation
                facts = [load.event(inc, number), load.audit(inc, number)]
                await store.commit(
                    dictionary=load.dictionary(), facts=facts, readings=[load.readings(inc, 9 * number, 9)]
                )
                promised[inc] = number + 1
            await store.apply([Watermark(inc=inc, stream=3, stored=9, safe=9)])
            await store.turn("test")
            await store.commit(facts=[load.event(store.incarnation, 0)])
            promised[store.incarnation] = 1
    except StoreError:
        pass
    return promised


def keeps(folder: Path, promised: dict[str, int]) -> None:
    with opened(folder / "edge.db") as connection:
        assert integrity(connection) == []
        file = read(connection)
    assert wrong(file, Bodies()) == []
    for inc, events in promised.items():
        assert file.lanes[inc, int(Stream.EVENT)].last >= events
        assert file.lanes[inc, int(Stream.EVENT)].losses == []


async def calls(folder: Path) -> dict[str, int]:
    """Count the calls of a life that nothing disturbs."""
    await live(folder)
    with failing(folder, Faults()) as faults:
        await live(folder)
    return dict(faults.calls)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: some hundred stores are opened in it."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="triflow-", dir=shm if shm.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("kind", ["sync", "write", "truncate", "open"])
async def test_whichever_call_fails_what_was_promised_is_there(memory: Path, kind: str, for_good: bool, monkeypatch):
    monkeypatch.setattr(salvage, "PROBES", 50)
    number = (await calls(memory / "counted"))[kind]
    assert number
    struck, step = 0, 1 if kind != "write" else max(1, number // 25)
    for nth in range(random.randint(1, step), number + 1, step):
        folder = memory / f"{nth}"
        shutil.copytree(memory / "counted", folder)
        before = read_incs(folder)
        with failing(folder, Faults(kind, nth, for_good)) as faults:
            promised = await live(folder)
        struck += faults.struck
        again = await live(folder)  # a sound disk again: the next start
        assert len(again) == 2, f"{kind} {nth}: the next start does not go on"
        keeps(folder, promised | again | before)
        shutil.rmtree(folder)
    assert struck > number // step // 2


def read_incs(folder: Path) -> dict[str, int]:
    with opened(folder / "edge.db") as connection:
        return {inc: lane.last for (inc, stream), lane in read(connection).lanes.items() if stream == Stream.EVENT}


async def test_a_sync_that_fails_is_not_tried_again(tmp_path: Path):
    """After a failed fsync the kernel has forgotten the pages: a second one that succeeds would prove nothing."""
    async with store_in(tmp_path) as store:
        await store.commit(facts=[state(0)])
    with failing(tmp_path, Faults()) as faults:
        async with store_in(tmp_path) as store:
            faults.kind, faults.nth = "sync", faults.calls["sync"] + 1
            with pytest.raises(StoreError, match=r"I/O error.*check the disk: the process ends rather than guess"):
                await store.commit(facts=[state(1)])
            with pytest.raises(StoreError):
                await store.commit(facts=[state(2)])
        assert faults.after["sync"] == faults.after["write"] == 0
    async with store_in(tmp_path) as store:
        assert store.recovered is None


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="the kernel's own errors need strace; the calls above are tried anyway"
)
@pytest.mark.timeout(180)
def test_an_fsync_that_fails_ends_the_gateway_with_74_and_the_next_one_goes_on(tmp_path: Path):
    site = write_site(tmp_path)
    with process("edge", "run", str(site), log=tmp_path / "first.log"):
        wait_until(lambda: records(tmp_path / "data") > 5, "it records", 45)
    before = records(tmp_path / "data")
    trace = tmp_path / "trace"
    done = subprocess.run(
        [
            "strace", "-f", "-qq", "-o", trace, "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync:error=EIO:when=12+",
            sys.executable, "-m", "edge", "run", str(site),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("ptrace is refused here; the calls above are tried anyway")
    assert done.returncode == 74, done.stderr[-2000:]
    assert "check the disk: the process ends rather than guess" in done.stderr
    assert trace.read_text().count("fdatasync") <= 13  # one failed; closing may not ask again more than once
    with process("edge", "run", str(site), log=tmp_path / "next.log"):
        wait_until(lambda: records(tmp_path / "data") > before, "it goes on", 45)


# --- slow, gone, read-only, without inodes ---


async def test_on_a_slow_disk_commits_share_transactions_and_nothing_grows(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(dictionary=dictionary())
    with failing(tmp_path, Faults(slow_s=0.15)) as faults:
        async with store_in(tmp_path) as store:
            begun = faults.calls["sync"]
            callers = 40

            async def call(number: int) -> None:
                for turn in range(3):
                    await store.commit(facts=[state(100 * number + turn)])

            await asyncio.gather(*(call(number) for number in range(callers)))
            assert faults.calls["sync"] - begun <= 12, "a sync each would be 120"
            assert store.last[Stream.EVENT] == 3 * callers
            assert store._writer._queue.empty()
    async with store_in(tmp_path) as store:
        assert store.recovered is None


@pytest.fixture
def volume() -> Iterator[Volume | None]:
    if why_not() is not None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="triflow-volume-") as work, Volume(Path(work), "ext4") as made:
        yield made


async def test_a_filesystem_that_turns_read_only_ends_the_process_and_the_next_one_goes_on(volume: Volume | None):
    if volume is None:
        pytest.skip(f"{why_not()}; failing calls are tried anyway")
    promised: list[str] = []

    async def write() -> None:
        async with store_in(volume.folder / "data") as store:
            for number in range(1000):
                if number == 20:
                    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,abort", volume.folder], check=True)
                await store.commit(facts=[load.event(store.incarnation, number)])
                promised.append(store.incarnation)

    with pytest.raises(StoreError):
        await write()
    with pytest.raises(StoreRefusedError, match=r"Read-only file system.*check gateway.data|cannot be"):
        async with store_in(volume.folder / "data"):
            pass
    volume.unmount()
    volume.mount()
    async with store_in(volume.folder / "data") as store:
        assert store.recovered is None
        held = {one.inc: one for one in (await store.holdings())[0]}
        assert held[promised[0]].streams["2"].last >= len(promised) >= 20


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path | None]:
    folder = tmp_path / "few"
    folder.mkdir()
    mounted = os.getuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=3", "tmpfs", folder], check=False, capture_output=True
    ).returncode == 0  # fmt: skip
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", folder], check=True)


def run_once(site: Path) -> tuple[int, str]:
    """Run a gateway that cannot start; give its exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", "run", str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    return done.returncode, done.stderr


def test_without_inodes_the_gateway_does_not_start_and_says_why(few_inodes: Path | None, tmp_path: Path):
    if few_inodes is None:
        pytest.skip("mounting a filesystem with few inodes needs root")
    code, said = run_once(write_site(tmp_path, str(few_inodes / "data")))
    assert code == 78, said
    assert "check" in said.splitlines()[-1]


def test_a_data_folder_that_is_a_file_is_said(tmp_path: Path):
    (tmp_path / "data").write_text("")
    code, said = run_once(write_site(tmp_path))
    assert code == 78, said
    assert "cannot be written" in said
    assert "check gateway.data" in said


# --- the file itself ---


async def test_the_store_that_is_replaced_under_us_ends_the_process(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("edge.store.writer.TIDY_S", 0.05)
    async with store_in(tmp_path) as store:
        await store.commit(facts=[state(0)])
        shutil.copy(tmp_path / "edge.db", tmp_path / "other.db")
        (tmp_path / "other.db").replace(tmp_path / "edge.db")
        await until(lambda: store._writer._failure is not None, "it is noticed")
        with pytest.raises(StoreError, match="was replaced under the running gateway"):
            await store.commit(facts=[state(1)])


async def test_a_sqlite_with_the_log_reset_bug_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.50.4")
    with pytest.raises(StoreRefusedError, match=r"3\.50\.4 can corrupt a write-ahead log.*install apsw"):
        async with store_in(tmp_path):
            pass


async def test_someone_who_reads_for_long_holds_nobody_up_and_the_log_shrinks_afterwards(tmp_path: Path):
    log = tmp_path / "edge.db-wal"
    async with store_in(tmp_path) as store:
        await store.commit(facts=[state(0)])
        with opened(tmp_path / "edge.db") as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM chunk").fetchone()
            number = 0
            while log.stat().st_size < 6 * MB:
                await store.commit(facts=[load.event(store.incarnation, number := number + 1) for _ in range(400)])
            assert reader.execute("SELECT count(*) FROM chunk").fetchone() == (1,)  # its own moment, all the time
        for _ in range(200):  # the log is used again from its beginning, no longer than it was
            await store.commit(facts=[load.event(store.incarnation, number := number + 1) for _ in range(40)])
        assert log.stat().st_size < 16 * MB
    assert log.stat().st_size == 0


def test_a_damaged_store_is_put_aside_though_a_crash_left_half_of_an_earlier_try(tmp_path: Path):
    for suffix in ("", "-wal"):
        (tmp_path / f"edge.db{suffix}").write_bytes(b"as it is" + suffix.encode())
    (tmp_path / "edge.db.damaged-7-wal").write_bytes(b"of the try before")
    kept = file.put_aside(tmp_path / "edge.db", 7 * 10**9)
    assert kept.read_bytes() == b"as it is"
    assert kept.with_name(kept.name + "-wal").read_bytes() == b"as it is-wal"


async def test_the_salvage_of_a_tree_in_disorder_comes_to_an_end(tmp_path: Path):
    """Ids that are not in order led the walk round in circles."""
    async with store_in(tmp_path) as store:
        for number in range(60):
            await store.commit(facts=[load.event(store.incarnation, number)])
    connection = apsw.Connection(str(tmp_path / "edge.db"))
    connection.pragma("journal_mode", "delete")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'chunk'").fetchone()
    connection.close()
    raw = bytearray((tmp_path / "edge.db").read_bytes())
    page = (root - 1) * 4096
    assert raw[page] == 5, "an inner page"
    cell = int.from_bytes(raw[page + 12 : page + 14], "big")
    leaf = (int.from_bytes(raw[page + cell : page + cell + 4], "big") - 1) * 4096
    assert raw[leaf] == 13, "a leaf with rows"
    cells = int.from_bytes(raw[leaf + 3 : leaf + 5], "big")
    assert cells >= 4
    one = leaf + 8 + 2 * ((cells - 1) // 2)  # where a search begins: its pointer and the next one change places
    raw[one : one + 4] = raw[one + 2 : one + 4] + raw[one : one + 2]
    (tmp_path / "edge.db").write_bytes(raw)
    connection = apsw.Connection(str(tmp_path / "edge.db"))
    connection.execute("UPDATE meta SET value = 0 WHERE key = 'clean'")  # the next start looks at every page
    connection.close()
    async with store_in(tmp_path) as store:
        assert store.recovered is not None
        assert store.counts().waiting > 0
