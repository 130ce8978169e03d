"""A damaged file: it is kept, what verifies goes on its way, and the rest is declared. Damage of many kinds, at random places."""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from pathlib import Path

import apsw
import pytest

from edge.store.file import StoreError, unfinished
from sync.chunk import decode
from sync.facts import Audited, Stream
from sync.frames import Watermark
from tests.edge.stores import batch, dictionary, state, store_in

N = 40
TALLIES = 2
"""Every orderly end leaves one event that says what was committed in its hour."""


@pytest.fixture
async def filled(tmp_path: Path) -> tuple[Path, str]:
    """A closed store with two incarnations: (folder, first incarnation)."""
    folder = tmp_path / "data"
    async with store_in(folder) as store:
        inc = store.incarnation
        await store.commit(dictionary=dictionary(), checkpoints={"line": b"here"})
        for i in range(N):
            await store.commit(readings=[batch(1000, noise=True, start=i)], facts=[state(i)])
        await store.commit(facts=[Audited(at=1, actor="a", action="b")])
        await store.apply([Watermark(inc=inc, stream=2, stored=10, safe=10)])
    async with store_in(folder) as store:
        await store.commit(facts=[state(99)])
    return folder, inc


async def read_all(store) -> int:
    """Read every chunk as the uplink does; give the number of records. A damaged one is put aside on the way."""
    count = 0
    for one in (await store.holdings())[0]:
        for stream in one.streams:
            after = 0
            while (chunk := (await store.next_chunk(one.inc, Stream(int(stream)), after)).chunk) is not None:
                decode(chunk.body, chunk.count)
                after = chunk.first + chunk.count - 1
                count += chunk.count
    return count


async def account(store) -> None:
    """Every number ever assigned is confirmed, held and readable, or declared lost."""
    await read_all(store)
    waiting = 0
    for one in (await store.holdings())[0]:
        for lane in one.streams.values():
            covered = sorted([*lane.held, *((loss.first, loss.last) for loss in lane.losses)])
            assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(covered)), covered
            assert not covered or covered[-1][1] == lane.last
            waiting += sum(last - first + 1 for first, last in lane.held)
    assert store.counts().waiting == waiting == await read_all(store)


async def goes_on(folder: Path, raw: bytes | None) -> None:
    """The store opens, accounts for all and takes more; a salvage kept `raw`, or anything where that is None."""
    async with store_in(folder) as store:
        await account(store)
        await store.commit(facts=[state(1)])
        if raw is None:
            assert store.recovered is not None
        elif store.recovered is not None:
            assert store.recovered.kept.read_bytes() == raw


def dirty(folder: Path) -> None:
    """Make the next start check the file, as after a power cut."""
    connection = sqlite3.connect(folder / "edge.db")
    connection.execute("UPDATE meta SET value = 0 WHERE key = 'clean'")
    connection.commit()
    connection.close()


async def test_a_flipped_byte_in_a_page_is_found_after_a_power_cut_and_the_rest_goes_on(filled, caplog):
    folder, inc = filled
    dirty(folder)
    path = folder / "edge.db"
    page = sqlite3.connect(path).execute("SELECT rootpage FROM sqlite_schema WHERE name = 'chunk_place'").fetchone()[0]
    raw = bytearray(path.read_bytes())
    raw[(page - 1) * 4096 : (page - 1) * 4096 + 40] = b"\xff" * 40
    path.write_bytes(raw)
    async with store_in(folder) as store:
        assert store.recovered is not None
        assert store.recovered.lost == 0  # only an index was hit
        assert store.recovered.kept.read_bytes() == bytes(raw)
        assert store.recovered.records == 1 + N * 1000 + (N - 10) + 1 + 1 + TALLIES
        await account(store)
        assert store.checkpoint("line") == b"here"
        audit = (await store.next_chunk(store.incarnation, Stream.AUDIT, 0)).chunk
        (record,) = decode(audit.body, audit.count)
        assert (record.action, record.detail["records"], record.detail["lost"]) == (
            "store.salvaged",
            store.recovered.records,
            0,
        )
        assert record.previous  # the chain goes on where it was
        held, _ = await store.holdings()
        assert inc in {one.inc for one in held}
        await store.commit(facts=[state(1)])
    assert "the store is damaged and was put aside" in caplog.text
    async with store_in(folder) as store:
        assert store.recovered is None
        assert store.counts().lost == 0


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
async def test_a_truncated_file_gives_what_is_left_and_the_rest_is_declared(filled, part: float):
    folder, _ = filled
    path = folder / "edge.db"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])
    async with store_in(folder) as store:
        assert store.recovered is not None
        counts = store.counts()
        assert counts.lost == store.recovered.lost > 0
        held, _ = await store.holdings()
        assert {loss.reason for one in held for lane in one.streams.values() for loss in lane.losses} == {"quarantine"}
        # 10 events were confirmed; besides what there was, there is one record about the salvage
        assert counts.produced == 1 + N * 1001 + 1 + 1 + 1 + TALLIES
        assert counts.produced - 10 == counts.waiting + counts.lost
        await account(store)


