"""Model of the analysis page: the chips of a question, and its answer as sentences, chart, table and what it is made of.

Draws charts, so call it off the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
from markupsafe import Markup

from cloud.bi.semantic.catalogue import METRICS
from cloud.bi.semantic.dimensions import DIMENSIONS
from cloud.dashboard import figures, plans, questions
from cloud.dashboard.plans import Draft, Fault, Where
from cloud.dashboard.render import Reader
from cloud.drawing import charts
from cloud.wording.texts import Words

Json = Mapping[str, Any]
PAGE_WIDE: Final = 900
"""Width in px that a chart is drawn with beside its definitions."""


def chips(draft: Draft, filters: Sequence[Json], faults: Sequence[Fault], words: Words) -> dict[str, Any]:
    """Give the model of the question. filters: `questions.filter_chip` of every filter."""
    metrics, by = questions.room(draft)
    return {
        "draft": draft,
        "kinds": plans.ANALYSES,
        "metrics": [questions.metric_groups(name, words) for name in draft.metrics],
        "more_metrics": questions.metric_groups("", words) if len(draft.metrics) < metrics else None,
        "splits": [questions.dimension_options(name, words) for name in draft.by],
        "more_splits": questions.dimension_options("", words) if len(draft.by) < by else None,
        "filters": filters,
        "more_filters": [
            one
            for one in questions.dimension_options("", words)
            if one.value not in {where.dimension for where in draft.wheres}
        ],
        "periods": plans.PERIODS,
        "grains": plans.GRAINS,
        "againsts": plans.AGAINST,
        "orders": plans.ORDERS,
        "changes": [questions.changes(words, one.what) for one in draft.edits],
        "more_changes": questions.changes(words),
        "faults": {one.control: _fault(draft, one, words) for one in faults},
        "title": questions.title(draft, filters, words),
    }


def _fault(draft: Draft, fault: Fault, words: Words) -> dict[str, Any]:
    """Give a fault with the names that were probably meant as addresses of the question put right."""
    name, _, which = fault.control.partition(".")
    meant: list[tuple[str, str]] = []
    for one in fault.nearest:
        if name == "metric":
            fixed = replace(draft, metrics=_put(draft.metrics, int(which), one))
            meant.append((questions.metric_title(one, words), plans.page(fixed)))
        elif name == "by":
            fixed = replace(draft, by=_put(draft.by, int(which), one))
            meant.append((questions.dimension_title(one, words), plans.page(fixed)))
        elif name == "where" and which in DIMENSIONS:  # one of its values is not there
            wheres = tuple(
                Where(which, (one,), where.negated) if where.dimension == which else where for where in draft.wheres
            )
            meant.append((one, plans.page(replace(draft, wheres=wheres))))
        elif name == "where":
            wheres = tuple(
                replace(where, dimension=one) if where.dimension == which else where for where in draft.wheres
            )
            meant.append((questions.dimension_title(one, words), plans.page(replace(draft, wheres=wheres))))
    return {"message": fault.message, "meant": meant}


def _put(values: tuple[str, ...], place: int, value: str) -> tuple[str, ...]:
    return (*values[:place], value, *values[place + 1 :])


def answer(draft: Draft, said: Json, sort: str, reader: Reader) -> dict[str, Any]:
    """Give the model of an answer as POST /api/v1/bi/ask gives it. sort: `column` or `column:desc`."""
    words = reader.words
    table = figures.table(draft, said, sort, words)
    said_first = said["sentences"][words.language]
    plan = orjson.dumps(said["plan"]).decode()
    return {
        "answer": said,
        "sentences": said_first,
        "chart": draw(said["chart"], " ".join(said_first), (PAGE_WIDE, charts.NARROW)),
        **table,
        "waterfall": said["findings"].get("waterfall") if said["analysis"] == "WHAT_IF" else None,
        "definitions": [_definition(name, one, words) for name, one in said["definitions"].items()],
        "drills": list({drill["title"]: drill for drill in (_drill(one, words) for one in said["drill"])}.values()),
        "csv": f"/api/v1/bi/ask.csv?plan={quote(plan)}",
        "xlsx": f"/api/v1/bi/ask.xlsx?plan={quote(plan)}&language={words.language}",
        "plan_text": plan,
    }


def draw(spec: dict[str, Any] | None, label: str, widths: tuple[int, int]) -> dict[str, Markup] | None:
    """Draw a chart for a wide page and a narrow one."""
    if spec is None:
        return None
    wide, narrow = widths
    return {
        "wide": charts.svg(spec | {"width": wide}, label),
        "narrow": charts.svg(spec | {"width": narrow}, label),
    }


def _definition(name: str, told: Json, words: Words) -> dict[str, Any]:
    known = METRICS.get(name)
    return {
        "title": words.of(told["title"]),
        "description": "" if known is None else known.description[words.language],
        "formula": words.of(told["formula"]),
        "version": told["version"],
        "hash": told["hash"],
        "source": words("ask.house") if known is None or known.source == "house" else known.source,
    }


def _drill(told: Json, words: Words) -> dict[str, str]:
    if told["plan"] is not None:
        where = plans.page(plans.of_plan(told["plan"]))
    else:
        dates = {name: told[name] for name in ("first", "last") if told[name]}
        where = f"/lines/{quote(told['line'])}" + (f"?{urlencode(dates)}" if dates else "")
    return {"title": words.of(told["title"]), "address": where}
