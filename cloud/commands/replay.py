"""`triflow cloud replay`: judge again what the fleet's gateways judged; reads only, beside a running cloud or without one.

Exit status: 0 done (and, for `verdict` and `day`, the same byte for byte), 1 not the same, 2 it could not be judged again.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Final

import msgspec

from cloud.config import Settings
from cloud.database import Connection, DatabaseError
from cloud.judging import verdicts
from cloud.judging.archive import Archive
from cloud.judging.child import opened
from cloud.judging.history import Fleet, Sampled, Tested
from cloud.judging.replaying import Answer, AskedError, answered, case, line_names
from cloud.packages.store import Packages, beside_the_database
from cloud.running import file_of
from edge.judgment.archive import ArchiveError
from edge.judgment.batch import Summary, Wanted
from edge.judgment.compare import Comparison
from edge.judgment.given import NotRepeatableError
from edge.judgment.whatif import parse
from models.expression_checker import Value

UNSEEN: Final = 2


class RefusedError(Exception):
    """It cannot be judged again; the message says why."""


def run(settings: Settings, asked: argparse.Namespace) -> tuple[int, list[str]]:
    """Do it; gives the exit status and what to print. Raises RefusedError, DatabaseError, OSError for a file of rules."""
    tenants = sorted({site.tenant for site in settings.file.sites} | {one.tenant for one in settings.keys})
    tenant = asked.tenant or (tenants[0] if len(tenants) == 1 else "")
    if tenant not in tenants:
        raise RefusedError(f"say which tenant with --tenant; there are: {', '.join(tenants) or 'none'}")
    path = file_of(settings)
    if path is not None and not path.exists():
        raise DatabaseError(f"there is no database {path}")
    connection = opened(settings.database_url)
    try:
        archive = Archive(Packages(beside_the_database(settings)))
        if asked.what == "verdict":
            return _verdict(connection, archive, tenant, asked)
        fleet = Fleet(connection, archive, tenant)
        return _batch(fleet, asked) if asked.what == "batch" else _day(fleet, asked)
    except (AskedError, ArchiveError, NotRepeatableError, ValueError) as error:
        raise RefusedError(str(error)) from error
    finally:
        connection.close()


def _wanted(asked: argparse.Namespace) -> Wanted:
    named = {name: getattr(asked, name) for name in ("begin", "end", "line", "decision", "ruleset", "product")}
    return Wanted(**named)


def _at(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _json(value: object) -> list[str]:
    return [msgspec.json.format(msgspec.json.encode(value), indent=2).decode()]


# --- one verdict


def _verdict(connection: Connection, archive: Archive, tenant: str, asked: argparse.Namespace) -> tuple[int, list[str]]:
    one = verdicts.recorded(connection, tenant, asked.verdict_id)
    if one is None:
        raise RefusedError(f"there is no verdict {asked.verdict_id}; it may not have arrived yet")
    about = case(connection, one)
    overrides: dict[str, Value | None] = {}
    for text in asked.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: write NAME=VALUE, for example oil_temperature=75")
        overrides[name] = parse(value, name, line_names(archive, about).environment())
    rules = [path.read_text("utf-8") for path in asked.rules]
    answer = answered(archive, about, overrides, rules, asked.model)
    return (1 if answer.exact is False else 0), _json(answer) if asked.json else _told(answer)


def _told(answer: Answer) -> list[str]:
    fact = answer.original
    out: list[str] = []
    out.append(
        f"{_at(fact.at)}  {fact.work_unit}  {fact.decision} ({fact.confidence:g}) by {fact.ruleset} {fact.ruleset_version}"
    )
    out.append(f"  {fact.summary.get('en', '')}")
    if answer.exact is not None:
        recomputed = any(version.model == "recomputed" for version in answer.versions)
        same = "the same byte for byte" + (", the model's answer computed again" if recomputed else "")
        out.append(f"judged again: {same if answer.exact else 'NOT the same: another ' + ', '.join(answer.differs)}")
    else:
        for version in answer.versions:
            new = version.replay
            out.append(f"{version.version}: {new.ruleset} {new.ruleset_version}: {new.decision} ({new.confidence:g})")
            out += _why(version.comparison, version.missing, new.summary)
    for imagined in answer.what_if:
        changes = ", ".join(f"{made.name} {made.before} → {made.after}" for made in imagined.modifications)
        out.append(f"what if {changes}: {imagined.what_if_result.decision} ({imagined.what_if_result.confidence:g})")
        out += _why(imagined.comparison, imagined.missing, imagined.what_if_result.summary)
    for note in answer.notes:
        out.append(f"note: {note}")
    return out


def _why(comparison: Comparison, missing: list[str], summary: dict[str, str]) -> list[str]:
    out: list[str] = []
    out.append(f"  {summary.get('en', '')}")
    if comparison.change_reasons:
        out.append(f"  because: {', '.join(comparison.change_reasons)}")
    if missing:
        out.append(f"  not on record: {', '.join(missing)}")
    return out


# --- many


def _batch(fleet: Fleet, asked: argparse.Namespace) -> tuple[int, list[str]]:
    rules, wanted = asked.rules.read_text("utf-8"), _wanted(asked)
    answer: Tested | Sampled
    if asked.sample is None:
        answer = fleet.tested(wanted, rules, asked.memory)
    else:
        answer = fleet.sampled(wanted, asked.sample, asked.sampling, asked.seed, rules)
    if asked.json:
        return 0, _json(answer)
    out: list[str] = []
    if answer.why is not None:
        out.append(answer.why["en"])
    if isinstance(answer, Tested):
        for line, summary in answer.lines.items():
            out += _summed(line, summary)
        if answer.summary is not None and len(answer.lines) > 1:
            out += _summed("all lines", answer.summary)
    elif answer.batch is not None:
        out += _summed(f"{answer.batch.summary.total} of {answer.total} verdicts", answer.batch.summary)
        for failed in answer.batch.outcomes:
            if failed.error is not None:
                out.append(f"  {failed.verdict_id}: {failed.error}")
    for note in fleet.notes:
        out.append(f"note: {note}")
    return 0, out


def _summed(what: str, summary: Summary) -> list[str]:
    out: list[str] = []
    out.append(
        f"{what}: {summary.changed} of {summary.total} change ({summary.change_rate} %), {summary.failed} failed"
    )
    for change, number in (*summary.result_changes.items(), *summary.method_changes.items()):
        out.append(f"  {change}: {number}")
    out.append(f"  {summary.appraisal.recommendation['en']}")
    return out


def _day(fleet: Fleet, asked: argparse.Namespace) -> tuple[int, list[str]]:
    proof = fleet.proven(_wanted(asked))
    if asked.json:
        return (0 if proof.good else 1), _json(proof)
    out: list[str] = []
    different = len(proof.different) + proof.more
    out.append(
        f"{proof.total} verdicts: {proof.exact} the same byte for byte ({proof.recomputed} of them with the model asked"
        f" again), {different} not, {proof.unrepeatable} recorded before verdicts kept all their inputs"
    )
    out += [f"  {one.verdict_id}  {_at(one.at)}  {one.line}: {one.why}" for one in proof.different]
    out += [f"note: {note}" for note in proof.notes]
    return (0 if proof.good else 1), out
