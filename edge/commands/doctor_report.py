"""Findings as people read them on a terminal, and as programs do."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from edge.drivers.finding import Finding, Language, Severity, say, worst

_COLOURS: Final[dict[Severity, str]] = {"ok": "32", "warning": "33", "fault": "31;1"}
_LABEL_WIDTH: Final = 13
_SEVERITY_WIDTH: Final = 7
_MOST_TAGS: Final = 20
"""Doubtful tags of one connection that are shown unless all are asked for."""
_LEAST_COLUMNS, _MOST_COLUMNS = 60, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Findings about one part: the box, the uplink, a connection."""

    title: str
    """As people call it: `plc-7`."""
    place: str
    """Where it is: `OPC UA  opc.tcp://10.0.7.20:4840`."""
    findings: Sequence[Finding]


class Paper:
    """Where a report is written to: its width, its colours, its language."""

    def __init__(self, out: TextIO, language: Language, *, colour: bool | None = None) -> None:
        self.language: Language = language
        self._out = out
        terminal = out.isatty()
        self._colour = (terminal and "NO_COLOR" not in os.environ) if colour is None else colour
        columns = shutil.get_terminal_size((100, 24)).columns if terminal else 0
        self._columns = max(_LEAST_COLUMNS, min(columns, _MOST_COLUMNS)) if columns else 0
        """0: no wrapping, so that a line can be found with grep."""

    def line(self, text: str = "") -> None:
        try:
            print(text.rstrip(), file=self._out, flush=True)
        except BrokenPipeError:  # `| head` has seen enough; the exit status still counts
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def bold(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self._colour else text

    def faint(self, text: str) -> str:
        return f"\033[2m{text}\033[0m" if self._colour else text

    def coloured(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colour else text

    def mark(self, severity: Severity) -> str:
        """Give the word for a severity, padded; colour says it again for those who see it."""
        word = padded(say(f"report.{severity}", self.language, {}), _SEVERITY_WIDTH)
        return self.coloured(word, _COLOURS[severity])

    def section(self, section: Section, *, all_tags: bool) -> None:
        """Write a section: its checks one a line, doubtful tags below, advice under what it is about."""
        self.line()
        self.line(
            f"{self.bold(section.title)}  {self.faint(section.place)}" if section.place else self.bold(section.title)
        )
        said = ""
        tags = [finding for finding in section.findings if finding.tag is not None]
        for finding in section.findings:
            if finding.tag is not None:
                continue
            label = say(f"report.check_{finding.check}", self.language, {})
            self._entry("  ", "" if label == said else label, finding)
            said = label
        doubtful = [finding for finding in tags if all_tags or finding.severity != "ok"]
        shown = doubtful if all_tags else doubtful[:_MOST_TAGS]
        width = max((columns_of(finding.tag or "") for finding in shown), default=0)
        for finding in shown:
            self._entry("    ", finding.tag or "", finding, width=max(width, _LABEL_WIDTH - 2))
        if len(shown) < len(doubtful):
            more = say("report.more_tags", self.language, {"more": len(doubtful) - len(shown)})
            self.line(f"    {self.faint(more)}")

    def _entry(self, indent: str, label: str, finding: Finding, *, width: int = _LABEL_WIDTH) -> None:
        head = f"{indent}{padded(label, width)} "
        hang = " " * (columns_of(head) + _SEVERITY_WIDTH + 1)
        lines = self._wrapped(finding.what(self.language), columns_of(hang))
        self.line(f"{head}{self.mark(finding.severity)} {lines[0]}")
        for more in lines[1:]:
            self.line(hang + more)
        detail = finding.words.get("detail")
        if isinstance(detail, Finding):
            for text in self._wrapped(detail.what(self.language), columns_of(hang), "   "):
                self.line(f"{hang}{self.faint(text)}")
        advice = finding.advice(self.language)
        if advice and finding.severity != "ok":
            for i, text in enumerate(self._wrapped(advice, columns_of(hang) + 2)):
                self.line(f"{hang}{'→ ' if i == 0 else '  '}{text}")

    def _wrapped(self, text: str, used: int, between: str = " ") -> list[str]:
        if not self._columns:
            return [text]
        return list(wrapped(text, max(30, self._columns - used), between))


def columns_of(text: str) -> int:
    """Give how many columns a text takes on a terminal: Korean letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text: str, width: int) -> str:
    return text + " " * max(0, width - columns_of(text))


def wrapped(text: str, width: int, between: str = " ") -> Iterator[str]:
    """Break a text between words into lines of at most `width` columns; a longer word stands alone."""
    line = ""
    for word in text.split(between):
        longer = f"{line}{between}{word}" if line else word
        if line and columns_of(longer) > width:
            yield line
            line = word
        else:
            line = longer
    yield line


def summary(findings: Sequence[Finding], language: Language) -> str:
    """Say in one line how it stands."""
    faults, warnings = counts(findings)
    return say(f"report.sum_{worst(findings)}", language, {"faults": faults, "warnings": warnings})


def counts(findings: Sequence[Finding]) -> tuple[int, int]:
    """Give the faults and the warnings; a line that only sums up tags is none."""
    own = [finding.severity for finding in findings if finding.check != "tags" or finding.key == "tag.none"]
    return own.count("fault"), own.count("warning")


def as_dict(finding: Finding, language: Language) -> dict[str, Any]:
    """Give a finding for programs: the sentences as well as what they were made of."""
    return {
        "severity": finding.severity,
        "subject": finding.subject,
        "check": finding.check,
        "tag": finding.tag,
        "key": finding.key,
        "what": finding.what(language),
        "advice": finding.advice(language) if finding.severity != "ok" else "",
        "details": {name: _plain(word) for name, word in finding.words.items()},
    }


def _plain(word: Any) -> Any:
    if isinstance(word, dict):
        return {str(name): _plain(value) for name, value in word.items()}
    if isinstance(word, (list, tuple, set)):
        return [_plain(value) for value in word]
    return word if word is None or isinstance(word, (str, int, float, bool)) else str(word)
