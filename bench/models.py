"""A model of 100 trees: a row through it beside plain onnxruntime, and through the whole judgment with its own process."""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from bench.table import Row
from edge.judgment import gather, judge, judged
from edge.scoring.scorer import Running, Scorer
from edge.scoring.watch import Watch
from edge.scoring.worker import Worker
from models.features import Features
from models.package import Package, read
from models.rulesets import load
from models.session import Session
from models.window import TagWindow, Window
from sync.clock import WallClock
from sync.facts import Context

PACKAGE = Path(__file__).parent.parent / "models" / "library" / "bearing_wear" / "bearing_wear.tfm"
WINDOWS = 3_000
S = 1_000_000_000


def run() -> list[Row]:
    """Measure the model alone and in its place."""
    package = read(PACKAGE, trusted=None)
    return [_alone(package), asyncio.run(_whole(package))]


def _alone(package: Package) -> Row:
    session = Session(package.model, package.contract)
    plain = onnxruntime.InferenceSession(package.model, providers=["CPUExecutionProvider"])
    row = np.array([[np.nan if v is None else v for v in package.golden.rows[0].inputs]], np.float32)
    name = plain.get_inputs()[0].name
    ours = _us(lambda: session.run(row))
    theirs = _us(lambda: plain.run(None, {name: row}))
    return Row(
        measure="model: one row through 100 trees, outputs checked and decided (p99 of wall time)",
        goal="< 100 µs",
        figure=f"p50 {ours[0]:.1f} µs, p99 {ours[1]:.1f} µs",
        alternative=f"plain onnxruntime, default threads, outputs not looked at: p50 {theirs[0]:.1f} µs, p99 {theirs[1]:.1f} µs",
        ratio=f"{theirs[0] / ours[0]:.2f}",
        ok=ours[1] < 100,
    )


def _us(work: Callable[[], object], turns: int = 10_000) -> tuple[float, float]:
    for _ in range(500):
        work()
    times: list[float] = []
    for _ in range(turns):
        start = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start) / 1e3)
    cut = statistics.quantiles(times, n=100)
    return cut[49], cut[98]


async def _whole(package: Package) -> Row:
    """Window → features → the package's process → policy → finished fact, 200 a second."""
    clock = WallClock()
    worker = Worker(PACKAGE, package.sha256, clock)
    working = asyncio.create_task(worker.run())
    if why := await worker.started():
        raise RuntimeError(f"the package's process did not start: {why}")
    scorer = Scorer("a/b/c", clock)
    scorer.running = Running(package, Features(package.contract), worker, Watch(package.reference, package.sha256))
    scorer.state = "active"
    head = '[ruleset]\nname = "b"\nversion = "1.0.0"\npolicy = "hybrid_weighted"\n[model]\nname = "bearing_wear"\n'
    limits = "".join(
        f'[[limit]]\nname = "limit_{i}"\nvalue = "vibration.max"\nwarning_high = {5 + i / 10}\n' for i in range(20)
    )
    ruleset = load(head + limits, package.contract.environment())
    draw = np.random.default_rng(3)
    walls: list[float] = []
    failures = 0
    for number in range(WINDOWS):
        window = _window(number, draw)
        start = time.perf_counter()
        asked, given = scorer.prepare(window), gather(ruleset, window)
        scored = await scorer.answer(asked, model="bearing_wear")
        fact = judged(judge(ruleset, given, scored=scored))
        walls.append((time.perf_counter() - start) * 1e3)
        failures += fact.ml is None or fact.ml.failure is not None
        await asyncio.sleep(max(0.0, 1 / 200 - walls[-1] / 1e3))
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    cut = statistics.quantiles(walls, n=100)
    return Row(
        measure="model: a window through features, its own process, 20 limits and the policy to the finished fact",
        goal="p99 < 2 ms",
        figure=f"p50 {cut[49]:.2f} ms, p95 {cut[94]:.2f} ms, p99 {cut[98]:.2f} ms; {failures} without an answer",
        ok=cut[98] < 2.0,
    )


def _window(number: int, draw: np.random.Generator) -> Window:
    vibration, temperature, speed = draw.uniform(1, 4), draw.uniform(40, 60), draw.uniform(85, 100)
    tags = {
        name: TagWindow(
            name=name, unit=unit, last=value, first=value, mean=value, min=value * 0.9, max=value * 1.1, stddev=0.1,
            count=100, bad=0, status=0, age_ns=S, low=None, high=None, max_age_ns=30 * S, required=False,
        )
        for name, unit, value in (("vibration", "C16", vibration), ("bearing_temperature", "CEL", temperature), ("speed", "P1", speed))
    }  # fmt: skip
    window = Window(
        work_unit="a/b/c", start=0, end=10 * S, tags=tags, state="EXECUTE", reason=None, context=Context(), counts={}
    )
    return dataclasses.replace(window, start=number * 10 * S, end=(number + 1) * 10 * S)
