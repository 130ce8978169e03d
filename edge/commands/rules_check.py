"""`triflow rules check FILE`: is the ruleset good, and what in it is suspicious.

Exit status: 0 good, 1 something is suspicious and --strict was given, 78 it is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from edge.commands.rules_names import Names, add_names, names
from models.ruleset import Ruleset
from models.ruleset_fault import RulesetError, RulesetFault
from models.ruleset_kinds import KINDS
from sync.settings import ConfigError

EX_CONFIG = 78


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="triflow rules check", description=__doc__.split("\n")[0] if __doc__ else "")
    add_names(parser)
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there are warnings")
    parser.add_argument("--json", action="store_true", help="as a program reads it")
    arguments = parser.parse_args(argv)
    try:
        known = names(arguments)
        ruleset = known.ruleset(arguments.file)
    except RulesetError as error:
        if not arguments.json:
            raise
        print(json.dumps(_document(None, error.faults, ()), ensure_ascii=False, indent=2))
        return EX_CONFIG
    except ConfigError as error:
        if not arguments.json:
            raise
        told = [RulesetFault(fault.line, 1, f"{fault.file}", fault.what) for fault in error.faults]
        print(json.dumps(_document(None, told, ()), ensure_ascii=False, indent=2))
        return EX_CONFIG
    if arguments.json:
        print(json.dumps(_document(ruleset, (), ruleset.warnings), ensure_ascii=False, indent=2))
    else:
        _write(arguments.file.name, ruleset, known)
    return 1 if arguments.strict and ruleset.warnings else 0


def _write(name: str, ruleset: Ruleset, known: Names) -> None:
    for warning in ruleset.warnings:
        print(f"{name}:{warning} (warning)", file=sys.stderr)
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(_kinds(ruleset).values()).items())
    print(f"{name}: good: {ruleset.name} {ruleset.version}, {len(ruleset.checks)} checks ({kinds}), {ruleset.policy}")
    print(f"hash {ruleset.hash}, {len(ruleset.warnings)} warning(s)")
    if known.guessed:
        print("names of tags were taken as they are; --book or --site checks them, too")


def _kinds(ruleset: Ruleset) -> dict[str, str]:
    """Give each check's kind, as the file calls it."""
    document: dict[str, list[dict[str, Any]]] = json.loads(ruleset.document)
    return {entry["name"]: kind for kind in KINDS for entry in document.get(kind, [])}


def _document(
    ruleset: Ruleset | None, faults: Sequence[RulesetFault], warnings: Sequence[RulesetFault]
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "good": ruleset is not None,
        "faults": [_fault(fault) for fault in faults],
        "warnings": [_fault(warning) for warning in warnings],
    }
    if ruleset is not None:
        kinds = _kinds(ruleset)
        told |= {"name": ruleset.name, "version": ruleset.version, "hash": ruleset.hash, "policy": ruleset.policy}
        told["checks"] = [
            {"name": c.name, "kind": kinds[c.name], "priority": c.priority, "uses": list(c.uses)}
            for c in ruleset.checks
        ]
    return told


def _fault(fault: RulesetFault) -> dict[str, Any]:
    return {
        "line": fault.line,
        "column": fault.column,
        "where": fault.where,
        "problem": fault.problem,
        "hint": fault.hint,
    }
