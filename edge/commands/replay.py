"""`triflow replay verdict|batch|day`: judge again what was judged: as it was, what if, with other rules.

Reads only, beside a running gateway or without one; nothing is recorded, sent or counted. Exit status: 0 done (and, for
`day` and `verdict`, the same byte for byte), 1 not the same, 2 it could not be judged again, 78 a file is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from edge.bundles import BundleError
from edge.commands.stores import EX_CONFIG, Subject, found
from edge.drivers.finding import LANGUAGES, say
from edge.judgment.archive import ArchiveError
from edge.judgment.batch import MOST, Batch, Summary, Wanted
from edge.judgment.compare import MOST_VERSIONS, Comparison
from edge.judgment.given import NotRepeatableError
from edge.judgment.replay import Model
from edge.judgment.scored import PackagedModel
from edge.judgment.whatif import FEATURE, OverrideError, WhatIf, parse
from edge.judgment.wording import DECISION
from edge.replaying import NoVerdictError, Proof, Replays, Version, open_replays, rules_of
from edge.site import load as load_site
from edge.store.file import DamagedError, StoreRefusedError
from edge.store.history import HistoryError
from models.expression_checker import Value
from models.package import PackageRefusedError
from models.package.verification import verify
from models.rulesets import RulesetError
from sync.settings import ConfigError

UNSEEN: Final = 2
REFUSED: Final = (
    NoVerdictError, NotRepeatableError, ArchiveError, BundleError, OverrideError, HistoryError, StoreRefusedError,
    DamagedError, ValueError,
)  # fmt: skip
"""What keeps a replay from being made; each says why."""


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    if (about := found(arguments)) is None:
        return EX_CONFIG
    try:
        with open_replays(about.data) as replays:
            return {"verdict": _verdict, "batch": _batch, "day": _day}[arguments.command](arguments, about, replays)
    except (ConfigError, RulesetError, PackageRefusedError) as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    except REFUSED as error:
        print(say("replay.fault", about.language, {"why": error}), file=sys.stderr)
        return UNSEEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triflow replay",
        description="Judge again what was judged. Reads only; safe while the gateway runs, connected or not.",
        epilog="Exit status: 0 done and the same, 1 not the same, 2 it could not be judged again, 78 a file is wrong.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = _command(commands, "verdict", "one verdict: as it was, with other inputs, with other rules")
    one.add_argument("verdict_id", metavar="ID")
    one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="what if an input had been this")
    one.add_argument("--rules", action="append", default=[], type=Path, metavar="FILE", help=f"at most {MOST_VERSIONS}")
    one.add_argument("--model", type=Path, metavar="PACKAGE", help="another model package, signed by a trusted key")
    many = _command(commands, "batch", "many verdicts with other rules: how many change, and to what")
    many.add_argument("--rules", type=Path, required=True, metavar="FILE")
    many.add_argument(
        "--sample", type=int, metavar="N", help=f"so many, replayed whole (1 to {MOST}); else all of them"
    )
    many.add_argument("--sampling", choices=("random", "stratified", "sequential"), default="random")
    many.add_argument("--seed", type=int, default=0, help="the same seed takes the same sample")
    many.add_argument(
        "--memory",
        choices=("recorded", "continuous"),
        default="continuous",
        help="continuous: the rules live through history with their own delays and hysteresis; "
        "recorded: each verdict with the memory of its record",
    )
    day = _command(commands, "day", "prove that everything recorded in a time is judged the same again")
    for command in (many, day):
        command.add_argument("--from", dest="begin", type=_time, metavar="TIME", help="ISO 8601, UTC without an offset")
        command.add_argument("--to", dest="end", type=_time, metavar="TIME")
        command.add_argument("--line", metavar="WORK_UNIT")
        command.add_argument("--decision", choices=("normal", "warning", "critical", "unknown"))
        command.add_argument("--ruleset", metavar="NAME")
        command.add_argument("--product")
    return parser


def _command(commands: Any, name: str, what: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what)
    command.add_argument(
        "--site", dest="subject", type=Path, required=True, metavar="SITE.toml|DATA", help="the site file, or the gateway's data folder"
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--language", choices=LANGUAGES, help="the gateway's own when left out")
    return command


def _time(text: str) -> int:
    if text.endswith("ns") and text[:-2].isdigit():  # as programs say it
        return int(text[:-2])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2026-11-23T06:00 (UTC) or …+09:00") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 10**9


def _said(about: Subject, key: str, **words: Any) -> None:
    print(say(f"replay.{key}", about.language, words))


def _word(about: Subject, decision: str) -> str:
    return DECISION[decision][about.language].lower()


def _value(value: Value | None) -> str:
    return "–" if value is None else str(value)


def _at(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _wanted(arguments: argparse.Namespace) -> Wanted:
    return Wanted(
        begin=arguments.begin, end=arguments.end, line=arguments.line, decision=arguments.decision,
        ruleset=arguments.ruleset, product=arguments.product,
    )  # fmt: skip


def _json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


# --- one verdict


def _verdict(arguments: argparse.Namespace, about: Subject, replays: Replays) -> int:
    model = None if arguments.model is None else _model(arguments)
    overrides = _overrides(arguments, replays)
    answer = replays.answered(arguments.verdict_id, overrides, [rules_of(path) for path in arguments.rules], model)
    if arguments.json:
        _json(answer)
        return 1 if answer.exact is False else 0
    fact = answer.original
    _said(
        about, "verdict", at=_at(fact.at), work_unit=fact.work_unit, decision=_word(about, fact.decision),
        confidence=fact.confidence, ruleset=fact.ruleset, version=fact.ruleset_version, source=fact.source,
    )  # fmt: skip
    _said(about, "says", text=fact.summary.get(about.language, ""))
    if answer.exact is not None:
        recomputed = any(version.model == "recomputed" for version in answer.versions)
        key = "not_exact" if not answer.exact else "exact_model" if recomputed else "exact"
        _said(about, key, fields=answer.differs)
    else:
        for version in answer.versions:
            _version(about, version)
        for imagined in answer.what_if:
            _imagined(about, imagined)
    return 1 if answer.exact is False else 0


def _model(arguments: argparse.Namespace) -> Model:
    """Take a package that a person names as a gateway would: verified before any of it is run."""
    if arguments.subject.suffix != ".toml":
        raise ValueError("--model needs the site file: it says whose packages are trusted ([models] trusted)")
    return PackagedModel(verify(arguments.model, trusted=load_site(arguments.subject).trusted).package)


def _overrides(arguments: argparse.Namespace, replays: Replays) -> dict[str, Value | None]:
    if not arguments.set:
        return {}
    pairs = [text.partition("=") for text in arguments.set]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"--set {wrong[0]}: write NAME=VALUE, for example oil_temperature=75")
    environment = replays.names(replays.verdict(arguments.verdict_id)).environment()
    return {name: parse(value, name, environment) for name, _, value in pairs}


def _version(about: Subject, version: Version) -> None:
    fact = version.replay
    _said(
        about, "version", ruleset=fact.ruleset, version=fact.ruleset_version, decision=_word(about, fact.decision),
        confidence=fact.confidence, difference=version.comparison.confidence_diff, source=fact.source,
    )  # fmt: skip
    _said(about, "says", text=fact.summary.get(about.language, ""))
    _why(about, version.comparison, version.missing)
    if version.model == "not_held":
        _said(about, "model_not_held")


def _imagined(about: Subject, answer: WhatIf) -> None:
    result = answer.what_if_result
    _said(
        about, "what_if", changes=[f"{made.name} {_value(made.before)} → {_value(made.after)}" for made in answer.modifications],
        decision=_word(about, result.decision), confidence=result.confidence, difference=answer.impact.confidence_change,
        source=result.source,
    )  # fmt: skip
    _said(about, "says", text=result.summary.get(about.language, ""))
    _why(about, answer.comparison, answer.missing)
    if answer.waiting:
        _said(about, "waiting", names=answer.waiting)
    if answer.model == "recorded":
        _said(about, "model_kept")
    elif answer.model == "not_held":
        _said(about, "model_not_held")
    elif answer.model == "recomputed" and not any(made.name.startswith(FEATURE) for made in answer.modifications):
        _said(about, "model_features")


def _why(about: Subject, comparison: Comparison, missing: Sequence[str]) -> None:
    if comparison.change_reasons:
        _said(about, "reasons", reasons=comparison.change_reasons)
    if missing:
        _said(about, "missing", names=list(missing))


# --- many


def _batch(arguments: argparse.Namespace, about: Subject, replays: Replays) -> int:
    rules, wanted = rules_of(arguments.rules), _wanted(arguments)
    if arguments.sample is not None:
        batch = replays.sampled(wanted, arguments.sample, arguments.sampling, arguments.seed, rules=rules)
        if arguments.json:
            _json(batch)
        else:
            _summed(about, arguments.rules.name, batch.summary)
            _failures(about, batch)
        return 0
    lines = replays.tested(wanted, rules, arguments.memory)
    if arguments.json:
        _json({"lines": lines})
        return 0
    if not lines:
        _said(about, "nothing")
    for line, summary in lines.items():
        _summed(about, line, summary)
    return 0


def _summed(about: Subject, what: str, summary: Summary) -> None:
    _said(
        about, "summary", what=what, total=summary.total, changed=summary.changed, change_rate=summary.change_rate,
        failed=summary.failed,
    )  # fmt: skip
    for change, number in (*summary.result_changes.items(), *summary.method_changes.items()):
        _said(about, "change", change=change, number=number)
    _said(
        about, "confidence", average=summary.avg_confidence_change, increased=summary.confidence_increased,
        decreased=summary.confidence_decreased,
    )  # fmt: skip
    _said(about, "appraised", recommendation=summary.appraisal.recommendation[about.language])


def _failures(about: Subject, batch: Batch) -> None:
    for outcome in batch.outcomes:
        if outcome.error is not None:
            _said(about, "failure", verdict_id=outcome.verdict_id, error=outcome.error)


def _day(arguments: argparse.Namespace, about: Subject, replays: Replays) -> int:
    proof: Proof = replays.proven(_wanted(arguments))
    if arguments.json:
        _json(proof)
        return 0 if proof.good else 1
    if not proof.total:
        _said(about, "nothing")
    _said(
        about, "proven", total=proof.total, exact=proof.exact, recomputed=proof.recomputed,
        different=len(proof.different) + proof.more, unrepeatable=proof.unrepeatable,
    )  # fmt: skip
    for one in proof.different:
        _said(about, "different", verdict_id=one.verdict_id, at=_at(one.at), work_unit=one.work_unit, why=one.why)
    if proof.damaged:
        _said(about, "damaged", number=proof.damaged)
    return 0 if proof.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
