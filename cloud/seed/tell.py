"""One shift of one line as its gateway would have told it: states, counts, orders, samples, verdicts, alarms."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cloud.seed import catalogue
from cloud.seed.shift import HOUR_MS, MINUTE_MS, Run, Shift, Slice, Spell
from sync import facts as f
from sync.judgment import CcpRecorded, FeedbackGiven, Scored

NS: Final = 1_000_000
WINDOW_MS: Final = 30 * MINUTE_MS
RULESET: Final = "line_quality"
WARNING: Final = 0.045
CRITICAL: Final = 0.09
"""Share of failed pieces within a window from which the ruleset warns."""

_RULESET_HASH: Final = hashlib.sha256(b"triflow seed line_quality 1.2.0").hexdigest()
_MODEL_HASH: Final = hashlib.sha256(b"triflow seed defect_risk 1.0.0").hexdigest()


@dataclass(frozen=True, slots=True)
class Made:
    """What is being made, and its names: a context for every fact of a run."""

    order: str
    product: str
    lot: str

    @property
    def context(self) -> f.Context:
        return f.Context(order=self.order, product=self.product, lot=self.lot)


class Teller:
    """Tells one shift of one line."""

    def __init__(self, seed: int, line: str, place: int, shift: Shift, *, night: bool) -> None:
        self._line, self._place, self._shift, self._night = line, place, shift, night
        self._chance = random.Random(f"{seed}/{line}/{shift.instance.start_ms}/told")
        self._kind = catalogue.kind_of(place)
        unit = "".join(letter for letter in line.rpartition("/")[2].upper() if letter.isalnum())
        instance = shift.instance
        self._mark = f"{instance.business_date.replace('-', '')}-{unit}-{instance.shift}"

    def all(self) -> Iterator[f.Fact]:
        for number, run in enumerate(self._shift.runs):
            made = self._made(number)
            yield from self._order(run, made)
            yield from (self._produced(one, run, made) for one in run.slices)
            yield from self._samples(run, made)
        yield from self._states()
        yield from self._verdicts()

    def _made(self, number: int) -> Made:
        product = self._shift.runs[number].product.code
        return Made(f"WO-{self._mark}-{number + 1}", product, f"LOT-{self._mark}-{product[-1]}")

    def _order(self, run: Run, made: Made) -> Iterator[f.Fact]:
        def planned(at_ms: int, state: str) -> f.Fact:
            return f.JobOrderPlanned(
                at=at_ms * NS,
                work_unit=self._line,
                order=made.order,
                product=made.product,
                lot=made.lot,
                quantity=run.planned,
                start=run.start_ms * NS,
                end=run.end_ms * NS,
                state=state,
                ideal_cycle_ms=float(run.ideal_ms),
            )

        yield planned(self._shift.instance.start_ms, "released")
        yield planned(run.end_ms, "completed")
        scrap, rework = sum(s.scrap for s in run.slices), sum(s.rework for s in run.slices)
        yield f.JobResponded(
            at=run.end_ms * NS,
            work_unit=self._line,
            response=f"{made.order}/{run.start_ms}",
            order=made.order,
            product=made.product,
            lot=made.lot,
            start=run.start_ms * NS,
            produced=run.produced,
            good=run.good,
            scrap=scrap,
            rework=rework,
            complete=True,
        )
        blocked = scrap + rework > 0.09 * run.produced
        yield f.LotDefined(
            at=run.end_ms * NS,
            work_unit=self._line,
            lot=made.lot,
            product=made.product,
            quantity=float(run.good),
            unit="H87",
            state="blocked" if blocked else "released",
            order=made.order,
        )

    def _produced(self, one: Slice, run: Run, made: Made) -> f.Fact:
        energy = self._kind.idle_w * (one.end_ms - one.start_ms) / HOUR_MS + self._kind.piece_mwh / 1000 * one.produced
        return f.Produced(
            at=one.end_ms * NS,
            work_unit=self._line,
            start=one.start_ms * NS,
            produced=one.produced,
            good=one.good,
            scrap=one.scrap,
            rework=one.rework,
            defects=one.defects,
            ideal_cycle_ms=float(run.ideal_ms),
            energy_wh=round(energy),
            context=made.context,
        )

    def _samples(self, run: Run, made: Made) -> Iterator[f.Fact]:
        middle = (run.start_ms + run.end_ms) // 2
        for number, what in enumerate(self._kind.characteristics):
            off = catalogue.drifts(self._place, made.product) * what.spread if number == 0 else 0.0
            for piece in range(what.pieces):
                value = round(max(0.0, self._chance.gauss(what.middle + off, what.spread)), 3)
                yield f.QualityMeasured(
                    at=(middle + piece * 20_000) * NS,
                    work_unit=self._line,
                    characteristic=what.name,
                    value=value,
                    unit=what.unit,
                    low=what.low,
                    high=what.high,
                    passed=what.low <= value <= what.high,
                    sample=f"{made.lot}-{what.name}",
                    order=made.order,
                    product=made.product,
                    lot=made.lot,
                )
        ccp = self._kind.ccp
        value = round(self._chance.gauss(ccp.middle, ccp.spread), 2)
        if self._chance.random() < 0.004:  # now and then a control point is out of control
            value = round(ccp.high + 2 * ccp.spread, 2)
        yield CcpRecorded(
            at=middle * NS,
            work_unit=self._line,
            ccp=ccp.name,
            value=value,
            unit=ccp.unit,
            low=ccp.low,
            high=ccp.high,
            within=ccp.low <= value <= ccp.high,
            ruleset=RULESET,
            ruleset_version="1.2.0",
            context=made.context,
        )

    def _states(self) -> Iterator[f.Fact]:
        before: tuple[str, str | None, int | None] | None = None
        current = 0
        for spell in self._shift.spells:
            current = current if spell.run is None else spell.run
            if (now := (spell.state, spell.reason, current)) == before:
                continue
            before = now
            yield f.StateChanged(
                at=spell.start_ms * NS,
                work_unit=self._line,
                state=spell.state,
                reason=spell.reason,
                context=self._made(current).context,
            )
            if spell.reason == "breakdown":
                yield from self._alarm(spell)

    def _alarm(self, spell: Spell) -> Iterator[f.Fact]:
        machine = self._line.rpartition("/")[2].upper()
        summary = {"ko": f"{machine} 고장으로 정지했습니다.", "en": f"{machine} stopped by a breakdown."}
        for at_ms, active in ((spell.start_ms, True), (spell.end_ms, False)):
            yield f.AlarmChanged(
                at=at_ms * NS,
                work_unit=self._line,
                alarm="machine_breakdown",
                active=active,
                severity="critical",
                summary=summary,
            )

    def _verdicts(self) -> Iterator[f.Fact]:
        instance = self._shift.instance
        slices = [(number, one) for number, run in enumerate(self._shift.runs) for one in run.slices]
        for end in range((instance.start_ms // WINDOW_MS + 1) * WINDOW_MS, instance.end_ms + 1, WINDOW_MS):
            inside = [(n, s) for n, s in slices if end - WINDOW_MS < s.end_ms <= end]
            made = sum(s.produced for _, s in inside)
            if made < 10:
                continue
            failed = sum(s.scrap + s.rework for _, s in inside)
            verdict = self._verdict(end, inside[-1][0], failed / made)
            yield verdict
            if verdict.decision != "normal" and self._chance.random() < 0.08:
                yield self._feedback(verdict)

    def _verdict(self, end_ms: int, run: int, share: float) -> f.Judged:
        decision = "critical" if share >= CRITICAL else "warning" if share >= WARNING else "normal"
        about = self._made(run)
        limit = CRITICAL if decision == "critical" else WARNING
        near = min(1.0, abs(share - limit) / limit)
        confidence = round(0.72 + 0.26 * near, 3)
        return f.Judged(
            at=end_ms * NS,
            work_unit=self._line,
            verdict_id=hashlib.sha256(f"{self._line}/{end_ms}/{share:.6f}".encode()).hexdigest()[:32],
            start=(end_ms - WINDOW_MS) * NS,
            ruleset=RULESET,
            ruleset_version="1.2.0",
            ruleset_hash=_RULESET_HASH,
            decision=decision,
            severity="info" if decision == "normal" else decision,
            status=None if decision == "normal" else "HIGH_DEFECT_RATE",
            confidence=confidence,
            policy="hybrid_weighted" if self._place == 0 else "rule_only",
            source="hybrid" if self._place == 0 else "rule",
            summary=_said(decision, about.product, share),
            matched=[] if decision == "normal" else ["defect_rate"],
            checks=[
                f.Check(
                    name="defect_rate",
                    status="ok" if decision == "normal" else decision,
                    value=round(share, 5),
                    threshold=limit,
                )
            ],
            inputs={"defect_rate": round(share, 5)},
            components={"rule_confidence": confidence},
            needs_human=decision == "critical" and confidence < 0.75,
            context=about.context,
            ml=self._scored(decision, confidence) if self._place == 0 else None,
        )

    def _scored(self, decision: str, confidence: float) -> Scored:
        said = confidence if decision == "normal" else confidence - 0.05
        return Scored(
            model="defect_risk", version="1.0.0", sha256=_MODEL_HASH, decision=decision, confidence=round(said, 3)
        )

    def _feedback(self, verdict: f.Judged) -> f.Fact:
        agreed = self._chance.random() < 0.85
        return FeedbackGiven(
            at=verdict.at + 5 * MINUTE_MS * NS,
            work_unit=self._line,
            feedback=hashlib.sha256(f"feedback/{verdict.verdict_id}".encode()).hexdigest()[:32],
            target=verdict.verdict_id,
            type="positive" if agreed else "negative",
            reason=None if agreed else "incorrect",
            actor=self._chance.choice(("kim", "lee", "park")),
            ruleset=verdict.ruleset,
            ruleset_version=verdict.ruleset_version,
            decision=verdict.decision,
        )


def _said(decision: str, product: str, share: float) -> dict[str, str]:
    if decision == "normal":
        return {
            "ko": f"{product} 불량률 {share:.1%}로 정상입니다.",
            "en": f"{product} fails at {share:.1%}, which is normal.",
        }
    return {
        "ko": f"{product} 불량률이 {share:.1%}로 높습니다. 최근 작업 조건을 확인하십시오.",
        "en": f"{product} fails at {share:.1%}, which is high. Look at what changed in the last half hour.",
    }
