"""`triflow rules limits`: limits of a control chart from data of a good stretch (phase I), to be pasted into a ruleset.

Says which points were left out and why, what speaks against the limits, and how often the chart will alarm for nothing.
Changes nothing. Exit status: 0 limits, 2 no limits can be made (it says why), 78 the site file is wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from edge.commands.rules_samples import Columns, Samples, SamplesError, Which, from_csv, from_store
from edge.commands.stores import EX_CONFIG, found
from edge.drivers.finding import LANGUAGES, Language, say
from edge.store.file import DamagedError, StoreRefusedError
from edge.store.history import EVER, HistoryError
from models.ruleset_chart import SETS
from models.spc import RULES, USUAL, Kind, Limits, LimitsError
from models.spc.chart import WEIGHT, WIDTH, H, K
from models.spc.limits import VARIABLES
from models.spc.phase1 import MIN_POINTS, Estimate, PhaseOneError, counts, individuals, subgroups
from models.spc.run_length import RunLength, cusum, ewma, shewhart, spread_rate

NO_LIMITS: Final = 2
SHIFT: Final = 1.0
"""Shift in σ of the plotted points for which it is said how soon it is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """How often a chart signals."""

    rules: tuple[str, ...]
    nothing: RunLength
    """While all is well."""
    shifted: RunLength


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What is told."""

    estimate: Estimate
    limits: Limits
    """As they are frozen."""
    samples: Samples
    run: _Run | None


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    language: Language = arguments.language or "ko"
    try:
        rules = _rules(arguments)
        if arguments.site is None:
            samples = from_csv(arguments.file, _columns(arguments, "value"), arguments.every)
        else:
            arguments.subject = arguments.site
            if (about := found(arguments)) is None:
                return EX_CONFIG
            language = about.language
            samples = from_store(about.data, _columns(arguments, None), _which(arguments), arguments.every)
        estimate = _estimate(arguments, samples)
        limits = _frozen(estimate.limits, _version(arguments, samples))
        result = _Result(estimate=estimate, limits=limits, samples=samples, run=_run(arguments, rules))
    except (SamplesError, PhaseOneError, LimitsError, HistoryError, StoreRefusedError, DamagedError) as error:
        print(say("spc.fault", language, {"why": error}), file=sys.stderr)
        return NO_LIMITS
    if arguments.json:
        print(json.dumps(_document(result), ensure_ascii=False, indent=2))
    else:
        _tell(arguments, language, result)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triflow rules limits",
        description="Estimate the limits of a control chart from data of a good stretch, and print them for a ruleset.",
        epilog="A CSV has a header: time,value[,subgroup] or time,counted,inspected. Exit status: 0 limits, 2 none, 78 the site file is wrong.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", type=Path, metavar="FILE.csv")
    source.add_argument(
        "--site", type=Path, metavar="SITE.toml|DATA", help="what this gateway recorded with its verdicts"
    )
    parser.add_argument("--kind", choices=get_args(Kind), default="individuals", help="individuals when left out")
    for name, what in (
        ("value", "the measured value (column `value`)"),
        ("subgroup", "rows with the same entry are one subgroup"),
        ("size", "number of values behind a value, with --spread"),
        ("spread", "standard deviation or range behind a value"),
        ("counted", "what is counted (column `counted`)"),
        ("inspected", "what it is counted among (column `inspected`)"),
    ):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"column or recorded input: {what}")
    parser.add_argument(
        "--every", type=_positive, default=1, metavar="N", help="so many rows in a row are one subgroup"
    )
    parser.add_argument("--spread-kind", choices=("stddev", "range"), default="stddev")
    parser.add_argument(
        "--laney", choices=("yes", "no"), help="widen by the variation between samples; else when needed"
    )
    parser.add_argument(
        "--minimum", type=_positive, default=MIN_POINTS, metavar="N", help=f"fewest points; {MIN_POINTS}"
    )
    parser.add_argument("--rules", metavar="LIST", help="nelson_1,nelson_2,…, nelson, western_electric or usual")
    parser.add_argument("--moving-range", action="store_true", help="reckon with the limit of the moving range, too")
    parser.add_argument("--lambda", dest="weight", type=float, default=WEIGHT, help="of an EWMA")
    parser.add_argument("--width", type=float, default=WIDTH, help="of an EWMA, in its σ")
    parser.add_argument("--steady", action="store_true", help="an EWMA with its final limits from the first point on")
    parser.add_argument("--k", type=float, default=K, help="of a CUSUM, in σ")
    parser.add_argument("--h", type=float, default=H, help="of a CUSUM, in σ")
    parser.add_argument("--head-start", type=float, default=0.0, help="of a CUSUM, in σ")
    parser.add_argument("--version", help="of the limits; the day of the newest point when left out")
    parser.add_argument("--product", help="only windows of it (--site), and the limits are its own")
    parser.add_argument("--line", metavar="WORK_UNIT", help="with --site: the line, where several recorded it")
    parser.add_argument("--state", default="EXECUTE", help="with --site: PackML state; `any` for all")
    parser.add_argument("--from", dest="begin", type=_time, default=0, metavar="TIME", help="with --site: ISO 8601")
    parser.add_argument("--to", dest="end", type=_time, default=EVER, metavar="TIME")
    parser.add_argument(
        "--window-s", type=float, metavar="S", help="one point is so long: also say false alarms in time"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--language", choices=LANGUAGES)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2026-11-23T06:00") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 10**9


def _columns(arguments: argparse.Namespace, usual: str | None) -> Columns:
    """Give the names asked for; of a file the usual ones where none is."""
    if arguments.kind in VARIABLES:
        value: str | None = arguments.value or usual
        if value is None:
            raise SamplesError("--value is missing: the recorded input to chart, such as oil_temperature.mean")
        if (arguments.size is None) != (arguments.spread is None):
            raise SamplesError("--size and --spread belong together: how many values, and how far they spread")
        return Columns(value=value, subgroup=arguments.subgroup, size=arguments.size, spread=arguments.spread)
    counted: str | None = arguments.counted or (None if usual is None else "counted")
    inspected: str | None = arguments.inspected or (None if usual is None or arguments.kind == "c" else "inspected")
    if counted is None or (inspected is None and arguments.kind != "c"):
        raise SamplesError(
            "--counted and --inspected are missing: the recorded inputs, such as counts.scrap and counts.produced"
        )
    return Columns(counted=counted, inspected=inspected, subgroup=arguments.subgroup)


def _which(arguments: argparse.Namespace) -> Which:
    return Which(
        line=arguments.line, product=arguments.product, state=None if arguments.state == "any" else arguments.state,
        begin=arguments.begin, end=arguments.end,
    )  # fmt: skip


def _estimate(arguments: argparse.Namespace, samples: Samples) -> Estimate:
    kind: Kind = arguments.kind
    points = samples.points
    if kind not in VARIABLES:
        laney = None if arguments.laney is None else arguments.laney == "yes"
        return counts(points, kind, laney=laney, minimum=arguments.minimum)
    grouped = any(point.moments is not None or len(point.values) > 1 for point in points)
    if kind == "individuals" and grouped:
        raise SamplesError("these are subgroups; take --kind xbar, or leave --subgroup, --every and --spread out")
    if kind == "xbar" or grouped:
        return subgroups(points, spread=arguments.spread_kind, kind=kind, minimum=arguments.minimum)
    return individuals([point.values[0] for point in points], kind=kind, minimum=arguments.minimum)


def _version(arguments: argparse.Namespace, samples: Samples) -> str:
    if arguments.version is not None:
        return str(arguments.version)
    newest = max((at for at in samples.times if at is not None), default=None)
    return "1" if newest is None else datetime.fromtimestamp(newest / 1e9, UTC).strftime("%Y-%m-%d")


def _frozen(limits: Limits, version: str) -> Limits:
    """Give limits with their version, and no more digits than mean something: a ten-thousandth of σ."""
    step = limits.center / 100 if limits.sigma is None else limits.sigma
    digits = 4 - math.floor(math.log10(abs(step)))
    return replace(
        limits,
        center=round(limits.center, digits),
        sigma=None if limits.sigma is None else round(limits.sigma, digits),
        sigma_z=round(limits.sigma_z, 4),
        version=version,
    )


# --- false alarms


def _rules(arguments: argparse.Namespace) -> tuple[str, ...]:
    if arguments.rules is None:
        return () if arguments.kind in {"ewma", "cusum"} else USUAL
    named = [name.strip() for name in str(arguments.rules).split(",") if name.strip()]
    for name in named:
        if name not in RULES and name not in SETS:
            raise SamplesError(f"there is no rule {name!r}; there are {', '.join([*SETS, *RULES])}")
    return tuple(dict.fromkeys(rule for name in named for rule in SETS.get(name, (name,))))


def _run(arguments: argparse.Namespace, rules: tuple[str, ...]) -> _Run | None:
    """Give how often this chart signals by itself; None when it has no signals that can be reckoned."""
    match arguments.kind:
        case "ewma":
            if not 0 < arguments.weight <= 1 or not 0 < arguments.width <= 10:
                raise SamplesError("--lambda lies above 0 and up to 1, --width above 0 and up to 10")
            nothing, shifted = (
                ewma(arguments.weight, arguments.width, steady=arguments.steady, shift=shift) for shift in (0.0, SHIFT)
            )
            return _Run(rules=("ewma",), nothing=nothing, shifted=shifted)
        case "cusum":
            if not 0 <= arguments.head_start < arguments.h <= 100 or not 0 <= arguments.k <= 10:
                raise SamplesError("--k lies from 0 to 10, --h above --head-start and up to 100")
            nothing, shifted = (
                cusum(arguments.k, arguments.h, head_start=arguments.head_start, shift=shift) for shift in (0.0, SHIFT)
            )
            return _Run(rules=("cusum",), nothing=nothing, shifted=shifted)
        case _:
            moving = bool(arguments.moving_range) and arguments.kind == "individuals"
            if not rules and not moving:
                return None
            return _Run(
                rules=(*rules, "moving_range") if moving else rules,
                nothing=shewhart(rules, moving_range=moving),
                shifted=shewhart(rules, SHIFT, moving_range=moving),
            )


# --- telling


def _tell(arguments: argparse.Namespace, language: Language, result: _Result) -> None:
    estimate, limits, samples, run = result.estimate, result.limits, result.samples, result.run

    def told(key: str, **words: Any) -> None:
        print(say(key, language, words))

    told("spc.chart", kind=limits.kind, points=estimate.points, total=len(samples.points), rounds=estimate.rounds)
    if samples.gaps:
        told("spc.gaps", gaps=samples.gaps)
    size = estimate.sizes[1]
    reach = 3.0
    if limits.kind == "ewma":
        reach = arguments.width * math.sqrt(arguments.weight / (2 - arguments.weight))
    told(
        "spc.counted" if limits.sigma is None else "spc.summed" if limits.kind == "cusum" else "spc.measured",
        center=f"{limits.center:.8g}",
        sigma="" if limits.sigma is None else f"{limits.sigma:g}",
        lcl=f"{limits.line(-reach, size):.6g}",
        ucl=f"{limits.line(reach, size):.6g}",
        of="" if size == 1 else say("spc.of_size", language, {"size": f"{size:g}"}),
    )
    if estimate.spread_center is not None:
        lower, upper = estimate.spread_lower or 0.0, estimate.spread_upper or 0.0
        told("spc.spread", center=f"{estimate.spread_center:.6g}", lower=f"{lower:.6g}", upper=f"{upper:.6g}")
    for one in estimate.excluded:
        at = _at(samples.times[one.position])
        told("spc.excluded", number=one.position + 1, at=f" ({at})" if at else "", why=one.why, round=one.round)
    for doubt in estimate.doubts:
        told("spc.doubt", doubt=doubt[language])
    if run is not None:
        error = say("spc.error", language, {"error": f"{run.nothing.error:.2g}"}) if run.nothing.error else ""
        lasts = ""
        if arguments.window_s:
            lasts = say("spc.lasts", language, {"every_s": round(run.nothing.arl * arguments.window_s)})
        told("spc.alarms", rules=", ".join(run.rules), arl=f"{run.nothing.arl:.1f}", error=error, lasts=lasts)
        if limits.kind == "xbar" and arguments.spread_kind == "stddev":
            told("spc.spread_alarms", arl=f"{1 / spread_rate(round(size)):.1f}")
        told("spc.shift", shift=f"{SHIFT:g}", arl=f"{run.shifted.arl:.1f}")
    told("spc.paste")
    print(_toml(limits, arguments.product))


def _toml(limits: Limits, product: str | None) -> str:
    """Write limits for a [[chart]]: as one line, or as a table of their own for a product."""
    keys: dict[str, Any] = {"center": limits.center}
    if limits.sigma is not None:
        keys["sigma"] = limits.sigma
    if limits.sigma_z != 1.0:
        keys["sigma_z"] = limits.sigma_z
    keys |= {"version": limits.version, "hash": limits.hash[:16]}
    if product is None:
        return f"limits = {{ {', '.join(f'{key} = {_written(value)}' for key, value in keys.items())} }}"
    lines = [f"{key} = {_written(value)}" for key, value in ({"product": product} | keys).items()]
    return "\n".join(["[[chart.limits]]", *lines])


def _written(value: float | str) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _at(ns: int | None) -> str:
    return "" if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(result: _Result) -> dict[str, Any]:
    estimate, limits, samples, run = result.estimate, result.limits, result.samples, result.run
    size = estimate.sizes[1]
    return {
        "kind": limits.kind,
        "limits": {
            "center": limits.center,
            "sigma": limits.sigma,
            "sigma_z": limits.sigma_z,
            "lcl": limits.line(-3, size),
            "ucl": limits.line(3, size),
            "of_size": size,
            "version": limits.version,
            "hash": limits.hash,
        },
        "points": len(samples.points),
        "used": estimate.points,
        "gaps": samples.gaps,
        "rounds": estimate.rounds,
        "spread": None
        if estimate.spread_center is None
        else {"center": estimate.spread_center, "lower": estimate.spread_lower, "upper": estimate.spread_upper},
        "excluded": [
            {
                "point": one.position + 1,
                "at": _at(samples.times[one.position]) or None,
                "why": one.why,
                "round": one.round,
            }
            for one in estimate.excluded
        ],
        "doubts": [dict(doubt) for doubt in estimate.doubts],
        "false_alarms": None
        if run is None
        else {
            "rules": list(run.rules),
            "average_run_length": run.nothing.arl,
            "standard_error": run.nothing.error,
            "after_shift_of_one_sigma": run.shifted.arl,
        },
    }
