"""Commands to gateways: a row each, so that any process may send it, and what the gateway said became of it.

The gateway decides. A command is said again in every session, and within one after a while, until it is answered or
over; its id makes it one deed there. What is signed is bound to the gateway, not to the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from cloud.bi.times import iso
from cloud.database import Connection
from sync.command import statement
from sync.frames import Command
from sync.judgment import CommandAnswered
from sync.signing import Signer
from sync.topics import Address

AGAIN_MS: Final = 30_000
AT_ONCE: Final = 16
LATEST_MS: Final = 4_102_444_800_000
"""2100."""
MOST_BYTES: Final = 16 * 1024
"""Of a command's arguments as JSON: what a gateway takes."""
KINDS: Final = ("approve", "reject", "act", "mode", "kill", "trust", "model", "feedback")
COLUMNS: Final = (
    "tenant", "site", "gateway", "command", "kind", "arguments", "actor", "given_ms", "expires_ms", "sent_ms", "state",
    "detail", "answered_ms",
)  # fmt: skip


class CommandError(ValueError):
    """A command that cannot be given; says why."""


@dataclass(frozen=True, slots=True)
class Given:
    """What is asked of one gateway."""

    command: str
    """Id, 32 hex digits."""
    kind: str
    arguments: Mapping[str, Any]
    actor: str
    expires_ms: int


def give(connection: Connection, gateway: Address, given: Given, now_ms: int) -> None:
    """Note a command for a gateway; the same id twice changes nothing. Raises CommandError."""
    if given.kind not in KINDS:
        raise CommandError(f"there is no command {given.kind!r}; there are {', '.join(KINDS)}")
    try:
        orjson.dumps([given.arguments, given.actor])  # what cannot be shown again is not taken
        arguments = msgspec.json.encode(given.arguments, order="sorted")
    except (TypeError, ValueError, RecursionError) as error:
        raise CommandError(
            f"the arguments cannot be kept: {error}; whole numbers have 64 bits at most, and texts no half characters"
        ) from error
    if len(arguments) > MOST_BYTES:
        raise CommandError(f"{len(arguments)} bytes of arguments; a command may have {MOST_BYTES}")
    connection.execute(
        "insert into command(tenant, site, gateway, command, kind, arguments, actor, given_ms, expires_ms)"
        " values(?,?,?,?,?,?,?,?,?) on conflict(tenant, site, gateway, command) do nothing",
        (
            gateway.tenant,
            gateway.site,
            gateway.gateway,
            given.command,
            given.kind,
            arguments.decode().replace("\\u0000", "\\ufffd"),
            given.actor,
            now_ms,
            given.expires_ms,
        ),
    )


def hand_out(
    connection: Connection, gateway: Address, now_ms: int, signer: Signer, *, anew: bool = False
) -> list[Command]:
    """Give what a gateway is to be told now, signed, without a session's nonce; note that it was.

    anew: its session begins, it was told nothing.
    """
    before = now_ms if anew else now_ms - AGAIN_MS
    who = (gateway.tenant, gateway.site, gateway.gateway)
    rows = connection.execute(
        "select command, kind, arguments, actor, given_ms, expires_ms from command where tenant=? and site=? and gateway=?"
        " and state='given' and expires_ms>? and (sent_ms is null or sent_ms<=?) order by given_ms, command",
        (*who, now_ms, before),
    )
    found: list[Command] = []
    for name, kind, arguments, actor, given_ms, expires_ms in rows[:AT_ONCE]:
        plain = Command(
            nonce="",
            command=name,
            kind=kind,
            arguments=msgspec.json.decode(arguments),
            actor=actor,
            issued=given_ms * 1_000_000,
            expires=expires_ms * 1_000_000,
            signature="",
        )
        signature = signer.sign(statement(gateway, plain)).hex()
        found.append(msgspec.structs.replace(plain, signature=signature))
        connection.execute(
            "update command set sent_ms=? where tenant=? and site=? and gateway=? and command=?", (now_ms, *who, name)
        )
    return found


def outcome(fact: CommandAnswered) -> tuple[str, str, int, str]:
    """Give (state, why, at ms, id) of an answer."""
    why, name = (text.replace("\0", "\ufffd") for text in (fact.why, fact.command))
    return "done" if fact.done else "refused", why, min(max(0, fact.at // 1_000_000), LATEST_MS), name


SETTLE: Final = (
    "update command set state=?, detail=?, answered_ms=? where command=? and tenant=? and site=?"
    " and gateway=(select name from gateway where id=?)"
)
"""Takes an `outcome`, then tenant, site and the gateway's number."""


def listed(
    connection: Connection, now_ms: int, *, tenant: str | None = None, limit: int = 200, offset: int = 0
) -> tuple[list[dict[str, Any]], int]:
    """Give commands, newest first, as the API shows them, and how many there are. An open one past its end is `expired`."""
    where, values = ("", ()) if tenant is None else (" where tenant=?", (tenant,))
    rows = connection.execute(
        f"select {', '.join(COLUMNS)} from command{where} order by given_ms desc, tenant, site, gateway, command"  # noqa: S608 - our own words
        " limit ? offset ?",
        (*values, limit, offset),
    )
    (total,) = connection.one(f"select count(*) from command{where}", values) or (0,)  # noqa: S608 - as above
    return [_shown(dict(zip(COLUMNS, row, strict=True)), now_ms) for row in rows], total


def _shown(row: dict[str, Any], now_ms: int) -> dict[str, Any]:
    late = row["state"] == "given" and row["expires_ms"] <= now_ms
    times = {
        name.removesuffix("_ms"): None if row[name] is None else iso(row[name])
        for name in ("given_ms", "expires_ms", "sent_ms", "answered_ms")
    }
    words = {name: row[name] for name in ("tenant", "site", "gateway", "command", "kind", "actor")}
    return (
        words
        | times
        | {
            "arguments": msgspec.json.decode(row["arguments"]),
            "state": "expired" if late else row["state"],
            "why": row["detail"],
        }
    )
