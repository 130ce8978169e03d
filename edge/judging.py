"""Windows that wait for their model: asked off the loop, one after the other per line, judged, committed.

A line whose ruleset asks no model is judged where its window ends (`edge.pipeline`) and never comes here. A window that
waits is in its line's checkpoint: after a crash it is asked again, and its verdict has the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from edge.judgment import asks_model
from edge.pipeline import LinePipeline, Waiting
from edge.recording import Recording
from edge.scoring import Scorer, Scoring
from sync.judgment import Scored

log = logging.getLogger(__name__)

MOST_WAITING: Final = 100
"""Windows of one line; beyond, the oldest are judged without their model: late is worse than by rules."""


class Judging:
    """Sees the waiting windows of every line through. models_off: whether a person has switched all models off."""

    def __init__(self, recording: Recording, scoring: Scoring, models_off: Callable[[], bool]) -> None:
        self._recording, self._scoring, self._models_off = recording, scoring, models_off
        self.passed_over = 0
        """Windows judged without their model because too many waited."""

    async def run(self) -> None:
        """Judge what waits, line by line at once, until cancelled. Raises StoreError."""
        async with asyncio.TaskGroup() as tasks:
            for pipeline in self._recording.pipelines.values():
                if pipeline.ruleset is not None and pipeline.ruleset.model is not None:
                    scorer = self._scoring.scorer(pipeline.work_unit)
                    pipeline.prepare = scorer.prepare
                    tasks.create_task(self._keep_judging(pipeline, scorer), name=f"judge {pipeline.work_unit}")

    async def _keep_judging(self, pipeline: LinePipeline, scorer: Scorer) -> None:
        while True:
            up = pipeline.next_up()
            if up is None:
                await self._recording.closed(pipeline.work_unit)
                continue
            scored = await self._answer(pipeline, scorer, up)
            # From here on nothing is awaited until the store has both the verdict and the memory it leaves.
            await self._recording.commit([(pipeline, pipeline.settle(scored))])

    async def _answer(self, pipeline: LinePipeline, scorer: Scorer, up: Waiting) -> Scored | None:
        ruleset = pipeline.ruleset
        try:
            if ruleset is None or not asks_model(ruleset, up.given):
                return None
        except Exception:  # noqa: BLE001 - the same bug meets `settle` in a moment, which tells it and goes on
            return None
        if self._models_off():
            return scorer.passed_over(up.asked, "models_off")
        if pipeline.waiting > MOST_WAITING:
            self.passed_over += 1
            return scorer.passed_over(up.asked, "deadline: too many windows waited")
        return await scorer.answer(up.asked, model=ruleset.model)
