"""`triflow edge plan SITE.toml`: what would be otherwise if the gateway were started with this file, and would it work.

Compares with what the gateway runs with (its own copy, kept at its start), says what that means, and reads each new or
changed tag once on its device. Changes nothing. Exit status: 0 no difference, 2 differences and all good, 1 a fault,
78 the site file itself is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import zoneinfo
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from edge.blueprint import CHECKPOINT, Blueprint, BlueprintError, decode
from edge.commands.doctor import language_of
from edge.commands.doctor_box import gateway_findings
from edge.commands.doctor_examine import examined, place
from edge.commands.doctor_report import Paper, Section, as_dict, counts, padded
from edge.commands.plan_compare import Comparison, Difference, compare
from edge.drivers.finding import Finding, Language, fault, say, worst
from edge.site import Site, load
from edge.store.file import DamagedError, StoreRefusedError
from edge.store.look import remembered
from sync.clock import Clock, WallClock
from sync.settings import ConfigError

EX_CONFIG: Final = 78
DIFFERENT: Final = 2
_SIGNS: Final = {"added": ("+", "32"), "removed": ("-", "31"), "changed": ("~", "33")}
_MOST: Final = 40
"""Differences of one kind of thing that are shown unless all are asked for."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Before:
    """What is compared with, and what runs."""

    blueprint: Blueprint
    origin: str
    """Where it comes from: `store` (what the gateway was started with) or `file`."""
    held: set[str]
    """Connections a running gateway has open now."""


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    clock = WallClock()
    language: Language = arguments.language or language_of(arguments.site)
    try:
        site = load(arguments.site)
        against = None if arguments.against is None else load(arguments.against)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    before = asyncio.run(_before(site, against))
    if isinstance(before, Finding):
        print(before.what(language), before.advice(language), sep="\n", file=sys.stderr)
        return 1
    comparison = compare(before.blueprint, Blueprint.of(site))
    paper = None if arguments.json else Paper(sys.stdout, language)
    if paper is not None:
        _write(paper, site, before, comparison, all_tags=arguments.tags)
    sections: list[Section] = []
    if not arguments.no_device:
        sections = asyncio.run(_try(site, before, comparison, paper, clock, all_tags=True))
    findings = [finding for section in sections for finding in section.findings]
    every = [*comparison.consequences, *findings]
    if paper is None:
        print(json.dumps(_document(site, before, comparison, every, language), ensure_ascii=False, indent=1))
    else:
        faults, warnings = counts(every)
        words = {"differences": len(comparison.differences), "faults": faults, "warnings": warnings}
        paper.line()
        paper.line(paper.bold(say(_verdict(comparison, every), language, words)))
    if worst(every) == "fault":
        return 1
    return DIFFERENT if comparison.differences else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triflow edge plan",
        description="Say what would change if the gateway were started with this site file, and try it on the devices. "
        "Changes nothing.",
        epilog="Exit status: 0 no difference, 2 differences and all good, 1 a fault, 78 the site file is wrong.",
    )
    parser.add_argument("site", type=Path, help="the new site file")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="SITE",
        help="compare with the gateway of this file, where its data is elsewhere",
    )
    parser.add_argument("--no-device", action="store_true", help="only compare; no device is asked")
    parser.add_argument("--tags", action="store_true", help="show every difference, however many there are")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON document")
    parser.add_argument("--language", choices=("ko", "en"), help="of the report; the gateway's own when left out")
    return parser


async def _before(site: Site, against: Site | None) -> _Before | Finding:
    """Find what the gateway runs with: its own copy if there is one, else the file that was named."""
    running = against or site
    try:
        kept = await asyncio.to_thread(remembered, running.data, CHECKPOINT)
        blueprint = None if kept is None else decode(kept)
    except (DamagedError, StoreRefusedError, BlueprintError) as error:
        if against is None:
            return fault("store", "plan.unreadable", data=running.data, why=str(error))
        blueprint = None
    _, held = await gateway_findings(running)
    if blueprint is not None:
        return _Before(blueprint, "store", held)
    if against is not None:
        return _Before(Blueprint.of(against), "file", held)
    return fault("store", "plan.nothing", data=running.data)


