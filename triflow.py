"""The `triflow` command: one name, the parts behind it loaded only when they are asked for.

A gateway installs `triflow[edge]` and never imports the cloud; so each word of the command line is a module
that is imported when it is spoken.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import cast

PARTS = {
    "edge": ("edge.__main__", "edge", "run, check and look after one gateway"),
    "cloud": ("cloud.__main__", "cloud", "run and migrate the cloud service"),
    "rules": ("edge.commands.rules", "edge", "check, test and explain rulesets; limits for control charts"),
    "model": ("models.command", "edge", "verify, show, sign and pack model packages"),
    "replay": ("edge.commands.replay", "edge", "judge again what was judged: as it was, what if, with other rules"),
    "audit": ("", "edge", "verify or export the audit log of a gateway, the cloud or a file"),
    "doctor": ("edge.commands.doctor", "edge", "find what is wrong with a site file and all it speaks to"),
    "demo": ("demo.__main__", "demo", "the simulated plant with everything running"),
}


def usage() -> str:
    lines = [f"  triflow {name:<7} {what}" for name, (_, _, what) in PARTS.items()]
    return "\n".join(["usage: triflow PART …", "", *lines, "", "`triflow PART --help` says more."])


def audit(argv: list[str]) -> int:
    """Verify or export a log; the side it lies on is loaded when it is named."""
    from sync.audit import Side
    from sync.audit import main as run

    return run(argv, lambda side: cast("Side", importlib.import_module(f"{side}.commands.audit")))


def main() -> int:
    """Hand the rest of the command line to the part named first; exit status is that part's."""
    if len(sys.argv) < 2 or sys.argv[1] in {"-h", "--help"}:
        print(usage())
        return 0 if len(sys.argv) > 1 else 64
    part = PARTS.get(sys.argv[1])
    if part is None:
        print(f"triflow: there is no part {sys.argv[1]!r}\n{usage()}", file=sys.stderr)
        return 64
    module, extra, _ = part
    try:
        run = importlib.import_module(module).main if module else audit  # the one part that has two sides
        status = int(run(sys.argv[2:]) or 0)
        sys.stdout.flush()
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest at its end
        return 0
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.split(".")[0] in {"edge", "cloud", "demo", "sync", "models"}:
            raise
        print(
            f"triflow {sys.argv[1]}: the library {missing.name!r} is not installed; "
            f"install this part with: pip install 'triflow[{extra}]'",
            file=sys.stderr,
        )
        return 69
    return status


if __name__ == "__main__":
    sys.exit(main())
