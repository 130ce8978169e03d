"""WHAT_IF: the same period with some things otherwise, recomputed exactly: before, after, and the waterfall of the difference.

Nothing is estimated: time won yields at the pace and quality of the products that ran. What that assumes is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cloud.bi import kpi
from cloud.bi.analyses import drawing, words
from cloud.bi.analyses.asked import Asked, refusal
from cloud.bi.analyses.edits import Applied, EditError, apply, capped
from cloud.bi.analyses.loss_parts import LOSS_NAMES
from cloud.bi.analyses.result import Column, Result
from cloud.bi.analyses.words import LANGUAGES, Language
from cloud.bi.kpi import Sums
from cloud.bi.semantic.plan import Edit
from cloud.bi.waterfall import Waterfall, waterfall
from cloud.wording import formats

MIN_SHIFTS: Final = 3
"""Shifts with production that the pace and quality are taken from: one day's three shifts at the least."""
HOUR_MS: Final = 3_600_000

FIGURES: Final[Mapping[str, tuple[str, Callable[[Sums], float | None]]]] = {
    "oee": ("1", lambda s: kpi.oee(s).oee),
    "availability": ("1", lambda s: kpi.oee(s).availability),
    "effectiveness": ("1", lambda s: kpi.oee(s).effectiveness),
    "quality_ratio": ("1", lambda s: kpi.oee(s).quality_ratio),
    "teep": ("1", lambda s: kpi.teep(s, s.calendar_ms)),
    "first_pass_yield": ("1", kpi.first_pass),
    "defect_rate": ("1", kpi.defect_rate),
    "scrap_ratio": ("1", kpi.scrap_ratio),
    "rework_ratio": ("1", lambda s: kpi.rework_ratio(s).value),
    "schedule_attainment": ("1", lambda s: kpi.schedule_attainment(s).value),
    "throughput": ("pieces/h", lambda s: kpi.throughput(s).value),
    "energy_per_piece": ("Wh/pieces", lambda s: kpi.energy_per_piece(s).value),
    "produced": ("pieces", lambda s: float(s.produced)),
    "good": ("pieces", lambda s: float(s.good)),
    "scrap": ("pieces", lambda s: float(s.scrap)),
    "rework": ("pieces", lambda s: float(s.rework)),
    "planned_busy_time": ("s", lambda s: s.planned_busy_ms / 1000),
    "production_time": ("s", lambda s: s.apt_ms / 1000),
    "setup_time": ("s", lambda s: s.setup_ms / 1000),
    "delay_time": ("s", lambda s: s.delay_ms / 1000),
    "downtime": ("s", lambda s: s.down_ms / 1000),
    "planned_downtime": ("s", lambda s: s.planned_down_ms / 1000),
}
"""What can be computed anew from measures: (unit, how). Everything else is refused."""
ALWAYS: Final = ("oee", "good")

_REFUSED: Final[dict[str, tuple[str, str]]] = {
    "not_recomputable": ("이 지표는 시간 모델에서 다시 계산할 수 없습니다", "this figure cannot be recomputed from the time model"),
    "no_edits": ("무엇을 바꿀지 지정하십시오", "say what would be different"),
    "insufficient_data": ("생산이 있는 교대가 부족합니다", "too few shifts with production"),
    "no_ideal_cycle": ("기준 사이클 시간이 없는 제품이 있습니다", "some pieces have no ideal cycle time"),
    "unknown_stop_reason": ("이 기간에 그 정지 사유가 없습니다", "that stop reason did not occur in this period"),
    "nothing_to_change": ("이 기간에 바꿀 시간이 없습니다", "there is no such time in this period"),
    "no_production": ("이 기간에 생산이 없어 속도와 품질을 알 수 없습니다", "nothing was produced, so pace and quality are not known"),
    "no_free_time": ("교대를 더 넣을 비계획 시간이 없습니다", "no unscheduled time is left for more shifts"),
}  # fmt: skip


def what_if(asked: Asked) -> Result:
    """Apply the edits in their order."""
    unknown = [name for name in asked.plan.metrics if name not in FIGURES]
    if unknown:
        return _refused(asked, "not_recomputable", metrics=unknown, can=sorted(FIGURES))
    if not asked.plan.edits:
        return _refused(asked, "no_edits")
    parts = _parts(asked)
    shifts = _shifts(asked)
    before = sum(parts, Sums())
    if shifts < MIN_SHIFTS or not before.apt_ms:
        return _refused(asked, "insufficient_data", shifts=shifts, least_shifts=MIN_SHIFTS)
    if before.unrated:
        return _refused(asked, "no_ideal_cycle", unrated=before.unrated)
    stops = _stops(asked) if any(edit.what == "stop" and edit.value for edit in asked.plan.edits) else {}
    changed, applied = parts, list[Applied]()
    try:
        for edit in asked.plan.edits:
            changed, one = apply(changed, edit, stops, shifts)
            applied.append(one)
    except EditError as error:
        return _refused(asked, error.code, **error.told)
    cuts = [capped(part, now) for part, now in zip(changed, parts, strict=True)]
    changed, cut = [part for part, _ in cuts], sum(pieces for _, pieces in cuts)
    return _result(asked, (parts, changed), applied, cut, shifts)