async def test_a_first_page_of_zeros_leaves_the_ledger_to_say_what_there_was(filled):
    folder, _ = filled
    path = folder / "edge.db"
    raw = path.read_bytes()
    path.write_bytes(b"\0" * 4096 + raw[4096:])
    async with store_in(folder) as store:
        assert store.recovered is not None
        assert store.recovered.records == 0
        assert store.recovered.lost == 1 + N * 1000 + (N - 10) + 1 + 1 + TALLIES
        held, _ = await store.holdings()
        assert [one.closed for one in held] == [True, True, False]
        assert store.ord == 3
        await account(store)


async def test_a_database_and_a_ledger_both_gone_begin_anew_and_say_so(filled, caplog):
    folder, _ = filled
    (folder / "edge.db").write_bytes(b"")
    (folder / "edge.ledger.json").write_text("{")
    async with store_in(folder) as store:
        await store.commit(facts=[state(1)])
        assert store.counts().produced == 1


async def test_a_turned_bit_in_a_body_is_found_before_it_is_sent(filled, caplog):
    folder, inc = filled
    connection = apsw.Connection(str(folder / "edge.db"))
    connection.execute(
        "UPDATE chunk SET body = CAST(substr(body, 1, 20) || x'ff' || substr(body, 22) AS BLOB) WHERE stream = 2 AND first = 12"
    )
    connection.close()
    async with store_in(folder) as store:
        assert store.recovered is None
        step = await store.next_chunk(inc, Stream.EVENT, 11)
        assert step.chunk is not None
        assert step.chunk.first == 13
        assert [(loss.first, loss.last, loss.reason) for loss in step.losses] == [(12, 12, "quarantine")]
        assert store.counts().lost == 1
        await account(store)
    assert "chunk put aside and declared lost: stream=event first=12" in caplog.text
    assert sqlite3.connect(folder / "edge.db").execute("SELECT first, why FROM aside").fetchall() == [
        (12, "digest does not match")
    ]


async def test_chunks_that_vanished_are_noticed_at_open(filled):
    folder, inc = filled
    connection = apsw.Connection(str(folder / "edge.db"))
    connection.execute("DELETE FROM chunk WHERE stream = 2 AND first BETWEEN 15 AND 19")
    connection.close()
    async with store_in(folder) as store:
        held, _ = await store.holdings()
        (lane,) = [one.streams["2"] for one in held if one.inc == inc]
        assert [(loss.first, loss.last, loss.reason) for loss in lane.losses] == [(15, 19, "quarantine")]
        assert store.counts().lost == 5
        await account(store)


@pytest.mark.parametrize("table", ["chunk", "lane", "incarnation", "loss", "meta", "checkpoint"])
async def test_a_missing_table_is_damage_and_never_silent(filled, table: str):
    folder, _ = filled
    connection = apsw.Connection(str(folder / "edge.db"))
    connection.execute(f"DROP TABLE {table}")
    connection.close()
    async with store_in(folder) as store:
        assert store.recovered is not None
        counts = store.counts()
        assert counts.produced - 10 == counts.waiting + counts.lost
        assert (counts.lost > 0) == (table == "chunk")
        await account(store)


async def test_a_text_that_is_none_any_more_costs_only_its_own_row(filled):
    folder, _ = filled
    connection = sqlite3.connect(folder / "edge.db")
    connection.execute("INSERT INTO meta VALUES (CAST(x'21ff' AS TEXT), 1)")  # "!" stands before every other key
    connection.execute("INSERT INTO checkpoint VALUES (CAST(x'21ff' AS TEXT), x'00', x'00')")
    connection.execute("DROP TABLE aside")  # what makes it a damaged file
    connection.commit()
    connection.close()
    dirty(folder)
    async with store_in(folder) as store:
        assert store.recovered is not None
        assert store.counts().lost == 0
        assert store.checkpoint("line") == b"here"
        await account(store)


async def test_damage_found_while_the_store_is_open_is_salvaged_at_the_next_start(filled):
    folder, _ = filled
    path = folder / "edge.db"
    async with store_in(folder) as store:
        assert store.recovered is None
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        with pytest.raises(StoreError, match="malformed"):
            await read_all(store)
    assert unfinished(path) is not None, "whatever its check says, the next start shall salvage"
    await goes_on(folder, None)


async def test_random_damage_never_goes_unnoticed_and_never_keeps_the_gateway_from_starting(filled, seed: int):
    folder, _ = filled
    dirty(folder)
    sound = (folder / "edge.db").read_bytes()
    for number in range(25):
        copy = folder.parent / f"damaged-{number}"
        shutil.copytree(folder, copy)
        raw = bytearray(sound)
        for _ in range(random.randrange(1, 4)):
            at = random.randrange(100, len(raw) - 600)
            raw[at : at + 600] = random.randbytes(600)
        (copy / "edge.db").write_bytes(raw)
        try:
            await goes_on(copy, bytes(raw))
        except StoreError:  # damage that the check at the start cannot see ends the process, once
            await goes_on(copy, None)
        shutil.rmtree(copy)


async def test_a_crash_within_the_salvage_begins_it_again_from_the_same_copy(filled, monkeypatch):
    folder, _ = filled
    path = folder / "edge.db"
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edge.store.file.replace", crash)
        with pytest.raises(Exception, match="KeyboardInterrupt"):
            async with store_in(folder):
                pass
    kept = [p for p in folder.glob("edge.db.damaged-*") if not p.name.endswith(("-wal", "-shm"))]
    async with store_in(folder) as store:
        assert store.recovered is not None
        assert [store.recovered.kept] == kept
        assert store.recovered.lost > 0
        await account(store)
