"""Models of the pages of completeness and audit, and of the banner of alerts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta, tzinfo
from typing import Any, Final

from cloud.dashboard import views
from cloud.wording import alerts, formats
from cloud.wording.texts import Words

STATES: Final = ("complete", "arriving", "lost", "unaccounted", "unknown", "running", "empty")
"""What the legend explains."""
LOOK_AT: Final = ("unaccounted", "lost", "unknown", "arriving")
"""Hours that stand in the table: the most urgent first."""
LATE: Final = 20
"""A grid that begins later in the day names the next day only: there is no room for two dates."""
IN_TABLE: Final = 24
IN_BANNER: Final = 3

Json = Mapping[str, Any]


def completeness(hours: Json, ledger: Json, words: Words, zone: tzinfo) -> dict[str, Any]:
    """Give the model of the page of completeness."""
    marks = views.marks([*hours["gateways"], *ledger["findings"], *ledger["requests"], *ledger["conflicts"]], "gateway")
    rows = [
        _row(gateway | {"called": marks[gateway["site"], gateway["gateway"]]}, words, zone, ledger)
        for gateway in hours["gateways"]
    ]
    table = [part for row in rows for part in _joined(row["cells"], words)]
    table.sort(key=lambda cell: cell["start"], reverse=True)
    table.sort(key=lambda cell: LOOK_AT.index(cell["state"]))
    known = [cell for row in rows for cell in row["cells"] if cell["state"] != "before"]
    counts = {state: sum(cell["state"] == state for cell in known) for state in STATES}
    return {
        "now": hours["as_of"],
        "rows": rows,
        "table": table[:IN_TABLE],
        "more": max(0, len(table) - IN_TABLE),
        "states": [state for state in STATES if counts[state] or state == "complete"],
        "counts": counts,
        "known": len(known),
        "look": counts["unaccounted"] + counts["lost"] + counts["unknown"],
        "ledger": ledger,
        "marks": marks,
        "backup_age_s": _backup_age(ledger),
        "not_safe": sum(gateway["not_safe"] for gateway in hours["gateways"]),
    }


def _backup_age(ledger: Json) -> float | None:
    made = ledger["safe"]["backup"]
    return None if made is None else formats.age(made["made"], ledger["as_of"])


def _row(gateway: Json, words: Words, zone: tzinfo, ledger: Json) -> dict[str, Any]:
    health = next(
        (one for one in ledger["gateways"] if (one["site"], one["id"]) == (gateway["site"], gateway["gateway"])), None
    )
    cells = [_cell(gateway, hour, words, zone) for hour in gateway["hours"]]
    for place, cell in enumerate(cells):
        first = place == 0 and cell["hour"] % 6 < 4  # else its label would stand in that of the next
        cell["mark"] = cell["clock"] if first or cell["hour"] % 6 == 0 else ""
        begins = place == 0 and cell["hour"] <= LATE
        cell["date"] = cell["day"] if begins or cell["hour"] == 0 else ""
    counts = {state: sum(cell["state"] == state for cell in cells) for state in STATES}
    spoken = ", ".join(
        words("hours.count", n=count, state=words.label("hour_state", state))
        for state, count in counts.items()
        if count
    )
    return {
        "gateway": gateway["gateway"],
        "called": gateway["called"],
        "site": gateway["site"],
        "heard": gateway["heard"],
        "state": health["state"] if health else "never",
        "total": gateway["total"],
        "cells": cells,
        "spoken": spoken,
    }


def _joined(cells: list[dict[str, Any]], words: Words) -> list[dict[str, Any]]:
    """Give the rows of the table; hours in a row that only wait, or that nobody knows, are one."""
    found: list[dict[str, Any]] = []
    for place, cell in enumerate(cells):
        if cell["state"] not in LOOK_AT:
            continue
        last = found[-1] if found else None
        alike = last is not None and place and cells[place - 1]["state"] == cell["state"] in {"unknown", "arriving"}
        if last is None or not alike:
            found.append({**cell})
            continue
        cell["id"] = last["id"]
        for term in ("produced", "stored", "waiting", "lost", "unaccounted"):
            last[term] += cell[term]
        reasons = Counter({loss["reason"]: loss["count"] for loss in last["losses"]})
        reasons.update({loss["reason"]: loss["count"] for loss in cell["losses"]})
        last["losses"] = [{"reason": reason, "count": count} for reason, count in reasons.items()]
        last["unknown"] = max(last["unknown"], cell["unknown"])
        until = cell["name"].rpartition("–")[2]
        day = f"{cell['day']} " if cell["day"] != last["day"] else ""
        last["name"] = f"{last['name'].rpartition('–')[0]}–{day}{until}"
        last["end"], last["why"] = cell["end"], why(last, words)
    return found


def _cell(gateway: Json, hour: Json, words: Words, zone: tzinfo) -> dict[str, Any]:
    start = formats.instant(hour["start"])
    end = start + timedelta(hours=1)
    at, until = start.astimezone(zone), end.astimezone(zone)
    name = f"{at:%m-%d} {at:%H:%M}–{until:%H:%M}"
    reasons = why(hour, words)
    return {
        **hour,
        "gateway": gateway["gateway"],
        "called": gateway["called"],
        "site": gateway["site"],
        "end": end.isoformat().replace("+00:00", "Z"),
        "id": f"hour-{gateway['called']}-{at:%m%d%H}",
        "name": name,
        "clock": f"{at:%H}",
        "hour": at.hour,
        "day": f"{at:%m-%d}",
        "why": reasons,
        "title": " · ".join([f"{gateway['called']} {name}", words.label("hour_state", hour["state"]), *reasons]),
        "opens": hour["state"] in LOOK_AT,
    }


def why(hour: Json, words: Words) -> list[str]:
    """Say in short what became of an hour's records."""
    said: list[str] = []
    if hour["produced"]:
        said.append(
            words("hours.stored_of", stored=formats.number(hour["stored"]), produced=formats.number(hour["produced"]))
        )
    if hour["waiting"]:
        said.append(words("hours.waiting_n", n=formats.number(hour["waiting"])))
    said += [
        words("hours.lost_n", n=formats.number(loss["count"]), why=words.label("loss", loss["reason"]))
        for loss in hour["losses"]
    ]
    if hour["unaccounted"]:
        said.append(words("hours.unaccounted_n", n=formats.number(hour["unaccounted"])))
    if hour["unknown"]:
        said.append(words("hours.unknown_n", n=formats.number(hour["unknown"])))
    elif hour["state"] == "unknown":
        said.append(words("hours.unheard"))
    return said


