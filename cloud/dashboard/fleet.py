"""Model of the fleet page: gateways with their hours, and what software, rules and models run on every line. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Any, Final

from cloud.bi.lines import Lines
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


def fleet(told: Told, places: Lines, words: Words, zone: tzinfo) -> dict[str, Any]:
    """Give the model of the fleet page."""
    gateways: Sequence[Json] = told.overview["gateways"]
    shown = views.hall(told.overview) | {"ledger": told.completeness["gateways"]}
    lines = _lines(told, places, words)
    software = sorted({one["software"] for one in gateways if one["software"]})
    judged = [line["ruleset"] for line in lines if line["ruleset"]]
    return shown | {
        "strips": {(one["site"], one["gateway"]): _strip(one, words, zone) for one in told.hours["gateways"]},
        "lines": lines,
        "totals": {
            "all": len(gateways),
            "connected": sum(one["state"] == "connected" for one in gateways),
            "lines": len(lines),
            "software": software,
            "skewed": sorted({one["ruleset"] for one in judged if one["beside"] == "version"}),
            "unlike": sorted({f"{one['ruleset']} {one['version']}" for one in judged if one["beside"] == "content"}),
            "breakers": sorted({one["model"] for line in lines for one in line["models"] if one["breaker"] == "open"}),
            "accounted": all(row["balanced"] for row in told.overview["proof"]),
        },
        "hints": [one for one in told.models["models"] if one["hint"] in {"one_line", "process", "cannot_tell"}],
    }


def _lines(told: Told, places: Lines, words: Words) -> list[dict[str, Any]]:
    """Give every line with the ruleset and the models that judge it; lines that nothing judges too."""
    rulesets = {one["ruleset"]: one["versions"] for one in told.rulesets["rulesets"]}
    found: dict[tuple[str, str], dict[str, Any]] = {
        (line["site"], line["work_unit"]): _line(line["site"], line["work_unit"], line["gateway"] or "")
        for line in told.overview["lines"]
    }
    for one in told.rulesets["lines"]:
        line = found.setdefault((one["site"], one["work_unit"]), _line(one["site"], one["work_unit"], one["gateway"]))
        known = line["ruleset"]
        if known is None or known["since"] < one["since"]:
            beside = _beside(one, rulesets[one["ruleset"]])
            line["ruleset"] = dict(one) | {"short": one["hash"][:NAMED], "beside": beside}
            line["gateway"] = one["gateway"]
    for one in told.models["lines"]:
        if one["state"] == "retired":
            continue
        line = found.setdefault((one["site"], one["work_unit"]), _line(one["site"], one["work_unit"], one["gateway"]))
        line["models"].append(dict(one) | {"short": one["sha256"][:NAMED]})
    software = {(one["site"], one["id"]): one["software"] for one in told.overview["gateways"]}
    return [
        line
        | {
            "name": words.of(places.called(site, unit)),
            "key": places.key(site, unit),
            "software": software.get((site, line["gateway"]), ""),
        }
        for (site, unit), line in found.items()
    ]


def _beside(mine: Json, versions: Sequence[Json]) -> str:
    """Tell what stands beside a line's ruleset: a newer `version`, another `content` of its version, or nothing else.

    Files of one version may differ on purpose: each line's names its own model or its own limits.
    """
    if versions[0]["version"] != mine["version"]:
        return "version"
    same = {one["hash"] for one in versions if one["version"] == mine["version"]}
    return "content" if len(same) > 1 else ""


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
