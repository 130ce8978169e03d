"""What an alert says, in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloud.wording import formats
from cloud.wording.texts import Words


def sentence(one: Mapping[str, Any], words: Words) -> str:
    """Say an alert in a sentence."""
    detail, gateway = one["detail"], one["gateway"]
    match one["kind"]:
        case "unaccounted":
            return words("alert.unaccounted", gateway=gateway, count=formats.number(detail["count"]))
        case "conflict":
            return words("alert.conflict", gateway=gateway)
        case "chain":
            return words("alert.chain", gateway=gateway, count=formats.number(detail["count"]))
        case "lost":
            reasons = ", ".join(words.label("loss", reason) for reason in detail["reasons"])
            return words("alert.lost", gateway=gateway, count=formats.number(detail["count"]), why=reasons)
        case "autonomy":
            return words("alert.autonomy", gateway=gateway, hours=detail["hours"])
        case "backup":
            return words("alert.backup") if detail["made"] is None else words("alert.backup_old")
        case "clock":
            return words("alert.clock", gateway=gateway, seconds=formats.number(detail["offset_ms"] / 1000, 1))
        case "silent":
            return words("alert.silent", gateway=gateway)
        case "mart_mismatch":
            told = {"mart": detail["mart"], "measure": detail["measure"]}
            return words("alert.mart_mismatch", work_unit=detail["work_unit"] or detail["site"], **told)
        case "kpi" | "kpi_no_data" as kind:
            told = {name: formats.figure(detail[name], detail["unit"]) for name in ("value", "level")}
            return words(f"alert.{kind}", name=detail["watch"], **told)
        case kind:
            return f"{gateway}: {kind}"
