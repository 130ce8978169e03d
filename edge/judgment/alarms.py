"""Which alarms a verdict raises, changes and clears. What cannot be told leaves an alarm as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge.judgment.explanation import blind, cleared, covered, said
from edge.judgment.findings import Finding
from edge.judgment.given import Given
from edge.judgment.opinion import opinion
from edge.judgment.policies import RANK, SEVERITY_OF
from edge.judgment.weighing import Weighed, applies
from edge.judgment.wording import LANGUAGES
from models.ruleset_file import INPUTS_ALARM, MODEL_ALARM, Severity
from sync.facts import AlarmChanged


@dataclass(slots=True)
class _Changes:
    given: Given
    verdict_id: str
    up: dict[str, Severity] = field(default_factory=dict)
    told: list[AlarmChanged] = field(default_factory=list)

    def set(self, name: str, now: Severity | None, texts: Mapping[str, str]) -> None:
        """Say what an alarm is now; texts matter when that is new."""
        was = self.given.memory.alarms.get(name)
        if now is not None:
            self.up[name] = now
        if now == was:
            return
        self.told.append(
            AlarmChanged(
                at=self.given.end,
                work_unit=self.given.work_unit,
                alarm=name,
                active=now is not None,
                severity=now or was or "info",
                summary=dict(texts),
                verdict_id=self.verdict_id,
            )
        )

    def keep(self, name: str) -> None:
        """Leave an alarm as it was."""
        if name in self.given.memory.alarms:
            self.up[name] = self.given.memory.alarms[name]


def alarms(
    found: Sequence[Finding], weighed: Weighed, given: Given, verdict_id: str
) -> tuple[tuple[AlarmChanged, ...], dict[str, Severity]]:
    """Give the changes, and which alarms are up now."""
    changes = _Changes(given, verdict_id)
    before = given.memory.alarms
    blinded = {language: blind(given, language) for language in LANGUAGES} if given.blind else {}
    changes.set(INPUTS_ALARM, "warning" if blinded else None, blinded or _USABLE)
    for finding in found:
        if finding.check.alarm:
            _of_check(finding, changes, before.get(finding.check.name))
    known = {finding.check.name for finding in found if finding.check.alarm} | {INPUTS_ALARM}
    if weighed.asked or MODEL_ALARM in before:
        _of_model(weighed, changes)
        known.add(MODEL_ALARM)
    for name in sorted(before.keys() - known):
        changes.set(name, None, _RULE_GONE)
    return tuple(changes.told), dict(sorted(changes.up.items()))


def _of_check(finding: Finding, changes: _Changes, was: Severity | None) -> None:
    name, given = finding.check.name, changes.given
    if finding.suppressed_by is not None:
        changes.set(name, None, {language: covered(finding, language) for language in LANGUAGES} if was else {})
        return
    match finding.level:
        case "unknown":
            changes.keep(name)
        case "ok":
            changes.set(name, None, {language: cleared(finding, language) for language in LANGUAGES} if was else {})
        case level:
            fresh = was != level
            changes.set(
                name, level, {language: said(finding, given, language) for language in LANGUAGES} if fresh else {}
            )


def _of_model(weighed: Weighed, changes: _Changes) -> None:
    scored, combined = weighed.scored, weighed.combined
    if scored is not None and not applies(scored):
        changes.set(MODEL_ALARM, None, _MODEL_ASIDE)
        return
    if combined.source == "none" or (scored is not None and scored.failure is not None):
        changes.keep(MODEL_ALARM)  # who cannot answer now has not taken back what it said
        return
    now = SEVERITY_OF[combined.decision]
    if (
        scored is not None
        and now != "info"
        and RANK[now] > RANK[SEVERITY_OF[weighed.rule.decision]] * (weighed.rule.decision != "unknown")
    ):
        changes.set(MODEL_ALARM, now, {language: f"{opinion(scored, language)}." for language in LANGUAGES})
    else:
        changes.set(MODEL_ALARM, None, _MODEL_QUIET)


_USABLE: Final = {"ko": "필수 입력을 다시 쓸 수 있습니다.", "en": "The required inputs can be used again."}
_RULE_GONE: Final = {"ko": "이 규칙은 더 이상 없습니다.", "en": "This rule exists no longer."}
_MODEL_ASIDE: Final = {"ko": "모델: 지금은 적용되지 않습니다.", "en": "Model: does not apply now."}
_MODEL_QUIET: Final = {
    "ko": "모델이 더 이상 규칙보다 나쁘게 보지 않습니다.",
    "en": "The model sees nothing worse than the rules any more.",
}
