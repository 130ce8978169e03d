"""One question to one answer: the plan's analysis, on figures of one look at the marts. Pure but for what `Look` reads.

What a plan needs for each analysis:
- CHECK: one to four metrics, or one with dimensions.
- TREND: a grain (or one is picked); one dimension gives a line each.
- COMPARE: `against` another period; or two values of one dimension in its filter, and no `against`.
- RANK: one dimension or more; `order`, `limit`.
- CORRELATE: two to four metrics; a grain.
- FIND_CAUSE: `against` another period; the dimensions to look along, or the usual ones.
- DETECT_ANOMALY: a grain.
- PREDICT: the period is the history to learn from; a grain and a horizon in its steps.
- WHAT_IF: edits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cloud.bi.analyses.anomaly import detect_anomaly
from cloud.bi.analyses.asked import Asked
from cloud.bi.analyses.cause import find_cause
from cloud.bi.analyses.check import check
from cloud.bi.analyses.compare import compare
from cloud.bi.analyses.correlate import correlate
from cloud.bi.analyses.look import Look
from cloud.bi.analyses.predict import predict
from cloud.bi.analyses.rank import rank
from cloud.bi.analyses.result import Result
from cloud.bi.analyses.trend import trend
from cloud.bi.analyses.whatif import what_if
from cloud.bi.analyses.words import Language
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.plan import Analysis, Plan

ANALYSES: Final[dict[Analysis, Callable[[Asked], Result]]] = {
    "CHECK": check,
    "TREND": trend,
    "COMPARE": compare,
    "RANK": rank,
    "CORRELATE": correlate,
    "FIND_CAUSE": find_cause,
    "DETECT_ANOMALY": detect_anomaly,
    "PREDICT": predict,
    "WHAT_IF": what_if,
}


def analyse(plan: Plan, look: Look, language: Language = "ko") -> Result:
    """Answer a plan. `language` is that of the chart's names; sentences come in both, and rows hold codes.

    The names of the codes are in `findings["labels"]`: dimension → code → language → name.

    Raises PlanError for names that `Look` does not know, and for more metrics than the analysis takes.
    """
    for name in plan.metrics:
        look.metric(name)
    if len(plan.metrics) > 1 and not _takes_several(plan):
        split = " by a dimension" if plan.dimensions else ""
        what = f"{plan.analysis}{split} is of one metric"
        raise PlanError(what, f"leave {plan.metrics[1]} out, and ask for it by itself").at("metrics.1")
    asked = Asked(plan=plan, look=look, language=language, period=look.dated(plan.period))
    result = ANALYSES[plan.analysis](asked)
    return replace(result, rows=result.rows[: plan.limit])


def _takes_several(plan: Plan) -> bool:
    return plan.analysis in {"CORRELATE", "WHAT_IF"} or (plan.analysis in {"CHECK", "TREND"} and not plan.dimensions)
