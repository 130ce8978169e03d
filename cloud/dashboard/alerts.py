"""Models of the page of alerts and of the watches on it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cloud.alerting import words as spoken
from cloud.alerting.rows import Against, Severity, Watched
from cloud.alerting.states import Side
from cloud.bi.semantic.catalogue import METRICS
from cloud.plant import Plants
from cloud.wording import formats
from cloud.wording.texts import Words

Json = Mapping[str, Any]

ROWS: Final = 20
PERIODS: Final[tuple[Watched, ...]] = ("this_shift", "last_shift", "today", "yesterday", "last_7_days", "this_week")
AGAINST: Final[tuple[Against, ...]] = ("value", "target", "warning", "critical")
SIDES: Final[tuple[Side, ...]] = ("below", "above")
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "warning", "info")
ICON: Final = {"critical": "octagon", "warning": "triangle", "info": "question"}


def alerts(
    found: Json, watches: Json, asked: Mapping[str, str], words: Words, *, plants: Plants, tenant: str
) -> dict[str, Any]:
    """Give the model of the page. asked: the filters as they stand in the address."""
    items = [
        item
        | {
            "text": spoken.sentence(dict(item), plants, tenant, words),
            "icon": ICON.get(item["severity"], "question"),
            "hushed": item["silent_until"] is not None and item["silent_until"] > found["as_of"],
            "lasted": formats.age(item["raised"], item["cleared"] or found["as_of"]),
        }
        for item in found["items"]
    ]
    pages = max(1, -(-found["total"] // found["page_size"]))
    return {
        "found": found,
        "items": items,
        "now": found["as_of"],
        "pages": pages,
        "asked": asked,
        "filtered": any(asked[name] for name in ("severity", "kind", "work_unit")),
        "states": ("standing", "past", "all"),
        "severities": SEVERITIES,
        "watches": [_watch(one, words, plants, tenant) for one in watches["items"]],
        "lines": _lines(plants, tenant, words),
    }


def form(words: Words, plants: Plants, tenant: str) -> dict[str, Any]:
    """Give what the form of a watch offers."""
    return {
        "metrics": sorted(
            ((name, words.of(one.title), one.unit) for name, one in METRICS.items()), key=lambda row: row[1]
        ),
        "sites": [
            (plant.site.id, spoken.place(plants, tenant, plant.site.id, "", words))
            for plant in plants.of_tenant(tenant)
        ],
        "lines": _lines(plants, tenant, words),
        "periods": PERIODS,
        "againsts": AGAINST,
        "sides": SIDES,
        "severities": SEVERITIES,
    }


def _lines(plants: Plants, tenant: str, words: Words) -> list[tuple[str, str, str]]:
    return [
        (plant.site.id, unit, words.of(plant.full_label(unit)))
        for plant in plants.of_tenant(tenant)
        for unit in plant.names
    ]


def _watch(one: Json, words: Words, plants: Plants, tenant: str) -> dict[str, Any]:
    standing, unit = one["standing"], one["unit"]
    level = one["level"] if one["against"] == "value" else (standing or {}).get("level")
    shown = {name: formats.figure(value, unit) for name, value in (("level", level), ("recovery", one["recovery"]))}
    told = words(f"watch.rule_{one['side']}", **shown)
    reason = (standing or {}).get("reason")
    return {
        **one,
        "title": spoken.title(one["metric"], words),
        "where": spoken.place(plants, tenant, one["site"], one["work_unit"], words),
        "rule": told,
        "state": "off" if not one["enabled"] else "never" if standing is None else standing["state"],
        "value": None if standing is None else standing["value"],
        "figure": formats.figure(None if standing is None else standing["value"], unit),
        "why": words.label("figure_reason", reason) if reason else "",
        "since": None if standing is None else standing["since"],
    }


def asked_of(params: Mapping[str, str]) -> dict[str, str]:
    """Give the filters of an address; what is none of ours is passed over."""
    state = params.get("state", "standing")
    return {
        "state": state if state in {"standing", "past", "all"} else "standing",
        "severity": params.get("severity", "") if params.get("severity") in SEVERITIES else "",
        "kind": params.get("kind", "")[:64].replace("\0", ""),
        "work_unit": params.get("work_unit", "")[:200].replace("\0", ""),
    }


def counted(kinds: Sequence[str], words: Words) -> list[tuple[str, str]]:
    """Give kinds with their words, to choose from."""
    return [(kind, words.label("alert_kind", kind)) for kind in kinds]
