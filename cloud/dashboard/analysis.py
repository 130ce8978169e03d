"""Model of the analysis page: the chips of a question, and its answer as sentences, chart, table and what it is made of.

Draws charts, so call it off the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
from markupsafe import Markup

from cloud.bi.analyses import words as spoken
from cloud.bi.semantic.catalogue import METRICS
from cloud.bi.semantic.dimensions import DIMENSIONS
from cloud.dashboard import charts, plans, questions
from cloud.dashboard.plans import Draft, Fault, Where
from cloud.dashboard.render import Reader
from cloud.dashboard.texts import TEXTS, Words

Json = Mapping[str, Any]
SHOWN: Final = 200
"""Rows that stand on the page; the files have all."""
PAGE_WIDE: Final = 900
"""Width in px that a chart is drawn with beside its definitions."""
SIGN: Final = {"met": "check", "warning": "triangle", "critical": "octagon", "below": "triangle"}
TONE: Final = {"met": "normal", "warning": "warning", "critical": "critical", "below": "warning"}
"""Levels of CHECK as tags."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One cell of the table as people read it."""

    text: str
    kind: str
    absent: bool = False
    narrow: str | None = None
    """The address of the same question about this value alone."""
    tone: str = ""
    sign: str = ""


def chips(draft: Draft, filters: Sequence[Json], faults: Sequence[Fault], words: Words) -> dict[str, Any]:
    """Give the model of the question. filters: `questions.filter_chip` of every filter."""
    metrics, by = questions.SEVERAL.get(draft.analysis, (4, 3))
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
            meant.append((questions.metric_title(one, words), address(fixed)))
        elif name == "by":
            fixed = replace(draft, by=_put(draft.by, int(which), one))
            meant.append((questions.dimension_title(one, words), address(fixed)))
        elif name == "where" and which in DIMENSIONS:  # one of its values is not there
            wheres = tuple(
                Where(which, (one,), where.negated) if where.dimension == which else where for where in draft.wheres
            )
            meant.append((one, address(replace(draft, wheres=wheres))))
        elif name == "where":
            wheres = tuple(
                replace(where, dimension=one) if where.dimension == which else where for where in draft.wheres
            )
            meant.append((questions.dimension_title(one, words), address(replace(draft, wheres=wheres))))
    return {"message": fault.message, "meant": meant}


def _put(values: tuple[str, ...], place: int, value: str) -> tuple[str, ...]:
    return (*values[:place], value, *values[place + 1 :])


def address(draft: Draft, **more: str) -> str:
    """Give the page's address of a question."""
    return f"/analysis?{plans.address(draft)}" + (f"&{urlencode(more)}" if more else "")


def answer(draft: Draft, said: Json, sort: str, reader: Reader) -> dict[str, Any]:
    """Give the model of an answer as POST /api/v1/bi/ask gives it. sort: `column` or `column:desc`."""
    words, columns = reader.words, said["columns"]
    labels = said["findings"].get("labels", {})
    shown = [place for place, column in enumerate(columns) if _worth(place, column, said["rows"])]
    rows = _sorted(said["rows"], columns, sort)
    said_first = said["sentences"][words.language]
    plan = orjson.dumps(said["plan"]).decode()
    return {
        "answer": said,
        "sentences": said_first,
        "chart": draw(said["chart"], " ".join(said_first), (PAGE_WIDE, charts.NARROW)),
        "heads": [_head(columns[place], draft, sort, words) for place in shown],
        "rows": [[_cell(columns[place], row[place], labels, draft, words) for place in shown] for row in rows[:SHOWN]],
        "row_count": len(rows),
        "definitions": [_definition(name, one, words) for name, one in said["definitions"].items()],
        "drills": [_drill(one, words) for one in said["drill"]],
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


def _worth(place: int, column: Json, rows: Sequence[Sequence[Any]]) -> bool:
    """Tell whether a column says anything: no reason in any row, no column of reasons."""
    return column["kind"] != "text" or any(row[place] is not None for row in rows)


def _head(column: Json, draft: Draft, sort: str, words: Words) -> dict[str, Any]:
    name, _, direction = sort.partition(":")
    here = name == column["name"]
    down = here and direction == "desc"
    following = column["name"] if down else f"{column['name']}:desc"
    if column["kind"] in {"time", "dimension", "text"}:
        following = f"{column['name']}:desc" if here and not down else column["name"]
    return {
        "title": words.of(column["title"]),
        "number": column["kind"] == "metric",
        "sorted": ("descending" if down else "ascending") if here else "none",
        "address": address(draft, sort=following),
    }


def _sorted(rows: Sequence[Sequence[Any]], columns: Sequence[Json], sort: str) -> list[Sequence[Any]]:
    """Give the rows by one column, what has no figure last; as they came without one."""
    name, _, direction = sort.partition(":")
    place = next((i for i, column in enumerate(columns) if column["name"] == name), None)
    if place is None:
        return list(rows)
    known = [row for row in rows if row[place] is not None]
    known.sort(key=lambda row: (str(type(row[place])), row[place]), reverse=direction == "desc")
    return [*known, *(row for row in rows if row[place] is None)]


def _cell(column: Json, value: Any, labels: Json, draft: Draft, words: Words) -> Shown:
    kind, name = column["kind"], column["name"]
    if kind == "metric":
        known = _number(value) or value is None
        text = spoken.figure(value, column["unit"], words.language) if known else str(value)
        return Shown(text, kind, absent=value is None)
    if kind == "dimension":
        text = words.of(labels.get(name, {}).get(value or "", {})) or value or words("ask.none_given")
        return Shown(text, kind, narrow=_narrowed(draft, name, value) if value else None)
    if name == "level" and value in TONE:
        return Shown(words.label("ask_level", value), "level", tone=TONE[value], sign=SIGN[value])
    if name == "reason" and value:
        return Shown(spoken.reason(value)[words.language], kind)
    if kind == "text" and f"ask_level.{value}" in TEXTS:
        return Shown(words.label("ask_level", value), kind)
    return Shown("" if value is None else words.of(value) if isinstance(value, Mapping) else str(value), kind)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _narrowed(draft: Draft, dimension: str, value: str) -> str | None:
    """Give the address of the same question about this value alone."""
    if dimension not in draft.by:
        return None
    others = tuple(where for where in draft.wheres if where.dimension != dimension)
    by = tuple(name for name in draft.by if name != dimension)
    analysis = "TREND" if draft.analysis == "RANK" and not by else draft.analysis
    return address(replace(draft, analysis=analysis, by=by, wheres=(*others, Where(dimension, (value,)))))


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
        where = address(plans.of_plan(told["plan"]))
    else:
        where = f"/lines/{quote(told['line'])}?range=7d"
    return {"title": words.of(told["title"]), "address": where}
