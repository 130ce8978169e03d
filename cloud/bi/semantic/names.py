"""What the values of dimensions are called, in both languages; the code itself where nobody named it."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, cast

from cloud.bi.semantic.catalogue import LANGUAGES, WORDS
from cloud.bi.semantic.places import Places
from cloud.database import Connection
from cloud.wording.texts import TEXTS

Label = dict[str, str]


class Names:
    """Labels within one snapshot, read once each."""

    def __init__(self, connection: Connection, places: Places) -> None:
        self._connection = connection
        self._places = places

    def label(self, dimension: str, value: str) -> Label:
        """Give `ko` and `en`."""
        if not value:
            return dict(WORDS["nothing"])
        if dimension == "line":
            line = self._places.line(value)
            return _same(value) if line is None else self._places.plants[line[0]].full_label(line[1])
        if dimension == "site":
            plant = self._places.plants.get(value)
            return _same(value) if plant is None else {"ko": plant.site.name.ko, "en": plant.site.name.en}
        if dimension in {"weekday", "time_element"}:
            return dict(WORDS[dimension].get(value, _same(value)))
        if dimension == "product":
            return self._products.get(value, _same(value))
        if dimension == "material":
            return self._materials.get(value, _same(value))
        if dimension == "defect":
            return self._defects.get(value) or _word(value, "defect")
        if dimension == "stop_reason":  # where nobody named one, the state's name stands
            return self._reasons.get(value) or _word(value, "reason", "state")
        return _same(value)

    @cached_property
    def _products(self) -> dict[str, Label]:
        rows = self._connection.execute(
            "select product, name, site from dim_product where tenant=? and valid_to_ms is null",
            (self._places.scope.tenant,),
        )
        return {product: _told(product, name) for product, name, site in rows if site in self._places.plants}

    @cached_property
    def _materials(self) -> dict[str, Label]:
        told = [(one.id, one.name) for plant in self._places.plants.values() for one in plant.site.materials]
        return {material: {"ko": name.ko, "en": name.en} for material, name in reversed(told) if name is not None}

    @cached_property
    def _defects(self) -> dict[str, Label]:
        return self._pairs("select defect, name_ko, name_en from dim_defect_type where tenant=?")

    @cached_property
    def _reasons(self) -> dict[str, Label]:
        return self._pairs("select reason, name_ko, name_en from dim_stop_reason where tenant=?")

    def _pairs(self, sql: str) -> dict[str, Label]:
        rows = self._connection.execute(sql, (self._places.scope.tenant,))
        return {code: {"ko": ko or en, "en": en or ko} for code, ko, en in rows if {ko, en} - {code, ""}}


def _same(value: str) -> Label:
    return dict.fromkeys(LANGUAGES, value)


def _word(code: str, *sections: str) -> Label:
    """Give the house's word for a code."""
    for section in sections:
        if (found := TEXTS.get(f"{section}.{code}")) is not None:
            return {one: found[one] for one in LANGUAGES}
    return _same(code)


def _told(code: str, name: str) -> Label:
    try:
        said: Any = json.loads(name or "{}")
    except ValueError:
        return _same(code)
    if not isinstance(said, dict):
        return _same(code)
    names = {k: str(v) for k, v in cast("dict[str, Any]", said).items() if v}
    other = next(iter(names.values()), code)
    return {one: names.get(one, other) for one in LANGUAGES}
