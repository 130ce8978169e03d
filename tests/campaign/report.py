"""The campaign's table: as text for the terminal, and as Markdown in docs/reliability.md, from the evidence itself."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.campaign.plan import Engine
from tests.campaign.result import Result

BEGIN, END = "<!-- campaign: begin -->", "<!-- campaign: end -->"
HEAD = ("engine", "put to the test", "trials", "faults injected", "violations", "seconds", "not run, because")


def table(results: Sequence[Result], engines: Sequence[Engine], *, wall_s: float) -> str:
    """Give the table as text, the faults by kind below it, and the mutants."""
    cells = [HEAD, *_rows(results, engines)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines.insert(1, "  ".join("─" * width for width in widths))
    lines += ["", *(f"{result.engine}: {_faults(result)}" for result in results if result.faults)]
    lines += [f"{result.engine}: {said}" for result in results for said in _said(result)]
    caught = [
        f"  {seeds:>6}  {result.engine}: {name}" for result in results for name, seeds in sorted(result.mutants.items())
    ]
    if caught:
        lines += ["", "broken variants, and how many seeds caught each:", *caught]
    return "\n".join([*lines, "", f"{wall_s:.0f} s by the clock; {'; '.join(machine())}"])


def _rows(results: Sequence[Result], engines: Sequence[Engine]) -> list[tuple[str, ...]]:
    found = {result.engine: result for result in results}
    missing = Result(engine="", subject="–", count=0, unavailable="nothing finished yet")
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys([*(engine.name for engine in engines), *found]):
        result = found.get(name, missing)
        trials = f"{result.count:,} (seeds {result.seeds[0]:,}–{result.seeds[1]:,})" if result.count else "0"
        rows.append(
            (
                name,
                result.subject,
                trials,
                f"{result.faults.total():,} of {len(result.faults)} kinds",
                str(len(result.violations) + len(result.uncaught)),
                f"{result.seconds:,.0f}",
                result.unavailable or "",
            )
        )
    return rows


def _faults(result: Result) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(result.faults.items()))


def _said(result: Result) -> list[str]:
    """Give sums, worst figures and notes as sentences."""
    sums = ", ".join(f"{name} {count:,}" for name, count in result.sums.items())
    worst = ", ".join(f"{name} {figure:,.1f}" for name, figure in sorted(result.worst.items()))
    return [*([sums] if sums else []), *([f"at worst: {worst}"] if worst else []), *result.notes]


def machine() -> list[str]:
    """Say what all this ran on; names no machine."""
    return [
        f"{os.cpu_count()} cores, {platform.machine()}",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        f"SQLite {_apsw()} on the edge, {sqlite3.sqlite_version} in the cloud",
        _version("mosquitto", "-h"),
        _version("postgres", "--version"),
    ]


def _apsw() -> str:
    import apsw

    return apsw.sqlite_lib_version()


def _version(program: str, flag: str) -> str:
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/postgresql/15/bin"])
    found = shutil.which(program, path=places)
    if found is None:
        return f"no {program}"
    said = subprocess.run([found, flag], capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).strip().splitlines()[0].removesuffix(".")


def write(path: Path, results: Sequence[Result], engines: Sequence[Engine], *, commit: str, long: bool) -> None:
    """Replace what stands between the markers in a Markdown file. Raises ValueError where the markers are missing."""
    text = path.read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{path} has no {BEGIN} … {END}")
    form = "long form" if long else "short form"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    lines = ["", f"{form}, {day}, commit {commit}; {'; '.join(machine())}.", "", *_markdown(HEAD)]
    for row in _rows(results, engines):
        lines += _markdown(row)[:1]
    lines += ["", "| engine | faults injected, by kind |", "|---|---|"]
    lines += [f"| {result.engine} | {_faults(result) or '–'} |" for result in results]
    lines += ["", *(f"- {result.engine}: {said}" for result in results for said in _said(result))]
    caught = [
        (f"{name} ({result.engine})", seeds) for result in results for name, seeds in sorted(result.mutants.items())
    ]
    if caught:
        lines += ["", "| deliberately broken variant | seeds that caught it |", "|---|---|"]
        lines += [f"| {name} | {seeds:,} |" for name, seeds in caught]
    said = [f"- {result.engine}: {violation}" for result in results for violation in result.violations]
    lines += ["", "Violations:" if said else "No violation.", *said, ""]
    path.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


def _markdown(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(cells) + " |", "|" + "---|" * len(cells)]
