"""Ten thousand starts without a link, then one: named part by part, drained in order, never more at hand than a part."""

from __future__ import annotations

import apsw

from edge.store.chunks import request
from edge.store.outbox import Outbox
from sync.clock import WallClock
from sync.cursor import Cursor
from sync.effects import Apply, AskHoldings, Effect, Fetch, Piece, Say, Send
from sync.facts import Stream
from sync.frames import (
    MAX_FRAME_BYTES,
    Challenge,
    DownFrame,
    Hello,
    Receipt,
    Resume,
    Watermark,
    Welcome,
    seal,
)
from sync.receiver import Place, Position
from tests.edge.stores import state
from tests.sync.sessions import counter

STARTS = 10_000
PART = 128


class Line:
    """The real store's core and the real session, with a cloud that only counts, and nothing between."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.cursor = Cursor(outbox.incarnation, token=counter(16))
        self.nonces = counter(32)
        self.number = 0
        self.positions: dict[tuple[str, int], Position] = {}
        self.came: set[tuple[str, int]] = set()
        self.taken = 0
        self.most_lanes = self.largest = self.resumes = 0
        self.todo: list[Effect] = self.cursor.connected(0, 0)

    def run(self) -> None:
        while self.todo:
            self.do(self.todo.pop(0))
            if self.came and not self.todo:  # one commit there, one receipt
                self.number += 1
                marks = [self.mark(*key) for key in self.came]
                self.came.clear()
                self.hear(Receipt(nonce=self.cursor.nonce, number=self.number, watermarks=marks))

    def hear(self, frame: DownFrame) -> None:
        self.todo += self.cursor.received(frame, 0, 0)

    def do(self, effect: Effect) -> None:
        match effect:
            case Say(Hello() as hello):
                self.number = 0
                self.hear(Challenge(session=hello.session, nonce=self.nonces(), protocol=2, wall=0))
            case AskHoldings():
                held, complete = self.outbox.holdings(PART, effect.after)
                self.todo += self.cursor.holdings(effect, held, complete, 0)
            case Say(Resume() as resume):
                self.resumes += 1
                self.largest = max(self.largest, len(seal(resume, b"k")))
                self.most_lanes = max(self.most_lanes, len(self.cursor._sending.lanes))
                marks = [self.mark(one.inc, int(s)) for one in resume.incarnations for s in one.streams]
                self.hear(Welcome(nonce=resume.nonce, watermarks=marks, window=16))
            case Fetch():
                found = self.outbox.next_chunk(effect.inc, Stream(effect.stream), effect.after)
                chunk = found.chunk
                piece = None if chunk is None else Piece(chunk.first, chunk.count, chunk.digest, chunk.body)
                self.todo += self.cursor.fetched(effect, piece, found.losses, found.last, 0)
                assert self.cursor.in_flight() <= 16
            case Send(frame):
                position = self.positions.setdefault((frame.inc, frame.stream), Position())
                assert position.place(frame.first, frame.count) is Place.NEXT
                position.took(frame.first + frame.count - 1)
                self.taken += frame.count
                self.came.add((frame.inc, frame.stream))
            case Apply():
                self.outbox.apply(effect.watermarks, effect.rejected)
            case _:
                raise AssertionError(effect)

    def mark(self, inc: str, stream: int) -> Watermark:
        stored = self.positions.setdefault((inc, stream), Position()).stored
        return Watermark(inc=inc, stream=stream, stored=stored, safe=self.safe(stored))

    def safe(self, stored: int) -> int:
        return stored


class NothingIsSafe(Line):
    """The cloud has no backup yet: all that is stored stays in the gateway's books."""

    def safe(self, _stored: int) -> int:
        return 0


MORE = """
WITH RECURSIVE more(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM more WHERE n < {starts})
INSERT INTO {table} ({columns}) SELECT {values} FROM {table}, more WHERE {table}.ord = 1
"""


def outbox(starts: int) -> Outbox:
    """Give a store that was started so often: one real start, copied within its file, and one more on top."""
    file = apsw.Connection(":memory:")
    first = Outbox(file, clock=WallClock(), quota_bytes=1 << 30)
    first.begin(f"{1:032x}", "test")
    first.commit([request([state(1)], [], None, {}, known_dictionary=False)])
    for table in ("incarnation", "lane", "chunk"):
        columns = [row[1] for row in file.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
        values = ["n" if name == "ord" else "printf('%032x', n)" if name == "inc" else name for name in columns]
        file.execute(MORE.format(starts=starts, table=table, columns=", ".join(columns), values=", ".join(values)))
    last = Outbox(file, clock=WallClock(), quota_bytes=1 << 30)
    last.begin(f"{starts + 1:032x}", "test")
    return last


def test_ten_thousand_starts_offline_all_arrive():
    line = Line(outbox(STARTS))
    line.run()
    produced = sum(position.last for position in line.positions.values())
    assert line.taken == produced >= STARTS
    assert line.resumes > STARTS // PART
    assert line.most_lanes <= 5 * PART
    assert line.largest < MAX_FRAME_BYTES
    assert len(line.outbox.books.starts) == 1


def test_starts_that_are_stored_but_not_safe_do_not_hide_the_later_ones():
    line = NothingIsSafe(outbox(1000))
    line.run()
    assert line.taken == sum(position.last for position in line.positions.values()) >= 1000
    assert len(line.outbox.books.starts) == 1001
