"""Stores as every schema so far has left them: they open, keep what they hold, drain, and go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge.store.file import migrations
from sync.facts import Stream
from sync.frames import Watermark
from tests.campaign.books import Bodies, opened, read, wrong
from tests.edge.stores import state, store_in

OLD = sorted((Path(__file__).parent / "old").glob("*.db"))


def test_every_schema_before_this_one_has_a_store_here():
    assert [path.stem for path in OLD] == [path.stem for path in migrations()[: len(OLD)]]
    assert len(OLD) >= len(migrations()) - 1


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
async def test_an_old_store_opens_keeps_its_records_and_drains(tmp_path: Path, path: Path):
    shutil.copy(path, tmp_path / "edge.db")
    shutil.copy(path, tmp_path / "as-it-was.db")
    with opened(tmp_path / "as-it-was.db") as connection:
        before = read(connection)
    assert before.schema == int(path.stem)
    async with store_in(tmp_path) as store:
        assert store.recovered is None
        await store.commit(facts=[state(1)])
        held = {one.inc: one for one in (await store.holdings())[0]}
        assert set(before.incarnations) <= set(held)
        for (inc, stream), lane in before.lanes.items():
            now = held[inc].streams[str(stream)]
            assert now.last == lane.last
            assert [(loss.first, loss.last, loss.reason) for loss in now.losses] == lane.losses
            after = 0
            for first, count, digest, body, *_ in lane.chunks:
                chunk = (await store.next_chunk(inc, Stream(stream), after)).chunk
                assert chunk is not None
                assert (chunk.first, chunk.count, chunk.digest, chunk.body) == (first, count, digest, body)
                after = first + count - 1
        for name, value in before.checkpoints.items():
            assert store.checkpoint(name) == value
        marks = [
            Watermark(inc=inc, stream=stream, stored=lane.last, safe=lane.last)
            for (inc, stream), lane in before.lanes.items()
        ]
        await store.apply(marks)
        left = {one.inc for one in (await store.holdings())[0]}
        assert left == {store.incarnation}
    with opened(tmp_path / "edge.db") as connection:
        file = read(connection)
    assert file.schema == len(migrations())
    assert wrong(file, Bodies()) == []
