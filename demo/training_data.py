"""Windows of the simulated fillers with the truth beside them, for training: `python -m demo.training_data FILE.npz`.

Each run is one filler on its own for some days, run fast, with a bearing that wears at a pace of its own. Every two
minutes one window is taken, through the very code that reduces readings on a gateway (`edge.window`), and read through
the names that features use (`models.ruleset_inputs`). The truth (wear, excursions, sensor faults) is what no sensor
says; it stands in columns that begin with `truth.`. One seed, one file, byte for byte the same arrays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from demo.plant_line import Line
from demo.plant_spec import DAY, LINE, SECOND
from demo.plant_tags import book
from edge.tags import Tag
from edge.window import TagColumns, rounds
from models.expression import STATISTICS, window_environment
from models.expression_interpreter import Cause
from models.ruleset_inputs import reader
from models.window import Window
from sync.equipment import PackML
from sync.facts import Context
from sync.reading import Scalar, readings

START: Final = 1_767_225_600 * SECOND
"""1 January 2026, 00:00 UTC."""
SPACING: Final = 120 * SECOND
FILLERS: Final = ("line-1", "line-2", "line-3")
BEARING_DAYS: Final = (4.0, 6.0, 9.0, 25.0)
LENGTHS_S: Final = (10, 10, 10, 20, 5, 2)
"""Lengths of windows, the usual one most often: the statistics of short ones spread more."""
COUNTED: Final = ("produced", "good", "scrap")

Row = dict[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One simulated life of a filler."""

    number: int
    line: str
    bearing_days: float
    days: float
    seed: int