async def _try(
    site: Site, before: _Before, comparison: Comparison, paper: Paper | None, clock: Clock, *, all_tags: bool
) -> list[Section]:
    """Read each new or changed tag once on its device, all connections at the same time."""
    unmoved = {place(one) for one in before.blueprint.file.connections if one.name in before.held}
    chosen = [one for one in site.file.connections if one.name in comparison.to_read]
    sections: list[Section] = []
    async with asyncio.TaskGroup() as group:
        works = [
            group.create_task(
                examined(site, one, comparison.to_read[one.name], clock, {one.name} if place(one) in unmoved else set())
            )
            for one in chosen
        ]
        for one, work in zip(chosen, works, strict=True):
            section = Section(title=one.name, place=place(one), findings=await work)
            sections.append(section)
            if paper is not None:
                paper.section(section, all_tags=all_tags)
    return sections


def _verdict(comparison: Comparison, findings: Sequence[Finding]) -> str:
    if worst(findings) == "fault":
        return "plan.sum_fault"
    return "plan.sum_different" if comparison.differences else "plan.sum_same"


# ── as people read it ──


def _write(paper: Paper, site: Site, before: _Before, comparison: Comparison, *, all_tags: bool) -> None:
    gateway = site.file.gateway
    at = datetime.fromtimestamp(before.blueprint.at / 1e9, zoneinfo.ZoneInfo(gateway.timezone))
    words = {"gateway": gateway.id, "since": f"{at:%Y-%m-%d %H:%M:%S}", "software": before.blueprint.software}
    key = "plan.title_file" if before.origin == "file" else "plan.title_running" if before.held else "plan.title_last"
    paper.line(paper.bold(say(key, paper.language, words)))
    for part in dict.fromkeys(one.part for one in comparison.differences):
        mine = [one for one in comparison.differences if one.part == part]
        paper.line()
        paper.line(paper.bold(say(f"plan.part_{part}", paper.language, {})))
        for one in mine if all_tags else mine[:_MOST]:
            _difference(paper, one)
        if not all_tags and len(mine) > _MOST:
            paper.line(f"    {paper.faint(say('report.more_tags', paper.language, {'more': len(mine) - _MOST}))}")
    if comparison.consequences:
        title = say("plan.means", paper.language, {})
        paper.section(Section(title=title, place="", findings=comparison.consequences), all_tags=True)


def _difference(paper: Paper, one: Difference) -> None:
    sign, colour = _SIGNS[one.kind]
    paper.line(f"  {paper.coloured(sign, colour)} {one.name or say(f'plan.{one.kind}', paper.language, {})}")
    width = max((len(name) for name, _, _ in one.settings), default=0)
    for name, old, new in one.settings:
        paper.line(f"      {padded(name, width)}  {_shown(old)} → {_shown(new)}")


def _shown(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ── as programs do ──


def _document(
    site: Site, before: _Before, comparison: Comparison, findings: Sequence[Finding], language: Language
) -> dict[str, Any]:
    faults, warnings = counts(findings)
    return {
        "site": str(site.path),
        "gateway": site.file.gateway.id,
        "language": language,
        "against": {
            "origin": before.origin,
            "digest": before.blueprint.digest,
            "started": before.blueprint.at // 1_000_000 or None,
            "software": before.blueprint.software,
        },
        "digest": Blueprint.of(site).digest,
        "differences": [
            {
                "kind": one.kind,
                "part": one.part,
                "name": one.name,
                "settings": [{"name": name, "old": old, "new": new} for name, old, new in one.settings],
            }
            for one in comparison.differences
        ],
        "faults": faults,
        "warnings": warnings,
        "findings": [as_dict(finding, language) for finding in findings],
    }
