"""One transaction of ingest: chunks, resumes and heartbeats in the order they came, all or nothing.

What a receipt says is read from here and sent only after the commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloud.database import Connection
from cloud.ingest import control
from cloud.ingest.chunks import Chunks
from cloud.ingest.items import Committed, Gone, Item
from cloud.ingest.transaction import Memory, Transaction
from cloud.plant import Plants
from sync import failpoint
from sync.clock import Clock, WallClock
from sync.frames import Batch, Heartbeat, Resume
from sync.signing import Signer


class Ingest:
    """Stores items; `store` runs on the writer's thread, inside a transaction."""

    def __init__(self, plants: Plants, clock: Clock | None = None, signer: Signer | None = None) -> None:
        """Take what is enrolled; the clock and the cloud's own key, without which nothing is countersigned."""
        self._plants = plants
        self._clock = clock or WallClock()
        self._signer = signer
        self._memory = Memory()

    def forget(self) -> None:
        """Drop what was learnt from the database: a transaction that made part of it was rolled back."""
        self._memory = Memory()

    def store(self, connection: Connection, items: Sequence[Item]) -> Committed:
        """Store everything in order. Raises DataError or DatabaseError, and then nothing of it is."""
        tx = Transaction(
            connection,
            self._memory,
            self._clock.now(),
            signer=self._signer,
            safe_is_stored=self._plants.file.safe == "stored",
        )
        chunks = Chunks(tx, self._plants)
        for item in items:
            match item.frame:
                case Batch():
                    chunks.batch(item, item.frame)
                case Resume():
                    control.resume(tx, item, item.frame)
                case Heartbeat():
                    control.heartbeat(tx, item, item.frame)
                case Gone():
                    control.gone(tx, item)
        chunks.write()
        tx.streams.write()
        failpoint.reach("cloud.before_commit")
        return tx.done