def banner(standing: Sequence[Json], words: Words, *, whole: bool = False) -> dict[str, Any]:
    """Give the model of the banner: the most urgent alerts in words, and how many more there are."""
    shown = len(standing) if whole else IN_BANNER
    return {
        "alerts": [
            {"id": one["id"], "severity": one["severity"], "kind": one["kind"], "text": alerts.sentence(one, words)}
            for one in standing[:shown]
        ],
        "alerts_more": max(0, len(standing) - shown),
    }


def audit(page: Json, choices: Mapping[str, Sequence[Any]], asked: Mapping[str, str], words: Words) -> dict[str, Any]:
    """Give the model of the audit page. asked: the filters as they stand in the address."""
    marks = views.marks(choices["gateway"], "gateway")
    items = [
        item
        | {
            "called": marks.get((item["site"], item["gateway"]), item["gateway"]),
            "name": f"{item['gateway']}/{item['ord']}/{words.label('stream', str(item['stream']))}/{item['seq']}",
            "details": [(key, _plain(value)) for key, value in item["detail"].items()],
        }
        for item in page["items"]
    ]
    return {
        "found": page,
        "items": items,
        "choices": {**choices, "gateway": list(marks.values())},
        "asked": asked,
        "filtered": any(asked.values()),
        "first": (page["page"] - 1) * page["page_size"] + 1 if items else 0,
        "until": (page["page"] - 1) * page["page_size"] + len(items),
    }


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else formats.measured(value) if isinstance(value, float) else str(value)
