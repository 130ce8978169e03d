"""One window's way through the model of its line: features, input checks, breaker, process, answer or failure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from edge.judgment.asked import Asked
from edge.judgment.scored import failed, scored
from edge.scoring.breaker import Breaker
from edge.scoring.watch import Watch
from edge.scoring.worker import HARD_S, Worker
from models.drift import Level
from models.features import Features
from models.package import Package
from models.window import Window
from sync.clock import Clock
from sync.judgment import Scored

RECENT: Final = 1_000
NOT_LIKE_TRAINING: Final = frozenset({"not_applicable", "wrong_unit"})
"""Failures of windows that say nothing about drift: the model was never meant for them."""


@dataclass(eq=False)
class Running:
    """A package on a line: what is needed to score by it."""

    package: Package
    features: Features
    worker: Worker
    watch: Watch
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def sha256(self) -> str:
        return self.package.sha256

    @property
    def within_s(self) -> float:
        """How long one answer may take."""
        return min(self.package.contract.deadline_ms / 1e3, HARD_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringState:
    """How the model of a line is, for page and metrics."""

    work_unit: str
    state: str
    """none, starting, active, refused or retired."""
    why: str = ""
    """Of a refusal, or of the breaker's last failure."""
    model: str = ""
    version: str = ""
    sha256: str = ""
    title: dict[str, str] = field(default_factory=dict[str, str])
    previous: tuple[str, ...] = ()
    """Versions a rollback can go to, the newest first."""
    breaker: str = "closed"
    """closed, open or half_open."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    """Of the last 1,000 windows that were asked, from features to answer."""
    asked: int = 0
    failures: dict[str, int] = field(default_factory=dict[str, int])
    """Kind → how many since the start, in kinds of `Scored.failure`."""
    drift: Level = "ok"
    drift_samples: int = 0
    alarmed: tuple[str, ...] = ()
    """Features that drifted."""
    process: int | None = None
    restarts: int = 0
    """Times its process had to be started again."""


class Scorer:
    """Scores the windows of one line. What goes wrong with a model never raises."""

    def __init__(self, work_unit: str, clock: Clock) -> None:
        self.work_unit = work_unit
        self.running: Running | None = None
        """Set between two windows; a window that was asked before goes by the package it was asked of."""
        self.before: Running | None = None
        """The package before, still up: for windows asked of it, and to go back to at once."""
        self.state, self.why = "none", ""
        self._clock = clock
        self._taken: deque[int] = deque(maxlen=RECENT)
        self.asked = 0
        self.failures: Counter[str] = Counter()

    async def score(self, window: Window, model: str | None = None, *, trial: bool = False) -> Scored:
        """Ask the line's model about a window, at once."""
        return await self.answer(self.prepare(window), model=model, trial=trial)

    def prepare(self, window: Window) -> Asked:
        """Take from a window what its model is asked; the answer can come later, also after a restart."""
        running = self.running
        if running is None:
            return Asked(failure=self._no_model(), at=window.end)
        vector = running.features.vector(window)
        contract = running.package.contract
        return Asked(
            model=contract.name,
            version=contract.version,
            sha256=running.sha256,
            features=vector.named,
            failure=vector.failure,
            at=window.end,
            outside=list(vector.outside),
        )

    async def answer(self, asked: Asked, *, model: str | None = None, trial: bool = False) -> Scored:
        """Give what the model says, within its deadline or 0.5 s; the first windows after a start wait for its process.

        model: the name the ruleset asks for; another one on the line is no answer. trial: made-up inputs, of a request:
        they count neither for drift nor for the breaker.
        """
        running = self._running(asked)
        drifted = running is not None and running.watch.level == "critical"
        if running is None or (model is not None and asked.model != model):
            return self._failed(asked, self._why_not(asked, model), drifted=drifted)
        if trial:
            return await self._try(running, asked, drifted=drifted)
        if asked.failure is not None:
            if asked.failure.partition(":")[0] not in NOT_LIKE_TRAINING:
                running.watch.take(asked.at, asked.features, asked.outside, None)
            return self._failed(asked, asked.failure, drifted=drifted)
        breaker = running.breaker
        if not breaker.allows(self._clock.monotonic()):
            running.watch.take(asked.at, asked.features, asked.outside, None)
            return self._failed(asked, f"breaker_open: {breaker.why}"[:300], drifted=drifted)
        row = running.features.row(asked.features)
        try:
            await running.worker.settled()
            began = time.perf_counter_ns()
            said = await running.worker.ask(row, running.within_s)
        except asyncio.CancelledError:
            breaker.spared()
            raise
        took = (time.perf_counter_ns() - began) // 1000
        self._taken.append(took)
        self.asked += 1
        failure = said.reply.failure
        now = self._clock.monotonic()
        if failure is None:
            breaker.worked(now)
        elif said.blamed:
            breaker.failed(now, failure)
        else:
            breaker.spared()
        if failure is not None:
            self.failures[failure.partition(":")[0]] += 1
        running.watch.take(asked.at, asked.features, asked.outside, said.reply.outputs or None)
        return scored(asked, said.reply, latency_us=took, drifted=drifted)

    async def _try(self, running: Running, asked: Asked, *, drifted: bool) -> Scored:
        breaker = running.breaker
        if asked.failure is not None or breaker.opened is not None:
            return failed(asked, asked.failure or f"breaker_open: {breaker.why}"[:300], drifted=drifted)
        said = await running.worker.ask(running.features.row(asked.features), running.within_s)
        return scored(asked, said.reply, latency_us=said.reply.run_us, drifted=drifted)

    def passed_over(self, asked: Asked, why: str) -> Scored:
        """Give a window its failure without asking: models are switched off, or too many windows wait."""
        running = self._running(asked)
        drifted = running is not None and running.watch.level == "critical"
        if running is not None and asked.failure is None:
            running.watch.take(asked.at, asked.features, asked.outside, None)
        return self._failed(asked, why, drifted=drifted)

    def _running(self, asked: Asked) -> Running | None:
        for one in (self.running, self.before):
            if one is not None and one.sha256 == asked.sha256:
                return one
        return None

    def _no_model(self) -> str:
        return f"no_model: {self.state}{f', {self.why}' if self.why else ''}"[:300]

    def _why_not(self, asked: Asked, model: str | None) -> str:
        if not asked.sha256:
            return asked.failure or self._no_model()
        if model is not None and asked.model != model:
            return f"other_model: the ruleset asks {model}, the line runs {asked.model}"
        return f"no_model: {asked.model} {asked.version} is not run any more"

    def _failed(self, asked: Asked, why: str, *, drifted: bool) -> Scored:
        self.failures[why.partition(":")[0]] += 1
        return failed(asked, why, drifted=drifted)

    def status(self, previous: tuple[str, ...] = ()) -> ScoringState:
        """Tell how it is."""
        running, taken = self.running, sorted(self._taken)
        if running is None:
            return ScoringState(
                work_unit=self.work_unit,
                state=self.state,
                why=self.why,
                previous=previous,
                asked=self.asked,
                failures=dict(self.failures),
            )
        contract, breaker, watch, worker = running.package.contract, running.breaker, running.watch, running.worker
        state = breaker.state(self._clock.monotonic())
        return ScoringState(
            work_unit=self.work_unit,
            state=self.state,
            why=self.why or (breaker.why if state != "closed" else ""),
            model=contract.name,
            version=contract.version,
            sha256=running.sha256,
            title=dict(contract.title),
            previous=previous,
            breaker=state,
            p50_ms=taken[len(taken) // 2] / 1e3 if taken else None,
            p99_ms=taken[len(taken) * 99 // 100] / 1e3 if taken else None,
            asked=self.asked,
            failures=dict(self.failures),
            drift=watch.level,
            drift_samples=watch.samples,
            alarmed=() if watch.last is None else watch.last.alarmed,
            process=worker.pid,
            restarts=max(0, worker.starts - 1),
        )
