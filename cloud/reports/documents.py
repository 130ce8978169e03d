"""The forms of a report: PDF, PNG, spreadsheet, CSV, and the letter that brings it. Takes CPU: call it off the event loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final, Literal, TypedDict
from zoneinfo import ZoneInfo

from cloud.bi.semantic.catalogue import METRICS
from cloud.reports import paper, press, telling
from cloud.reports.sheets import Head, Kind, Sheet, csv_lines, xlsx
from cloud.wording.texts import Words

Json = Mapping[str, Any]
Form = Literal["pdf", "png", "xlsx", "csv"]
MEDIA: Final[dict[Form, str]] = {
    "pdf": "application/pdf",
    "png": "image/png",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
}
TABLES: Final = ("figures", "lines", "losses", "hours", "days", "stops", "defects", "verdicts", "quality")


class NoSuchPageError(Exception):
    """The report has fewer pages."""


class Written(TypedDict):
    """Subject, text and HTML of a letter."""

    subject: str
    body: str
    html: str


def words_of(report: Json) -> Words:
    return Words("en" if report["language"] == "en" else "ko")


def file_name(report: Json, form: str) -> str:
    """Give the name under which people save it."""
    shift = f"-{report['shift']}" if report["shift"] else ""
    version = f"-v{report['version']}" if report["version"] > 1 else ""
    plain = "".join(
        letter if letter.isalnum() or letter in "-_." else "-"
        for letter in f"{report['site']['id']}-{report['kind']}-{report['business_date']}{shift}"
    )
    return f"{plain}{version}-{report['language']}.{form}"


def draw(report: Json, form: Form, *, page: int = 1, table: str = "lines") -> bytes:
    """Give one form. page: of PNG; table: of CSV. Raises FontError, NoSuchPageError."""
    words, zone = words_of(report), ZoneInfo(report["timezone"])
    title = f"{words.of(report['site'])} · {telling.title(report, words)} · {telling.name(report, words)}"
    match form:
        case "pdf":
            return press.pdf(paper.compose(report, words, zone), title=title, author="Triflow", language=words.language)
        case "png":
            pages = paper.compose(report, words, zone)
            if page > len(pages):
                raise NoSuchPageError(f"the report has {len(pages)} pages, no page {page}")
            return press.png(pages[page - 1])
        case "xlsx":
            notes = [
                (words("report.figures"), title),
                ("", telling.span(report, words, zone)),
                ("", words("report.as_of", time=telling.at(report["as_of"], zone))),
                *(("", one) for one in telling.lacks(report, words)),
                *((words.of(one["title"]), words.of(one["formula"])) for one in report["definitions"].values()),
            ]
            return xlsx(tables(report, words), title=telling.title(report, words), notes=notes, zone=zone)
        case "csv":
            found = next(one for key, one in _tables(report, words) if key == table)
            return "".join(csv_lines(found)).encode()


def tables(report: Json, words: Words) -> list[Sheet]:
    """Give a report's tables, those with rows."""
    return [sheet for _, sheet in _tables(report, words) if sheet.rows]


def _kind(unit: str) -> Kind:
    return "percent" if unit == "1" else "number"


def _head(name: str, words: Words) -> Head:
    metric = METRICS[name]
    unit = "" if metric.unit == "1" else telling.UNITS.get(metric.unit, {}).get(words.language, metric.unit)
    return Head(title=words.of(metric.title), unit=unit, kind=_kind(metric.unit))


