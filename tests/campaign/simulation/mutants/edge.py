"""Broken gateways."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from cloud.ingest import chunks, control
from edge.store import confirm, outbox, rows, shed
from edge.store.chunks import Plan
from sync import sending
from sync.cursor import Cursor
from sync.frames import Batch, Receipt, Watermark, Welcome
from tests.campaign.simulation.gateway import Box
from tests.campaign.simulation.mutants.mutant import Mutant, simulation
from tests.campaign.simulation.simulate import Simulation
from tests.campaign.simulation.truth import Read


def _everywhere(name: str, replacement: Any) -> Iterator[tuple[Any, str, Any]]:
    """Replace a function of the store in every module that knows it by its name."""
    for module in [module for name_, module in sys.modules.items() if name_.startswith("edge.store.")]:
        if callable(getattr(module, name, None)):
            yield module, name, replacement


class DeleteOnPuback(Mutant):
    sentence = "the gateway forgets a chunk when the broker acknowledges it"
    kinds = frozenset({"drop", "ack_drop"})

    class _Box(Box):
        def published(self, session: Any, frame: Any) -> None:
            if isinstance(frame, Batch) and frame.count:
                end = frame.first + frame.count - 1
                self.outbox.apply([Watermark(inc=frame.inc, stream=frame.stream, stored=end, safe=end)])

    simulation = simulation(box=_Box)


class FixedEpoch(Mutant):
    sentence = "a start goes on under the incarnation of the one before (one epoch for ever)"
    kinds = frozenset({"edge_restore", "edge_crash"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        begin, turn = rows.open_start, outbox.Outbox.turn

        def open_start(connection: Any, books: Any, inc: str, opened: int, software: str) -> Any:
            if not books.starts:
                return begin(connection, books, inc, opened, software)
            start = books.current
            start.closed = False
            connection.execute("UPDATE incarnation SET closed = 0 WHERE ord = ?", (start.ord,))
            return start

        def really_turn(self: Any, *arguments: Any, **named: Any) -> None:
            rows.open_start = begin
            try:
                turn(self, *arguments, **named)
            finally:
                rows.open_start = open_start

        yield from _everywhere("open_start", open_start)
        yield outbox.Outbox, "turn", really_turn


class FixedEpochUnnoticed(FixedEpoch):
    sentence = "one epoch for ever, and nothing that notices numbers used twice"

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield from super().patches()
        yield control, "_forked", lambda _tx, _address, _one: ""
        yield chunks.Chunks, "_reincarnate", lambda _self, _item, _frame, _why: None
        right = Cursor._turn

        def turn(self: Cursor, why: str, *, forked: bool = False) -> Any:
            return [] if forked else right(self, why)

        yield Cursor, "_turn", turn


class _Loose(Simulation):
    """A power cut takes the last commits with it, as synchronous=NORMAL allows."""

    def crash(self, box: Box) -> None:
        box.kill()
        if isinstance(box, LooseBox) and box.recent:
            content, read = box.recent[0]
            box.set_disk(content, read)
            self.world.count("edge_restore")


class LooseBox(Box):
    """Remembers what its disk was a few commits ago."""

    recent: tuple[tuple[bytes, Read], ...] = ()

    def commit(self) -> None:
        self.recent = (*self.recent[-2:], (self.disk.serialize("main"), self.read.copy()))
        super().commit()


_Loose.box_kind = LooseBox


class FixedEpochNormal(FixedEpochUnnoticed):
    sentence = "one epoch for ever, and a power cut takes the last commits (synchronous=NORMAL)"
    kinds = frozenset({"edge_crash"})
    simulation = _Loose


class Normal(Mutant):
    sentence = "an incarnation per start, and a power cut takes the last commits (synchronous=NORMAL)"
    kinds = frozenset({"edge_crash"})
    simulation = _Loose
    survives = (
        "by design: to the cloud such a power cut is a small restore from a backup, and what was announced and not sent is "
        "declared; the store refuses to start with NORMAL all the same"
    )


class NoGrace(Mutant):
    sentence = "the gateway forgets at `stored` and ignores `safe`"
    kinds = frozenset({"cloud_restore"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        right = confirm.confirm

        def wrong(connection: Any, inc: str, lane: Any, mark: Watermark, *more: Any, **named: Any) -> Any:
            return right(connection, inc, lane, msgspec.structs.replace(mark, safe=mark.stored), *more, **named)

        yield from _everywhere("confirm", wrong)


class DropWithoutLoss(Mutant):
    sentence = "a full store drops its oldest records and writes no loss"
    kinds = frozenset({"disk_pressure", "link_down"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield shed, "declare", lambda _connection, _lane, loss: loss  # elsewhere it is right


class EvictWithoutLatent(Mutant):
    sentence = "under pressure what is stored and not safe goes, and a restored cloud is never told"
    kinds = frozenset({"disk_pressure", "cloud_restore"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield confirm, "_lose_again", lambda *_arguments: None


class LossesToldOnce(Mutant):
    sentence = "a loss is forgotten once it is `stored`, and not told again to a restored cloud"
    kinds = frozenset({"disk_pressure", "link_down", "cloud_restore", "damaged_body"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        right = confirm.settle

        def wrong(connection: Any, lane: Any) -> None:
            right(connection, lane)
            gone = [loss for loss in lane.losses if loss.last <= lane.stored]
            for loss in gone:
                connection.execute(
                    "DELETE FROM loss WHERE ord = ? AND stream = ? AND first = ?", (lane.ord, lane.stream, loss.first)
                )
            lane.losses = [loss for loss in lane.losses if loss not in gone]
            if gone:  # the holdings must not name them as held
                lane.floor = max(lane.floor, gone[-1].last) if not lane.held() else lane.floor

        yield from _everywhere("settle", wrong)


class NoSession(Mutant):
    sentence = "the gateway takes welcomes and receipts of any session, in any order"
    kinds = frozenset({"stale", "reorder", "cloud_restore", "delay"})

    class _Box(Box):
        class _Cursor(Cursor):
            def received(self, frame: Any, now: int, wall: int) -> Any:
                if isinstance(frame, Welcome):
                    frame = msgspec.structs.replace(frame, nonce=self.nonce)
                elif isinstance(frame, Receipt):
                    frame = msgspec.structs.replace(frame, nonce=self.nonce, number=self._number + 1)
                return super().received(frame, now, wall)

        cursor_kind = _Cursor

    simulation = simulation(box=_Box)


class TurnWithoutDictionary(Mutant):
    sentence = "a new incarnation within the process does not begin with the tag dictionary"
    kinds = frozenset({"turn", "late_line"})

    class _Box(Box):
        def turn(self, why: str, forked: bool = False) -> None:
            if not self.alive:
                return
            known = self.outbox._plan
            self.outbox._plan = Plan(dictionary=None, described=None)
            super().turn(why, forked)
            self.outbox._plan = known

    simulation = simulation(box=_Box)


class AnyIncarnationsMark(Mutant):
    sentence = "a watermark of one incarnation is applied to the present one"
    kinds = frozenset({"edge_crash", "turn"})

    class _Box(Box):
        def apply(self, effect: Any, witnessed: Sequence[Any]) -> bool:
            inc = self.outbox.incarnation
            marks = [msgspec.structs.replace(mark, inc=inc, link="") for mark in effect.watermarks]
            self.outbox.apply([*effect.watermarks, *marks], effect.rejected, witnessed)
            self.read_back()
            return False

    simulation = simulation(box=_Box)


class NeverAgain(Mutant):
    sentence = "what was sent once is not sent again when nothing comes back"
    kinds = frozenset({"drop", "ack_drop"})

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        yield sending.Sending, "rewind", staticmethod(lambda _lane: 0)
        yield sending.Sending, "resend_late", lambda _self, _now: 0


class HoldsNothingOld(Mutant):
    sentence = "a resume names the present incarnation only"
    kinds = frozenset({"edge_crash", "link_down", "edge_restore"})

    class _Box(Box):
        def named(self, after: int, *, done: bool = False) -> Any:
            held, _ = super().named(after, done=done)
            return [one for one in held if not one.closed], True

    simulation = simulation(box=_Box)


ALL = (
    DeleteOnPuback,
    FixedEpoch,
    FixedEpochUnnoticed,
    FixedEpochNormal,
    Normal,
    NoGrace,
    DropWithoutLoss,
    EvictWithoutLatent,
    LossesToldOnce,
    NoSession,
    TurnWithoutDictionary,
    AnyIncarnationsMark,
    NeverAgain,
    HoldsNothingOld,
)
