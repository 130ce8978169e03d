"""Broken clouds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cloud.database import DatabaseError
from cloud.ingest import chunks, control, door, safe, streams
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from sync.receiver import Place, Position, Session
from tests.campaign.simulation.cloud import Backup, Cloud, Worker
from tests.campaign.simulation.mutants.edge import FixedEpochUnnoticed
from tests.campaign.simulation.mutants.mutant import Mutant, simulation
from tests.campaign.simulation.plan import MS


class AckBeforeCommit(Mutant):
    sentence = "the cloud answers before its commit"
    kinds = frozenset({"cloud_crash", "database_down"})

    class _Cloud(Cloud):
        class _Worker(Worker):
            def _commit(self, items: list[Item]) -> None:
                database = self.cloud.database
                database.begin()
                try:
                    done = self.ingest.store(database, items)
                finally:
                    database.rollback()
                self.ingest.forget()
                for say in self.door.told(done):
                    self.say(say)
                self.cloud.world.after(200 * MS, self._later, items)

            def _later(self, items: list[Item]) -> None:
                if self.alive:
                    try:
                        self.cloud.committed(self, items, self.transact(items))
                    except DatabaseError:
                        self.ingest.forget()

        worker_kind = _Worker

    simulation = simulation(cloud=_Cloud)


class WatermarkIsNewest(Mutant):
    sentence = "the watermark is the highest number seen, not the end of what is contiguous"
    kinds = frozenset({"drop", "reorder"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        right = Position.place

        def wrong(self: Position, first: int, count: int, *, again: bool = False) -> Place:
            found = right(self, first, count, again=again)
            if found is Place.EARLY and not again:
                self.stored = first - 1
                return Place.NEXT
            return found

        yield Position, "place", wrong


def _overwrite(self: Any, item: Any, frame: Any, stream: Any, why: str) -> None:
    """Last write wins."""
    connection = self._tx.connection
    end = frame.first + frame.count - 1
    connection.execute("delete from ingest_chunk where inc=? and stream=? and first=?", (*stream.key, frame.first))
    for table in ("fact", "reading"):
        connection.execute(
            f"delete from {table} where inc=? and stream=? and seq between ? and ?", (*stream.key, frame.first, end)
        )
    self._take(item, frame, stream)


class LastWriteWins(Mutant):
    sentence = "a chunk with other content overwrites the stored one"
    kinds = frozenset({"memory_image", "link_down"})
    without = frozenset({"old_gateway", "old_cloud"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield chunks.Chunks, "_conflict", _overwrite


class FixedEpochUpsert(FixedEpochUnnoticed):
    sentence = "one epoch for ever, and the cloud overwrites what differs (last write wins)"

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield from super().patches()
        yield chunks.Chunks, "_conflict", _overwrite


class FixedEpochNoDigest(FixedEpochUnnoticed):
    sentence = "one epoch for ever, and a known number counts as the known chunk, digest or not"

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield from super().patches()
        yield chunks.Chunks, "_conflict", lambda _self, _item, _frame, _stream, _why: None


class NoReconciliation(Mutant):
    sentence = "the cloud does not compare holdings with what was announced"
    kinds = frozenset({"edge_restore", "link_down"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield control, "rollback", lambda _one, _lane, _position: []


class AnyNonce(Mutant):
    sentence = "the cloud takes a resume with any nonce, so that holdings of an earlier life count"
    kinds = frozenset({"stale", "edge_restore", "edge_crash", "link_down"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        def resume(self: Session, frame: Any) -> bool:
            self._active, self._offered, self._number = frame.nonce, None, 0
            return True

        def takes(self: Session, _nonce: str) -> bool:
            return self._active is not None

        yield Session, "resume", resume
        yield Session, "takes", takes


class OneSession(Mutant):
    sentence = "boxes with one identity share one session, whichever incarnation speaks"
    kinds = frozenset({"clone"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        right = door.Door._hello

        def wrong(self: Any, address: Any, gateway: Any, header: Any) -> Any:
            for inc in list(gateway.guests):
                if inc != header.inc:
                    del gateway.guests[inc]
            return right(self, address, gateway, header)

        yield door.Door, "_hello", wrong


class SafeIsNow(Mutant):
    sentence = "after a backup everything stored counts as safe, also what came while it was verified"
    kinds = frozenset({"cloud_restore"})

    class _Cloud(Cloud):
        def mark_safe(self, backup: Backup, copy: Any) -> None:
            super().mark_safe(backup, self.database)

    simulation = simulation(cloud=_Cloud)


class RemembersRolledBack(Mutant):
    sentence = "what was learnt in a transaction that was rolled back is not forgotten"
    kinds = frozenset({"database_down"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield Ingest, "forget", lambda _self: None


class StoresTwice(Mutant):
    sentence = "a known chunk is stored again"
    kinds = frozenset({"duplicate", "stale"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        right = Position.place

        def wrong(self: Position, first: int, count: int, *, again: bool = False) -> Place:
            found = right(self, first, count, again=again)
            return Place.NEXT if found is Place.KNOWN else found

        yield Position, "place", wrong


class LostStaysLost(Mutant):
    sentence = "a row that comes after its loss was declared does not shrink it"
    kinds = frozenset({"person", "window_zero", "link_down"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield streams.Streams, "found", lambda _self, _stream, _first, _last: None
        yield streams.Streams, "reopen", lambda _self, _stream, _held: None


class SafeNeverRaised(Mutant):
    sentence = "a backup raises no watermark"
    survives = (
        "by design: nothing is lost by keeping too much; the store sheds what is stored under pressure, and says so"
    )

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield safe, "raise_safe", lambda _connection, _verified, _now_ms: 0


ALL = (
    AckBeforeCommit,
    WatermarkIsNewest,
    LastWriteWins,
    FixedEpochUpsert,
    FixedEpochNoDigest,
    NoReconciliation,
    AnyNonce,
    OneSession,
    SafeIsNow,
    RemembersRolledBack,
    StoresTwice,
    LostStaysLost,
    SafeNeverRaised,
)
