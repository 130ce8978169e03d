"""What a person orders from the command line, carried out in one transaction; whose depends on the database.

On SQLite only the service's own writer may write while it runs (two writers are what some SQLite versions cannot
survive), so an order is a file that the service takes up; without a service, and on PostgreSQL always, the command
carries it out itself. Every order may be carried out twice without harm: a crash may fall between commit and tidying.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from cloud.config import Settings
from cloud.database import Connection, Postgresql, Sqlite
from cloud.etl import ordered
from cloud.ingest import orphans, presence, safe
from cloud.packages import offers
from cloud.plant import Plants
from cloud.remote import commands
from cloud.running import RunningError, alone, file_of
from sync.topics import Address

log = logging.getLogger(__name__)

WAIT_S: Final = 30.0


class OrderError(Exception):
    """An order that cannot be carried out; says why."""


class Keep(msgspec.Struct, frozen=True, tag="keep"):
    """Two boxes speak with one identity: this incarnation's is the gateway."""

    address: tuple[str, str, str]
    inc: str


class Close(msgspec.Struct, frozen=True, tag="close"):
    """An incarnation will not come back: what it has not sent is gone."""

    address: tuple[str, str, str]
    inc: str
    by: str


class Safe(msgspec.Struct, frozen=True, tag="safe"):
    """A backup was made and read back."""

    made_ms: int
    path: str
    digest: str
    bytes: int
    marks: list[safe.Mark]


class Offers(msgspec.Struct, frozen=True, tag="offers"):
    """A stored package is offered to gateways."""

    addresses: list[tuple[str, str, str]]
    digest: str
    size: int
    name: str
    by: str
    at_ms: int
    expires_ms: int


class Commands(msgspec.Struct, frozen=True, tag="commands"):
    """The same is asked of gateways."""

    addresses: list[tuple[str, str, str]]
    command: str
    kind: str
    arguments: dict[str, Any]
    by: str
    expires_ms: int


class Decide(msgspec.Struct, frozen=True, tag="decide"):
    """Something about facts and figures is decided."""

    decision: ordered.Decision


Order = Keep | Close | Safe | Offers | Commands | Decide
_order: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def carry_out(connection: Connection, order: Order, now_ms: int, plants: Plants | None = None) -> str:
    """Carry an order out; gives what it came to. plants: what decisions about facts need. Raises OrderError."""
    match order:
        case Decide():
            if plants is None:
                raise OrderError("this process knows no plants; start it anew")
            try:
                return ordered.carry_out(connection, plants, order.decision, now_ms * 1_000_000)
            except ordered.DecisionError as error:
                raise OrderError(str(error)) from error
        case Safe():
            verified = safe.Verified(order.made_ms, order.path, order.digest, order.bytes, order.marks)
            return f"{safe.raise_safe(connection, verified, now_ms)} streams are safe further than before"
        case Keep():
            row = connection.one(
                "select id from gateway where tenant=? and site=? and name=? for update", order.address
            )
            if row is None:
                raise OrderError(f"no gateway {'/'.join(order.address)} was ever heard")
            try:
                discarded = presence.keep(connection, row[0], order.address[0], order.inc, now_ms)
            except KeyError as error:
                raise OrderError(f"incarnation {order.inc} never spoke for {'/'.join(order.address)}") from error
            return f"kept {order.inc}; discarded: {', '.join(discarded) or 'none'}"
        case Close():
            try:
                lost = orphans.close(connection, Address(*order.address), order.inc, by=order.by, now_ms=now_ms)
            except KeyError as error:
                raise OrderError(f"{'/'.join(order.address)} has no incarnation {order.inc}") from error
            return f"closed {order.inc}; lost: {'; '.join(lost) or 'nothing'}"
        case Offers():
            gateways = [Address(*one) for one in order.addresses]
            package = offers.Package(order.digest, order.size, order.expires_ms)
            offers.make(connection, gateways, package, name=order.name, by=order.by, now_ms=order.at_ms)
            return f"offered {order.name} ({order.digest[:12]}, {order.size} bytes) to {len(gateways)} gateways"

        case Commands():
            given = commands.Given(order.command, order.kind, order.arguments, order.by, order.expires_ms)
            try:
                for one in order.addresses:
                    commands.give(connection, Address(*one), given, now_ms)
            except commands.CommandError as error:
                raise OrderError(str(error)) from error
            return f"asked {len(order.addresses)} gateways: {order.kind} ({order.command})"


def give(settings: Settings, order: Order, wait_s: float = WAIT_S) -> str:
    """Have an order carried out, by us or by the service that holds the database; gives what it came to.

    Raises OrderError, also when the service does not take it up in time (it will, later).
    """
    path = file_of(settings)
    if path is None:
        from sqlalchemy import make_url

        return _at_once(Postgresql(make_url(settings.database_url), writer=True), order, Plants(settings))
    try:
        with alone(settings):
            return _at_once(Sqlite(str(path), writer=True), order, Plants(settings))
    except RunningError:
        return _by_the_service(path, order, wait_s)


def _at_once(connection: Connection, order: Order, plants: Plants) -> str:
    try:
        with connection.transaction():
            return carry_out(connection, order, time.time_ns() // 1_000_000, plants)
    finally:
        connection.close()


def _folder(database: Path) -> Path:
    return database.with_name(database.name + ".orders")


def _by_the_service(database: Path, order: Order, wait_s: float) -> str:
    folder = _folder(database)
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{time.time_ns()}-{os.getpid()}"
    asked, answer = folder / f"{name}.order", folder / f"{name}.answer"
    draft = folder / f"{name}.draft"
    draft.write_bytes(msgspec.json.encode(order))
    draft.rename(asked)
    end = time.monotonic() + wait_s
    while not answer.exists():
        if time.monotonic() > end:
            raise OrderError(f"the running cloud has not taken it up yet; it will carry out {asked} when it can")
        time.sleep(0.05)
    done, _, words = answer.read_text(encoding="utf-8").partition(" ")
    answer.unlink()
    if done == "refused":
        raise OrderError(words)
    return words


def waiting(database: Path) -> list[Path]:
    """Give the orders that wait for the service, oldest first."""
    return sorted(_folder(database).glob("*.order"))


def take_up(path: Path, plants: Plants | None = None) -> Callable[[Connection], str] | None:
    """Give what one waiting order asks to be done; None, and out of the way, when it is none of ours."""
    try:
        order = _order.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("an order that cannot be read is left aside: %s: %s", path, error)
        path.rename(path.with_suffix(".unreadable"))
        return None
    return lambda connection: carry_out(connection, order, time.time_ns() // 1_000_000, plants)


def answer(path: Path, words: str, *, refused: bool = False) -> None:
    """Tell whoever gave an order what it came to, after the commit."""
    draft = path.with_suffix(".draft")
    draft.write_text(f"{'refused' if refused else 'done'} {words}", encoding="utf-8")
    draft.rename(path.with_suffix(".answer"))
    path.unlink()
