"""Model of the fleet page: gateways with their hours, and what software, rules and models run on every line. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Any, Final

from cloud.dashboard import views
from cloud.dashboard.ledger import STATES
from cloud.wording import formats
from cloud.wording.texts import Words

Json = Mapping[str, Any]
NAMED: Final = 12
"""So many characters of a hash tell it from every other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the fleet page is made of, as the API gives it."""

    overview: Json
    completeness: Json
    hours: Json
    rulesets: Json
    models: Json


def fleet(told: Told, words: Words, zone: tzinfo) -> dict[str, Any]:
    """Give the model of the fleet page."""
    gateways: Sequence[Json] = told.overview["gateways"]
    shown = views.hall(told.overview, words) | {"ledger": told.completeness["gateways"]}
    lines = _lines(told, shown["names"])
    software = sorted({one["software"] for one in gateways if one["software"]})
    skewed = sorted({line["ruleset"]["ruleset"] for line in lines if line["ruleset"] and line["ruleset"]["beside"]})
    return shown | {
        "strips": {one["gateway"]: _strip(one, words, zone) for one in told.hours["gateways"]},
        "lines": lines,
        "totals": {
            "all": len(gateways),
            "connected": sum(one["state"] == "connected" for one in gateways),
            "lines": len(lines),
            "software": software,
            "skewed": skewed,
            "breakers": sorted({one["model"] for line in lines for one in line["models"] if one["breaker"] == "open"}),
            "accounted": all(row["balanced"] for row in told.overview["proof"]),
        },
        "hints": [one for one in told.models["models"] if one["hint"] in {"one_line", "process", "cannot_tell"}],
    }


def _lines(told: Told, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give every line with the ruleset and the models that judge it; lines that nothing judges too."""
    newest = {one["ruleset"]: one["versions"][0]["hash"] for one in told.rulesets["rulesets"]}
    found: dict[tuple[str, str], dict[str, Any]] = {
        (line["site"], line["work_unit"]): _line(line["site"], line["work_unit"], line["gateway"] or "")
        for line in told.overview["lines"]
    }
    for one in told.rulesets["lines"]:
        line = found.setdefault((one["site"], one["work_unit"]), _line(one["site"], one["work_unit"], one["gateway"]))
        known = line["ruleset"]
        if known is None or known["since"] < one["since"]:
            beside = newest[one["ruleset"]] != one["hash"]
            line["ruleset"] = dict(one) | {"short": one["hash"][:NAMED], "beside": beside}
            line["gateway"] = one["gateway"]
    for one in told.models["lines"]:
        if one["state"] == "retired":
            continue
        line = found.setdefault((one["site"], one["work_unit"]), _line(one["site"], one["work_unit"], one["gateway"]))
        line["models"].append(dict(one) | {"short": one["sha256"][:NAMED]})
    software = {one["id"]: one["software"] for one in told.overview["gateways"]}
    return [
        line | {"name": names.get(line["work_unit"], line["work_unit"]), "software": software.get(line["gateway"], "")}
        for line in found.values()
    ]


def _line(site: str, work_unit: str, gateway: str) -> dict[str, Any]:
    return {"site": site, "work_unit": work_unit, "gateway": gateway, "ruleset": None, "models": []}


def _strip(gateway: Json, words: Words, zone: tzinfo) -> dict[str, Any]:
    """Give a gateway's 48 hours as cells of a strip, and as a sentence."""
    cells = [hour["state"] for hour in gateway["hours"]]
    counts = {state: cells.count(state) for state in STATES}
    spoken = ", ".join(
        words("hours.count", n=count, state=words.label("hour_state", state))
        for state, count in counts.items()
        if count
    )
    begin = formats.instant(gateway["hours"][0]["start"]).astimezone(zone) if cells else None
    end = formats.instant(gateway["hours"][-1]["start"]).astimezone(zone) + timedelta(hours=1) if cells else None
    look = sum(counts[state] for state in ("unaccounted", "lost", "unknown"))
    return {
        "cells": cells,
        "spoken": spoken,
        "from": f"{begin:%m-%d %H:%M}" if begin else "",
        "to": f"{end:%m-%d %H:%M}" if end else "",
        "look": look,
        "arriving": counts["arriving"],
        "complete": counts["complete"],
    }
