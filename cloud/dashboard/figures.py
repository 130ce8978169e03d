"""An answer's rows as people read them: names for codes, units behind figures, sorted by any column, narrowed by any name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cloud.bi.analyses import words as spoken
from cloud.dashboard import plans, questions
from cloud.dashboard.plans import Draft, Where
from cloud.wording.formats import ABSENT, number
from cloud.wording.texts import TEXTS, Words

Json = Mapping[str, Any]
SHOWN: Final = 200
"""Rows that stand on the page; the files have all."""
SIGN: Final = {"met": "check", "warning": "triangle", "critical": "octagon", "below": "triangle"}
TONE: Final = {"met": "normal", "warning": "warning", "critical": "critical", "below": "warning"}
"""Levels of CHECK as tags."""
DELTAS: Final = frozenset({"difference", "delta", "mix", "rate", "total"})
"""Columns of changes: shown with their sign, of ratios in percentage points."""
NAMED: Final = {"stop_reason": ("reason", "state"), "defect": ("defect",)}
"""Dimensions whose codes the dashboard has words for, where the plant gave none."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One cell as people read it."""

    text: str
    kind: str
    """number, name, level, time or text."""
    absent: bool = False
    why: str = ""
    """Why there is no figure."""
    narrow: str | None = None
    """The address of the same question about this value alone."""
    tone: str = ""
    sign: str = ""


def table(draft: Draft, said: Json, sort: str, words: Words) -> dict[str, Any]:
    """Give the model of the table. said: the answer. sort: `column` or `column:desc`."""
    columns: Sequence[Json] = said["columns"]
    found: Json = said["findings"]
    groups = {
        (view, part["group"]): words.of(part["name"])
        for view, parts in (found.get("views") or {}).items()
        for part in parts.get("parts", ())
        if "name" in part
    }
    numbers = frozenset(place for place in range(len(columns)) if any(_number(row[place]) for row in said["rows"]))
    table = _Table(draft, columns, said["rows"], found.get("labels", {}), groups, words, numbers)
    places = [place for place, column in enumerate(columns) if table.worth(place, column["name"])]
    rows = _sorted(said["rows"], columns, sort)
    if said["analysis"] == "PREDICT" and not sort:
        rows.reverse()  # what comes first, then the newest of what was
    return {
        "heads": [table.head(place, sort) for place in places],
        "rows": [[table.cell(row, place) for place in places] for row in rows[:SHOWN]],
        "row_count": len(rows),
    }


