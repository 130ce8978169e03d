"""What is told of models: facts for the cloud, alarms for the people at the line. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from edge.scoring.breaker import Change
from edge.scoring.record import BREAKER, DRIFT, REFUSED, Version
from models.drift import Drift
from models.package import Contract
from sync.facts import AlarmChanged, Fact
from sync.judgment import ModelChanged

_OVER = {
    REFUSED: {"ko": "모델을 다시 쓸 수 있습니다.", "en": "The line has a usable model again."},
    BREAKER: {"ko": "모델이 다시 답합니다.", "en": "The model answers again."},
    DRIFT: {
        "ko": "모델의 입력이 다시 학습 때와 같습니다.",
        "en": "The model's inputs are like those of its training again.",
    },
}


def changed(at: int, work_unit: str, version: Version, state: str, why: str) -> ModelChanged:
    """Give the fact that a line's model is in another state."""
    return ModelChanged(
        at=at,
        work_unit=work_unit,
        model=version.name,
        version=version.version,
        sha256=version.sha256,
        state=state,
        why=why,
    )


def over(at: int, work_unit: str, alarms: Iterable[str]) -> list[Fact]:
    """Clear alarms of models."""
    return [
        AlarmChanged(at=at, work_unit=work_unit, alarm=alarm, active=False, severity="warning", summary=_OVER[alarm])
        for alarm in alarms
    ]


def refused(at: int, work_unit: str, version: Version, why: str, *, alarm: bool) -> list[Fact]:
    """Tell that a package is not run."""
    facts: list[Fact] = [changed(at, work_unit, version, "refused", why)]
    if alarm:
        name = f"{version.name} {version.version}".strip()
        texts = {
            "ko": f"모델 패키지{f' {name}' if name else ''}을(를) 쓸 수 없습니다: {why}",
            "en": f"The model package{f' {name}' if name else ''} is not run: {why}",
        }
        facts.append(_raised(at, work_unit, REFUSED, texts))
    return facts


def breaker(at: int, work_unit: str, version: Version, change: Change, why: str) -> list[Fact]:
    """Tell that a model is not asked for a while, or is asked again."""
    if change == "cleared":
        return [changed(at, work_unit, version, "breaker_closed", ""), *over(at, work_unit, [BREAKER])]
    texts = {
        "ko": f"모델 {version.name} {version.version}이(가) 연속으로 실패하여 규칙만으로 판정합니다: {why}",
        "en": f"The model {version.name} {version.version} failed several times in a row; the rules judge alone: {why}",
    }
    return [changed(at, work_unit, version, "breaker_open", why), _raised(at, work_unit, BREAKER, texts)]


def drifted(at: int, work_unit: str, contract: Contract, drift: Drift) -> Fact:
    """Tell people that a model's inputs are unlike its training, or like it again."""
    if drift.level == "ok":
        return over(at, work_unit, [DRIFT])[0]
    titles = {one.name: one.title for one in contract.features}
    texts: dict[str, str] = {}
    for language, text in (
        ("ko", "모델 {} {}의 입력이 학습 때와 다릅니다: {}"),
        ("en", "Inputs of the model {} {} are unlike its training: {}"),
    ):
        names = ", ".join(titles.get(name, {}).get(language, name) for name in drift.alarmed)
        texts[language] = text.format(contract.name, contract.version, names)
    severity = "critical" if drift.level == "critical" else "warning"
    return AlarmChanged(at=at, work_unit=work_unit, alarm=DRIFT, active=True, severity=severity, summary=texts)


def _raised(at: int, work_unit: str, alarm: str, texts: dict[str, str]) -> AlarmChanged:
    return AlarmChanged(at=at, work_unit=work_unit, alarm=alarm, active=True, severity="warning", summary=texts)
