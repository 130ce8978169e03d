"""The streams one transaction touches: each read once under its row's lock, moved in memory, written once at the end.

Where it stands (`ingest_stream`), what was declared lost (`loss`), and, for records that come after they were declared
lost, how a loss shrinks: rows win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cloud.database import Connection
from cloud.ingest.items import Caller, Committed
from sync.frames import Loss, Watermark
from sync.receiver import Position
from sync.topics import Address

COMING_BACK = ("rollback", "gone")
"""Reasons the cloud gives for what nobody held; a gateway that does hold it takes the declaration back."""


@dataclass(slots=True)
class Stream:
    """One stream of one incarnation within the transaction."""

    inc: int
    stream: int
    name: str
    """The incarnation's 32 hex digits."""
    address: Address
    position: Position
    rows: int
    safe: int
    corrected: int
    link: bytes | None
    link_seq: int
    witness_seq: int
    witness_ms: int
    changed: bool = False

    @property
    def key(self) -> tuple[int, int]:
        return self.inc, self.stream


class Streams:
    """All of one transaction."""

    def __init__(
        self,
        connection: Connection,
        number: Callable[[Address, str], int],
        done: Committed,
        now_ms: int,
        *,
        safe_is_stored: bool,
    ) -> None:
        self._connection = connection
        self._number = number
        self._done = done
        self._now_ms = now_ms
        self._safe_is_stored = safe_is_stored
        self._streams: dict[tuple[int, int], Stream] = {}
        self._told: list[tuple[Caller, Stream]] = []

    def get(self, address: Address, inc: str, number: int) -> Stream:
        """Give a stream; the first time it is read, or made."""
        key = (self._number(address, inc), number)
        if (stream := self._streams.get(key)) is None:
            stream = self._streams[key] = self._load(address, inc, key)
        return stream

    def known(self, inc: int, number: int) -> Stream | None:
        """Give a stream if this transaction has touched it."""
        return self._streams.get((inc, number))

    def tell(self, caller: Caller, stream: Stream) -> None:
        """Note that a session is to be told how far this stream is when the transaction is over."""
        self._told.append((caller, stream))

    def _load(self, address: Address, inc: str, key: tuple[int, int]) -> Stream:
        select = (
            "select stored, last, rows, safe, corrected, link, link_seq, witness_seq, witness_ms from ingest_stream"
            " where inc=? and stream=? for update"
        )
        row = self._connection.one(select, key)
        if row is None:
            self._connection.execute(
                "insert into ingest_stream(inc, stream, tenant) values(?,?,?) on conflict do nothing",
                (*key, address.tenant),
            )
            row = self._connection.one(select, key) or (0, 0, 0, 0, 0, None, 0, 0, 0)
        stored, last, rows, safe, corrected, link, link_seq, witness_seq, witness_ms = row
        link = None if link is None else bytes(link)
        position = Position(stored, last, self._ahead(key, stored))
        return Stream(*key, inc, address, position, rows, safe, corrected, link, link_seq, witness_seq, witness_ms)

    def _ahead(self, key: tuple[int, int], stored: int) -> list[tuple[int, int]]:
        """Give what is lost or a row beyond the watermark, in order and apart from each other."""
        found = self._connection.execute(
            "select first, last from loss where inc=? and stream=? and last>?"
            " union all select first, first+count-1 from ingest_chunk where inc=? and stream=? and first>?"
            " order by 1",
            (*key, stored, *key, stored),
        )
        return [(first, last) for first, last in found]

    # --- losses ---

    def lose(self, stream: Stream, losses: Sequence[Loss], who: str, *, asked: bool = False) -> None:
        """Declare losses; what is stored or lost already is no news.

        who: gateway or cloud. asked: it answers our asking, and proves no record of which nobody had heard.
        """
        for loss in stream.position.gone(losses) if asked else stream.position.lose(losses):
            self._insert(stream, loss, who)
            stream.changed = True
            self._done.lost.append(f"{stream.name}/{stream.stream}/{loss.first}-{loss.last} {loss.reason} ({who})")

    def _insert(self, stream: Stream, loss: Loss, who: str) -> None:
        self._connection.execute(
            "insert into loss(inc, stream, first, tenant, last, reason, t0, t1, declared_by, recorded_ms)"
            " values(?,?,?,?,?,?,?,?,?,?)",
            (
                *stream.key,
                loss.first,
                stream.address.tenant,
                loss.last,
                loss.reason,
                loss.t0,
                loss.t1,
                who,
                self._now_ms,
            ),
        )

    def wholly_lost(self, stream: Stream, first: int, last: int) -> bool:
        """Tell whether every record of a range is declared lost."""
        at = first
        for begin, end, _, _, _, _ in self._losses(stream, first, last):
            if begin > at:
                return False
            at = end + 1
        return at > last

    def found(self, stream: Stream, first: int, last: int) -> None:
        """Take back that these were lost: they are here."""
        self._shrink(stream, first, last, lambda _: True)
        stream.safe = min(stream.safe, first - 1)  # the backup holds the declaration, not the records
        stream.corrected += last - first + 1
        self._done.corrected += last - first + 1
        stream.changed = True

    def reopen(self, stream: Stream, held: Iterable[tuple[int, int]]) -> None:
        """Take back what only the cloud thought lost, because a gateway says that it holds it after all.

        So a clone of a disk that was started cannot make the original forget what it has not sent.
        """
        before = stream.position.stored
        spans = list(held)
        back = sum(self._lost_by_the_cloud(stream, first, last) for first, last in spans)
        opened = [at for first, last in spans if (at := self._shrink(stream, first, last, _by_the_cloud))]
        if opened:
            stored = min(before, *(at - 1 for at in opened))
            stream.position = Position(stored, stream.position.last, self._ahead(stream.key, stored))
            stream.safe = min(stream.safe, stored)  # the backup holds the declaration, not the records
            stream.corrected += back  # … and so does one that is being verified just now (`cloud.ingest.safe`)
            stream.changed = True

    def _lost_by_the_cloud(self, stream: Stream, first: int, last: int) -> int:
        """Count the records of a range that the cloud itself declared lost, because nobody held them."""
        return sum(
            min(end, last) - max(begin, first) + 1
            for begin, end, reason, _, _, who in self._losses(stream, first, last)
            if _by_the_cloud((reason, who))
        )

    def _losses(self, stream: Stream, first: int, last: int) -> list[tuple[int, int, str, int, int, str]]:
        rows = self._connection.execute(
            "select first, last, reason, t0, t1, declared_by from loss where inc=? and stream=? and last>=?"
            " and first<=? order by first",
            (*stream.key, first, last),
        )
        return [(begin, end, reason, t0, t1, who) for begin, end, reason, t0, t1, who in rows]

    def _shrink(self, stream: Stream, first: int, last: int, which: Callable[[tuple[str, str]], bool]) -> int:
        """Cut a range out of the losses; gives the first number that is not lost any more, 0 when none was."""
        opened = 0
        for begin, end, reason, t0, t1, who in self._losses(stream, first, last):
            if not which((reason, who)):
                continue
            self._connection.execute("delete from loss where inc=? and stream=? and first=?", (*stream.key, begin))
            if begin < first:
                self._insert(stream, Loss(begin, first - 1, reason, t0, t1), who)
            if end > last:
                self._insert(stream, Loss(last + 1, end, reason, t0, t1), who)
            opened = opened or max(begin, first)
        return opened

    # --- the end ---

    def write(self) -> None:
        """Write what moved, and the watermarks into the answers; called once."""
        for stream in self._streams.values():
            if stream.changed:
                self._connection.execute(
                    "update ingest_stream set stored=?, last=?, rows=?, safe=?, corrected=?, link=?, link_seq=?, witness_seq=?,"
                    " witness_ms=? where inc=? and stream=?",
                    (
                        stream.position.stored,
                        stream.position.last,
                        stream.rows,
                        stream.safe,
                        stream.corrected,
                        stream.link,
                        stream.link_seq,
                        stream.witness_seq,
                        stream.witness_ms,
                        *stream.key,
                    ),
                )
        for caller, stream in self._told:
            stored = stream.position.stored
            safe = stored if self._safe_is_stored else min(stream.safe, stored)
            answer = self._done.answer(caller)
            # In a welcome also where the chain stands: a gateway with another history under this name sees it at once.
            known = answer.welcome and stream.link is not None and stream.link_seq == stored
            answer.watermarks[stream.name, stream.stream] = Watermark(
                inc=stream.name,
                stream=stream.stream,
                stored=stored,
                safe=safe,
                link=(stream.link or b"").hex() if known else "",
            )


def _by_the_cloud(reason_who: tuple[str, str]) -> bool:
    reason, who = reason_who
    return who == "cloud" and reason in COMING_BACK
