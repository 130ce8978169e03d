"""Models through the real flow: readings, windows, models, verdicts on disk; swapped, switched off, hung and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from edge.flow import Flow
from edge.scoring.orders import Order, order_id
from edge.site import load
from sync.clock import WallClock
from sync.facts import Judged
from tests.edge.scoring import moody
from tests.edge.scoring.gateway import BOOK, WORK_UNIT, lay_out
from tests.edge.stores import store_in, until

WINDOW_NS = 200_000_000


def lay_out_line(folder: Path) -> Path:
    """Both lines with windows of 0.2 s and loads from 0.42 to 0.48; only the first has rules and a model."""
    site = lay_out(folder)
    site.write_text(site.read_text().replace('book = "press.toml"', 'book = "press.toml"\nwindow_s = 0.2'))
    site.write_text(site.read_text().replace('driver = "simulated"', 'driver = "simulated"\nperiod_ms = 50'))
    (folder / "press.toml").write_text(BOOK.replace("low = 0\nhigh = 1", "low = 0.4\nhigh = 0.5"))
    return site


@contextlib.asynccontextmanager
async def flowing(folder: Path) -> AsyncIterator[Flow]:
    site = load(folder / "site.toml")
    async with store_in(site.data, clock=WallClock()) as store:
        flow = Flow(site, store, WallClock())
        task = asyncio.create_task(flow.run())
        try:
            yield flow
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def verdicts(flow: Flow) -> list[Judged]:
    found = await flow.store.recent(["verdict"], 500)
    return sorted((f for f in found if isinstance(f, Judged) and f.work_unit == WORK_UNIT), key=lambda f: f.start)


def contiguous(found: list[Judged]) -> bool:
    """Each window once and none left out; but for more than three together, when the whole machine stood still."""
    steps = [b.start - a.start for a, b in itertools.pairwise(found)]
    return all(step == WINDOW_NS or step > 3 * WINDOW_NS for step in steps)


async def test_swapped_at_run_time_every_window_has_one_verdict_of_one_version(tmp_path):
    lay_out_line(tmp_path)
    async with flowing(tmp_path) as flow:
        scorer = flow.scoring.scorer(WORK_UNIT)
        await until(lambda: scorer.asked >= 5, "five windows are asked")
        second = moody.package("2.0.0", gain=0.5)
        (tmp_path / "data" / "packages").mkdir(exist_ok=True)
        digest = hashlib.sha256(second).hexdigest()
        (tmp_path / "data" / "packages" / digest).write_bytes(second)  # as a delivery leaves it
        order = Order(order=order_id(1), at=1, actor="kim", what="activate", line=WORK_UNIT, package=digest)
        said = await flow.scoring.obey(order)
        assert said.done, said.told
        asked = scorer.asked
        await until(lambda: scorer.asked >= asked + 5, "five more")
        found = await verdicts(flow)
    assert contiguous(found)
    answered = [one for one in found if one.ml is not None and one.ml.failure is None]
    assert {one.ml.version for one in answered if one.ml} == {"1.0.0", "2.0.0"}
    for one in answered:
        assert one.ml is not None
        (load,) = one.ml.features.values()
        assert load is not None
        gain = np.float32(1.0 if one.ml.version == "1.0.0" else 0.5)
        assert np.float32(one.ml.scores["worn"]) == np.float32(load) * gain
        assert one.source == "ml"


async def test_after_a_restart_the_line_goes_on_with_its_model(tmp_path):
    lay_out_line(tmp_path)
    async with flowing(tmp_path) as flow:
        await until(lambda: flow.scoring.scorer(WORK_UNIT).asked >= 3, "asked")
    async with flowing(tmp_path) as flow:
        scorer = flow.scoring.scorer(WORK_UNIT)
        assert scorer.state == "active"
        await until(lambda: scorer.asked >= 8 and flow.scoring.states()[0].process is not None, "asked again")
        found = await verdicts(flow)
    assert len({one.verdict_id for one in found}) == len(found)
    assert "no_model" not in {one.ml.failure.partition(":")[0] for one in found[-3:] if one.ml and one.ml.failure}


async def test_a_model_that_hangs_leaves_the_other_line_and_the_readings_alone(tmp_path):
    lay_out_line(tmp_path)
    (tmp_path / "press.toml").write_text(BOOK.replace("low = 0\nhigh = 1", "low = 0.8099\nhigh = 0.8101"))
    async with flowing(tmp_path) as flow:
        scorer = flow.scoring.scorer(WORK_UNIT)
        await until(lambda: scorer.failures["breaker_open"] >= 3, "the breaker is open", 45)
        found = await verdicts(flow)
        source = flow.sources["sim"]
        assert source.state == "connected"
        assert source.reconnects == 0
    assert contiguous(found)
    assert {one.source for one in found[-2:]} == {"rule_fallback"}  # the rules judged, every window of them
    assert all(one.decision != "unknown" for one in found[-2:])