def _tables(report: Json, words: Words) -> Iterable[tuple[str, Sheet]]:
    line = Head(title=words("report.line"))
    number: Kind = "number"

    def head(text: str, kind: Kind = "text", unit: str = "") -> Head:
        return Head(title=words(text), kind=kind, unit=unit)

    yield (
        "figures",
        Sheet(
            name=words("report.figures"),
            columns=[
                head("report.figures"),
                Head(title=words("report.value"), kind=number),
                Head(title=words("report.unit")),
                head("report.target_head", number),
                head("report.before_head", number),
                head("report.level"),
            ],
            rows=[
                [
                    words.of(one["title"]),
                    one["value"],
                    one["unit"],
                    one["target"],
                    one["before"],
                    words.label("level", one["level"]),
                ]
                for one in report["cards"]
            ],
        ),
    )
    names = list(report["lines"][0]["values"]) if report["lines"] else []
    yield (
        "lines",
        Sheet(
            name=words("report.lines"),
            columns=[line, *(_head(name, words) for name in names)],
            rows=[[words.of(one["name"]), *(one["values"][name] for name in names)] for one in report["lines"]],
        ),
    )
    yield (
        "losses",
        Sheet(
            name=words("report.losses"),
            columns=[head("report.losses"), Head(title=words("report.hours_axis"), unit="h", kind=number)],
            rows=[
                [words.label("loss_step", one["name"]), one["ms"] / 3_600_000] for one in report["waterfall"]["steps"]
            ],
        ),
    )
    made = [_head(name, words) for name in ("produced", "good", "scrap", "planned")]
    yield (
        "hours",
        Sheet(
            name=words("report.output"),
            columns=[line, Head(title=words("report.hour"), kind="time"), *made],
            rows=[
                [
                    words.of(one["name"]),
                    hour["start"],
                    *(hour[name] for name in ("produced", "good", "scrap", "planned")),
                ]
                for one in report["hours"]
                for hour in one["hours"]
            ],
        ),
    )
    yield (
        "days",
        Sheet(
            name=words("report.days"),
            columns=[
                Head(title=words("report.date")),
                line,
                *(_head(name, words) for name in ("oee", "produced", "scrap")),
            ],
            rows=[[one["date"], words.of(one["name"]), *one["values"].values()] for one in report["days"]],
        ),
    )
    yield (
        "stops",
        Sheet(
            name=words("report.stops"),
            columns=[
                head("report.stops"),
                Head(title=words("report.time"), unit="s", kind=number),
                Head(title=words("report.count"), kind=number),
            ],
            rows=[[telling.stop(one, words), *one["values"]] for one in report["stops"]],
        ),
    )
    yield (
        "defects",
        Sheet(
            name=words("report.defects"),
            columns=[head("report.defects"), _head("defects", words)],
            rows=[[telling.defect(one, words), *one["values"]] for one in report["defects"]],
        ),
    )
    yield (
        "verdicts",
        Sheet(
            name=words("report.verdicts"),
            columns=[
                Head(title=words("report.time"), kind="time"),
                line,
                head("report.level"),
                head("report.verdicts"),
            ],
            rows=[
                [one["at"], words.of(one["name"]), words.label("decision", one["decision"]), words.of(one["summary"])]
                for one in report["verdicts"]["noted"]
            ],
        ),
    )
    yield (
        "quality",
        Sheet(
            name=words("report.quality"),
            columns=[
                line,
                head("report.characteristic"),
                Head(title=words("report.product")),
                head("report.measured", number),
                head("report.failed", number),
                head("report.cpk", number),
            ],
            rows=[
                [
                    words.of(one["name"]),
                    one["characteristic"],
                    one["product"],
                    one["measured"],
                    one["failed"],
                    one["cpk"],
                ]
                for one in report["quality"]["measured"]
            ],
        ),
    )


def letter(report: Json, *, number: int, page: str | None, late_min: int, without: str = "") -> Written:
    """Write the letter that brings a report. late_min: how late it is made; without: why no PDF goes with it."""
    words, zone = words_of(report), ZoneInfo(report["timezone"])
    site, name = words.of(report["site"]), telling.name(report, words)
    lines = [f"{words.of(one['title'])}: {telling.figure(one['value'], one['unit'], words)}" for one in report["cards"]]
    notes = [
        telling.span(report, words, zone),
        words("report.as_of", time=telling.at(report["as_of"], zone)),
        *telling.lacks(report, words),
    ]
    if late_min:
        notes.append(words("report.late", minutes=late_min))
    if without:
        notes.append(without)
    link = f"{page.rstrip('/')}/reports/{number}" if page else ""
    rows = "".join(
        '<tr><td style="padding:6px 12px 6px 0;color:#5a6168;border-bottom:1px solid #dedad0">'
        f'{escape(words.of(one["title"]))}</td><td style="padding:6px 12px;text-align:right;font-weight:600;'
        f'border-bottom:1px solid #dedad0">{escape(telling.figure(one["value"], one["unit"], words))}</td>'
        f'<td style="padding:6px 0;text-align:right;color:#5a6168;border-bottom:1px solid #dedad0">{escape(telling.change(one, words))}</td></tr>'
        for one in report["cards"]
    )
    told = "".join(f'<p style="margin:4px 0;font-size:13px;color:#5a6168">{escape(one)}</p>' for one in notes)
    opened = f'<p><a href="{escape(link)}" style="color:#0d4f4b">{escape(words("report.open"))}</a></p>' if link else ""
    html = (
        f'<!doctype html><html lang="{words.language}"><body style="margin:0;padding:20px;background:#f5f3ee;color:#1b2125;'
        "font-family:Pretendard,'Noto Sans KR','Malgun Gothic',sans-serif\">"
        f'<p style="margin:0;color:#5a6168;font-size:13px">{escape(site)} · {escape(telling.title(report, words))}</p>'
        f'<h1 style="margin:0 0 8px;font-size:22px">{escape(name)}</h1>{told}'
        f'<table role="presentation" style="border-collapse:collapse;margin:14px 0;min-width:320px">{rows}</table>{opened}</body></html>'
    )
    body = "\n".join(
        [f"{site} · {telling.title(report, words)} · {name}", "", *lines, "", *notes, *([link] if link else [])]
    )
    return {"subject": f"{site} {telling.title(report, words)} {name}", "body": body + "\n", "html": html}
