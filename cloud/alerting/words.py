"""Alerts in words: sentences for pages and letters, in Korean and English."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from html import escape
from typing import Any, Final, TypedDict
from zoneinfo import ZoneInfo

from cloud.alerting.digest import Said
from cloud.bi.semantic.catalogue import METRICS
from cloud.bi.times import iso
from cloud.plant import Plants
from cloud.wording import alerts, formats
from cloud.wording.texts import Words

ORDER: Final = ("critical", "warning", "info")
TONE: Final = {"critical": "#a1261a", "warning": "#8f4b00", "info": "#5a6168", "over": "#16706a"}
"""Letters know no style sheet: the light tones of tokens.css."""


class Written(TypedDict):
    """Subject, text and HTML of a letter."""

    subject: str
    body: str
    html: str


def title(metric: str, words: Words) -> str:
    """Give a metric's name; its id where the catalogue no longer has it."""
    known = METRICS.get(metric)
    return metric if known is None else words.of(known.title)


def place(plants: Plants, tenant: str, site: str, work_unit: str, words: Words) -> str:
    """Give a line's name, a site's where there is no line."""
    try:
        plant = plants[tenant, site]
    except KeyError:
        return work_unit or site
    if work_unit:
        return words.of(plant.full_label(work_unit))
    return words.of({"ko": plant.site.name.ko, "en": plant.site.name.en})


def sentence(row: dict[str, Any], plants: Plants, tenant: str, words: Words) -> str:
    """Say an alert in a sentence. row: site, gateway, work_unit, kind, detail."""
    detail = row["detail"]
    if row["kind"] in {"kpi", "kpi_no_data"}:
        where = place(plants, tenant, row["site"], row["work_unit"], words)
        if row["kind"] == "kpi_no_data":
            return words("alerts.no_data", where=where, metric=title(detail["metric"], words))
        return words(
            f"alerts.{detail['side']}",
            where=where,
            metric=title(detail["metric"], words),
            value=formats.figure(detail["value"], detail["unit"]),
            level=formats.figure(detail["level"], detail["unit"]),
            period=words.label("watch_period", detail["period"]),
        )
    return alerts.sentence(row, words)


def letter(
    said: Sequence[Said],
    plants: Plants,
    tenant: str,
    language: str,
    *,
    page: str | None,
    spared: int,
    now_ms: int,
    unseen: int = 0,
) -> Written:
    """Write a letter about alerts: the new ones first, then what still stands, then what is over.

    unseen: after how many minutes without acknowledgement this one is written; 0 for the first readers' letters.
    """
    words = Words("en" if language == "en" else "ko")
    sites = plants.of_tenant(tenant)
    zone: tzinfo = ZoneInfo(sites[0].site.timezone) if sites else ZoneInfo("UTC")
    ranked = sorted(said, key=lambda one: (_rank(one), one.alert.raised_ms))
    lines: list[str] = []
    rows: list[str] = []
    for one in ranked:
        text = sentence(one.alert.row, plants, tenant, words)
        head = words("alerts.over") if one.why == "over" else words.label("severity", one.alert.severity)
        began = formats.clock(iso(one.alert.raised_ms), zone, now=iso(now_ms), seconds=False)
        waited = (now_ms - one.alert.raised_ms) // 60_000
        notes = [words(f"alerts.mail_{one.why}", time=began, minutes=waited)]
        if one.why == "over" or (one.alert.cleared_ms is not None):
            ended = formats.clock(iso(one.alert.cleared_ms or now_ms), zone, now=iso(now_ms), seconds=False)
            notes.append(words("alerts.mail_ended", time=ended))
        if one.late:
            notes.append(words("alerts.mail_late", minutes=waited))
        lines += [f"[{head}] {text}", f"    {' · '.join(notes)}", ""]
        tone = TONE["over" if one.why == "over" else one.alert.severity]
        rows.append(
            f'<tr><td style="padding:10px 12px;border-left:4px solid {tone};background:#fffefb">'
            f'<div style="color:{tone};font-weight:600;font-size:13px">{escape(head)}</div>'
            f'<div style="font-size:15px;color:#1b2125">{escape(text)}</div>'
            f'<div style="font-size:12px;color:#5a6168">{escape(" · ".join(notes))}</div></td></tr>'
            '<tr><td style="height:8px"></td></tr>'
        )
    tail: list[str] = []
    if spared:
        tail.append(words("alerts.mail_spared", n=spared))
    if page:
        tail.append(f"{words('alerts.mail_open')}: {page.rstrip('/')}/alerts")
    first = sentence(ranked[0].alert.row, plants, tenant, words)
    fresh = [one for one in said if one.why != "over"]
    worst = min((_rank(one) for one in fresh), default=len(ORDER))
    head = words.label("severity", ORDER[worst]) if fresh else words("alerts.over")
    if unseen:
        head = words("alerts.unseen_head", severity=head, minutes=unseen)
    subject = f"[{head}] {first}" + (f" · {words('alert.more', n=len(said) - 1)}" if len(said) > 1 else "")
    foot = "".join(f'<p style="font-size:13px;color:#5a6168">{escape(one)}</p>' for one in tail)
    html = (
        f'<!doctype html><html lang="{words.language}"><body style="margin:0;padding:20px;background:#f5f3ee;'
        f'font-family:Pretendard,\'Noto Sans KR\',\'Malgun Gothic\',sans-serif"><table role="presentation" width="100%"'
        f' style="max-width:640px;border-collapse:collapse">{"".join(rows)}</table>{foot}</body></html>'
    )
    return {"subject": subject[:200], "body": "\n".join([*lines, *tail]) + "\n", "html": html}


def _rank(one: Said) -> int:
    if one.why == "over":
        return len(ORDER)
    return ORDER.index(one.alert.severity) if one.alert.severity in ORDER else len(ORDER) - 1
