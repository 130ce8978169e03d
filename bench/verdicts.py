"""A gateway's whole judgment: from the moment a window is over to the verdict on disk, 200 lines' windows a second."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.table import Row
from edge.flow import Flow
from edge.pipeline import LinePipeline
from edge.site import load
from edge.store import open_store
from sync.clock import WallClock
from sync.facts import Judged

LIBRARY = Path(__file__).parent.parent / "models" / "library"
SECONDS = 20.0
MACHINES = 20
BOOK = """
title = "Machine"
tag = [
  { name = "state", address = "state", type = "int32", role = "state" },
  { name = "strokes", address = "strokes", type = "int32", role = "counter", counter = "produced" },
  { name = "vibration", address = "v", unit = "C16", low = 0, high = 8 },
  { name = "bearing_temperature", address = "b", unit = "CEL", low = 20, high = 90 },
  { name = "speed", address = "s", unit = "P1", low = 60, high = 105 },
]
"""
LIMITS = "".join(
    f'[[limit]]\nname = "limit_{i}"\nvalue = "{("vibration.max", "bearing_temperature.mean", "speed.min")[i % 3]}"\n'
    f"critical_high = {120 + i}\nhysteresis = 1\ndelay_s = 5\n"
    for i in range(20)
)


def run() -> list[Row]:
    """Rules alone, then rules with a model of 100 trees."""
    return [asyncio.run(_measure(model=None)), asyncio.run(_measure(model="bearing_wear"))]


async def _measure(*, model: str | None) -> Row:
    # Windows of slightly different lengths, so that they do not all end at the same moment.
    lines, base_s, period_ms = (200, 0.9, 100) if model is None else (440, 2.0, 250)
    folder = Path(tempfile.mkdtemp(prefix="triflow-bench-"))
    try:
        site = load(_write(folder, lines, base_s, model, period_ms))
        async with open_store(
            site.data,
            clock=WallClock(),
            quota_bytes=2**30,
            ballast_bytes=0,
            software="bench",
            ring_bytes=0,
            group_ms=100,
        ) as store:
            flow = Flow(site, store, WallClock())
            over, waited, failed = _watched(flow)
            running = asyncio.create_task(flow.run())
            await _ready(flow, model)
            waited.clear()
            failed.clear()
            began = time.monotonic()
            await asyncio.sleep(SECONDS)
            rate = len(waited) / (time.monotonic() - began)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        shutil.rmtree(folder)
    if not waited or over is None:
        raise RuntimeError("nothing was judged")
    cut = statistics.quantiles(waited, n=100)
    what = "20 limits" if model is None else f"20 limits and {model} (100 trees)"
    return Row(
        measure=f"window over → verdict on disk, {what}, {rate:.0f} judgments/s of {MACHINES} machines on one gateway",
        goal="p95 < 20 ms at 200/s",
        figure=f"p50 {cut[49]:.1f} ms, p95 {cut[94]:.1f} ms, p99 {cut[98]:.1f} ms"
        + (f"; {len(failed)} without the model" if model else ""),
        ok=cut[94] < 20 and rate > 190,
    )


async def _ready(flow: Flow, model: str | None) -> None:
    """Wait until every line is judged as it is to be measured."""
    async with asyncio.timeout(120):
        while model is not None and any(  # noqa: ASYNC110 - the flow tells states and no event
            state.state != "active" or state.process is None for state in flow.scoring.states()
        ):
            await asyncio.sleep(0.5)
    await asyncio.sleep(8.0)


def _watched(flow: Flow) -> tuple[dict[tuple[str, int], float], list[float], list[str]]:
    """Note when each window closes, and when the store has its verdict."""
    over: dict[tuple[str, int], float] = {}
    waited: list[float] = []
    failed: list[str] = []
    for pipeline in flow.pipelines.values():
        _note(pipeline, over)
    commit = flow.store.commit

    async def timed(*args: Any, **more: Any) -> None:
        await commit(*args, **more)
        now = time.perf_counter()
        for fact in more.get("facts", ()):
            if isinstance(fact, Judged):
                waited.append((now - over.pop((fact.work_unit, fact.start))) * 1e3)
                if fact.ml is not None and fact.ml.failure is not None:
                    failed.append(fact.ml.failure)

    flow.store.commit = timed  # type: ignore[method-assign]
    return over, waited, failed


def _note(pipeline: LinePipeline, over: dict[tuple[str, int], float]) -> None:
    close = pipeline._close  # noqa: SLF001 - the moment a window is over is inside

    def noted(output: Any) -> None:
        over[pipeline.work_unit, pipeline._start] = time.perf_counter()  # noqa: SLF001
        close(output)

    pipeline._close = noted  # noqa: SLF001


def _write(folder: Path, lines: int, base_s: float, model: str | None, period_ms: int) -> Path:
    (folder / "book.toml").write_text(BOOK)
    head = '[ruleset]\nname = "bench"\nversion = "1.0.0"\n'
    if model is not None:
        head += f'policy = "hybrid_weighted"\n[model]\nname = "{model}"\n'
        shutil.copy(LIBRARY / model / f"{model}.tfm", folder)
    (folder / "rules.toml").write_text(head + LIMITS)
    key = (LIBRARY / "trusted.pub").read_text(encoding="ascii").strip()
    text = f"""
[gateway]
id = "gw"
tenant = "bench"
site = "hall"
ballast_mb = 0
[models]
trusted = ["{key}"]
"""
    for machine in range(MACHINES):
        text += f"""
[[connection]]
name = "plc-{machine}"
driver = "simulated"
period_ms = {period_ms}
"""
    for line in range(lines):
        text += f"""
[[line]]
work_unit = "hall/line-{line}/machine"
connection = "plc-{line * MACHINES // lines}"
book = "book.toml"
rules = "rules.toml"
window_s = {base_s + line * 0.001:.3f}
report_s = 3600
""" + (f'model = "{model}.tfm"\n' if model else "")
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"
