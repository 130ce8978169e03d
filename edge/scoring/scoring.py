"""All models of a gateway: which package each line runs, how that changes, and what is told of it.

Record, then act: a package is verified, up and warm, then the change is on disk (ModelChanged, Audited, checkpoint, one
transaction), and only then do new windows go by it. A line whose package is refused is judged by its rules alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from edge import bundles
from edge.config import Line
from edge.scoring import fitting, orders, record, telling
from edge.scoring.breaker import Breaker, Change, resumed
from edge.scoring.fitting import RefusedError
from edge.scoring.orders import Answer, Order
from edge.scoring.record import Named, Record, Version, at_start
from edge.scoring.scorer import Running, Scorer, ScoringState
from edge.scoring.verifying import Verifying
from edge.scoring.watch import Watch, measured
from edge.scoring.worker import HARD_S
from edge.scoring.workers import Workers
from edge.site import Site
from edge.store import Store
from models.drift import Drift
from models.package import Package, PackageRefusedError
from sync.clock import Clock
from sync.facts import Audited, Fact

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
SYSTEM: Final = "system"
PROBATION_NS: Final = 600 * 10**9
"""A package whose breaker opens so soon after it was activated gives way to the one before it, on its own."""


class Scoring:
    """Models of all lines. identity: "ok", or else orders from outside are not taken (another box bears our name)."""

    def __init__(self, site: Site, store: Store, clock: Clock, *, identity: Callable[[], str] = lambda: "ok") -> None:
        """Takes up what the checkpoints say; the packages' processes start with `run`."""
        self._site, self._store, self._clock, self._identity = site, store, clock, identity
        self._workers = Workers(clock)
        self._verifying = Verifying(site.trusted)
        self._coming: Counter[str] = Counter()
        """Packages being tried, by how many lines: their processes stay."""
        self._lines = {line.work_unit: line for line in site.file.lines}
        self._records = {work_unit: self._recorded(work_unit) for work_unit in self._lines}
        self._scorers = {work_unit: Scorer(work_unit, clock) for work_unit in self._lines}
        self._fresh: dict[str, int] = {}
        """Line → when its package was activated; steady clock, ns."""
        self._changing = {work_unit: asyncio.Lock() for work_unit in self._lines}
        self._starts = {work_unit: self._resume(work_unit) for work_unit in self._lines}

    def scorer(self, work_unit: str) -> Scorer:
        """Give the scorer of a line; it always is there, also for a line without a model."""
        return self._scorers[work_unit]

    def states(self) -> list[ScoringState]:
        """Tell how every line's model is, of the lines that have or had one."""
        found: list[ScoringState] = []
        for work_unit, scorer in self._scorers.items():
            kept = self._records[work_unit]
            state = scorer.status(tuple(one.version for one in kept.previous))
            if state.state != "none" or state.previous or self._lines[work_unit].model is not None:
                found.append(state)
        return found

    def digests(self) -> set[str]:
        """Give the packages that must stay on disk: what runs, and what can be gone back to."""
        every = (one for kept in self._records.values() for one in (kept.active, *kept.previous) if one is not None)
        return {one.sha256 for one in every}

    async def run(self) -> None:
        """Start what is to run, take orders, watch drift, tell of breakers; until cancelled. Raises StoreError."""
        async with asyncio.TaskGroup() as tasks:
            self._workers.enter(tasks)
            for work_unit, todo in self._starts.items():
                if todo != "keep":
                    tasks.create_task(self._begin(work_unit, todo), name=f"model of {work_unit}")
            tasks.create_task(self._keep_taking_orders(), name="model orders")
            tasks.create_task(self._keep_watching(), name="model watch")

    # ── starting ──

    def _recorded(self, work_unit: str) -> Record:
        raw = self._store.checkpoint(f"model:{work_unit}")
        try:
            return Record() if raw is None else msgspec.msgpack.decode(raw, type=Record)
        except msgspec.DecodeError as error:
            log.warning("the record of a line's model is not usable; the site file decides: %s: %s", work_unit, error)
            return Record()

    def _resume(self, work_unit: str) -> str:
        """Take up the recorded package at once, so that the first window already has its features."""
        kept, scorer = self._records[work_unit], self._scorers[work_unit]
        todo = at_start(kept, self._named(work_unit))
        if todo != "keep":
            scorer.state = "starting" if todo == "take" else "none"
        if kept.active is None:
            if todo == "keep":
                scorer.state = "retired" if kept.retired else "none"
            return todo
        try:
            running = self._running(work_unit, fitting.kept(self._site, kept.active.sha256))
        except (PackageRefusedError, RefusedError, OSError) as error:
            scorer.state, scorer.why = "refused", str(error)
            return "take" if self._lines[work_unit].model is not None else "lost"
        running.breaker = resumed(kept.breaker, self._clock.monotonic())
        drift = self._store.checkpoint(f"drift:{work_unit}")
        if drift is not None:
            running.watch.restore(drift)
        scorer.running, scorer.state = running, "active"
        return todo

    async def _begin(self, work_unit: str, todo: str) -> None:
        """Do what the site file asks for at a start."""
        async with self._changing[work_unit]:
            await self._start(work_unit, todo)

    async def _start(self, work_unit: str, todo: str) -> None:
        line, named = self._lines[work_unit], self._named(work_unit)
        match todo:
            case "take" if line.model is not None:
                told = await self._activate(
                    line, self._site.folder / line.model, named, SYSTEM, "the site file names it"
                )
                log.info("model: work_unit=%s %s", work_unit, told.told)
            case "lost":
                await self._refuse(line, None, self._scorers[work_unit].why, SYSTEM, alarm=True)
            case _:
                if self._records[work_unit].active is not None:
                    await self._retire(work_unit, named, SYSTEM, "the site file names no model any more")
                else:
                    await self._keep(work_unit, msgspec.structs.replace(self._records[work_unit], named=named), [])

    def _named(self, work_unit: str) -> Named:
        path = self._lines[work_unit].model
        if path is None:
            return Named()
        try:
            return Named(path, hashlib.sha256((self._site.folder / path).read_bytes()).hexdigest())
        except OSError:
            return Named(path)

    # ── changing ──

    async def _activate(self, line: Line, path: Path, named: Named, actor: str, why: str) -> Answer:
        """Verify a package, have it up and warm, put it on record, swap. The line is judged by what it had meanwhile."""
        work_unit, scorer = line.work_unit, self._scorers[line.work_unit]
        package: Package | None = None
        try:
            content = await asyncio.to_thread(path.read_bytes)
            package = await self._verifying.verified(content)
            self._coming[package.sha256] += 1
            await asyncio.to_thread(bundles.keep, self._site.data, package.sha256, content)
            running = self._running(work_unit, package)
            await fitting.warm(running.worker)
        except (PackageRefusedError, RefusedError, bundles.BundleError, OSError) as error:
            said = (
                f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
            )
            await self._refuse(line, package, said, actor, alarm=actor == SYSTEM)
            self._arrived(package)
            return Answer(done=False, told=f"refused: {said}")
        contract = package.contract
        version = Version(contract.name, contract.version, package.sha256)
        if scorer.running is not None and scorer.running.sha256 == package.sha256:
            self._arrived(package)
            return await self._again(work_unit, version, named)
        kept = record.activated(self._records[work_unit], version, named)
        facts: list[Fact] = [telling.changed(self._at(), work_unit, version, "active", why), *self._over(work_unit)]
        facts.append(self._audited(actor, "model.activated", work_unit, version, why))
        await self._keep(work_unit, kept, facts)
        self._swap(scorer, running, "active")
        self._fresh[work_unit] = self._clock.monotonic()
        self._arrived(package)
        return Answer(done=True, told=f"{contract.name} {contract.version} judges {work_unit} from now on")

    async def _again(self, work_unit: str, version: Version, named: Named) -> Answer:
        """The package that runs is named again: nothing changes, and its breaker and its drift go on."""
        kept = self._records[work_unit]
        facts = telling.over(self._at(), work_unit, [one for one in kept.alarms if one == record.REFUSED])
        left = tuple(one for one in kept.alarms if one != record.REFUSED)
        await self._keep(work_unit, msgspec.structs.replace(kept, named=named, alarms=left), facts)
        self._scorers[work_unit].why = ""
        return Answer(done=True, told=f"{version.name} {version.version} judges {work_unit} already")

    def _over(self, work_unit: str) -> list[Fact]:
        """Clear the alarms of the package that a line leaves."""
        kept, running = self._records[work_unit], self._scorers[work_unit].running
        tripped = kept.breaker.alarmed if running is None else running.breaker.alarmed
        return telling.over(self._at(), work_unit, [*kept.alarms, *([record.BREAKER] if tripped else [])])

    def _arrived(self, package: Package | None) -> None:
        if package is not None:
            self._coming[package.sha256] -= 1
            self._coming += Counter()  # those at none go
        self._release()

    def _running(self, work_unit: str, package: Package) -> Running:
        """Fit a package to a line. Raises RefusedError."""
        features = fitting.fitted(self._site, work_unit, package)
        worker = self._workers.of(bundles.path(self._site.data, package.sha256), package.sha256)
        return Running(package, features, worker, Watch(package.reference, package.sha256))

    def _swap(self, scorer: Scorer, running: Running | None, state: str) -> None:
        """Let new windows go by another package; those asked already are answered by the one they were asked of."""
        if running is not scorer.running:
            scorer.before, scorer.running = scorer.running, running
        scorer.state, scorer.why = state, ""
        self._release()

    def _release(self) -> None:
        """End the processes of packages that no line runs, once nobody can still wait for an answer of theirs."""

        def release() -> None:
            in_use = {one.sha256 for scorer in self._scorers.values() for one in (scorer.running, scorer.before) if one}
            self._workers.only(in_use | self._coming.keys())
            self._verifying.only(in_use | self._coming.keys())

        asyncio.get_running_loop().call_later(2 * HARD_S, release)

    async def _retire(self, work_unit: str, named: Named, actor: str, why: str) -> Answer:
        kept = self._records[work_unit]
        version = kept.active
        if version is None:
            return Answer(done=False, told=f"{work_unit} runs no model")
        facts: list[Fact] = [telling.changed(self._at(), work_unit, version, "retired", why), *self._over(work_unit)]
        facts.append(self._audited(actor, "model.retired", work_unit, version, why))
        await self._keep(work_unit, record.retired(kept, named), facts)
        self._swap(self._scorers[work_unit], None, "retired")
        return Answer(done=True, told=f"{work_unit} is judged by its rules alone from now on")

    async def _roll_back(self, line: Line, named: Named, actor: str, because: str = "") -> Answer:
        """Go back to the version before. It was verified when it came; its file is here; nothing is asked of anyone."""
        work_unit, scorer = line.work_unit, self._scorers[line.work_unit]
        kept = self._records[work_unit]
        if not kept.previous:
            return Answer(done=False, told=f"{work_unit} has no version to go back to")
        version = kept.previous[0]
        running = scorer.before
        if running is None or running.sha256 != version.sha256:
            try:
                running = self._running(work_unit, fitting.kept(self._site, version.sha256))
            except (PackageRefusedError, RefusedError, OSError) as error:
                return Answer(done=False, told=f"{version.name} {version.version} cannot be gone back to: {error}")
        why = f"rolled back{'' if kept.active is None else f' from {kept.active.version}'}{because}"
        facts: list[Fact] = [telling.changed(self._at(), work_unit, version, "active", why), *self._over(work_unit)]
        facts.append(self._audited(actor, "model.rolled_back", work_unit, version, why))
        await self._keep(work_unit, record.rolled_back(kept, named), facts)
        running.breaker = Breaker()
        self._swap(scorer, running, "active")
        return Answer(done=True, told=f"{version.name} {version.version} judges {work_unit} again")

    async def _refuse(self, line: Line, package: Package | None, why: str, actor: str, *, alarm: bool) -> None:
        work_unit, scorer = line.work_unit, self._scorers[line.work_unit]
        kept = self._records[work_unit]
        contract = None if package is None else package.contract
        sha256 = "" if package is None else package.sha256
        version = Version("", "", "") if contract is None else Version(contract.name, contract.version, sha256)
        log.warning("model refused: work_unit=%s why=%s", work_unit, why)
        facts = telling.refused(self._at(), work_unit, version, why, alarm=alarm and record.REFUSED not in kept.alarms)
        if alarm and record.REFUSED not in kept.alarms:
            kept = msgspec.structs.replace(kept, alarms=(*kept.alarms, record.REFUSED))
        facts.append(self._audited(actor, "model.refused", work_unit, version, why))
        await self._keep(work_unit, kept, facts)
        scorer.why = why
        if scorer.running is None:
            scorer.state = "refused"

    async def _keep(self, work_unit: str, kept: Record, facts: Sequence[Fact]) -> None:
        self._records[work_unit] = kept
        await self._store.commit(facts=facts, checkpoints={f"model:{work_unit}": msgspec.msgpack.encode(kept)})

    def _audited(self, actor: str, action: str, work_unit: str, version: Version, why: str) -> Audited:
        detail = {"model": version.name, "version": version.version, "sha256": version.sha256, "why": why}
        return Audited(at=self._at(), work_unit=work_unit, actor=actor, action=action, target=work_unit, detail=detail)

    def _at(self) -> int:
        return self._clock.now()

    # ── orders ──

    async def _keep_taking_orders(self) -> None:
        while True:
            for path, order in await asyncio.to_thread(orders.waiting, self._site.data):
                said = Answer(done=False, told=order) if isinstance(order, str) else await self.obey(order)
                try:
                    await asyncio.to_thread(orders.answer, path, said)
                except OSError as error:
                    log.error("a model order cannot be cleared; give the folder to the gateway's user: %s", error)  # noqa: TRY400 - expected, and said whole
            await self._clock.sleep(LOOK_S)

    async def obey(self, order: Order) -> Answer:
        """Do what an order says. Raises StoreError."""
        if order.place != "edge" and self._identity() != "ok":
            return Answer(done=False, told="another box speaks with this gateway's identity; no orders from outside")
        line = self._lines.get(order.line)
        if line is None:
            return Answer(done=False, told=f"no line {order.line!r} here; there are {', '.join(self._lines)}")
        async with self._changing[order.line]:
            return await self._obey(line, order)

    async def _obey(self, line: Line, order: Order) -> Answer:
        named, actor = self._named(line.work_unit), order.actor
        match order.what:
            case "activate":
                path = orders.package_file(self._site.data, order.package)
                if path is None:
                    return Answer(done=False, told=f"no package {order.package[:12]}… on this gateway")
                return await self._activate(line, path, named, actor, f"order of {actor}")
            case "rollback":
                return await self._roll_back(line, named, actor)
            case "retire":
                return await self._retire(line.work_unit, named, actor, f"order of {actor}")

    # ── watching ──

    async def _keep_watching(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            for work_unit, scorer in self._scorers.items():
                running = scorer.running
                if running is None:
                    continue
                change = running.breaker.due(self._clock.monotonic())
                if change is not None:
                    await self._tell_breaker(work_unit, running, change)
                drift, changed = await running.watch.look(self._at())
                if drift is not None:
                    await self._tell_drift(work_unit, running, drift, changed=changed)
                elif running.watch.due(self._clock.monotonic()):
                    await self._store.commit(checkpoints={f"drift:{work_unit}": running.watch.dump()})

    async def _tell_breaker(self, work_unit: str, running: Running, change: Change) -> None:
        kept = msgspec.structs.replace(self._records[work_unit], breaker=running.breaker.dump())
        contract, why = running.package.contract, running.breaker.why
        log.warning("breaker %s: work_unit=%s model=%s why=%s", change, work_unit, contract.name, why)
        version = Version(contract.name, contract.version, running.sha256)
        await self._keep(work_unit, kept, telling.breaker(self._at(), work_unit, version, change, why))
        fresh = self._fresh.get(work_unit)
        if change == "raised" and kept.previous and fresh is not None:
            async with self._changing[work_unit]:
                soon = self._clock.monotonic() - fresh < PROBATION_NS
                if soon and self._scorers[work_unit].running is running:
                    del self._fresh[work_unit]
                    named = self._named(work_unit)
                    await self._roll_back(self._lines[work_unit], named, SYSTEM, f": it failed when it was new: {why}")

    async def _tell_drift(self, work_unit: str, running: Running, drift: Drift, *, changed: bool) -> None:
        contract, at = running.package.contract, self._at()
        fact = measured(
            drift,
            at=at,
            work_unit=work_unit,
            model=contract.name,
            version=contract.version,
            sha256=running.sha256,
        )
        facts: list[Fact] = [fact]
        kept = self._records[work_unit]
        if changed:
            facts.append(telling.drifted(at, work_unit, contract, drift))
            alarms = {*kept.alarms, record.DRIFT} if drift.level != "ok" else {*kept.alarms} - {record.DRIFT}
            kept = self._records[work_unit] = msgspec.structs.replace(kept, alarms=tuple(sorted(alarms)))
        checkpoints = {f"model:{work_unit}": msgspec.msgpack.encode(kept), f"drift:{work_unit}": running.watch.dump()}
        await self._store.commit(facts=facts, checkpoints=checkpoints)
