"""What a ruleset remembers from window to window: hysteresis, delays and which alarms are up. Checkpointed by the flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from models.ruleset import Side, Threshold
from models.ruleset_file import Severity


class Held(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One check's memory: what its kind needs of these; numbers are finite."""

    level: Severity | None = None
    """In force; None = within its limits."""
    side: Side | None = None
    since: dict[str, int] = {}
    """Severity → end (ns) of the first window of the present run that lay beyond it."""
    numbers: list[float] = []
    times: list[int] = []
    """Ends of windows, ns."""
    texts: list[str] = []


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line's memory; the empty one is where a line begins."""

    at: int = 0
    """End of the last judged window, ns."""
    held: dict[str, Held] = {}
    alarms: dict[str, Severity] = {}
    """Alarms that are up, with the severity last told."""


NOTHING = Held()


def dump(state: State) -> bytes:
    """Give the checkpoint: JSON, the same bytes for the same state."""
    return msgspec.json.encode(state, order="sorted")


_state = msgspec.json.Decoder(State)


def restore(checkpoint: bytes | None) -> State:
    """Give the state of a checkpoint; the empty state for None. msgspec.DecodeError when it is none of ours."""
    return State() if checkpoint is None else _state.decode(checkpoint)


class Bounded(Protocol):
    """What holds a number against thresholds, the severest first: a limit, a rate of change."""

    @property
    def thresholds(self) -> Sequence[Threshold]: ...
    @property
    def hysteresis(self) -> float: ...
    @property
    def delay_ns(self) -> int: ...


def step_limit(limit: Bounded, value: float, held: Held, end: int) -> Held:
    """Advance a limit by one window: beyond for `delay_s` raises, back by more than the hysteresis lowers."""
    level: Severity | None = None
    side: Side | None = None
    since: dict[str, int] = {}
    for severity in ("critical", "warning"):
        in_force = held.level in {"critical", severity}
        for threshold in limit.thresholds:
            if threshold.severity != severity and not (severity == "warning" and threshold.severity == "critical"):
                continue  # what is beyond critical is beyond warning too, also when no warning bound is given
            slack = limit.hysteresis if in_force and held.side == threshold.side else 0.0
            if not threshold.beyond(value, slack):
                continue
            since.setdefault(severity, held.since.get(severity, end))
            if level is None and (in_force or end - since[severity] >= limit.delay_ns):
                level, side = severity, threshold.side
            break
    return Held(level=level, side=side, since=since)


def step_rule(severity: Severity, delay_ns: int, holds: bool, held: Held, end: int) -> Held:
    """Advance a condition by one window: it must hold for its delay before it counts."""
    if not holds:
        return NOTHING
    since = held.since.get(severity, end)
    in_force = held.level == severity or end - since >= delay_ns
    return Held(level=severity if in_force else None, since={severity: since})


def continued(state: State, name: str, start: int) -> Held:
    """Give a check's memory; after a gap between windows nothing that was waiting goes on waiting."""
    held = state.held.get(name, NOTHING)
    return msgspec.structs.replace(held, since={}) if start > state.at and held.since else held
