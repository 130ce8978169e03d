"""`triflow edge act …`: how far the gateway may go, what waits for a person, the kill switch, trust.

Works while the gateway runs and while it does not. The kill switch is thrown by a file that the gateway looks at before
every write: it needs neither page nor network. Everything else is an order left in the gateway's folder, taken in
within a second or at its next start, audited with who gave it; what it makes of it is seen with `status`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edge.acting.evidence import Evidence
from edge.acting.journal import Journal
from edge.acting.modes import Modes
from edge.acting.orders import FOLDER, AnswerOrder, LiftOrder, ModeOrder, Order, TrustOrder, leave
from edge.acting.status import holds_told, modes_told, trust_told, waiting_told
from edge.acting.switches import KILL, MODELS_OFF, Switch, Thrown
from edge.site import Site, load
from edge.store.file import DamagedError, StoreRefusedError
from edge.store.look import owner, remembered
from sync.settings import ConfigError

EX_DATAERR: Final = 65
EX_CONFIG: Final = 78
LEAST_REASON: Final = 5


class _WrongError(Exception):
    """What was asked cannot be ordered; the message says what to write."""


def main(argv: list[str]) -> int:
    """Parse the words after `act`, do what they say, print it; give the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.what in {"kill", "models-off"}:
            _throw(arguments)
        else:
            _DO[arguments.what](load(arguments.site), arguments)
    except (ConfigError, StoreRefusedError, DamagedError) as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    except _WrongError as error:
        print(error, file=sys.stderr)
        return EX_DATAERR
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; run this as the gateway's user or with sudo", file=sys.stderr)
        return EX_CONFIG
    return 0


def _parser() -> argparse.ArgumentParser:
    what = "See and say how far a gateway may act on its machines."
    parser = argparse.ArgumentParser(prog="triflow edge act", description=what)
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    def command(name: str, said: str, *, reason: bool | None = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=said, description=said)
        made.add_argument("site", type=Path, help="the site file, e.g. site.toml (kill: or the gateway's folder)")
        if reason is not False:
            made.add_argument(
                "--reason",
                required=reason is True,
                default="",
                help=f"why, at least {LEAST_REASON} characters; it is audited",
            )
        return made

    command("status", "modes, switches, what waits, what is held, trust", reason=False)
    mode = command("mode", "order how far the gateway, or one line, may go")
    mode.add_argument("mode", choices=["monitor", "advise", "control"])
    mode.add_argument("--line", default="", metavar="WORK_UNIT", help="one line; the whole gateway when left out")
    for name, said in (("kill", "stop all acting at once"), ("models-off", "judge by rules alone until models-on")):
        command(name, said, reason=None)  # who has to be quick gives none
    command("lift", "take the kill switch back")
    command("models-on", "let models judge again")
    for name, said in (("approve", "say yes to an action that waits"), ("reject", "say no to it")):
        answer = command(name, said, reason=False)
        answer.add_argument("action", help="its beginning is enough")
        answer.add_argument("--comment", default="")
    trust = command("trust", "change a ruleset's level, one step up at most")
    trust.add_argument("ruleset")
    trust.add_argument("level", type=int, choices=range(4))
    trust.add_argument("--confirm", action="store_true", help="an administrator's word, needed for level 3")
    return parser


# --- orders


def _mode(site: Site, arguments: argparse.Namespace) -> None:
    lines = [line.work_unit for line in site.file.lines]
    if arguments.line and arguments.line not in lines:
        raise _WrongError(f"no line {arguments.line!r}; there are: {', '.join(lines)}")
    _order(site, ModeOrder(arguments.mode, arguments.line, _who(), _reason(arguments)))


def _throw(arguments: argparse.Namespace) -> None:
    """Throw a switch. The site file may be broken, or be the gateway's folder itself: this has to work."""
    models = arguments.what == "models-off"
    switch = Switch(_folder(arguments.site), MODELS_OFF if models else KILL)
    if (before := switch.thrown()) is not None:
        print(f"it was thrown already: {before}")
    reason = str(arguments.reason).strip() or "no reason given"
    switch.throw(Thrown(actor=_who(), reason=reason, at=time.time_ns()))
    if models:
        print(f"rules judge alone from now on; `act models-on` takes it back ({switch.path})")
    else:
        print(f"nothing is written to a machine from now on; `act lift` takes it back ({switch.path})")


def _folder(site: Path) -> Path:
    """Give the gateway's folder."""
    if site.is_dir():
        return site
    try:
        data = tomllib.loads(site.read_text("utf-8")).get("gateway", {}).get("data", "data")
    except (ValueError, RecursionError, AttributeError):  # whatever is wrong with the file, the switch is thrown
        data = "data"
    folder = site.resolve().parent / str(data)
    if not folder.is_dir():
        raise _WrongError(
            f"no gateway has run here yet: {folder} is not there; give its folder instead of the site file"
        )
    return folder


def _lift(site: Site, arguments: argparse.Namespace) -> None:
    _order(site, LiftOrder(models=False, actor=_who(), reason=_reason(arguments)))


def _models_on(site: Site, arguments: argparse.Namespace) -> None:
    _order(site, LiftOrder(models=True, actor=_who(), reason=_reason(arguments)))


