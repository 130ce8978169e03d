from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from edge.store import CommitError, StoreRefusedError
from sync.chunk import decode, digest
from sync.facts import Aggregated, Audited, HealthReported, Stream, Tallied
from sync.frames import Watermark
from sync.reading import readings
from tests.edge.stores import batch, dictionary, state, store_in, until
from tests.servers import ROOT


async def records(store, stream: Stream, inc: str | None = None) -> list:
    """Give everything a lane holds, as the uplink would read it."""
    found: list = []
    after = 0
    while (step := await store.next_chunk(inc or store.incarnation, stream, after)).chunk is not None:
        chunk = step.chunk
        assert digest(chunk.body) == chunk.digest
        decoded = decode(chunk.body, chunk.count)
        found.extend(decoded if isinstance(decoded, list) else list(decoded.readings))
        after = chunk.first + chunk.count - 1
    return found


def sql(folder: Path, query: str) -> list[tuple]:
    """Look into the file from another connection, as a person would."""
    connection = apsw.Connection(str(folder / "edge.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_what_was_committed_is_there_after_a_restart_in_its_order(tmp_path: Path):
    async with store_in(tmp_path) as store:
        for i in range(10):
            await store.commit(facts=[state(i)])
        first = store.incarnation
    async with store_in(tmp_path) as store:
        assert store.incarnation != first
        assert store.ord == 2
        *events, tally = await records(store, Stream.EVENT, first)
        assert [fact.reason for fact in events] == [f"r{i}" for i in range(10)]
        assert (tally.inc, tally.lanes) == (first, {"2": (1, 11)})  # the last word of an orderly end counts itself
        held, _ = await store.holdings()
        assert [(one.inc, one.closed, one.previous) for one in held] == [
            (first, True, ""),
            (store.incarnation, False, first),
        ]
        assert held[0].streams["2"].held == [(1, 11)]
        assert store.counts().produced == store.counts().waiting == 11


async def test_every_stream_counts_on_its_own(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(
            facts=[
                state(1),
                Audited(at=1, actor="a", action="b"),
                HealthReported(at=1, values={}),
                Aggregated(at=1, tag="t", start=0, count=0, bad=0),
            ],
            readings=[batch(7)],
            dictionary=dictionary(),
        )
        assert store.last == {Stream.AUDIT: 1, Stream.EVENT: 1, Stream.FACT: 8, Stream.AGG: 1, Stream.DIAG: 1}


async def test_many_small_commits_of_readings_share_chunks_and_transactions(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(dictionary=dictionary())
        await asyncio.gather(*(store.commit(readings=[batch(10, start=10 * i)]) for i in range(250)))
        assert sql(tmp_path, "SELECT count(*), max(count) FROM chunk WHERE keep = 0") == [(3, 1000)]
        values = [value for _, value, _, _ in (await records(store, Stream.FACT))[1:]]
        assert values == [float(i) for i in range(2500)]


async def test_history_shares_transactions_with_live_readings_but_never_a_chunk(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(dictionary=dictionary())
        past = dataclasses.replace(batch(5, start=10), historical=True)
        await asyncio.gather(
            store.commit(readings=[batch(10), past]), store.commit(readings=[past, batch(10, start=20)])
        )
        found, after = [], 1
        while (chunk := (await store.next_chunk(store.incarnation, Stream.FACT, after)).chunk) is not None:
            part = decode(chunk.body, chunk.count).readings
            found.append((part.historical, part.value.tolist()))
            after = chunk.first + chunk.count - 1
        assert sorted(value for historical, values in found if historical for value in values) == sorted(
            2 * [10.0, 11.0, 12.0, 13.0, 14.0]
        )
        assert [v for historical, vs in found if not historical for v in vs] == [
            *map(float, range(10)),
            *map(float, range(20, 30)),
        ]


async def test_an_event_does_not_wait_for_company(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(dictionary=dictionary())
        waiting = asyncio.ensure_future(store.commit(readings=[batch(1)]))
        await asyncio.sleep(0)
        await store.commit(facts=[state(1)])  # … and takes along what was waiting
        assert waiting.done() or (await waiting) is None
        assert sql(tmp_path, "SELECT count(DISTINCT at) FROM chunk WHERE keep = 0") == [(1,)]


async def test_a_commit_is_all_or_nothing_and_keeps_its_parts_together(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(facts=[state(1)], readings=[batch(3)], dictionary=dictionary(), checkpoints={"line": b"1"})
        with pytest.raises(CommitError, match="cannot be encoded"):
            await store.commit(facts=[HealthReported(at=1, values={"a": object()})], checkpoints={"line": b"2"})
        assert store.counts().produced == 5
    async with store_in(tmp_path) as store:
        assert store.checkpoint("line") == b"1"
        assert store.checkpoint("other") is None


async def test_readings_before_their_dictionary_are_refused(tmp_path: Path):
    async with store_in(tmp_path) as store:
        with pytest.raises(CommitError, match="commit the dictionary first"):
            await store.commit(readings=[batch(1)])
        await store.commit(readings=[batch(1)], dictionary=dictionary())
        assert store.counts().produced == 2
    async with store_in(tmp_path) as store:  # a new incarnation begins without one
        with pytest.raises(CommitError, match="commit the dictionary first"):
            await store.commit(readings=[batch(1)])


async def test_a_dictionary_is_written_once_and_readings_keep_the_one_they_meant(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await asyncio.gather(
            store.commit(readings=[batch(2)], dictionary=dictionary(10)),
            store.commit(readings=[batch(3)], dictionary=dictionary(10)),
            store.commit(readings=[batch(4)], dictionary=dictionary(20)),
        )
        chunks, after = [], 0
        while (chunk := (await store.next_chunk(store.incarnation, Stream.FACT, after)).chunk) is not None:
            decoded = decode(chunk.body, chunk.count)
            chunks.append(decoded[0].version if isinstance(decoded, list) else (decoded.dictionary, chunk.count))
            after += chunk.count
        ten, twenty = dictionary(10).version, dictionary(20).version
        assert chunks == [ten, (ten, 5), twenty, (twenty, 4)]


async def test_values_no_chunk_can_carry_become_bad_readings_not_failures(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(dictionary=dictionary())
        rows = [(0, "x" * 100_000, 0, 1), (1, 2**70, 0, 1), (2, "\ud800", 0, 1), (3, "fine", 0, 1), (4, 1.5, 0, 1)]
        await store.commit(readings=[readings(rows, received=1)])
        found = (await records(store, Stream.FACT))[1:]
        assert [(tag, value, status >> 30) for tag, value, status, _ in found] == [
            (0, None, 2), (1, None, 2), (2, None, 2), (3, "fine", 0), (4, 1.5, 0),
        ]  # fmt: skip
        long = [(i % 50, str(i) + "y" * 15_000, 0, 1) for i in range(500)]  # 7.5 MB: more than one frame may hold
        await store.commit(readings=[readings(long, received=1)])
        assert [value for _, value, _, _ in (await records(store, Stream.FACT))[6:]] == [
            value for _, value, _, _ in long
        ]


async def test_a_fact_larger_than_a_frame_is_refused_in_the_callers_face(tmp_path: Path):
    async with store_in(tmp_path) as store:
        with pytest.raises(CommitError, match="a fact may have"):
            await store.commit(facts=[Audited(at=1, actor="a", action="b", detail={"x": "y" * 300_000})])
        big = [Audited(at=i, actor="a", action="b", detail={"x": os.urandom(40_000).hex()}) for i in range(20)]
        await store.commit(facts=big)  # together they need several chunks
        assert [fact.at for fact in await records(store, Stream.AUDIT)] == list(range(20))


async def test_the_audit_chain_holds_over_restarts(tmp_path: Path):
    incs = []
    for start in range(3):
        async with store_in(tmp_path) as store:
            incs.append(store.incarnation)
            for i in range(4):
                await store.commit(facts=[Audited(at=10 * start + i, actor="a", action="b")])
            await asyncio.gather(*(store.commit(facts=[Audited(at=9, actor="c", action="d")]) for _ in range(3)))
    async with store_in(tmp_path) as store:
        head = ""
        for inc in incs:
            for fact in await records(store, Stream.AUDIT, inc):
                assert fact.previous == head
                head = hashlib.sha256(msgspec.json.encode(fact)).hexdigest()
        assert sql(tmp_path, "SELECT value FROM meta WHERE key = 'audit_head'") == [(head,)]


async def test_a_chunk_leaves_the_disk_at_safe_and_counts_as_arrived_at_stored(tmp_path: Path):
    async with store_in(tmp_path) as store:
        for i in range(3):
            await store.commit(facts=[state(i)])
        await store.apply([Watermark(inc=store.incarnation, stream=2, stored=2, safe=1)])
        assert store.counts().waiting == 1
        assert sql(tmp_path, "SELECT first FROM chunk ORDER BY first") == [(2,), (3,)]
        await store.apply([Watermark(inc=store.incarnation, stream=2, stored=3, safe=3)])
        counts = store.counts()
        assert (counts.waiting, counts.waiting_bytes, counts.oldest_at, counts.produced, counts.lost) == (
            0,
            0,
            None,
            3,
            0,
        )
        assert sql(tmp_path, "SELECT count(*) FROM chunk") == [(0,)]


async def test_a_cloud_that_went_back_in_time_gets_what_is_kept_and_is_told_what_is_not(tmp_path: Path):
    async with store_in(tmp_path) as store:
        for i in range(5):
            await store.commit(facts=[state(i)])
        await store.apply([Watermark(inc=store.incarnation, stream=2, stored=4, safe=2)])
        await store.apply([Watermark(inc=store.incarnation, stream=2, stored=1, safe=1)])
        step = await store.next_chunk(store.incarnation, Stream.EVENT, 1)
        assert step.chunk is not None
        assert step.chunk.first == 3
        assert [(loss.first, loss.last, loss.reason) for loss in step.losses] == [(2, 2, "retention")]
        assert store.counts().lost == 1
        assert store.counts().waiting == 3


async def test_watermarks_nobody_can_mean_change_nothing(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(facts=[state(1)])
        await store.apply([
            Watermark(inc="f" * 32, stream=2, stored=1, safe=1),
            Watermark(inc=store.incarnation, stream=77, stored=1, safe=1),
        ])  # fmt: skip
        assert store.counts().waiting == 1
        beyond = Watermark(inc=store.incarnation, stream=2, stored=10**15, safe=10**15)
        assert await store.apply([beyond]) == [beyond]  # who else uses our numbers? the uplink turns
        await store.commit(facts=[state(2)])
        assert store.counts().waiting == store.counts().produced == 2
        await store.turn("test")
        assert await store.apply([beyond]) == []  # closed: the cloud may know more of it than a restored backup


async def test_the_page_finds_the_newest_verdicts_also_of_earlier_starts(tmp_path: Path):
    for start in range(3):
        async with store_in(tmp_path) as store:
            await store.commit(facts=[state(10 * start + i) for i in range(5)])
    async with store_in(tmp_path) as store:
        assert [fact.reason for fact in await store.recent(["state"], 7)] == [
            "r24", "r23", "r22", "r21", "r20", "r14", "r13",
        ]  # fmt: skip
        assert await store.recent(["verdict", "alarm"], 7) == []


async def test_counts_say_how_long_the_disk_will_do(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(dictionary=dictionary())
        assert store.counts().autonomy_hours is None
        for i in range(30):
            await store.commit(readings=[batch(1000, noise=True, start=i)])
        seen = store._autonomy._seen
        seen.appendleft((seen[0][0] - 3600 * 10**9, {}))  # as if it had taken an hour
        counts = store.counts()
        hours = (counts.quota_bytes - counts.used_bytes) / sum(store._totals.written.values())
        assert counts.autonomy_hours == pytest.approx(hours, rel=0.01)
        assert 0 < counts.commit_p50_ms <= counts.commit_p99_ms


@pytest.mark.parametrize("seed_", range(2))
async def test_the_books_equal_the_file_whatever_happens(tmp_path: Path, seed_: int):
    """A random walk of commits, receipts, refusals and restarts; produced = confirmed + waiting + lost throughout."""
    dice = random.Random(seed_)
    stored: dict[tuple[str, int], int] = {}
    for _ in range(4):
        async with store_in(tmp_path, quota=150_000) as store:
            await store.commit(dictionary=dictionary())
            for _ in range(12):
                match dice.randrange(4):
                    case 0:
                        await store.commit(facts=[state(1)] * dice.randrange(1, 9))
                    case 1:
                        await store.commit(readings=[batch(dice.randrange(1, 2500), noise=True)])
                    case 2:
                        await store.commit(facts=[HealthReported(at=1, values={"a": dice.random()})])
                    case _:
                        held, _ = await store.holdings()
                        one = dice.choice(held)
                        for stream in one.streams:
                            at = stored.get((one.inc, int(stream)), 0)
                            step = await store.next_chunk(one.inc, Stream(int(stream)), at)
                            if step.chunk is not None:
                                at = step.chunk.first + step.chunk.count - 1
                                stored[one.inc, int(stream)] = at
                                await store.apply([Watermark(inc=one.inc, stream=int(stream), stored=at, safe=at)])
            counts = store.counts()
            held, complete = await store.holdings()
            assert complete
            waiting = sum(b - a + 1 for one in held for lane in one.streams.values() for a, b in lane.held)
            in_file = sql(tmp_path, "SELECT sum(count), sum(bytes) FROM chunk")[0]
            assert waiting == counts.waiting == (in_file[0] or 0)
            assert counts.waiting_bytes == (in_file[1] or 0)
            lost = sum(x.last - x.first + 1 for one in held for lane in one.streams.values() for x in lane.losses)
            assert lost <= counts.lost
            confirmed = counts.produced - counts.waiting - counts.lost
            assert 0 <= confirmed <= sum(stored.values())


# --- one owner, the right file, a folder we may write ---


async def test_a_second_process_on_the_same_store_is_refused_and_named(tmp_path: Path):
    async with store_in(tmp_path):
        with pytest.raises(StoreRefusedError, match=rf"in use by process {os.getpid()}; .*stop the other one"):
            async with store_in(tmp_path):
                pass
    async with store_in(tmp_path):  # … and free again afterwards
        pass


@pytest.mark.parametrize("content", [b"hello, I am a text file", b"\0" * 5000, b"PK\x03\x04" + b"x" * 9000])
async def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes):
    (tmp_path / "edge.db").write_bytes(content)
    with pytest.raises(StoreRefusedError, match=r"is not a Triflow store .*left untouched"):
        async with store_in(tmp_path):
            pass
    assert (tmp_path / "edge.db").read_bytes() == content


@pytest.mark.parametrize("wal", [False, True])
async def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path, wal: bool):
    other = apsw.Connection(str(tmp_path / "edge.db"))
    if wal:
        other.pragma("journal_mode", "wal")
    other.execute("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)")
    other.close()
    before = (tmp_path / "edge.db").read_bytes()
    with pytest.raises(StoreRefusedError, match="database of another program"):
        async with store_in(tmp_path):
            pass
    assert (tmp_path / "edge.db").read_bytes() == before


async def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(facts=[state(1)])
    newer = apsw.Connection(str(tmp_path / "edge.db"))
    newer.pragma("user_version", 99)
    newer.close()
    before = (tmp_path / "edge.db").read_bytes()
    with pytest.raises(
        StoreRefusedError, match=r"has schema 99, this software knows up to \d+; .*install the newer version"
    ):
        async with store_in(tmp_path):
            pass
    assert (tmp_path / "edge.db").read_bytes() == before


CHILD = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from edge.store import StoreError
from tests.edge.stores import store_in
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
async def main():
    try:
        async with store_in(Path(sys.argv[1])):
            print("opened")
    except StoreError as error:
        print(error)
asyncio.run(main())
"""


def as_nobody(folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach (pytest's own are closed to them)."""
    folder = Path(tempfile.mkdtemp(prefix="triflow-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_we_may_not_write_is_said_with_what_to_check(open_folder: Path):
    folder = open_folder / "data"
    folder.mkdir(mode=0o555)
    said = as_nobody(folder)
    assert "cannot be written (Permission denied); check gateway.data, that the folder belongs to user" in said


def test_a_file_that_belongs_to_someone_else_is_said_with_what_to_check(open_folder: Path):
    folder = open_folder / "data"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "edge.db").write_bytes(b"")
    (folder / "edge.db").chmod(0o400)
    if os.getuid() == 0:
        assert "check that it belongs to user 65534" in as_nobody(folder)


# --- kill -9 ---

WRITER = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from tests.edge.stores import store_in, dictionary, batch, state
from sync.facts import Audited
async def main():
    async with store_in(Path(sys.argv[1])) as store:
        await store.commit(dictionary=dictionary())
        out = sys.stdout.fileno()
        os.write(out, f"I {store.incarnation}\\n".encode())
        async def events():
            for i in range(10**9):
                await store.commit(facts=[state(i), Audited(at=i, actor="a", action="b")], checkpoints={"n": str(i).encode()})
                os.write(out, f"E {i}\\n".encode())
        async def values():
            n = 0
            while True:
                await store.commit(readings=[batch(100, start=n)])
                n += 100
                os.write(out, f"R {n}\\n".encode())
        await asyncio.gather(events(), values())
asyncio.run(main())
"""


async def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path):
    acknowledged: dict[str, tuple[int, int]] = {}
    for _ in range(22):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        line = await child.stdout.readline()
        assert line.startswith(b"I "), line
        inc = line.split()[1].decode()
        await asyncio.sleep(random.uniform(0.0, 0.12))
        child.send_signal(signal.SIGKILL)
        said = (await child.stdout.read()).decode()
        await child.wait()
        events = [int(n) for n in re.findall(r"^E (\d+)\n", said, re.MULTILINE)]
        values = [int(n) for n in re.findall(r"^R (\d+)\n", said, re.MULTILINE)]
        acknowledged[inc] = (max(events, default=-1), max(values, default=0))
    assert sum(e for e, _ in acknowledged.values()) > 100
    async with store_in(tmp_path) as store:
        assert store.recovered is None
        newest = 0
        head = ""
        for inc, (event, value) in acknowledged.items():
            events = await records(store, Stream.EVENT, inc)
            assert len(events) >= event + 1
            events = [fact for fact in events if not isinstance(fact, Tallied)]
            assert [fact.reason for fact in events] == [f"r{i}" for i in range(len(events))]
            values = [v for _, v, _, _ in (await records(store, Stream.FACT, inc))[1:]]
            assert len(values) >= value
            assert values == [float(i) for i in range(len(values))]
            for fact in await records(store, Stream.AUDIT, inc):
                assert fact.previous == head
                head = hashlib.sha256(msgspec.json.encode(fact)).hexdigest()
            newest = len(events) - 1 if events else newest
        assert store.checkpoint("n") == str(newest).encode()  # the same transaction as the last event
        assert store.counts().lost == 0


@pytest.mark.parametrize("place", ["edge.before_commit", "edge.after_commit"])
async def test_killed_right_before_or_after_the_commit_the_parts_still_agree(tmp_path: Path, place: str):
    for count in (1, 2, 3, 4, 5):  # the first ones are the opening itself
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"TRIFLOW_FAILPOINT": f"{place}:{count}"},
        )  # fmt: skip
        await child.communicate()
        assert child.returncode == -signal.SIGKILL
    async with store_in(tmp_path) as store:
        assert store.recovered is None
        events = {one.inc: await records(store, Stream.EVENT, one.inc) for one in (await store.holdings())[0]}
        states = [[fact for fact in found if not isinstance(fact, Tallied)] for found in events.values()]
        newest = [len(found) - 1 for found in states if found]
        assert store.checkpoint("n") == (str(newest[-1]).encode() if newest else None)


async def test_a_million_records_open_without_a_scan(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(dictionary=dictionary())
        for i in range(1000):
            await store.commit(readings=[batch(1000, start=1000 * i)])
    async with store_in(tmp_path) as store:
        assert store.counts().waiting == 1_000_002
        step = await store.next_chunk((await store.holdings())[0][0].inc, Stream.FACT, 999_000)
        assert step.chunk is not None
    plan = sql(
        tmp_path,
        "EXPLAIN QUERY PLAN SELECT ord, stream, sum(count) FROM chunk INDEXED BY chunk_place GROUP BY ord, stream",
    )
    assert "COVERING INDEX" in str(plan)  # no body is read to count them


async def test_the_store_that_is_removed_under_us_ends_the_process(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("edge.store.writer.TIDY_S", 0.05)
    async with store_in(tmp_path) as store:
        (tmp_path / "edge.db").rename(tmp_path / "moved.db")
        await until(lambda: store._writer._failure is not None, "it is noticed")
        with pytest.raises(Exception, match="removed under the running gateway"):
            await store.commit(facts=[state(1)])
    assert json.loads((tmp_path / "edge.ledger.json").read_text())["newest_inc"] == store.incarnation
