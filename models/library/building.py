"""What all build scripts share: training windows to rows, held-out runs, intervals, parity with the trainer, packing."""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.drift import Histogram, Reference, histogram
from models.drift_calibration import Plan, calibrated
from models.features import Features
from models.package.archive import PackageRefusedError, pack
from models.package.content import Build, Golden, GoldenRow, read, unsigned, write
from models.package.contract import Contract
from models.package.signature import load_key
from models.session import Session

SPACING_S: Final = 120.0
"""Of the recorder: one window in two minutes."""
HELD_OUT: Final = 3
"""Every third turn of runs is held out: other seeds, other orders, other days. Both sides have all lines."""
PARITY: Final = 1e-5
GOLDEN_ROWS: Final = 40
ALARMS_PER_MONTH: Final = 1.0
RESAMPLES: Final = 1_000

Rows = NDArray[np.float32]
Outputs = NDArray[np.float64]
Trainer = Callable[[Rows], Outputs]
"""What the trainer's own library answers: (n, features) → (n, outputs)."""


class BuildError(Exception):
    """The package would not be sound: nothing is written."""


@dataclass(frozen=True)
class Windows:
    """Recorded windows, in order of run and time (`demo.training_data`)."""

    columns: dict[str, NDArray[Any]]

    @cached_property
    def sha256(self) -> str:
        """Of names and values, so that the same windows have the same hash however they were compressed."""
        digest = hashlib.sha256()
        for name in sorted(self.columns):
            digest.update(f"{name} {self.columns[name].dtype.str}\n".encode())
            digest.update(np.ascontiguousarray(self.columns[name]).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Windows as a model sees them: only those it may be asked about; all arrays have one length."""

    rows: Rows
    named: dict[str, NDArray[np.float64]]
    """Feature → values as computed, NaN where missing."""
    outside: dict[str, float]
    """Feature → share out of range, of all applicable windows."""
    refused: float
    """Share of the windows that the model is not asked about: an input missing or out of range."""
    truth: dict[str, NDArray[Any]]
    """Columns of the recorder: `line`, `wear`, `excursion`, …"""
    held_out: NDArray[np.bool_]

    @property
    def runs(self) -> NDArray[np.int64]:
        """Which run a row is of."""
        return self.truth["run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure on held-out runs, and where it lies in 95 of 100 resamplings of those runs."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def load(path: Path) -> Windows:
    """Read what the recorder wrote."""
    with np.load(path, allow_pickle=False) as file:
        return Windows({name: file[name] for name in file.files})


def tabled(contract: Contract, windows: Windows) -> Table:
    """Compute the features of every window, by the code the line runs, and keep those a model would be asked about."""
    features = Features(contract)
    columns: dict[str, list[Any]] = {
        name: windows.columns[name].tolist() for name in features.variables if name in windows.columns
    }
    vectors = features.table(columns, len(windows.columns["truth.run"]))
    keep = np.array([i for i, vector in enumerate(vectors) if vector.failure is None], np.int64)
    names = [one.name for one in contract.features]
    return Table(
        rows=np.concatenate([vectors[i].row for i in keep]),
        named={
            name: np.array([math.nan if (v := vectors[i].named[name]) is None else v for i in keep]) for name in names
        },
        outside={name: sum(name in vector.outside for vector in vectors) / len(vectors) for name in names},
        refused=1 - len(keep) / len(vectors),
        truth={
            name.partition(".")[2]: column[keep]
            for name, column in windows.columns.items()
            if name.startswith("truth.")
        },
        held_out=(windows.columns["truth.run"][keep] // 3) % HELD_OUT == HELD_OUT - 1,
    )


def interval(figure: Callable[[NDArray[np.intp]], float], runs: NDArray[np.int64], seed: int) -> Interval:
    """Give a figure of rows with its 95 % interval, by resampling whole runs: rows of one run are not independent.

    figure: places of rows → number. runs: (rows,), of the held-out rows.
    """
    chance = np.random.default_rng([seed, 3])
    places = {int(run): np.flatnonzero(runs == run) for run in np.unique(runs)}
    names = sorted(places)
    found = [
        figure(np.concatenate([places[names[int(i)]] for i in chance.integers(0, len(names), len(names))]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Interval(value=figure(np.arange(len(runs))), low=float(low), high=float(high))


def balanced_accuracy(truth: NDArray[Any], said: NDArray[Any]) -> float:
    """Give the mean over the classes of the share that was recognised."""
    return float(np.mean([np.mean(said[truth == kind] == kind) for kind in np.unique(truth)]))


def labels(contract: Contract, outputs: Outputs | Rows) -> NDArray[Any]:
    """Give the label of every row; float32 outputs are read as a session gives them."""
    narrow = outputs.dtype == np.float32
    return np.array(
        [contract.choose([float(str(value)) if narrow else float(value) for value in row]).label for row in outputs]
    )


def round_thresholds(trees: Sequence[Any]) -> None:
    """Round the thresholds of fitted scikit-learn trees down to float32, in place.

    Inputs are float32, so `x <= t` asks the same of every input before and after; and a converter that rounds the
    other way can then change nothing.
    """
    for tree in trees:
        wide = tree.tree_.threshold
        narrow = wide.astype(np.float32)
        narrow = np.where(narrow > wide, np.nextafter(narrow, np.float32(-np.inf)), narrow)
        wide[:] = narrow.astype(np.float64)


def border_rows(trees: Sequence[Any], rows: Rows, seed: int, most: int = 5_000) -> Rows:
    """Give rows that stand on a split, and one float32 step to either side of it: where converters go wrong."""
    chance = np.random.default_rng([seed, 5])
    splits = sorted(
        {
            (int(at), float(threshold))
            for tree in trees
            for at, threshold in zip(tree.tree_.feature, tree.tree_.threshold, strict=True)
            if at >= 0
        }
    )
    drawn = chance.permutation(len(splits))[: most // 3]
    made = np.repeat(rows[chance.integers(0, len(rows), len(drawn))], 3, axis=0)
    for i, place in enumerate(drawn):
        at, threshold = splits[int(place)]
        on = np.float32(threshold)
        made[3 * i : 3 * i + 3, at] = [np.nextafter(on, np.float32(-np.inf)), on, np.nextafter(on, np.float32(np.inf))]
    return made


def parity(session: Session, trainer: Trainer, rows: Rows) -> float:
    """Compare ONNX with the trainer's library on every row: labels all equal. Gives the largest difference.

    Raises BuildError.
    """
    found, wanted = session.run_each(rows), trainer(rows)
    worst = float(np.max(np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))))
    other = np.flatnonzero(labels(session.contract, found) != labels(session.contract, wanted))
    if worst > PARITY or len(other):
        raise BuildError(
            f"ONNX is not the trained model: off by {worst:.3g}, {len(other)} of {len(rows)} labels differ"
        )
    return worst


def golden(contract: Contract, trainer: Trainer, rows: Rows, seed: int) -> Golden:
    """Give golden rows, of every label as many as there are, with what the trainer's library answers."""
    chance = np.random.default_rng([seed, 7])
    said = labels(contract, trainer(rows))
    kinds = np.unique(said)
    chosen = np.concatenate(
        [chance.permutation(np.flatnonzero(said == kind))[: GOLDEN_ROWS // len(kinds)] for kind in kinds]
    )
    outputs = trainer(rows[chosen])
    return Golden(
        rows=tuple(
            GoldenRow(
                tuple(None if math.isnan(value) else value for value in row),
                tuple(float(f"{value:.9g}") for value in wanted),
                contract.choose(wanted).label,
            )
            for row, wanted in zip(rows[chosen].tolist(), outputs.tolist(), strict=True)
        )
    )


def reference(contract: Contract, session: Session, table: Table, seed: int, usual: NDArray[np.bool_]) -> Reference:
    """Give what inputs and outputs looked like, with thresholds that production itself keeps.

    usual: which rows are to be taken for what the model will meet (all, or the sound ones).
    """
    outputs = session.run_each(table.rows[usual]).astype(np.float64)
    columns = {name: column[usual] for name, column in table.named.items()}
    known = {name: histogram(column, outside=table.outside[name]) for name, column in columns.items()}
    for i, one in enumerate(contract.outputs):
        columns[f"output:{one.name}"] = outputs[:, i]
        known[f"output:{one.name}"] = histogram(outputs[:, i])
    plan = Plan(spacing_s=SPACING_S, alarms_per_month=ALARMS_PER_MONTH)
    known = calibrated(known, columns, table.runs[usual], plan, np.random.default_rng([seed, 9]))
    said = labels(contract, outputs)
    features: dict[str, Histogram] = {one.name: known[one.name] for one in contract.features}
    return Reference(
        spacing_s=SPACING_S,
        alarms_per_month=ALARMS_PER_MONTH,
        features=features,
        outputs={one.name: known[f"output:{one.name}"] for one in contract.outputs},
        labels={one.name: int(np.sum(said == one.name)) for one in contract.labels},
    )


def libraries(*names: str) -> dict[str, str]:
    """Give the versions of what built it."""
    return {name: version(name) for name in sorted({"numpy", *names})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Everything of a package but signature and cards' figures."""

    contract: Contract
    model: bytes
    golden: Golden
    reference: Reference
    figures: Mapping[str, str]
    """What stands in the cards as $name."""
    libraries: Mapping[str, str]


def main(folder: Path, make: Callable[[Windows], Made], argv: Sequence[str]) -> int:
    """Build the package of a folder; exit status 0 when it is written."""
    name = folder.name
    parser = argparse.ArgumentParser(prog=f"python -m models.library.{name}.build", description=f"Builds {name}.tfm.")
    parser.add_argument("windows", type=Path, help="what `python -m demo.training_data` wrote")
    parser.add_argument("out", type=Path, help="where the package goes")
    parser.add_argument("--key", type=Path, help="key file to sign with; without one the package is unsigned")
    arguments = parser.parse_args(argv)
    try:
        made = make(load(arguments.windows))
    except BuildError as error:
        sys.stderr.write(f"{name}: {error}; nothing was written\n")
        return 1
    cards = {
        language: Template((folder / f"card.{language}.md").read_text(encoding="utf-8")).substitute(made.figures)
        for language in ("en", "ko")
    }
    entries = unsigned(
        made.contract,
        made.model,
        golden=made.golden,
        reference=made.reference,
        cards=cards,
        build=Build(tool=f"models/library/{name}/build.py", libraries=dict(made.libraries)),
    )
    data = pack(entries) if arguments.key is None else write(entries, load_key(arguments.key))
    digest = read(data, trusted=None).digest
    lines = [f"{arguments.out}: {len(data)} bytes, content {digest[:16]}", *_against(folder, digest)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(data)
    lines += [f"  {what}: {value}" for what, value in made.figures.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _against(folder: Path, digest: str) -> list[str]:
    """Say whether this is the very package that is shipped."""
    shipped = folder / f"{folder.name}.tfm"
    try:
        same = read(shipped, trusted=None).digest == digest
    except PackageRefusedError:
        return []
    return [f"  {'the same content as' if same else 'NOT the content of'} {shipped.name}"]
