"""`triflow rules …`: rulesets as files: check one, test it with cases, explain it in plain sentences.

Exit status: 0 good, 1 a test failed (or, with --strict, something is suspicious), 78 a file is wrong (every fault is
listed with line and column).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final

from models.rulesets import RulesetError
from sync.settings import ConfigError

EX_CONFIG: Final = 78
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "check": ("edge.commands.rules_check", "check a ruleset: form, names, types, contradictions, what can never answer"),
    "test": ("edge.commands.rules_test", "judge the windows of a file of cases and compare with what it expects"),
    "explain": ("edge.commands.rules_explain", "say a ruleset in plain sentences; with a window, its verdict and the way to it"),
    "limits": ("edge.commands.rules_limits", "work out the limits of control charts from history (phase I)"),
}  # fmt: skip
"""Word → its module (with `main(argv) -> int`) and what it does. `triflow rules WORD …`."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="triflow rules", description="Check, test and explain rulesets.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, what) in COMMANDS.items():  # each parses the rest of its line itself, and is loaded only when spoken
        commands.add_parser(name, help=what, add_help=False)
    if not argv or argv[0] not in COMMANDS:
        parser.parse_args(argv)
        return EX_CONFIG
    module, _ = COMMANDS[argv[0]]
    try:
        return int(importlib.import_module(module).main(argv[1:]))
    except RulesetError as error:
        print(error, file=sys.stderr)
        print(f"{len(error.faults)} fault(s)", file=sys.stderr)
        return EX_CONFIG
    except ConfigError as error:
        print(error, file=sys.stderr)
        print(f"{len(error.faults)} fault(s)", file=sys.stderr)
        return EX_CONFIG
