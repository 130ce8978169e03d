"""Values of filters: known beforehand, or brought by facts; checked within the scope, so that nothing else is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from cloud.bi.semantic.catalogue import WORDS
from cloud.bi.semantic.dimensions import Dimension
from cloud.bi.semantic.errors import PlanError, unknown
from cloud.bi.semantic.places import Places
from cloud.database import Connection

_HOLDING: Final[dict[str, tuple[str, ...]]] = {
    "product": ("mart_day", "mart_judgment", "mart_quality"),
    "order": ("mart_order",),
    "lot": ("mart_order", "mart_quality"),
    "defect": ("mart_day_defect",),
    "stop_reason": ("mart_day_stop",),
    "ruleset": ("mart_judgment",),
    "ruleset_version": ("mart_judgment",),
    "model": ("mart_judgment",),
    "material": ("mart_inventory",),
    "location": ("mart_inventory",),
    "characteristic": ("mart_quality",),
}
_MOST: Final = 500
_FORMS: Final = {"week": re.compile(r"^\d{4}-W\d\d$"), "month": re.compile(r"^\d{4}-(0[1-9]|1[0-2])$")}
_OTHER_NAMES: Final[dict[str, str]] = {
    name: number
    for number, names in WORDS["weekday"].items()
    for name in (names["ko"], names["ko"][0], names["en"].lower(), names["en"][:3].lower())
}


Known = set[tuple[str, str, str]]
"""(scope, dimension, value)."""
_REMEMBERED: Final = 10_000


class Values:
    """Which values dimensions have, as one reader may know."""

    def __init__(self, connection: Connection, places: Places, known: Known) -> None:
        """known: what was found before, by anybody of the same scope; what is found is added."""
        self._connection = connection
        self._places = places
        self._known = known

    def checked(self, about: Dimension, values: Sequence[str]) -> tuple[str, ...]:
        """Give a filter's values as the marts write them. Raises PlanError for one that there is not."""
        if any("\0" in value for value in values):
            raise PlanError(f"no {about.id} holds a NUL", "take it out")
        if about.open:
            self._brought(about, values)
            return tuple(dict.fromkeys(values))
        if about.id == "date":
            return tuple(_date(value) for value in values)
        if about.id in _FORMS:
            for value in values:
                if not _FORMS[about.id].fullmatch(value):
                    like = {"week": "2026-W48", "month": "2026-11"}[about.id]
                    raise PlanError(f"{value[:80]!r} is no {about.id}", f"write it as {like}")
            return tuple(values)
        known = self.some(about, _MOST)
        if about.id == "weekday":
            values = [_OTHER_NAMES.get(value.lower(), value) for value in values]
        for value in values:
            if value not in known:
                raise unknown(about.id.replace("_", " "), value, known)
        return tuple(values)

    def some(self, about: Dimension, limit: int) -> list[str]:
        """Give values to choose from: all that are known beforehand, or the first of what facts brought."""
        if about.level is not None:
            keys = [self._places.key(about.level, *line) for line in self._places.lines]
            return list(dict.fromkeys(keys))[:limit]
        if about.id == "shift":
            codes = [shift.code for plant in self._places.plants.values() for shift in plant.site.shifts]
            return list(dict.fromkeys([*codes, ""]))
        if about.id in {"weekday", "time_element"}:
            return list(WORDS[about.id])
        return self._some_brought(about, limit) if about.open else []

    def _brought(self, about: Dimension, values: Sequence[str]) -> None:
        scope = self._places.scope.key()
        for value in values:
            key = (scope, about.id, value)
            if not value or key in self._known:
                continue
            if not any(self._there(table, about, value) for table in _HOLDING[about.id]):
                raise unknown(about.id.replace("_", " "), value, self._some_brought(about, _MOST))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known.add(key)

    def _there(self, table: str, about: Dimension, value: str) -> bool:
        where, bound = self._policy(table)
        sql = f"select 1 from {table} where {where} and {about.columns[0]}=? limit 1"  # noqa: S608 - our own names
        return self._connection.one(sql, (*bound, value)) is not None

    def _some_brought(self, about: Dimension, limit: int) -> list[str]:
        found: dict[str, None] = {}
        column = about.columns[0]
        for table in _HOLDING[about.id]:
            where, bound = self._policy(table)
            sql = f"select distinct {column} from {table} where {where} and {column}<>'' order by {column} limit ?"  # noqa: S608
            found |= dict.fromkeys(row[0] for row in self._connection.execute(sql, (*bound, limit)))
        return sorted(found)[:limit]

    def _policy(self, table: str) -> tuple[str, list[Any]]:
        allowed = self._places.allowed(())
        bound: list[Any] = [self._places.scope.tenant]
        either: list[str] = []
        for site, units in allowed.lines:
            bound.append(site)
            if units is None or table == "mart_inventory":
                either.append("site=?")
            else:
                either.append(f"(site=? and work_unit in ({','.join('?' * len(units))}))")
                bound += sorted(units)
        return f"tenant=? and ({' or '.join(either) or '1=0'})", bound


def _date(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise PlanError(f"{value[:80]!r} is no date", "write it as 2026-11-23") from error
