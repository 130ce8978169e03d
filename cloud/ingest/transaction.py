"""What every part of one transaction of ingest shares: the connection, the time, names, streams, and what to answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cloud.database import Connection
from cloud.etl.gate import Known
from cloud.ingest import witness
from cloud.ingest.identity import Identities
from cloud.ingest.items import Caller, Committed, Item
from cloud.ingest.streams import Stream, Streams
from cloud.remote import commands
from sync.signing import Signer
from sync.topics import Address


@dataclass(slots=True)
class Memory:
    """What one process remembers between its transactions; thrown away when one was rolled back."""

    known: Identities = field(default_factory=Identities)
    plant: Known = field(default_factory=Known)
    told_safe: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    """(incarnation, stream) → what was told as safe."""


class Transaction:
    """One transaction."""

    def __init__(
        self, connection: Connection, memory: Memory, now_ns: int, *, signer: Signer | None, safe_is_stored: bool
    ) -> None:
        self.connection = connection
        self.known = memory.known
        self.plant = memory.plant
        self.now_ns = now_ns
        self.now_ms = now_ns // 1_000_000
        self.done = Committed()
        self.streams = Streams(connection, self.incarnation, self.done, self.now_ms, safe_is_stored=safe_is_stored)
        self._told_safe = memory.told_safe
        self._signer = signer
        self._keys: dict[Address, list[str]] = {}

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """Give the first row of an answer."""
        return self.connection.one(sql, values)

    def gateway(self, address: Address) -> int:
        """Give the number of a gateway."""
        return self.known.gateway(self.connection, address)

    def incarnation(self, address: Address, inc: str) -> int:
        """Give the number of an incarnation."""
        return self.known.incarnation(self.connection, self.gateway(address), inc, address, self.now_ms)

    def name(self, inc: int) -> str:
        """Give the 32 hex digits of an incarnation."""
        row = self.one("select inc from incarnation where id=?", inc)
        return "" if row is None else str(row[0])

    def keys(self, address: Address, *, anew: bool = False) -> list[str]:
        """Give the public keys a gateway has ever come with: its disk may have moved into another box."""
        if anew or address not in self._keys:
            rows = self.connection.execute(
                "select distinct public_key from incarnation where gateway=? and public_key<>''",
                (self.gateway(address),),
            )
            self._keys[address] = [key for (key,) in rows]
        return self._keys[address]

    def tell(self, caller: Caller, stream: Stream) -> None:
        """Let a session be told how far a stream is."""
        self.streams.tell(caller, stream)
        self._told_safe[stream.key] = stream.safe

    def told_safe(self, inc: int, stream: int, safe: int) -> bool:
        """Tell whether the gateway knows that this is safe; the first time that is asked it was told at its resume."""
        return self._told_safe.setdefault((inc, stream), safe) == safe

    def command(self, item: Item, *, anew: bool = False) -> None:
        """Hand out what is asked of the gateway. anew: its session begins."""
        if self._signer is not None:
            answer = self.done.answer(item.caller)
            answer.commands += commands.hand_out(self.connection, item.address, self.now_ms, self._signer, anew=anew)

    def countersign(self, item: Item, stream: Stream) -> None:
        """Countersign a stream's chain when it is time to."""
        answer = self.done.answer(item.caller)
        if answer.reincarnate is not None:  # it has another chain under this name: what is signed here is not its own
            return
        if self._signer is not None and witness.due(stream, self.now_ms):
            answer.receipt = True
            answer.witnessed.append(witness.countersign(self.connection, stream, self._signer, self.now_ns))
