"""`triflow rules test FILE CASES`: judge hand-written windows and compare the verdicts with what is expected.

    [given]                                  # what all cases share
    tags = { oil_temperature = 60.0, vibration = 2.0 }

    [[case]]
    name = "hot oil counts after ten seconds"
    [[case.window]]
    tags = { oil_temperature = 78.0 }
    expect = { decision = "normal" }
    [[case.window]]
    tags = { oil_temperature = { last = 79.0, mean = 78.0 } }
    expect = { decision = "warning", matched = ["oil_temperature"] }

Exit status: 0 all as expected, 1 something is not, 78 a file is wrong.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from edge.commands.rules_cases import BEGIN, Strict, WindowCase, unknown_tags, window_of
from edge.commands.rules_names import Names, add_names, names
from edge.judgment import State, gather, judge
from edge.judgment.judge import Verdict
from models.ruleset import Ruleset
from sync.settings import ConfigError, Document, Fault, nearest

EXACT: Final = 0.0005
"""Confidences are told with three digits."""


class Expected(Strict):
    """What a verdict is held against; what is left out may be anything."""

    decision: Literal["normal", "warning", "critical", "unknown"] | None = None
    severity: Literal["info", "warning", "critical"] | None = None
    status: str | None = None
    source: str | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    confidence_min: Annotated[float, Field(ge=0, le=1)] | None = None
    needs_human: bool | None = None
    matched: list[str] | None = None
    """In any order, as the next two."""
    actions: list[str] | None = None
    """Types of the recommended actions."""
    alarms: list[str] | None = None
    """Alarms that are up afterwards."""
    checks: Annotated[dict[str, Literal["ok", "warning", "critical", "unknown"]], Field(default_factory=dict)]
    suppressed: Annotated[dict[str, str], Field(default_factory=dict)]
    """Check → the check that silences it."""


class Step(WindowCase):
    """A window with what is expected of it."""

    expect: Expected | None = None
    repeat: Annotated[int, Field(ge=1, le=10_000)] = 1
    """So many windows like this; the last is compared."""


class Case(Step):
    """A named case: one window, or several in a row that share what stands here."""

    name: Annotated[str, Field(min_length=1)]
    windows: Annotated[list[Step], Field(alias="window", default_factory=list)]

    @model_validator(mode="after")
    def _expects(self) -> Case:
        if self.expect is None and all(step.expect is None for step in self.windows):
            raise ValueError("nothing is expected; add expect = { decision = … }")
        return self

    def steps(self) -> list[Step]:
        """Give the windows in their order; what a case of several expects is expected of the last."""
        if not self.windows:
            return [self]
        last = self.windows[-1]
        if self.expect is not None and last.expect is None:
            return [*self.windows[:-1], last.model_copy(update={"expect": self.expect})]
        return self.windows


class Cases(Strict):
    """A file of cases."""

    given: WindowCase = WindowCase()
    cases: Annotated[list[Case], Field(alias="case", min_length=1)]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="triflow rules test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_names(parser)
    parser.add_argument("cases", type=Path, metavar="CASES.toml")
    arguments = parser.parse_args(argv)
    known = names(arguments)
    ruleset = known.ruleset(arguments.file)
    document = Document(arguments.cases)
    cases = document.parse(Cases)
    if faults := list(_faults(document, cases, known, ruleset)):
        raise ConfigError(faults)
    failed = 0
    for case in cases.cases:
        differences = list(_run(case, cases.given, known, ruleset))
        failed += bool(differences)
        print(f"{'FAIL' if differences else 'ok  '}  {case.name}")
        for difference in differences:
            print(f"      {difference}")
    total = len(cases.cases)
    print(f"{ruleset.name} {ruleset.version}: {total} case(s), {total - failed} as expected, {failed} not")
    return 1 if failed else 0


def _faults(document: Document, cases: Cases, known: Names, ruleset: Ruleset) -> Iterator[Fault]:
    """Give what is wrong with cases that are well-formed: tags and checks that do not exist."""
    checks = {check.name for check in ruleset.checks}
    steps: list[tuple[tuple[str | int, ...], WindowCase]] = [(("given",), cases.given)]
    for at, case in enumerate(cases.cases):
        steps += [(("case", at), case), *((("case", at, "window", n), step) for n, step in enumerate(case.windows))]
    for path, step in steps:
        for told in unknown_tags(step, known):
            yield document.fault((*path, "tags"), told)
        expect = step.expect if isinstance(step, Step) else None
        if expect is not None:
            named = {*(expect.matched or ()), *expect.checks, *expect.suppressed}
            for name in sorted(named - checks):
                yield document.fault((*path, "expect"), f"there is no check {name!r}; {nearest(name, sorted(checks))}")


def _run(case: Case, given: WindowCase, known: Names, ruleset: Ruleset) -> Iterator[str]:
    """Judge the windows of a case one after the other; give every difference."""
    memory, at = State(), BEGIN
    steps = case.steps()
    base = case.over(given)
    for number, step in enumerate(steps):
        as_given = base if step is case else step.over(base)
        verdict: Verdict | None = None
        for _ in range(step.repeat):
            made = window_of(as_given, known, ruleset, at)
            verdict = judge(ruleset, gather(ruleset, made.window, memory=memory), scored=made.scored)
            memory, at = verdict.state, made.window.end
        if step.expect is None or verdict is None:
            continue
        where = "" if len(steps) == 1 else f"window {number + 1}, "
        found = list(_differences(step.expect, verdict))
        yield from (f"{where}{difference}" for difference in found)
        if found:
            yield f"{where}it said: {verdict.summary['en']}"


def _differences(expect: Expected, verdict: Verdict) -> Iterator[str]:
    got: dict[str, Any] = {
        "decision": verdict.decision,
        "severity": verdict.severity,
        "status": verdict.status,
        "source": verdict.source,
        "needs_human": verdict.needs_human,
        "matched": sorted(f.check.name for f in verdict.findings if f.matched and f.suppressed_by is None),
        "actions": sorted(action["action_type"] for action in verdict.actions),
        "alarms": sorted(verdict.state.alarms),
    }
    for name, value in got.items():
        wanted = getattr(expect, name)
        wanted = sorted(wanted) if isinstance(wanted, list) else wanted
        if name in expect.model_fields_set and wanted != value:
            yield f"{name}: expected {_shown(wanted)}, got {_shown(value)}"
    sure = verdict.confidence
    if expect.confidence is not None and not math.isclose(expect.confidence, sure, abs_tol=EXACT):
        yield f"confidence: expected {expect.confidence:g}, got {sure:g}"
    if expect.confidence_min is not None and sure < expect.confidence_min:
        yield f"confidence: expected at least {expect.confidence_min:g}, got {sure:g}"
    found = {finding.check.name: finding for finding in verdict.findings}
    for name, level in expect.checks.items():
        if found[name].level != level:
            yield f"check {name}: expected {level}, got {found[name].level} (value {_shown(found[name].value)})"
    for name, by in expect.suppressed.items():
        if found[name].suppressed_by != by:
            yield f"check {name}: expected to be suppressed by {by}, got {found[name].suppressed_by or 'nothing'}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
