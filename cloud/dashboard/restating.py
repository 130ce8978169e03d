"""Models of the forms that put figures right: a period restated, what a job found, a record as it should be. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from cloud.bi.times import iso_ns
from cloud.dashboard.data import JOB_ICON, JOB_TONE
from cloud.plant import Plants
from cloud.wording import formats
from cloud.wording.texts import Words

Json = Mapping[str, Any]

COUNTS: Final = ("produced", "good", "scrap", "rework")
"""What is put right most often."""
ROWS: Final = 60
"""Of a job's figures; the API has all of them."""
_LOCAL: Final = "%Y-%m-%dT%H:%M"


def offer(plants: Plants, tenant: str, products: Sequence[str], words: Words) -> dict[str, Any]:
    """Give what the form offers: lines with the time zone that people of their site write times in, and products."""
    sites = plants.of_tenant(tenant)
    return {
        "lines": [
            (f"{plant.site.id}:{unit}", words.of(plant.full_label(unit)), plant.site.timezone)
            for plant in sites
            for unit in plant.names
        ],
        "zones": list(dict.fromkeys(plant.site.timezone for plant in sites)),
        "products": products,
    }


def hour_of(plants: Plants, tenant: str, found: Json) -> dict[str, str]:
    """Give what the form begins with for a figure that differs: its line, and the hour its bucket begins with."""
    try:
        zone = ZoneInfo(plants[tenant, found["site"]].site.timezone)
    except KeyError:
        return {}
    began = formats.instant(found["start"]).astimezone(zone)
    return {
        "line": f"{found['site']}:{found['work_unit']}",
        "start": began.strftime(_LOCAL),
        "end": (began + timedelta(hours=1)).strftime(_LOCAL),
    }


def job(one: Json, plants: Plants, tenant: str, words: Words) -> dict[str, Any]:
    """Give the model of a job with the figures it changed, or would."""
    buckets = one["buckets"] or 0
    return dict(one) | {
        "tone": JOB_TONE.get(one["state"], "unknown"),
        "icon": JOB_ICON.get(one["state"], "question"),
        "share": (one["done_buckets"] or 0) / buckets if buckets else None,
        "over": one["state"] in {"done", "failed"},
        "rows": [_row(figure, plants, tenant, words) for figure in one["figures"][:ROWS]],
        "more": max(0, len(one["figures"]) - ROWS),
    }


def _row(figure: Json, plants: Plants, tenant: str, words: Words) -> dict[str, Any]:
    try:
        line = words.of(plants[tenant, figure["site"]].full_label(figure["work_unit"]))
    except KeyError:
        line = figure["work_unit"]
    return {
        **figure,
        "line": line,
        "sums": [
            (words.label("sum", name), amount(name, figure["before"][name], words), amount(name, after, words))
            for name, after in figure["after"].items()
        ],
    }


def amount(name: str, value: float, words: Words) -> str:
    """Give a sum of the marts as people read it. name: of its column, which says its unit."""
    unit = name.rpartition("_")[2]
    if unit == "ms":
        return formats.duration(value / 1e3, words)
    if unit == "us":
        return formats.duration(value / 1e6, words)
    if unit == "wh":
        return f"{formats.measured(value / 1e3)} kWh"
    return formats.number(value / 1e6 if unit == "micro" else value)


def record(revisions: Json, plants: Plants, tenant: str, words: Words) -> dict[str, Any]:
    """Give the model of a record that is put right: as it stands, its counts apart, and all of it as text.

    The text is made here: a browser's numbers are too coarse for times in ns.
    """
    found = [one for one in revisions["revisions"] if one["body"]]
    one = next((one for one in reversed(found) if one["state"] == "standing"), found[-1])
    body: dict[str, Any] = one["body"]
    unit = str(body.get("work_unit", ""))
    try:
        line = words.of(plants[tenant, one["site"]].full_label(unit))
    except KeyError:
        line = unit
    counts = [(name, body.get(name, 0)) for name in COUNTS] if body.get("kind") == "production" else []
    return {
        "counts": counts,
        "line": line,
        "start": iso_ns(body.get("start")),
        "end": iso_ns(body.get("at")),
        "product": (body.get("context") or {}).get("product"),
        "text": json.dumps(body, ensure_ascii=False, indent=1),
    }