def runs(count: int, days: float, seed: int) -> list[Run]:
    """Give the runs of a training set: lines and paces of wear in turn."""
    return [
        Run(
            number=i,
            line=FILLERS[i % len(FILLERS)],
            bearing_days=BEARING_DAYS[i // len(FILLERS) % len(BEARING_DAYS)],
            days=days,
            seed=seed * 1000 + i,
        )
        for i in range(count)
    ]


class Recorder:
    """Takes windows of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._chance = np.random.default_rng([run.seed, 11])
        spec = replace(LINE[run.line], bearing_days=run.bearing_days)
        self._line = Line(spec, run.seed, START)
        self._line.wear = float(self._chance.uniform(0.05, 0.6))
        specs = [tag for tag in book("filler_opcua").tags if tag.role == "measurement"]
        self._tags = [
            Tag(index=i, work_unit=spec.work_unit, connection="", address="", spec=tag) for i, tag in enumerate(specs)
        ]
        environment = window_environment({tag.name: tag.type for tag in specs})
        parts = ("last", *STATISTICS)
        names = [f"{tag.name}.{part}" for tag in specs for part in parts]
        names += ["context.product", "window.duration_s"]
        names += [f"counts.{name}" for name in (*COUNTED, *(f"defect.{kind}" for kind in spec.rejects))]
        self._readers = [(name, reader(name, environment.type_of(name) or "double")) for name in names]

    def windows(self) -> Iterator[Row]:
        """Give a row per window that ends while the line makes something."""
        line = self._line
        for turn in range(START + SPACING, START + round(self.run.days * DAY), SPACING):
            # Not on the minute, where the plant's own events are: a window of the line falls anywhere.
            at = turn + int(self._chance.integers(0, 60)) * SECOND
            length = int(self._chance.choice(LENGTHS_S)) * SECOND
            # A plant that runs fast shows a sensor once or twice in a window, not every second.
            step = SECOND if self._chance.random() < 0.85 else length
            self._live(at - length)
            if line.stage.state is not PackML.EXECUTE and line.until > at:
                continue
            row = self._window(at - length, at, step)
            if row is not None:
                yield row

    def _live(self, until: int) -> None:
        while self._line.until <= until:
            self._line.advance()

    def _window(self, start: int, end: int, step: int) -> Row | None:
        line = self._line
        before = line.totals(start)
        columns = TagColumns(self._tags)
        truth: Row = {}
        for at in range(start + step, end + 1, step):
            if not truth and 2 * at >= start + end:  # what was so for most of the window is what it shows
                self._live((start + end) // 2)
                truth = self._truth(end)
            self._live(at)
            shown = line.observe(at) if at == end else {}
            rows = [
                (tag.index, value.value, value.status, value.at)
                for tag in self._tags
                if (value := shown.get(tag.spec.name) or self._read(tag.spec.name, at)) is not None
            ]
            batch = readings(rows, received=at)
            status = columns.judge_range(batch.tag, batch)
            for place in rounds(batch.tag):
                columns.add(batch.tag[place], batch.take(place), status[place])
        if line.stage.state is not PackML.EXECUTE:
            return None
        after, order = line.totals(end), line.orders.running
        counts = {"produced": after.produced, "good": after.good, "scrap": after.scrap}
        counts |= {f"defect.{kind}": n for kind, n in after.rejects.items()}
        earlier = {"produced": before.produced, "good": before.good, "scrap": before.scrap}
        earlier |= {f"defect.{kind}": n for kind, n in before.rejects.items()}
        window = Window(
            work_unit=line.spec.work_unit,
            start=start,
            end=end,
            tags=columns.close(end, end),
            state=line.stage.state.name,
            reason=line.stage.reason,
            context=Context(order=order.order, product=order.product, lot=order.lot),
            counts={name: n - earlier[name] for name, n in counts.items()},
        )
        row: Row = {}
        for name, read in self._readers:
            value = read(window)
            row[name] = None if isinstance(value, Cause) else value
        return row | truth | {"truth.product": order.product}

    def _read(self, name: str, at: int) -> Any:
        sensor = self._line.sensors.get(name)
        return None if sensor is None else sensor.read(at)

    def _truth(self, at: int) -> Row:
        sensors = self._line.sensors
        faulty = [
            f"{name} {sensor.fault.kind}"
            for name, sensor in sensors.items()
            if sensor.fault is not None and sensor.fault.start <= at < sensor.fault.end
        ]
        return {
            "state": "EXECUTE",
            "truth.run": self.run.number,
            "truth.at": at,
            "truth.line": self.run.line,
            "truth.wear": self._line.wear,
            "truth.excursion": ", ".join(name for name, sensor in sensors.items() if sensor.disturbed),
            "truth.fault": ", ".join(faulty),
            "truth.running_s": (at - self._line.stage.since) / SECOND,
        }


def table(rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """Give rows as columns: numbers as float64 with NaN for None, ints as int64, texts as unicode."""
    columns: dict[str, NDArray[Any]] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(isinstance(value, str) for value in values):
            columns[name] = np.array(["" if value is None else str(value) for value in values])
        elif name in {"truth.run", "truth.at"}:
            columns[name] = np.array(values, np.int64)
        else:
            columns[name] = np.array([np.nan if value is None else value for value in values], np.float64)
    return columns


def record(count: int, days: float, seed: int) -> dict[str, NDArray[Any]]:
    """Give the windows of so many runs, in order of run and time."""
    return table([row for run in runs(count, days, seed) for row in Recorder(run).windows()])


def _save(file: Path, columns: dict[str, NDArray[Any]]) -> None:
    save: Any = np.savez_compressed  # its stub takes no mapping of columns
    save(file, **columns)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m demo.training_data", description="Windows of the simulated fillers, for training."
    )
    parser.add_argument("file", type=Path, help="where to write, .npz")
    parser.add_argument("--runs", type=int, default=36)
    parser.add_argument("--days", type=float, default=7.0, help="of each run")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args(argv)
    columns = record(arguments.runs, arguments.days, arguments.seed)
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    _save(arguments.file, columns)
    rows = len(columns["truth.run"])
    print(f"{rows} windows of {arguments.runs} runs, {len(columns)} columns: {arguments.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