def _answer(site: Site, arguments: argparse.Namespace) -> None:
    waiting = [action for action, entry in _journal(site).entries.items() if entry.state == "waiting"]
    found = [action for action in waiting if action.startswith(arguments.action)]
    if len(found) != 1:
        what = f"{len(found)} begin so" if found else "nothing that waits begins so"
        raise _WrongError(f"{arguments.action!r}: {what}; `triflow edge act status {arguments.site}` lists them")
    _order(site, AnswerOrder(found[0], arguments.what == "approve", _who(), arguments.comment))


def _trust(site: Site, arguments: argparse.Namespace) -> None:
    names = sorted({ruleset.name for ruleset in site.rulesets.values()})
    if arguments.ruleset not in names:
        raise _WrongError(f"no ruleset {arguments.ruleset!r} judges here; there are: {', '.join(names)}")
    if arguments.level == 3 and not arguments.confirm:
        raise _WrongError("level 3 acts on its own up to medium risk; an administrator adds --confirm")
    _order(site, TrustOrder(arguments.ruleset, arguments.level, arguments.confirm, _who(), _reason(arguments)))


def _order(site: Site, order: Order) -> None:
    leave(site.data, order, time.time_ns())
    running = owner(site.data) is not None
    print("ordered; the gateway takes it in within a second" if running else "ordered; it counts from the next start")
    print(f"`triflow edge act status {site.path}` shows what it made of it")


# --- looking


def _status(site: Site, _: argparse.Namespace) -> None:
    modes, evidence, journal = Modes(site.file.acting), Evidence(), _journal(site)
    raw = remembered(site.data, "acting.modes")
    try:
        if raw is not None:
            modes.restore(raw)
        rulesets = sorted({ruleset.name for ruleset in site.rulesets.values()})
        evidence.restore(rulesets, lambda name: remembered(site.data, name), time.time_ns())
    except ValueError as error:
        raise _WrongError(f"{site.data}: {error}; it was written by another version of the software") from error
    told = modes_told(modes, [line.work_unit for line in site.file.lines], *_switches(site))
    for name, said in (("killed", "KILL SWITCH"), ("models_off", "MODELS OFF")):
        if told[name] is not None:
            print(f"{said}: {told[name]['reason']} ({told[name]['actor']})")
    print(f"mode        {told['mode']}{_by(told['ordered'])}")
    for line in told["lines"]:
        if line["own"] is not None:
            print(f"  {line['work_unit']}: {line['mode']}{_by(line['ordered'])}")
    print(
        f"running     {'yes' if owner(site.data) is not None else 'no'}; what may be written: {len(site.permits)} tags"
    )
    waiting = waiting_told(journal, time.time_ns())
    print(f"waiting     {len(waiting)}")
    for one in waiting:
        print(f"  {one['action'][:12]}  {one['type']} {one['target']} = {one['value']} ({one['risk']})")
        print(f"      {one['expires_s']:.0f} s left · {'; '.join(one['reasons'])}")
    for hold in holds_told(journal, time.time_ns()):
        print(f"held        {hold['target']} by {hold['by']} for {hold['until_s']:.0f} s")
    for one in trust_told(evidence, rulesets, time.time_ns()):
        ready = f"; ready for {one['ready_for']}" if one["ready_for"] is not None else ""
        print(f"trust       {one['ruleset']}: level {one['level']}, score {one['metrics']['score']:.4f}{ready}")
        for missing in one["lacking"]:
            print(f"      for level {one['level'] + 1}: {missing}")
    for refused in sorted((site.data / FOLDER).glob("*.why")) if (site.data / FOLDER).is_dir() else []:
        print(f"! an order was refused: {refused.read_text('utf-8').strip()} ({refused.name})")


def _journal(site: Site) -> Journal:
    journal = Journal()
    raw = remembered(site.data, "acting.journal")
    if raw is not None:
        try:
            journal.restore(raw, time.time_ns())
        except ValueError as error:
            raise _WrongError(f"{site.data}: {error}") from error
    return journal


def _switches(site: Site) -> tuple[Switch, Switch]:
    return Switch(site.data, KILL), Switch(site.data, MODELS_OFF)


def _by(order: dict[str, Any] | None) -> str:
    return "" if order is None else f", ordered by {order['actor']}: {order['reason']}"


def _reason(arguments: argparse.Namespace) -> str:
    reason = str(arguments.reason).strip()
    if len(reason) < LEAST_REASON:
        raise _WrongError(f"give a reason of at least {LEAST_REASON} characters")
    return reason


def _who() -> str:
    """Give who orders: the person, also behind sudo."""
    try:
        return f"{os.environ.get('SUDO_USER') or getpass.getuser()} (command)"
    except (KeyError, OSError):  # a user without a name
        return f"user {os.getuid()} (command)"


_DO: Final[dict[str, Callable[[Site, argparse.Namespace], None]]] = {
    "status": _status,
    "mode": _mode,
    "lift": _lift,
    "models-on": _models_on,
    "approve": _answer,
    "reject": _answer,
    "trust": _trust,
}
