"""A day of the simulated plant, recorded as a gateway records it: fast, resumable, killable at any commit.

`python -m tests.scenarios.recorded_plant FOLDER HOURS [RULES PACKAGE]` plays the demo's plant through the line's own
pipeline into FOLDER/gw-opcua/edge.db; started again after a kill it goes on where the checkpoint stands.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from demo.plant import Plant
from demo.plant_line import Line
from demo.plant_spec import HOUR, PRODUCTS, SECOND, shift_at
from demo.plant_tags import Shown
from demo.site_files import Ports, write
from edge import bundles
from edge.bundles import Bundles, line_names
from edge.judgment.scored import PackagedModel, failed
from edge.pipeline import LinePipeline
from edge.site import load
from models.package import read
from models.rulesets import load as load_rules
from models.window import Window
from sync.clock import WallClock
from sync.facts import Context, Fact
from sync.reading import Readings, readings
from tests.edge.stores import MB, store_in

START = 1_700_000_000 // 86_400 * 86_400 * SECOND
WINDOW, SAMPLE = 10 * SECOND, 5 * SECOND
COMMIT = 60
"""Windows per transaction, but for a kill."""
WORK_UNIT = "bottling/line-1/filler"


class Recorder:
    """One line of the plant through one pipeline."""

    def __init__(self, folder: Path, rules: Path | None, package: Path | None) -> None:
        site = load(folder / "gw-opcua.toml")
        self.data = site.data
        self.tags = site.table.of_work_unit(WORK_UNIT)
        virtual = site.virtual[WORK_UNIT]
        self.names = line_names(WORK_UNIT, self.tags, virtual)
        assert self.names.environment() == virtual.environment, "what is kept gives the same names again"
        self.ruleset = load_rules(rules or folder / "rules" / "filler.toml", virtual.environment)
        self.pipeline = LinePipeline(
            WORK_UNIT, self.tags, self.ruleset, window_ns=WINDOW, report_ns=60 * SECOND, record_readings=False, virtual=virtual
        )  # fmt: skip
        self.model: PackagedModel | None = None
        if package is not None:
            self._take_model(package)
        self.shown = [(tag.index, Shown(tag.spec)) for tag in self.tags]
        self.ideal = {p.code: float(p.ideal_ms["line-1"]) for p in PRODUCTS if "line-1" in p.ideal_ms}
        self.told = ("", "")

    def _take_model(self, path: Path) -> None:
        from edge.judgment.asked import Asked
        from models.features import Features

        package = read(path, trusted=None)
        bundles.keep(self.data, package.sha256, path)
        self.model = PackagedModel(package)
        features = Features(package.contract)

        def prepare(window: Window) -> Asked:
            vector = features.vector(window)
            return Asked(
                model=package.contract.name, version=package.contract.version, sha256=package.sha256,
                features=vector.named, failure=vector.failure, at=window.end,
            )  # fmt: skip

        self.pipeline.prepare = prepare

    def take(self, line: Line, at: int) -> list[Fact]:
        """Feed what the line shows at a moment, judge what is over."""
        facts: list[Fact] = []
        order = line.orders.running
        said = (order.order, shift_at(at).code)
        if said != self.told:
            self.told = said
            context = Context(order=order.order, product=order.product, lot=order.lot, shift=said[1])
            facts += self.pipeline.tell(context, self.ideal, at).facts
        observed = line.observe(at)
        values = [(index, shown.of(observed, at)) for index, shown in self.shown]
        batch: Readings = readings([(index, v.value, v.status, at) for index, v in values], received=at)
        facts += self.pipeline.feed(batch).facts
        while self.model is not None and (up := self.pipeline.next_up()) is not None:
            why = up.asked.failure
            scored = self.model.score(up.asked.features) if why is None else failed(up.asked, why)
            facts += self.pipeline.settle(scored).facts
        return facts


async def record(folder: Path, hours: float, rules: Path | None, package: Path | None) -> None:
    recorder = Recorder(folder, rules, package)
    plant = Plant(seed=7, start=START)
    (line,) = (line for line in plant.lines if line.spec.work_unit == WORK_UNIT)
    recorder.data.mkdir(exist_ok=True)
    kept = Bundles(recorder.data).keep(recorder.ruleset, recorder.names, START)
    async with store_in(recorder.data, clock=WallClock(), ring_bytes=8 * MB) as store:
        await store.commit(facts=kept)
        checkpoint = store.checkpoint("line")
        if checkpoint is not None:
            assert recorder.pipeline.restore(checkpoint)
        facts: list[Fact] = []
        windows = 0
        for at in range(START, START + round(hours * HOUR), SAMPLE):
            plant.run_to(at)
            if checkpoint is not None and at <= recorder.pipeline.newest:
                continue
            facts += recorder.take(line, at)
            windows += at % WINDOW == 0
            if windows >= COMMIT:
                await store.commit(facts=facts, checkpoints={"line": recorder.pipeline.dump()})
                facts, windows = [], 0
        await store.commit(facts=facts, checkpoints={"line": recorder.pipeline.dump()})


def prepare(folder: Path) -> None:
    """Write the demo's site files; nothing listens on their ports."""
    write(folder, Ports(**dict.fromkeys(Ports.__dataclass_fields__, 1)), 1.0)


if __name__ == "__main__":
    where, long, *more = sys.argv[1:]
    asyncio.run(record(Path(where), float(long), *((Path(more[0]), Path(more[1])) if more else (None, None))))
