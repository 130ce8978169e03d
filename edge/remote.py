"""Commands of the cloud: who may give them is proven, each is carried out once, and every one is answered by a fact.

The cloud asks, the gateway decides: a handler says why it does not do what was asked. A command is carried out only if
the kept key of the cloud signed it for this gateway, if it is not over by the cloud's clock, and while no second box
speaks with our identity. The answer goes on record after the deed: a crash in between repeats the command, so every
handler must take the same command twice without harm (what moves a machine goes by the action's id, `edge.acting`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from edge.store import Store, StoreError
from sync.clock import Clock
from sync.command import statement
from sync.facts import Audited
from sync.frames import Command
from sync.judgment import CommandAnswered
from sync.signing import genuine
from sync.topics import Address

log = logging.getLogger(__name__)

CHECKPOINT: Final = "commands"
REMEMBERED: Final = 512
"""Answered commands, so that one said again is not carried out again."""
WAITING: Final = 64
"""Beyond, the cloud says them again later."""
MOST_BYTES: Final = 16 * 1024
"""Of one command's arguments."""
FUTURE_NS: Final = 60_000_000_000
"""Issued further ahead of the cloud's own clock than this is no command of its."""


class CommandRefusedError(Exception):
    """A command that is not carried out; the message says why and what to check."""


Handler = Callable[[str, Mapping[str, Any], str], Awaitable[str]]
"""(command id, arguments, actor) → what there is to say of it; raises CommandRefusedError."""


class Commands:
    """Takes commands and sees each through, one after the other.

    cloud_key: the kept public key, hex; empty before the first session. ahead_ms: how far our clock is ahead of the
    cloud's; None while nobody knows. alone: whether nobody else speaks with our identity.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        address: Address,
        *,
        cloud_key: Callable[[], str],
        ahead_ms: Callable[[], int | None],
        alone: Callable[[], bool],
    ) -> None:
        self._store, self._clock, self._address = store, clock, address
        self._cloud_key, self._ahead_ms, self._alone = cloud_key, ahead_ms, alone
        self._handlers: dict[str, Handler] = {}
        self._queue: dict[str, Command] = {}
        self._news = asyncio.Event()
        self.refused = 0
        """Commands that nobody of ours can have given."""
        try:
            self._answered: list[str] = msgspec.json.decode(store.checkpoint(CHECKPOINT) or b"[]", type=list[str])
        except msgspec.DecodeError:
            self._answered = []  # damaged: what is said again is carried out again, and every handler can take that

    def serve(self, kind: str, handler: Handler) -> None:
        """Let a handler carry out one kind of command."""
        self._handlers[kind] = handler

    def received(self, command: Command) -> None:
        """Take a command as it came; what is not proven to be the cloud's is counted and said once."""
        if command.command in self._answered or command.command in self._queue or len(self._queue) >= WAITING:
            return
        if why := self._not_genuine(command):
            if self.refused == 0:
                log.error("a command was not carried out: %s (said once, counted always)", why)
            self.refused += 1
            return
        self._queue[command.command] = command
        self._news.set()

    def _not_genuine(self, command: Command) -> str:
        if len(msgspec.json.encode(command.arguments)) > MOST_BYTES or not 0 < len(command.command) <= 64:
            return f"{command.kind!r} is too large or has no id"
        key = self._cloud_key()
        try:
            signature = bytes.fromhex(command.signature)
        except ValueError:
            signature = b""
        if not key or not genuine(bytes.fromhex(key), statement(self._address, command), signature):
            return (
                f"{command.kind!r} of {command.actor!r} is not signed with the cloud key this gateway keeps; "
                "was the cloud restored without its key?"
            )
        return ""

    async def run(self) -> None:
        """See commands through until cancelled. Raises StoreError."""
        while True:
            while not self._queue:
                self._news.clear()
                await self._news.wait()
            command = next(iter(self._queue.values()))
            if not self._alone():
                await self._clock.sleep(1.0)  # they are kept: who is the gateway is about to be settled
                continue
            try:
                done, why = True, await self._carry_out(command)
            except CommandRefusedError as refusal:
                done, why = False, str(refusal)
            except StoreError:
                raise
            except Exception as bug:  # the one net under a command: answered, or it would be said again at every start
                log.exception("a command could not be carried out: kind=%s", command.kind)
                done, why = False, f"fault of ours: {bug!r}"[:500]
            await self._answer(command, done=done, why=why)

    async def _carry_out(self, command: Command) -> str:
        ahead_ms = self._ahead_ms()
        if ahead_ms is None:
            raise CommandRefusedError("the gateway's clock was never compared with the cloud's; give it again")
        now = self._clock.now() - ahead_ms * 1_000_000
        if now > command.expires:
            raise CommandRefusedError(f"it was over {(now - command.expires) / 1e9:.0f} s before it was taken up")
        if command.issued > now + FUTURE_NS:
            raise CommandRefusedError("it is dated in the future; check the clocks")
        handler = self._handlers.get(command.kind)
        if handler is None:
            raise CommandRefusedError(f"this gateway knows no command {command.kind!r}; update it")
        return await handler(command.command, command.arguments, command.actor)

    async def _answer(self, command: Command, *, done: bool, why: str) -> None:
        now = self._clock.now()
        self._answered = [*self._answered[-REMEMBERED + 1 :], command.command]
        audited = Audited(
            at=now,
            actor=command.actor,
            action=f"command.{command.kind}",
            target=command.command,
            detail={"done": done, "why": why, "arguments": command.arguments, "from": "cloud"},
        )
        answered = CommandAnswered(at=now, command=command.command, done=done, why=why, actor=command.actor)
        checkpoint = msgspec.json.encode(self._answered)
        await self._store.commit(facts=[answered, audited], checkpoints={CHECKPOINT: checkpoint})
        del self._queue[command.command]
        log.info("command: kind=%s actor=%s done=%s why=%s", command.kind, command.actor, done, why)