@dataclass(frozen=True, slots=True)
class _Table:
    """An answer's rows, and what it takes to say them."""

    draft: Draft
    columns: Sequence[Json]
    rows: Sequence[Sequence[Any]]
    labels: Json
    groups: Mapping[tuple[str, str], str]
    """(along what, codes of a group) → its name."""
    words: Words
    numbers: frozenset[int]
    """Places of columns that hold numbers."""

    def worth(self, place: int, name: str) -> bool:
        """Tell whether a column says anything. A unit stands behind its figure instead of beside it."""
        return name != "unit" and (not self.rows or any(row[place] is not None for row in self.rows))

    def head(self, place: int, sort: str) -> Json:
        """Give a column's head; a click sorts the largest figure first, names and times from the beginning."""
        column, (name, _, direction) = self.columns[place], sort.partition(":")
        here, number = name == column["name"], place in self.numbers
        down = here and direction == "desc"
        return {
            "title": self.words.of(column["title"]),
            "number": number,
            "sorted": ("descending" if down else "ascending") if here else "none",
            "address": plans.page(
                self.draft, sort=column["name"] if (down if here else not number) else f"{column['name']}:desc"
            ),
        }

    def cell(self, row: Sequence[Any], place: int) -> Shown:
        """Give one cell in the reader's words."""
        column, value = self.columns[place], row[place]
        kind, name = column["kind"], column["name"]
        if kind == "metric" or _number(value):
            return self._figure(row, place)
        if kind == "dimension":
            text = value_name(name, value, self.labels, self.words)
            return Shown(text, "name", narrow=_narrowed(self.draft, name, value) if value else None)
        if value is None or value is False or kind == "time":
            return Shown(value or "", "number" if place in self.numbers else kind)
        if value is True:
            tone, sign = ("warning", "triangle") if name == "anomaly" else ("", "")
            return Shown(self.words("ask.yes"), "level" if tone else "text", tone=tone, sign=sign)
        if name == "level" and value in TONE:
            return Shown(self.words.label("ask_level", value), "level", tone=TONE[value], sign=SIGN[value])
        return Shown(self._text(name, value, row), "text")

    def _figure(self, row: Sequence[Any], place: int) -> Shown:
        column, value = self.columns[place], row[place]
        if value is None:
            if self.draft.analysis == "PREDICT":  # what has happened has no forecast, and what has not no figure
                return Shown("", "number")
            why = spoken.reason(self._beside(row, "reason"))[self.words.language]
            return Shown(ABSENT, "number", absent=True, why=why)
        if not _number(value):
            return Shown(str(value), "text")
        unit = column["unit"] or str(self._beside(row, "unit") or "")
        if column["name"] in DELTAS:
            return Shown(spoken.signed(value, unit, self.words.language), "number")
        if column["kind"] == "text" and isinstance(value, float):  # a test's figure, or a place among others
            return Shown(number(value, 3 if abs(value) <= 1 else 0), "number")
        return Shown(spoken.figure(value, unit, self.words.language), "number")

    def _beside(self, row: Sequence[Any], name: str) -> Any:
        return next((row[i] for i, column in enumerate(self.columns) if column["name"] == name), None)

    def _text(self, name: str, value: Any, row: Sequence[Any]) -> str:
        """Say a code of an analysis in words."""
        words = self.words
        dimensions = str(self._beside(row, "view") or "").split("×")
        match name:
            case "view":
                return " × ".join(questions.dimension_title(one, words) for one in dimensions)
            case "group":
                return self.groups.get((str(self._beside(row, "view")), value)) or str(value) or words("ask.none_given")
            case "metric" | "first" | "second":
                return questions.metric_title(str(value), words)
            case "reason":
                return spoken.reason(value)[words.language]
            case _ if f"ask_level.{value}" in TEXTS:
                return words.label("ask_level", value)
            case _:
                return words.of(value) if isinstance(value, Mapping) else str(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sorted(rows: Sequence[Sequence[Any]], columns: Sequence[Json], sort: str) -> list[Sequence[Any]]:
    """Give the rows by one column, what has no figure last; as they came without one."""
    name, _, direction = sort.partition(":")
    place = next((i for i, column in enumerate(columns) if column["name"] == name), None)
    if place is None:
        return list(rows)
    known = [row for row in rows if row[place] is not None]
    known.sort(key=lambda row: (not _number(row[place]), row[place] if _number(row[place]) else 0, str(row[place])))
    return [*(reversed(known) if direction == "desc" else known), *(row for row in rows if row[place] is None)]


def value_name(dimension: str, value: str | None, labels: Json, words: Words) -> str:
    """Give the name of a dimension's value: the plant's, the dashboard's word for the code, or the code."""
    if not value:
        return words("ask.none_given")
    named = words.of(labels.get(dimension, {}).get(value, {})) or value
    if named != value:
        return named
    found = (section for section in NAMED.get(dimension, ()) if f"{section}.{value}" in TEXTS)
    section = next(found, None)
    return value if section is None else words.label(section, value)


def _narrowed(draft: Draft, dimension: str, value: str) -> str | None:
    """Give the address of the same question about this value alone."""
    if dimension not in draft.by:
        return None
    others = tuple(where for where in draft.wheres if where.dimension != dimension)
    by = tuple(name for name in draft.by if name != dimension)
    analysis = "TREND" if draft.analysis == "RANK" and not by else draft.analysis
    return plans.page(replace(draft, analysis=analysis, by=by, wheres=(*others, Where(dimension, (value,)))))