def _parts(asked: Asked) -> list[Sums]:
    table = asked.table(("oee",), dimensions=("line", "product"))
    return [kpi.sums_of(row.sums) for row in table.rows]


def _shifts(asked: Asked) -> int:
    """Count scheduled shift instances of lines with production."""
    table = asked.table(("oee",), dimensions=("line",), grain="shift")
    return sum(row.sums.get("scheduled_ms", 0) > 0 and row.sums.get("apt_ms", 0) > 0 for row in table.rows)


def _stops(asked: Asked) -> dict[tuple[str, str], int]:
    table = asked.table(("stop_time",), dimensions=("time_element", "stop_reason"))
    return {(row.keys[0], row.keys[1]): round(row.cells[0].numerator) for row in table.rows}


def _result(
    asked: Asked, both: tuple[Sequence[Sums], Sequence[Sums]], applied: Sequence[Applied], cut: int, shifts: int
) -> Result:  # fmt: skip
    parts, changed = both
    before, after = sum(parts, Sums()), sum(changed, Sums())
    names = list(dict.fromkeys((*asked.plan.metrics, *ALWAYS)))
    rows: list[tuple[Any, ...]] = []
    for name in names:
        unit, figure = FIGURES[name]
        old, new = figure(before), figure(after)
        rows.append((name, unit, old, new, None if old is None or new is None else new - old))
    falls = waterfall(parts), waterfall(changed)
    steps = [
        {
            "name": a.name,
            "kind": a.kind,
            "before_ms": a.ms,
            "after_ms": falls[1].ms(a.name),
            "difference_ms": falls[1].ms(a.name) - a.ms,
        }
        for a in falls[0].steps
    ]
    effectiveness = kpi.oee(after).effectiveness
    assumptions = _assumptions(before, after, applied, cut)
    findings: dict[str, Any] = {
        "figures": {
            name: {"unit": unit, "before": old, "after": new, "difference": gap} for name, unit, old, new, gap in rows
        },
        "edits": [
            {**one.edit.model_dump(exclude_none=True), "time_won_h": one.time_ms / HOUR_MS, "good_pieces": one.pieces}
            for one in applied
        ],
        "waterfall": steps,
        "cut_to_plan": cut,
        "shifts": shifts,
        "assumptions": assumptions,
        "implausible": effectiveness is not None and effectiveness > 1,
        "dates": (str(asked.period.first), str(asked.period.last)),
    }
    return Result(
        columns=(
            Column(name="metric", kind="text", title={"ko": "지표", "en": "Metric"}),
            Column(name="unit", kind="text", title={"ko": "단위", "en": "Unit"}),
            Column(name="before", kind="metric", title={"ko": "현재", "en": "As it is"}),
            Column(name="after", kind="metric", title={"ko": "변경 후", "en": "As it would be"}),
            Column(name="difference", kind="metric", title={"ko": "차이", "en": "Difference"}),
        ),
        rows=tuple(rows),
        findings=findings,
        chart=_chart(falls, asked.language),
        sentences=_sentences(asked, findings, rows),
        drill=(
            *asked.named_line(),
            asked.closer({"ko": "정지 사유 순위", "en": "Stop reasons ranked"}, analysis="RANK", metrics=("stop_time",), dimensions=("stop_reason",), edits=(), order="most"),
            asked.closer({"ko": "추이 보기", "en": "Its trend"}, analysis="TREND", edits=(), dimensions=()),
        ),
    )  # fmt: skip


def _assumptions(before: Sums, after: Sums, applied: Sequence[Applied], cut: int) -> list[dict[str, str]]:
    told: list[dict[str, str]] = []
    kinds = {one.edit.what for one in applied}
    if kinds & {"stop", "setup", "delay", "planned_down"}:
        told.append(
            {
                "ko": "되찾은 시간은 생산에 쓰이고, 이 기간 각 제품의 실제 속도와 품질로 생산한다고 봅니다.",
                "en": "Time won is used for production, at the pace and quality each product really had in this period.",
            }
        )
    if "extra_shift" in kinds:
        told.append(
            {
                "ko": "추가 교대는 이 기간의 평균 교대와 같습니다.",
                "en": "An extra shift is like the mean shift of this period.",
            }
        )
    if "speed" in kinds:
        told.append(
            {
                "ko": "속도를 바꾸어도 품질과 정지는 그대로라고 봅니다.",
                "en": "Quality and stops stay as they are at the new pace.",
            }
        )
    if kinds & {"scrap"}:
        told.append({"ko": "폐기가 줄어든 만큼 양품이 됩니다.", "en": "Pieces that are not scrapped are good ones."})
    if cut:
        told.append(
            {
                "ko": "작업 지시 수량을 넘는 생산은 계산하지 않고, 남는 시간은 대기로 봅니다.",
                "en": "Nothing is made beyond the job orders; the time left over is waiting.",
            }
        )
    elif not before.planned_micro:
        told.append(
            {
                "ko": "작업 지시 수량을 알 수 없어 수요 한도는 두지 않았습니다.",
                "en": "Without job orders the demand is not known and sets no limit.",
            }
        )
    effectiveness = kpi.oee(after).effectiveness
    if effectiveness is not None and effectiveness > 1:
        told.append(
            {
                "ko": "기준 사이클보다 빠른 결과입니다. 실현 가능한지 확인하십시오.",
                "en": "The result is faster than the ideal cycle: check whether it can be done.",
            }
        )
    return told  # fmt: skip


