"""A report as A4 pages in SVG: blocks one under the other, a new page where the next does not fit. Units are points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from cloud.bi.semantic.catalogue import METRICS
from cloud.drawing import charts as pages
from cloud.reports import charts, telling
from cloud.reports.figures import BY_LINE
from cloud.reports.press import FONT
from cloud.reports.setting import (
    EDGE,
    FOOT,
    HIGH,
    INNER,
    SCALE,
    WIDE,
    Block,
    chart,
    fit,
    heading,
    hue,
    label,
    rule,
    table,
    wrap,
    write,
)
from cloud.wording.texts import Words

Json = Mapping[str, Any]

_LEVEL: Final = {
    "met": "--ok",
    "below": "--warn",
    "warning": "--warn",
    "critical": "--bad",
    "no_target": "--muted",
    "no_figure": "--muted",
}


def compose(report: Json, words: Words, zone: tzinfo) -> list[str]:
    """Give the pages of a report."""
    blocks = [
        _head(report, words, zone),
        *_cards(report, words),
        *_lines(report, words),
        *_waterfall(report, words),
        *_states(report, words, zone),
        *_output(report, words, zone),
        *_days(report, words),
        *_causes(report, words),
        *_verdicts(report, words, zone),
        *_quality(report, words),
        *_lacks(report, words),
        *_definitions(report, words),
    ]
    sheets: list[list[str]] = [[]]
    y = EDGE
    for place, block in enumerate(blocks):
        if y + _together(blocks, place) > HIGH - EDGE - FOOT and sheets[-1]:
            sheets.append([])
            y = EDGE
        sheets[-1].append(block.draw(EDGE, y))
        y += block.height
    return [_page(parts, (number, len(sheets)), report, words, zone) for number, parts in enumerate(sheets, 1)]


def _together(blocks: Sequence[Block], place: int) -> float:
    """Give the height of a block and of what it has to stay with."""
    need = blocks[place].height
    while blocks[place].keep and place + 1 < len(blocks):
        place += 1
        need += blocks[place].height
    return need


def _page(parts: Sequence[str], number: tuple[int, int], report: Json, words: Words, zone: tzinfo) -> str:
    left = f"{words.of(report['site'])} · {telling.title(report, words)} · {telling.name(report, words)}"
    middle = words("report.as_of", time=telling.at(report["as_of"], zone))
    foot = (
        rule(EDGE, HIGH - EDGE - 8, INNER)
        + write(EDGE, HIGH - EDGE + 4, fit(left, INNER * 0.6, 7), 7, tone="--muted")
        + write(
            WIDE - EDGE,
            HIGH - EDGE + 4,
            f"{middle} · {words('report.page', n=number[0], all=number[1])}",
            7,
            tone="--muted",
            anchor="end",
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE:.0f}" height="{HIGH:.0f}" viewBox="0 0 {WIDE:.0f} {HIGH:.0f}"'
        f' font-family="{FONT}"><rect width="{WIDE:.0f}" height="{HIGH:.0f}" fill="#ffffff"/>{"".join(parts)}{foot}</svg>'
    )


def _head(report: Json, words: Words, zone: tzinfo) -> Block:
    notes = [telling.span(report, words, zone), words("report.as_of", time=telling.at(report["as_of"], zone))]
    if report.get("version", 1) > 1:
        notes.append(words("report.version", n=report["version"]))
    said = telling.lacks(report, words)
    changed = wrap(telling.restated(report, words), INNER, 8) if report.get("restated") else []
    lines = ", ".join(words.of(line["name"]) for line in report["lines"])

    def draw(x: float, y: float) -> str:
        tone = "--ok" if report["lacks"]["complete"] and report["ended"] else "--warn"
        mark = f'<rect x="{x}" y="{y}" width="4" height="38" fill="{hue("--brand")}"/>'
        parts = [
            mark,
            write(x + 12, y + 11, f"{words.of(report['site'])} · {telling.title(report, words)}", 10, tone="--muted"),
            write(x + 12, y + 34, telling.name(report, words), 20, weight=700),
            write(x, y + 56, fit(" · ".join(notes), INNER, 8.5), 8.5, tone="--muted"),
            write(x, y + 69, fit(lines, INNER, 8.5), 8.5, tone="--muted"),
            write(
                x,
                y + 82,
                fit(("✓ " if tone == "--ok" else "! ") + " ".join(said[:3]), INNER, 8.5),
                8.5,
                tone=tone,
                weight=600,
            ),
        ]
        parts += [write(x, y + 95 + 11 * k, one, 8, tone="--warn") for k, one in enumerate(changed)]
        return "".join(parts)

    return Block(96 + 11 * len(changed), draw)


def _cards(report: Json, words: Words) -> list[Block]:
    found: list[Block] = [heading(words("report.figures"))]
    cards = report["cards"]
    width = (INNER - 3 * 8) / 4
    for begin in range(0, len(cards), 4):
        row = cards[begin : begin + 4]

        def draw(x: float, y: float, row: Sequence[Json] = row) -> str:
            return "".join(_card(x + k * (width + 8), y, width, card, words) for k, card in enumerate(row))

        found.append(Block(62, draw))
    return found


def _card(x: float, y: float, width: float, card: Json, words: Words) -> str:
    aim = (
        words("report.target", value=telling.figure(card["target"], card["unit"], words))
        if card["target"] is not None
        else ""
    )
    changed = telling.change(card, words)
    under = telling.reason(card["reason"], words) if card["value"] is None else aim
    good = telling.better(card)
    tone = "--muted" if good is None else "--ok" if good else "--bad"
    level = _LEVEL[card["level"]]
    stripe = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="54" rx="4" fill="{hue("--paper")}"/>'
    mark = telling.LEVEL_MARK[card["level"]]
    return "".join(
        (
            stripe,
            write(x + 8, y + 14, fit(words.of(card["title"]), width - 26, 8), 8, tone="--muted"),
            write(x + width - 8, y + 14, mark, 8, tone=level, anchor="end"),
            write(
                x + 8, y + 33, fit(telling.figure(card["value"], card["unit"], words), width - 12, 15), 15, weight=700
            ),
            write(x + 8, y + 47, fit(under, width * 0.5, 7), 7, tone="--muted"),
            write(x + width - 8, y + 47, changed, 7, tone=tone, anchor="end", weight=600),
        )
    )


def _lines(report: Json, words: Words) -> list[Block]:
    shown = [name for name in BY_LINE if name != "produced"]
    heads = [words("report.line"), *(words.of(METRICS[name].title) for name in shown)]
    rows = [
        [
            f"{telling.LEVEL_MARK[line['level']]} {words.of(line['name'])}".strip(),
            *(
                telling.figure(line["values"][name], METRICS[name].unit, words).replace(" 개", "").replace(" pcs", "")
                for name in shown
            ),
        ]
        for line in report["lines"]
    ]
    return [heading(words("report.lines")), *table(heads, rows, (0.18, *(0.82 / len(shown),) * len(shown)))]


def _waterfall(report: Json, words: Words) -> list[Block]:
    if not report["waterfall"]["steps"]:
        return []
    drawn = chart(charts.waterfall(report, words, int(INNER / SCALE)))
    return [heading(words("report.losses"), words("report.losses_note")), drawn]


def _states(report: Json, words: Words, zone: tzinfo) -> list[Block]:
    if not report["timelines"]:
        return []

    def legend(x: float, y: float) -> str:
        parts: list[str] = []
        for element, said in pages.captions(words):
            tone = pages.TONES[element].removeprefix("var(").removesuffix(")")
            parts += [
                f'<rect x="{x:.1f}" y="{y + 2:.1f}" width="8" height="8" rx="1.5" fill="{hue(tone)}"/>',
                write(x + 11, y + 9, said, 7.5),
            ]
            x += 20 + 8 * sum(1.0 if letter >= "\u1100" else 0.56 for letter in said)
        return "".join(parts)

    found = [heading(words("report.states")), Block(15, legend, keep=True)]
    for line in report["timelines"]:
        found += [
            label(words.of(line["name"])),
            chart(charts.timeline(report, line, zone, int(INNER / SCALE) - 16, axis=line is report["timelines"][-1])),
        ]
    return found


def _output(report: Json, words: Words, zone: tzinfo) -> list[Block]:
    if not report["hours"]:
        return []
    found = [heading(words("report.output"), words("report.output_note"))]
    for line in report["hours"]:
        found += [label(words.of(line["name"])), chart(charts.hours(report, line, zone, int(INNER / SCALE)))]
    return found


def _days(report: Json, words: Words) -> list[Block]:
    return (
        [heading(words("report.days")), chart(charts.days(report, words, int(INNER / SCALE)))] if report["days"] else []
    )


def _causes(report: Json, words: Words) -> list[Block]:
    half = (INNER - 16) / 2
    stops = [
        (telling.stop(row, words), row["values"][0], telling.figure(row["values"][0], "s", words))
        for row in report["stops"]
    ]
    defects = [
        (telling.defect(row, words), row["values"][0], telling.figure(row["values"][0], "pieces", words))
        for row in report["defects"]
    ]
    sides = [
        chart(charts.pareto(rows, tone, int(half / SCALE)), half)
        if rows
        else Block(16, lambda x, y: write(x, y + 10, words("report.none"), tone="--muted"))
        for rows, tone in ((stops, "var(--down)"), (defects, "var(--warn-mark)"))
    ]

    def titles(x: float, y: float) -> str:
        said = ((x, "report.stops", "report.stops_note"), (x + half + 16, "report.defects", "report.defects_note"))
        return "".join(
            write(at, y + 18, words(what), 11.5, weight=700)
            + write(at + half, y + 18, words(note), 7.5, tone="--muted", anchor="end")
            + rule(at, y + 23, half)
            for at, what, note in said
        )

    return [
        Block(31, titles, keep=True),
        Block(max(side.height for side in sides), lambda x, y: sides[0].draw(x, y) + sides[1].draw(x + half + 16, y)),
    ]


def _verdicts(report: Json, words: Words, zone: tzinfo) -> list[Block]:
    counts = report["verdicts"]["counts"]
    total = sum(counts.values())
    note = words(
        "report.verdict_counts",
        total=total,
        **{code: counts.get(code, 0) for code in ("critical", "warning", "unknown")},
    )
    found: list[Block] = [heading(words("report.verdicts"), note)]
    mark = {"critical": "■", "warning": "▲"}
    for one in report["verdicts"]["noted"]:

        def draw(x: float, y: float, one: Json = one) -> str:
            tone = "--bad" if one["decision"] == "critical" else "--warn"
            return (
                write(
                    x,
                    y + 9,
                    f"{mark[one['decision']]} {words.label('decision', one['decision'])}",
                    8,
                    tone=tone,
                    weight=600,
                )
                + write(x + 58, y + 9, telling.at(one["at"], zone)[5:], 8, tone="--muted")
                + write(x + 120, y + 9, fit(words.of(one["name"]), 92, 8), 8)
                + write(x + 216, y + 9, fit(words.of(one["summary"]), INNER - 216, 8), 8)
            )

        found.append(Block(13.5, draw))
    if not report["verdicts"]["noted"]:
        found.append(Block(16, lambda x, y: write(x, y + 10, words("report.none"), tone="--muted")))
    for one in report["actions"]:
        said = f"{words.label('action_type', one['action_type'])} · {words.label('action_state', one['state'])} · {telling.at(one['at'], zone)[5:]}"
        found.append(Block(13.5, lambda x, y, said=said: write(x, y + 9, fit(said, INNER, 8), 8)))
    return found


def _quality(report: Json, words: Words) -> list[Block]:
    quality = report["quality"]
    if not quality["measured"] and not quality["ccp"]:
        return []
    heads = [
        words("report.line"),
        words("report.characteristic"),
        words("report.measured"),
        words("report.failed"),
        words("report.cpk"),
    ]
    rows = [
        [
            words.of(one["name"]),
            f"{words.label('characteristic', one['characteristic'])} · {one['product']}",
            telling.figure(one["measured"], "", words),
            telling.figure(one["failed"], "", words),
            "–" if one["cpk"] is None else f"{one['cpk']:.2f}",
        ]
        for one in quality["measured"]
    ]
    found = [
        heading(words("report.quality")),
        *(table(heads, rows, (0.25, 0.36, 0.13, 0.13, 0.13), right_from=2) if rows else []),
    ]
    if quality["ccp"]:
        said = words("report.ccp", n=quality["ccp"], failed=quality["ccp_failed"])
        found.append(Block(14, lambda x, y: write(x, y + 8, said)))
    return found


def _lacks(report: Json, words: Words) -> list[Block]:
    found: list[Block] = [heading(words("report.lacks"))]
    for said in telling.lacks(report, words):
        for part in wrap(said, INNER, 8.5):
            found.append(Block(13, lambda x, y, part=part: write(x, y + 9, part)))  # noqa: PERF401 - a lambda each
    return found


def _definitions(report: Json, words: Words) -> list[Block]:
    found: list[Block] = [heading(words("report.definitions"))]
    for one in report["definitions"].values():
        said = fit(f"{words.of(one['title'])} = {words.of(one['formula'])} · {one['hash'][:8]}", INNER, 7)
        found.append(Block(10.5, lambda x, y, said=said: write(x, y + 7.5, said, 7, tone="--muted")))
    note = words("report.definitions_note", digest=report["digest"][:16], plan=report["plan_hash"][:16])
    return [*found, Block(14, lambda x, y: write(x, y + 9, note, 7, tone="--muted"))]
