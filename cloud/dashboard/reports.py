"""Models of the pages of reports: the list, and one report with the charts of its paper. Drawing takes CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from cloud.bi.semantic.catalogue import METRICS
from cloud.drawing import charts as screen
from cloud.plant import Plants
from cloud.reports import charts, telling
from cloud.reports.figures import BY_LINE
from cloud.wording.texts import Words

Json = Mapping[str, Any]

ROWS: Final = 20
FORMS: Final = ("pdf", "xlsx", "png", "csv")


def listing(
    found: Json, schedules: Sequence[Json], letters: Json, words: Words, *, plants: Plants, tenant: str, now_ms: int
) -> dict[str, Any]:
    """Give the model of the list."""
    sites = {
        plant.site.id: words.of({"ko": plant.site.name.ko, "en": plant.site.name.en})
        for plant in plants.of_tenant(tenant)
    }
    return {
        "found": found,
        "now": found["as_of"],
        "items": [
            {**one, "site_name": sites.get(one["site"], one["site"]), "name": _name(one, words)}
            for one in found["items"]
        ],
        "pages": max(1, -(-found["total"] // found["page_size"])),
        "schedules": [{**one, "site_name": sites.get(one["site"], one["site"])} for one in schedules],
        "letters": letters["items"],
        "sites": list(sites.items()),
        "offers": _offers(plants, tenant, now_ms),
        "forms": FORMS,
    }


def _name(one: Json, words: Words) -> str:
    if one["kind"] == "shift":
        return words("report.shift_name", date=one["business_date"], shift=one["shift"])
    end = date.fromisoformat(one["business_date"]) + timedelta(days=6)
    return words("report.week_name", date=one["business_date"], end=end.isoformat())


def _offers(plants: Plants, tenant: str, now_ms: int) -> dict[str, Any]:
    """Give what the form begins with: the last shift that ended, the Monday of last week, every shift's code."""
    sites = plants.of_tenant(tenant)
    if not sites:
        return {"date": "", "monday": "", "shift": "", "shifts": []}
    calendar = sites[0].calendar
    ended = [one for one in calendar.between(now_ms - 3 * 86_400_000, now_ms) if one.scheduled and one.end_ms <= now_ms]
    today = calendar.local(now_ms).date()
    monday = today - timedelta(days=today.isoweekday() + 6)
    return {
        "date": ended[-1].business_date if ended else today.isoformat(),
        "shift": ended[-1].shift if ended else "",
        "monday": monday.isoformat(),
        "shifts": list(dict.fromkeys(shift.code for plant in sites for shift in plant.site.shifts)),
    }


def report(head: Json, data: Json, words: Words) -> dict[str, Any]:
    """Give the model of one report's page, in the reader's language whichever it was mailed in."""
    zone = ZoneInfo(data["timezone"])
    wide, narrow = 1080, 500

    def svg(spec: dict[str, Any], label: str) -> Any:
        return screen.svg(spec, label)

    def both(draw: Callable[[int], dict[str, Any]], label: str, most: int = wide) -> dict[str, Any]:
        return {"wide": svg(draw(most), label), "narrow": svg(draw(screen.NARROW), label)}

    shown = [name for name in BY_LINE if name != "produced"]
    stops = [
        (telling.stop(one, words), one["values"][0], telling.figure(one["values"][0], "s", words))
        for one in data["stops"]
    ]
    defects = [
        (telling.defect(one, words), one["values"][0], telling.figure(one["values"][0], "pieces", words))
        for one in data["defects"]
    ]
    steps = data["waterfall"]["steps"]
    return {
        "head": head,
        "data": data,
        "title": telling.title(data, words),
        "name": telling.name(data, words),
        "span": telling.span(data, words, zone),
        "as_of": telling.at(data["as_of"], zone),
        "site": words.of(data["site"]),
        "notes": telling.lacks(data, words),
        "restated": telling.restated(data, words),
        "complete": data["lacks"]["complete"] and data["ended"],
        "against": telling.before(data, words),
        "cards": [
            {
                **card,
                "name": words.of(card["title"]),
                "figure": telling.figure(card["value"], card["unit"], words),
                "aim": "" if card["target"] is None else telling.figure(card["target"], card["unit"], words),
                "change": telling.change(card, words),
                "good": telling.better(card),
                "why": telling.reason(card["reason"], words),
                "mark": telling.LEVEL_MARK[card["level"]],
            }
            for card in data["cards"]
        ],
        "columns": [words.of(METRICS[name].title) for name in shown],
        "lines": [
            {
                "path": line["work_unit"],
                "name": words.of(line["name"]),
                "mark": telling.LEVEL_MARK[line["level"]],
                "level": line["level"],
                "figures": [telling.figure(line["values"][name], METRICS[name].unit, words) for name in shown],
            }
            for line in data["lines"]
        ],
        "waterfall": both(partial(charts.waterfall, data, words), words("report.losses")) if steps else None,
        "timelines": [
            (
                words.of(one["name"]),
                svg(charts.timeline(data, one, zone, wide), f"{words('report.states')}: {words.of(one['name'])}"),
            )
            for one in data["timelines"]
        ],
        "captions": screen.captions(words),
        "hours": [
            (
                words.of(one["name"]),
                svg(charts.hours(data, one, zone, wide), f"{words('report.output')}: {words.of(one['name'])}"),
            )
            for one in data["hours"]
        ],
        "days": both(partial(charts.days, data, words), words("report.days")) if data["days"] else None,
        "stops": both(partial(charts.pareto, stops, "var(--down)"), words("report.stops"), narrow) if stops else None,
        "defects": both(partial(charts.pareto, defects, "var(--warn-mark)"), words("report.defects"), narrow)
        if defects
        else None,
        "noted": [
            one | {"when": telling.at(one["at"], zone), "place": words.of(one["name"])}
            for one in data["verdicts"]["noted"]
        ],
        "actions": [one | {"when": telling.at(one["at"], zone)} for one in data["actions"]],
        "counts": data["verdicts"]["counts"],
        "measured": [one | {"place": words.of(one["name"])} for one in data["quality"]["measured"]],
        "definitions": [
            (words.of(one["title"]), words.of(one["formula"]), one["hash"][:8]) for one in data["definitions"].values()
        ],
        "forms": FORMS,
    }
