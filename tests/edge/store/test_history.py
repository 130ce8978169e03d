"""What was recorded is read in its order, each verdict once: from the outbox, from the ring, beside an open store."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import msgspec
import pytest

from edge.store.history import HistoryError, open_history
from sync.facts import Judged, Stream
from sync.frames import Watermark
from sync.judgment import FeedbackGiven
from tests.edge.stores import LINE, MB, state, store_in


def verdict(number: int) -> Judged:
    return Judged(
        at=number * 10, work_unit=LINE, verdict_id=f"{number:032x}", start=number * 10 - 10, ruleset="r",
        ruleset_version="1.0.0", ruleset_hash="h", decision="normal", severity="info", confidence=0.9,
        policy="rule_only", source="rule", form=2,
    )  # fmt: skip


def word(number: int, target: int) -> FeedbackGiven:
    return FeedbackGiven(at=number, feedback=str(number), target=f"{target:032x}", type="positive", decision="normal")


def read(folder: Path, *span: int, own: bool = False) -> list[int]:
    with open_history(folder, own=own) as history:
        return [json.loads(raw)["at"] // 10 for raw in history.verdicts(*span)]


async def confirm(store, upto: int) -> None:
    """Let the cloud have all events up to a number, so that they leave the outbox for the ring."""
    mark = Watermark(inc=store.incarnation, stream=Stream.EVENT, stored=upto, safe=upto)
    assert await store.apply([mark]) == []


async def test_verdicts_come_in_their_order_from_outbox_and_ring_and_over_starts(tmp_path):
    async with store_in(tmp_path, ring_bytes=4 * MB) as store:
        for number in range(1, 31):
            await store.commit(facts=[verdict(number), state(number)])
        assert read(tmp_path, own=True) == list(range(1, 31))
        await confirm(store, 40)
        assert read(tmp_path, own=True) == list(range(1, 31)), "the first twenty stand in the ring now"
        await store.turn("test")
        await store.commit(facts=[verdict(number) for number in range(31, 41)])
        assert read(tmp_path, own=True) == list(range(1, 41))
    async with store_in(tmp_path, ring_bytes=4 * MB) as store:
        await store.commit(facts=[verdict(41)])
    assert read(tmp_path) == list(range(1, 42))
    assert read(tmp_path, 200, 250) == [20, 21, 22, 23, 24]


async def test_what_has_left_the_outbox_without_a_ring_is_not_there_but_the_newest_are_found_by_id(tmp_path):
    async with store_in(tmp_path) as store:
        await store.commit(facts=[verdict(number) for number in range(1, 11)])
        await confirm(store, 10)
        assert read(tmp_path, own=True) == []
        with open_history(tmp_path, own=True) as history:
            raw = history.verdict(f"{7:032x}")
            assert raw is not None
            assert msgspec.json.decode(raw, type=Judged) == verdict(7)
            assert history.verdict("f" * 32) is None


async def test_a_verdict_is_given_with_the_bytes_it_was_recorded_with(tmp_path):
    async with store_in(tmp_path) as store:
        await store.commit(facts=[verdict(1)])
    with open_history(tmp_path) as history:
        assert list(history.verdicts()) == [msgspec.json.encode(verdict(1))]


async def test_the_same_verdict_recorded_twice_is_given_once(tmp_path):
    async with store_in(tmp_path) as store:
        await store.commit(facts=[verdict(1), verdict(2)])
        await store.commit(facts=[verdict(2), verdict(3)])
    assert read(tmp_path) == [1, 2, 3]


async def test_feedback_comes_in_the_order_it_was_said(tmp_path):
    async with store_in(tmp_path) as store:
        await store.commit(facts=[verdict(1), word(1, 1)])
        await store.commit(facts=[word(2, 1)])
    with open_history(tmp_path) as history:
        assert [said.feedback for said in history.feedback()] == ["1", "2"]


async def test_a_damaged_chunk_is_passed_over_and_counted(tmp_path):
    async with store_in(tmp_path) as store:
        for number in (1, 2, 3):
            await store.commit(facts=[verdict(number)])
    connection = apsw.Connection(str(tmp_path / "edge.db"))
    connection.execute("UPDATE chunk SET body = zeroblob(length(body)) WHERE stream = 2 AND first = 2")
    connection.close()
    with open_history(tmp_path) as history:
        assert [json.loads(raw)["at"] for raw in history.verdicts()] == [10, 30]
        assert history.damaged == 1


async def test_a_listener_that_goes_away_is_no_fault_of_the_store(tmp_path):
    async with store_in(tmp_path):
        with pytest.raises(BrokenPipeError), open_history(tmp_path, own=True):
            raise BrokenPipeError


def test_a_folder_without_a_store_is_said(tmp_path):
    with pytest.raises(HistoryError, match=r"no edge\.db"), open_history(tmp_path):
        pass
