"""Conditions over columns and back-tests: our columns beside a CEL library, cel-python, zen-engine and SQL over the same rows."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable

import cel
import celpy
import numpy as np
import zen

from bench.table import Row
from models.expression import Environment, Program
from models.expression_checker import check
from models.expression_columns import Column, evaluate_columns
from models.expression_parser import parse

ROWS = 200_000
TAGS = 20
TEXTS = [f"t{i % TAGS} {'>' if i % 2 else '<'} {60 + i % 15}.0" for i in range(50)]


def run() -> list[Row]:
    """Measure conditions over columns."""
    draw = np.random.default_rng(1)
    data = {f"t{i}": draw.normal(65, 8, ROWS) for i in range(TAGS)}
    slots: dict[str, int] = {}
    environment = Environment(types=dict.fromkeys(data, "double"))
    program = Program([check(text, parse(text), environment, slots, "bool") for text in TEXTS], slots)
    columns = {name: Column.numbers(values) for name, values in data.items()}
    expected = [int(np.count_nonzero(column.values)) for column in evaluate_columns(program, columns, ROWS)]
    ours = _rate(lambda: evaluate_columns(program, columns, ROWS), ROWS)
    others = {
        "CEL in Rust": _cel(data, expected),
        "SQL (SQLite), one query": _sql(data, expected),
        "zen-engine": _zen(data),
        "cel-python": _celpy(data),
    }
    best = max(others.values())
    return [
        Row(
            measure=f"rules over columns: simple conditions per CPU second ({len(TEXTS)} conditions, {ROWS:,} windows)",
            goal="≥ 1 M",
            figure=f"{ours / 1e6:,.0f} M",
            alternative="; ".join(f"{name} {rate / 1e6:.3g} M" for name, rate in others.items()),
            ratio=f"{ours / best:.0f}",
            ok=ours >= 1_000_000,
        )
    ]


def _rate(work: Callable[[], object], rows: int, turns: int = 3) -> float:
    """Give conditions per CPU second of this thread, the best of some turns."""
    best = 0.0
    for _ in range(turns):
        start = time.thread_time()
        work()
        best = max(best, rows * len(TEXTS) / (time.thread_time() - start))
    return best


def _cel(data: dict[str, np.ndarray], expected: list[int]) -> float:
    rows = 2_000
    compiled = [cel.compile(text) for text in TEXTS]
    listed = {name: values[:rows].tolist() for name, values in data.items()}

    def work() -> list[int]:
        counts = [0] * len(compiled)
        for row in range(rows):
            context = cel.Context({name: values[row] for name, values in listed.items()})
            for i, one in enumerate(compiled):
                counts[i] += bool(one.execute(context))
        return counts

    if any(abs(a / rows - b / ROWS) > 0.05 for a, b in zip(work(), expected, strict=True)):
        raise AssertionError("the two engines disagree")
    return _rate(work, rows, 1)


def _sql(data: dict[str, np.ndarray], expected: list[int]) -> float:
    """Rules as an SQL engine over a stream's batches has them: one statement, every condition a column of its answer."""
    base = sqlite3.connect(":memory:")
    base.execute(f"create table w({', '.join(f'{name} real' for name in data)})")
    base.executemany(
        f"insert into w values({', '.join('?' * len(data))})", zip(*(v.tolist() for v in data.values()), strict=True)
    )
    query = f"select {', '.join(f'sum({text})' for text in TEXTS)} from w"
    if list(base.execute(query).fetchone()) != expected:
        raise AssertionError("SQL disagrees")
    return _rate(lambda: base.execute(query).fetchone(), ROWS)


def _zen(data: dict[str, np.ndarray]) -> float:
    rows = 1_000
    compiled = [zen.compile_expression(text) for text in TEXTS]
    listed = [{name: float(values[row]) for name, values in data.items()} for row in range(rows)]

    def work() -> None:
        for row in listed:
            for one in compiled:
                one.evaluate(row)

    return _rate(work, rows, 1)


def _celpy(data: dict[str, np.ndarray]) -> float:
    rows = 20
    environment = celpy.Environment()
    compiled = [environment.program(environment.compile(text)) for text in TEXTS]
    listed = [
        celpy.json_to_cel(json.loads(json.dumps({n: float(v[row]) for n, v in data.items()}))) for row in range(rows)
    ]

    def work() -> None:
        for row in listed:
            for one in compiled:
                one.evaluate(row)

    return _rate(work, rows, 1)
