"""A person puts a fact right: the correction, what it comes to, and who did it, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cloud.database import Connection
from cloud.etl import deeds
from cloud.etl.corrections import Correction, CorrectionError, Target, accept, history, next_rev, stored
from cloud.etl.redo import redo
from cloud.plant import Plants


class OvertakenError(CorrectionError):
    """Somebody else corrected the fact meanwhile; look at its revisions and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asks for."""

    target: Target
    replacement: dict[str, Any] | None
    """None takes the fact back."""
    actor: str
    reason: str
    rev: int | None = None
    """The number it is to have; None for the next one. Of one that exists already only the very same is taken."""


@dataclass(frozen=True, slots=True)
class Done:
    """What it came to."""

    rev: int
    state: str
    """counts, held, retracted; waiting when the fact has not arrived."""
    buckets: int
    new: bool


def correct(connection: Connection, plants: Plants, order: Order, now_ns: int) -> Done:
    """Correct or take back one fact. Raises CorrectionError; the caller's transaction is then to be rolled back."""
    target, now_ms = order.target, now_ns // 1_000_000
    for record in stored(connection, target, lock=True):
        if record.site not in {plant.site.id for plant in plants.of_tenant(record.tenant)}:
            raise CorrectionError(f"the fact is of site {record.site!r}, which cloud.toml does not name any more")
    expected = next_rev(connection, target)
    correction = Correction(
        target=target,
        rev=order.rev if order.rev is not None else expected,
        replacement=order.replacement,
        site="",
        at=now_ns,
        actor=order.actor,
        reason=order.reason,
    )
    new = accept(connection, correction, now_ms)
    if new and correction.rev < expected:
        raise OvertakenError(f"revision {expected - 1} of this fact exists already; the next one is {expected}")
    outcomes, touched = redo(connection, plants, [target], now_ns) if new else ([], 0)
    state = outcomes[0].word if outcomes else _state(connection, target, correction.rev)
    for one in history(connection, target):
        if one["rev"] == correction.rev and one["state"] == "refused":
            raise CorrectionError(one["why"])
    if new:
        action = "retract" if order.replacement is None else "correct"
        deed = deeds.Deed(
            tenant=target.tenant, actor=order.actor, action=action, target=str(target), reason=order.reason
        )
        deeds.note(connection, deed, {"rev": correction.rev, "state": state, "buckets": touched}, now_ms)
    return Done(correction.rev, state, touched, new)


def _state(connection: Connection, target: Target, rev: int) -> str:
    found = [one["state"] for one in history(connection, target) if one["rev"] == rev]
    return found[-1] if found else "waiting"