def edit_text(asked: Asked, edit: Edit) -> dict[str, str]:
    """Say an edit: `jam −30%`, `scrap −1 points`, `2 extra shifts`."""
    names = {
        "stop": {"ko": "정지", "en": "stops"},
        "setup": {"ko": "준비 교체", "en": "setup"},
        "delay": {"ko": "지연", "en": "delay"},
        "speed": {"ko": "속도", "en": "speed"},
        "scrap": {"ko": "폐기", "en": "scrap"},
        "planned_down": {"ko": "계획 정지", "en": "planned downtime"},
    }
    if edit.count is not None:
        return {"ko": f"교대 {edit.count}회 추가", "en": f"{edit.count} extra shift{'s' if edit.count > 1 else ''}"}
    amount = edit.percent if edit.percent is not None else edit.points or 0.0
    sign = "+" if amount > 0 else "−" if amount < 0 else ""
    size = sign + words.number(abs(amount))
    name = asked.label("stop_reason", edit.value) if edit.what == "stop" and edit.value else names[edit.what]
    ends = {"ko": "%", "en": "%"} if edit.percent is not None else {"ko": "%p", "en": " pp"}
    return {language: f"{name[language]} {size}{ends[language]}" for language in LANGUAGES}


def _sentences(
    asked: Asked, findings: Mapping[str, Any], rows: Sequence[tuple[Any, ...]]
) -> dict[str, tuple[str, ...]]:
    said: dict[str, tuple[str, ...]] = {}
    where, when = asked.where(), " – ".join(dict.fromkeys(findings["dates"]))
    edits = [edit_text(asked, edit) for edit in asked.plan.edits]
    for language in LANGUAGES:
        ko = language == "ko"
        told = words.listed([edit[language] for edit in edits], language)
        about = ", ".join(part for part in (where[language], when) if part)
        changes = [_figure(asked, row, language) for row in rows]
        first = f"{told}({about}): {', '.join(changes)}." if ko else f"{told} ({about}): {'; '.join(changes)}."
        texts = [first]
        if findings["cut_to_plan"]:
            cut = words.figure(float(findings["cut_to_plan"]), "pieces", language)
            texts.append(
                f"작업 지시를 넘는 {cut}는 제외했습니다." if ko else f"{cut} beyond the job orders are left out."
            )
        texts += [one[language] for one in findings["assumptions"]]
        said[language] = tuple(texts)
    return said


def _figure(asked: Asked, row: tuple[Any, ...], language: Language) -> str:
    name, unit, old, new, gap = row
    title = asked.title(name)[language]
    was, now = words.figure(old, unit, language), words.figure(new, unit, language)
    if gap is None or gap == 0:
        return f"{title} {now}"
    return f"{title} {was} → {now} ({words.signed(gap, unit, language)})"


def _chart(falls: tuple[Waterfall, Waterfall], language: Language) -> dict[str, Any]:
    """Draw the way from the effective time as it is to the effective time as it would be, h."""
    before, after = falls
    level = before.ms("effective") / HOUR_MS
    name = {"ko": ("현재", "변경 후"), "en": ("as it is", "as it would be")}[language]
    rows: drawing.Values = [{"k": name[0], "a": 0.0, "b": level, "t": words.number(level, 1), "c": "var(--brand)"}]
    for step in before.steps:
        gap = (step.ms - after.ms(step.name)) / HOUR_MS
        if step.kind == "loss" and gap:
            tone, size = "var(--run)" if gap > 0 else "var(--down)", words.number(abs(gap), 1)
            rows.append(
                {
                    "k": LOSS_NAMES[step.name][language],
                    "a": level,
                    "b": level + gap,
                    "t": formats.sign(gap, size) + size,
                    "c": tone,
                }
            )
            level += gap
    rows.append({"k": name[1], "a": 0.0, "b": level, "t": words.number(level, 1), "c": "var(--brand)"})
    return drawing.cascade(rows)  # fmt: skip


def _refused(asked: Asked, code: str, **told: Any) -> Result:
    ko, en = _REFUSED[code]
    return refusal(asked, code, {"ko": ko, "en": en}, **told)
