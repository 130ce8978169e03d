"""`triflow doctor SITE.toml`: what is wrong with a site file and all that the gateway speaks to, and what to do.

Looks at everything the gateway would use, in the gateway's own way, at most once and with a time limit each. Nothing is
changed on a device or on the disk, and a gateway may run meanwhile. Exit status: 0 no fault (warnings allowed), 1 any
fault, 78 the site file itself is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import tomllib
import zoneinfo
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from edge.commands.doctor_box import (
    clock_findings,
    disk_findings,
    gateway_findings,
    look_at_store,
    store_findings,
)
from edge.commands.doctor_examine import examined, load_libraries, place
from edge.commands.doctor_report import Paper, Section, as_dict, counts, summary
from edge.commands.doctor_uplink import uplink_findings
from edge.drivers.finding import Finding, Language, fault, ok, say, worst
from edge.site import Site, load
from sync.clock import Clock, WallClock
from sync.settings import ConfigError

EX_CONFIG: Final = 78


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    clock = WallClock()
    try:
        site = load(arguments.site)
    except ConfigError as error:
        language = arguments.language or language_of(arguments.site)
        faults = [fault("site", "box.site_fault", why=str(found)) for found in error.faults]
        _finish(arguments, language, None, [Section(title=str(arguments.site), place="", findings=faults)], clock)
        return EX_CONFIG
    language = cast("Language", arguments.language or site.file.gateway.language)
    names = [connection.name for connection in site.file.connections]
    unknown = [name for name in arguments.connection or [] if name not in names]
    if unknown:
        print(say("report.no_connection", language, {"name": unknown[0], "names": names}), file=sys.stderr)
        return 64
    sections = asyncio.run(_examine(site, arguments, language, clock))
    _finish(arguments, language, site, sections, clock)
    return 1 if worst(_all(sections)) == "fault" else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triflow doctor",
        description="Find what is wrong with a site file and all the gateway speaks to. Changes nothing; safe while it runs.",
        epilog="Exit status: 0 no fault (warnings allowed), 1 any fault, 78 the site file is wrong.",
    )
    parser.add_argument("site", type=Path, help="the site file, e.g. site.toml")
    parser.add_argument("--connection", metavar="NAME", action="append", help="only this connection; may be repeated")
    parser.add_argument("--tags", action="store_true", help="show every tag with its value, not only the doubtful ones")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON document, every tag in it")
    parser.add_argument("--language", choices=("ko", "en"), help="of the report; the gateway's own when left out")
    return parser


def language_of(path: Path) -> Language:
    """Give the language that a site file asks for, even if the rest of it is wrong; Korean when it does not say."""
    try:
        said: Any = tomllib.loads(path.read_text("utf-8")).get("gateway", {})
    except (OSError, ValueError):
        return "ko"
    return "en" if isinstance(said, dict) and cast("dict[str, Any]", said).get("language") == "en" else "ko"


async def _examine(site: Site, arguments: argparse.Namespace, language: Language, clock: Clock) -> list[Section]:
    """Examine all parts at the same time; each is shown as soon as those before it have been."""
    load_libraries(site)
    gateway, held = await gateway_findings(site)
    sections: list[Section] = []
    chosen: list[str] = arguments.connection or []
    async with asyncio.TaskGroup() as group:
        works: list[tuple[str, str, Awaitable[list[Finding]]]] = []
        if not chosen:
            title = say("report.box", language, {})
            works.append((title, str(site.path), group.create_task(_box(site, gateway, clock))))
            uplink = site.file.uplink
            where = "" if uplink is None else f"{uplink.host}:{uplink.port}"
            title = say("report.uplink", language, {})
            works.append((title, where, group.create_task(_named("uplink", uplink_findings(site, clock)))))
        for connection in site.file.connections:
            if not chosen or connection.name in chosen:
                tags = site.table.of_connection(connection.name)
                work = group.create_task(examined(site, connection, tags, clock, held))
                works.append((connection.name, place(connection), work))
        paper = None if arguments.json else Paper(sys.stdout, language)
        if paper is not None:
            paper.line(paper.bold(_title(site, language, clock)))
        for title, where, work in works:
            section = Section(title=title, place=where, findings=await work)
            sections.append(section)
            if paper is not None:
                paper.section(section, all_tags=arguments.tags)
    return sections


async def _box(site: Site, gateway: Sequence[Finding], clock: Clock) -> list[Finding]:
    file, held = site.file, await look_at_store(site)
    words: dict[str, Any] = {
        "lines": len(file.lines),
        "tags": len(site.table),
        "connections": len(file.connections),
        "rulesets": len(site.rulesets),
    }
    found = [ok("site", "box.site", **words), *gateway, *clock_findings(clock, file.gateway.timezone)]
    found += await disk_findings(site, held)
    found += store_findings(held)
    return [dataclasses.replace(finding, subject="gateway") for finding in found]


async def _named(subject: str, work: Awaitable[list[Finding]]) -> list[Finding]:
    return [dataclasses.replace(finding, subject=subject) for finding in await work]


def _title(site: Site, language: Language, clock: Clock) -> str:
    at = datetime.fromtimestamp(clock.now() / 1e9, zoneinfo.ZoneInfo(site.file.gateway.timezone))
    return say("report.title", language, {"gateway": site.file.gateway.id, "at": f"{at:%Y-%m-%d %H:%M:%S %Z}"})


def _all(sections: Sequence[Section]) -> list[Finding]:
    return [finding for section in sections for finding in section.findings]


def _finish(
    arguments: argparse.Namespace, language: Language, site: Site | None, sections: Sequence[Section], clock: Clock
) -> None:
    """Write the last line, or everything as one JSON document; a site file that is wrong is shown here, too."""
    findings = _all(sections)
    if arguments.json:
        faults, warnings = counts(findings)
        document: dict[str, Any] = {
            "site": str(arguments.site),
            "gateway": None if site is None else site.file.gateway.id,
            "at": datetime.fromtimestamp(clock.now() / 1e9, UTC).isoformat(timespec="milliseconds"),
            "language": language,
            "faults": faults,
            "warnings": warnings,
            "findings": [as_dict(finding, language) for finding in findings],
        }
        print(json.dumps(document, ensure_ascii=False, indent=1))
        return
    paper = Paper(sys.stdout, language)
    if site is None:
        for section in sections:
            paper.section(section, all_tags=True)
    paper.line()
    paper.line(paper.bold(summary(findings, language)))
