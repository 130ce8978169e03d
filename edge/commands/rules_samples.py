"""The points that limits are estimated from: a CSV file, or what a gateway recorded with its verdicts."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from edge.store.history import EVER, open_history
from models.spc.phase1 import Subgroup
from sync.facts import Judged

MAX_ROWS: Final = 1_000_000
_GAPS: Final = frozenset({"", "na", "nan", "null", "none", "-"})
"""Cells without a value, lower case."""


class SamplesError(ValueError):
    """The points cannot be read; the message says where and what to check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of columns of a file, or of inputs in a gateway's verdicts; None = there is none."""

    value: str | None = None
    subgroup: str | None = None
    size: str | None = None
    spread: str | None = None
    counted: str | None = None
    inspected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Points in the order of time."""

    points: tuple[Subgroup, ...]
    """With one value each for a chart of individuals."""
    times: tuple[int | None, ...]
    """Of each point's last value, ns since 1970 UTC."""
    gaps: int
    """Rows or windows without a value, which are no points."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row or window: what it gives, by column."""

    numbers: Mapping[str, float]
    subgroup: str
    at: int | None


def from_csv(path: Path, columns: Columns, every: int = 1) -> Samples:
    """Read a CSV file with a header: time (optional, ISO 8601), and the columns named.

    every: so many rows in a row make a subgroup, where no column says so. Raises SamplesError.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(file, path, columns))
    except OSError as error:
        raise SamplesError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SamplesError(f"{path}: is not UTF-8; save it as UTF-8") from error
    except csv.Error as error:
        raise SamplesError(f"{path}: is no CSV: {error}") from error
    return _grouped(rows, columns, every)


def _rows(file: Iterable[str], path: Path, columns: Columns) -> Iterator[_Row | None]:
    """Give the rows; None for one without a value."""
    lines = iter(file)
    header = next(lines, "")
    if not header.strip():
        raise SamplesError(f"{path}:1: is empty; the first line names the columns: time,value")
    delimiter = max(",;\t", key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
    wanted = [
        name for name in (columns.value, columns.size, columns.spread, columns.counted, columns.inspected) if name
    ]
    for name in [*wanted, *([columns.subgroup] if columns.subgroup else [])]:
        if name not in names:
            raise SamplesError(f"{path}:1: there is no column {name!r}; there are {', '.join(names)}")
    before: int | None = None
    for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), 2):
        if number > MAX_ROWS:
            raise SamplesError(f"{path}: more than {MAX_ROWS} rows; take a shorter time")
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            raise SamplesError(f"{path}:{number}: {len(cells)} cells, but {len(names)} columns")
        row = dict(zip(names, (cell.strip() for cell in cells), strict=True))
        at = _time(row["time"], f"{path}:{number}") if row.get("time") else None
        if at is not None and before is not None and at < before:
            raise SamplesError(f"{path}:{number}: goes back in time; a chart needs the order of time, sort the file")
        before = at if at is not None else before
        if any(row[name].lower() in _GAPS for name in wanted):
            yield None
            continue
        numbers = {name: _number(row[name], f"{path}:{number}", name) for name in wanted}
        yield _Row(numbers, row[columns.subgroup] if columns.subgroup else "", at)


def _number(text: str, where: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        hint = "; write a decimal point" if "," in text else ""
        raise SamplesError(f"{where}: {name}: {text!r} is no number{hint}") from error
    if not math.isfinite(value):
        raise SamplesError(f"{where}: {name}: {text!r} is no finite number")
    return value


def _time(text: str, where: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SamplesError(f"{where}: time: {text!r} is no time; write 2026-11-23T06:00:00+09:00") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which recorded windows."""

    line: str | None = None
    product: str | None = None
    state: str | None = None
    begin: int = 0
    end: int = EVER


def from_store(data: Path, columns: Columns, which: Which, every: int = 1) -> Samples:
    """Read inputs of recorded verdicts. Raises SamplesError, and what `open_history` raises."""
    rows: list[_Row | None] = []
    lines: set[str] = set()
    known: set[str] = set()
    wanted = [
        name for name in (columns.value, columns.size, columns.spread, columns.counted, columns.inspected) if name
    ]
    with open_history(data) as history:
        for raw in history.verdicts(which.begin, which.end):
            fact = msgspec.json.decode(raw, type=Judged)
            known |= fact.inputs.keys()
            if which.line is not None and fact.work_unit != which.line:
                continue
            if which.product is not None and fact.context.product != which.product:
                continue
            if (which.state is not None and fact.state != which.state) or not set(wanted) & fact.inputs.keys():
                continue
            lines.add(fact.work_unit)
            rows.append(_recorded(fact, columns, wanted))
    if missing := [name for name in wanted if name not in known]:
        near = ", ".join(sorted(name for name in known if ":" not in name and name.count(".") <= 1)[:20])
        raise SamplesError(
            f"no verdict here was made of {missing[0]!r}; rules must read it to record it. Recorded: {near or 'nothing'}"
        )
    if len(lines) > 1:
        raise SamplesError(f"several lines have it: {', '.join(sorted(lines))}; name one with --line")
    return _grouped(rows, columns, every)


def _recorded(fact: Judged, columns: Columns, wanted: Iterable[str]) -> _Row | None:
    """Give the inputs of a verdict; None where one is unknown, or its tag had no new value in the window."""
    numbers: dict[str, float] = {}
    for name in wanted:
        value = fact.inputs.get(name)
        if isinstance(value, bool) or not isinstance(value, float | int) or not math.isfinite(value):
            return None
        if fact.inputs.get(f"{name.partition('.')[0]}.count") == 0:
            return None
        numbers[name] = float(value)
    if columns.spread is not None and columns.size is not None and columns.spread.endswith(".stddev"):
        size = numbers[columns.size]
        if size < 2:
            return None
        numbers[columns.spread] *= math.sqrt(size / (size - 1))  # a window divides by n, charts by n - 1
    return _Row(numbers, "", fact.at)


def _grouped(rows: list[_Row | None], columns: Columns, every: int) -> Samples:
    good = [row for row in rows if row is not None]
    points: list[Subgroup] = []
    times: list[int | None] = []
    for group in _groups(good, columns, every):
        points.append(_point(group, columns))
        times.append(group[-1].at)
    return Samples(points=tuple(points), times=tuple(times), gaps=len(rows) - len(good))


def _groups(rows: list[_Row], columns: Columns, every: int) -> Iterator[list[_Row]]:
    """Give the rows of each subgroup; an incomplete last one of `every` is left out."""
    if columns.subgroup is not None:
        for _, group in groupby(rows, key=lambda row: row.subgroup):
            yield list(group)
        return
    for start in range(0, len(rows) - every + 1, every):
        yield rows[start : start + every]


def _point(group: list[_Row], columns: Columns) -> Subgroup:
    if columns.counted is not None:
        counted = math.fsum(row.numbers[columns.counted] for row in group)
        inspected = 1.0 if columns.inspected is None else math.fsum(row.numbers[columns.inspected] for row in group)
        return Subgroup(counted=counted, inspected=inspected)
    value = columns.value or ""
    if columns.size is not None and columns.spread is not None:
        row = group[0].numbers
        return Subgroup(moments=(row[value], row[columns.spread], round(row[columns.size])))
    return Subgroup(values=tuple(row.numbers[value] for row in group))
