"""`triflow rules explain FILE`: a ruleset in plain sentences; with a window, what it says of it and why.

The window is a TOML or JSON file: tags = { oil_temperature = 78.0 }, state, counts, context, as in a file of cases.
Exit status: 0 said, 78 a file is wrong.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from edge.commands.rules_cases import BEGIN, WindowCase, unknown_tags, window_of
from edge.commands.rules_names import Names, add_names, names
from edge.commands.rules_sentences import sentences
from edge.drivers.finding import LANGUAGES, Language, say
from edge.judgment import gather, judge
from edge.judgment.explanation import said
from edge.judgment.finding import Finding
from edge.judgment.given import Given
from edge.judgment.wording import WHY, number, symbol
from models.ruleset import Ruleset
from models.ruleset_change import Stuck
from sync.settings import ConfigError, Document, Fault, nearest


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="triflow rules explain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_names(parser)
    parser.add_argument(
        "--window", type=Path, metavar="WINDOW", help="TOML or JSON: judge this window and tell the way"
    )
    parser.add_argument("--check", metavar="NAME", help="only this check")
    parser.add_argument("--language", choices=LANGUAGES, default="ko")
    arguments = parser.parse_args(argv)
    known = names(arguments)
    ruleset = known.ruleset(arguments.file)
    language: Language = arguments.language
    checks = [check.name for check in ruleset.checks]
    if arguments.check is not None and arguments.check not in checks:
        told = say("rules.no_check", language, {"name": arguments.check, "hint": nearest(arguments.check, checks)})
        raise ConfigError([Fault(arguments.file, 0, "", told)])
    for line in sentences(ruleset, language, arguments.check):
        print(line)
    if arguments.window is not None:
        print()
        for line in _judged(ruleset, known, arguments.window, language, arguments.check):
            print(line)
    return 0


def _judged(ruleset: Ruleset, known: Names, path: Path, language: Language, only: str | None) -> Iterator[str]:
    case = _window(path)
    if wrong := unknown_tags(case, known):
        raise ConfigError([Fault(path, 0, "tags", one) for one in wrong])
    made = window_of(case, known, ruleset, BEGIN)
    verdict = judge(ruleset, gather(ruleset, made.window), scored=made.scored)
    if only is None:
        yield f"{say('rules.verdict', language, {})}: {verdict.summary[language]}"
    for finding in verdict.findings:
        if only in {None, finding.check.name}:
            yield _told(finding, verdict.given, language)


def _told(finding: Finding, given: Given, language: Language) -> str:
    """Give the line of one check: what it found, the value, and the way to it."""

    def spoken(key: str, **words: object) -> str:
        return say(f"rules.{key}", language, words)

    title = f"  {finding.check.title[language]} ({finding.check.name})"
    if not finding.applied:
        return f"{title}: {spoken('not_applied')}"
    parts: list[str] = []
    if finding.level in {"warning", "critical"}:
        parts.append(said(finding, given, language).rstrip("."))
    elif finding.value is not None:
        unit = symbol(finding.unit, language)
        value = f"{number(finding.value)} {unit}".strip()
        bound = "" if finding.threshold is None else f"{number(finding.threshold)} {unit}".strip()
        parts.append(spoken("held", value=value, threshold=bound) if bound else spoken("value", value=value))
    if finding.level == "ok" and finding.held.since and not isinstance(finding.check, Stuck):
        parts.append(spoken("waiting"))
    if finding.causes:
        told = [f"{cause.variable} {WHY[cause.why][language]}".strip() for cause in finding.causes]
        parts.append(spoken("causes", causes=", ".join(told)))
    if finding.path:
        parts.append(spoken("way", path=" → ".join(finding.path)))
    if finding.suppressed_by is not None:
        parts.append(spoken("silenced", by=finding.suppressed_by))
    rest = f" - {'; '.join(parts)}" if parts else ""
    return f"{title}: {spoken(finding.level)}{rest}"


def _window(path: Path) -> WindowCase:
    """Read a window. Raises ConfigError."""
    if path.suffix.lower() != ".json":
        return Document(path).parse(WindowCase)
    try:
        return WindowCase.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError([Fault(path, 0, "", f"cannot read it ({error.strerror}); check the path")]) from error
    except ValidationError as error:
        told = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        raise ConfigError([Fault(path, 0, where, what) for where, what in told]) from error
    except ValueError as error:
        raise ConfigError([Fault(path, 0, "", f"is not JSON: {error}")]) from error
