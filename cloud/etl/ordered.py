"""What people decide about facts and figures from the command line, carried out in one transaction."""

from __future__ import annotations

from typing import Any

import msgspec

from cloud.database import Connection
from cloud.etl import jobs, letters
from cloud.etl.correct import Order, correct
from cloud.etl.corrections import CorrectionError, Target
from cloud.plant import Plants


class DecisionError(Exception):
    """A decision that cannot be carried out; says why."""


class Correct(msgspec.Struct, frozen=True, tag="correct"):
    """A fact is put right, or taken back."""

    tenant: str
    inc: str
    stream: int
    seq: int
    replacement: dict[str, Any] | None
    rev: int | None
    by: str
    reason: str


class Release(msgspec.Struct, frozen=True, tag="release"):
    """A held fact counts as it is."""

    tenant: str
    letter: str
    by: str
    reason: str


class Retry(msgspec.Struct, frozen=True, tag="retry"):
    """Held facts are looked at again."""

    tenant: str
    code: str | None
    by: str
    reason: str


class Restate(msgspec.Struct, frozen=True, tag="restate"):
    """Shifts are computed anew."""

    tenant: str
    from_ms: int
    to_ms: int
    lines: list[str]
    dry_run: bool
    product: str | None
    cycle_ms: float | None
    by: str
    reason: str


Decision = Correct | Release | Retry | Restate


def carry_out(connection: Connection, plants: Plants, decision: Decision, now_ns: int) -> str:
    """Carry a decision out; gives what it came to. Raises DecisionError."""
    try:
        return _carry_out(connection, plants, decision, now_ns)
    except (CorrectionError, letters.LetterError, jobs.JobError) as error:
        raise DecisionError(str(error)) from error
    except KeyError as error:
        raise DecisionError(f"there is no dead letter {error}; `dead-letters list` shows them") from error


def _carry_out(connection: Connection, plants: Plants, said: Decision, now_ns: int) -> str:
    match said:
        case Correct():
            target = Target(said.tenant, said.inc, said.stream, said.seq)
            wanted = Order(target=target, replacement=said.replacement, actor=said.by, reason=said.reason, rev=said.rev)
            done = correct(connection, plants, wanted, now_ns)
            return f"revision {done.rev} of {target}: {done.state}; {done.buckets} buckets are computed anew"
        case Release():
            touched = letters.release(
                connection, plants, said.tenant, said.letter, actor=said.by, reason=said.reason, now_ns=now_ns
            )
            return f"{said.letter} counts now; {touched} buckets are computed anew"
        case Retry():
            passed, held = letters.retry(
                connection, plants, said.tenant, said.code, actor=said.by, reason=said.reason, now_ns=now_ns
            )
            return f"{passed} facts count now, {held} are still held"
        case Restate():
            order = jobs.Restatement(
                from_ms=said.from_ms,
                to_ms=said.to_ms,
                lines=said.lines,
                actor=said.by,
                reason=said.reason,
                dry_run=said.dry_run,
                product=said.product,
                cycle_ms=said.cycle_ms,
            )
            number = jobs.restate(connection, plants, said.tenant, order, now_ns // 1_000_000)
            return f"job {number}: the running cloud carries it out; GET /api/v1/etl/jobs/{number} says how far it is"
