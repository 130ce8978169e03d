"""One end as it is, the other as it was in protocol 1, over sealed bytes: both ways, and nothing in common at all."""

from __future__ import annotations

import random
from types import ModuleType, SimpleNamespace

import pytest

from sync import cursor, effects, frames, receiver
from tests.sync.corpus.protocol_1 import cursor as old_cursor
from tests.sync.corpus.protocol_1 import frames as old_frames
from tests.sync.corpus.protocol_1 import receiver as old_receiver
from tests.sync.sessions import counter

KEY = bytes(range(32))
SECOND = 1_000_000_000
NOW = {"frames": frames, "cursor": cursor, "effects": effects, "receiver": receiver}
THEN = {"frames": old_frames, "cursor": old_cursor, "effects": old_cursor, "receiver": old_receiver}


class Gateway:
    """A cursor of either version with a disk made of lists: every record is a chunk of one."""

    def __init__(self, code: dict[str, ModuleType], send) -> None:
        self.code = SimpleNamespace(**code)
        self.old = code is THEN
        self.send = send
        self.now = 0
        self.incs: list[str] = []
        self.last: dict[tuple[str, int], int] = {}
        self.forgotten: dict[tuple[str, int], int] = {}
        self.begin()

    def begin(self) -> None:
        """A new process."""
        self.incs.append(f"{len(self.incs) + 1:032x}")
        self.connect()

    def connect(self) -> None:
        make = self.code.cursor.Cursor
        self.cursor = make(self.incs[-1]) if self.old else make(self.incs[-1], token=counter(16))
        self.do(self.cursor.connected(self.now, 0))

    def make(self, stream: int, n: int) -> None:
        key = (self.incs[-1], stream)
        self.last[key] = self.last.get(key, 0) + n

    def tick(self) -> None:
        self.do(self.cursor.tick(self.now, 0))
        last = {s: n for (inc, s), n in self.last.items() if inc == self.incs[-1]}
        self.do(self.cursor.grown(last) if self.old else self.cursor.grown(last, self.now))

    def hear(self, message: bytes) -> None:
        self.do(self.cursor.received(self.code.frames.open_down(message, KEY), self.now, 0))

    def holdings(self) -> list:
        f = self.code.frames
        return [
            f.Incarnation(
                inc=inc,
                ord=ord_,
                closed=inc != self.incs[-1],
                streams={
                    str(stream): f.StreamHoldings(last=last, held=[(a, last)] if (a := self.forgotten.get((inc, stream), 0) + 1) <= last else [])
                    for (own, stream), last in self.last.items()
                    if own == inc
                },
            )
            for ord_, inc in enumerate(self.incs, 1)
        ]  # fmt: skip

    def do(self, todo: list) -> None:
        e = self.code.effects
        for effect in todo:
            match effect:
                case e.Say():
                    self.send(self.code.frames.seal(effect.frame, KEY))
                case e.Send():
                    self.send(self.code.frames.seal(effect.frame, KEY, effect.body))
                case e.AskHoldings():
                    asked = () if self.old else (effect,)
                    self.do(self.cursor.holdings(*asked, self.holdings(), True, self.now))
                case e.Fetch():
                    last = self.last[effect.inc, effect.stream]
                    seq = effect.after + 1
                    piece = e.Piece(seq, 1, b"d" * 32, f"{seq}".encode()) if seq <= last else None
                    self.do(self.cursor.fetched(effect, piece, [], last, self.now))
                case e.Apply():
                    for mark in effect.watermarks:
                        self.forgotten[mark.inc, mark.stream] = mark.safe
                case e.HangUp():
                    self.connect()
                case _:
                    raise AssertionError(effect)


class Cloud:
    """A session and positions of either version."""

    def __init__(self, code: dict[str, ModuleType], send) -> None:
        self.code = SimpleNamespace(**code)
        self.send = send
        self.token = counter(32)
        self.session = self.code.receiver.Session()
        self.positions: dict[tuple[str, int], receiver.Position] = {}
        self.rows: list[tuple[str, int, int]] = []

    def hear(self, message: bytes) -> None:
        f, frame = self.code.frames, self.code.frames.open_up(message, KEY)[0]
        match frame:
            case f.Hello():
                self.say(self.session.hello(frame, nonce=self.token(), wall=0))
            case f.Resume():
                self.code.receiver.check_incarnations(frame.incarnations)
                if self.session.resume(frame):
                    marks = [self.mark(one.inc, int(s)) for one in frame.incarnations for s in one.streams]
                    self.say(f.Welcome(nonce=frame.nonce, watermarks=marks))
                else:
                    self.say(f.Stale(why="not the newest"))
            case f.Batch() if self.session.takes(frame.nonce):
                self.code.receiver.check_batch(frame)
                position = self.position(frame.inc, frame.stream)
                if position.place(frame.first, frame.count) is self.code.receiver.Place.NEXT:
                    position.took(frame.first)
                    self.rows.append((frame.inc, frame.stream, frame.first))
                self.say(self.session.receipt([self.mark(frame.inc, frame.stream)], []))
            case f.Batch():
                self.say(f.Stale(why="no such session"))

    def position(self, inc: str, stream: int):
        return self.positions.setdefault((inc, stream), self.code.receiver.Position())

    def mark(self, inc: str, stream: int):
        stored = self.position(inc, stream).stored
        return self.code.frames.Watermark(inc=inc, stream=stream, stored=stored, safe=stored)

    def say(self, frame) -> None:
        self.send(self.code.frames.seal(frame, KEY))


def passed(wire: list[bytes], dice: random.Random, bad: bool) -> list[bytes]:
    """Give what comes out of the wire in a step: a bad one loses a message or brings it twice."""
    if not wire:
        return []
    message, luck = wire.pop(0), dice.random() if bad else 1
    return [] if luck < 0.1 else [message, message] if luck < 0.2 else [message]


@pytest.mark.parametrize(("gateway_code", "cloud_code"), [(THEN, NOW), (NOW, THEN)], ids=["old gateway", "old cloud"])
def test_an_older_end_is_served_over_a_bad_wire(gateway_code, cloud_code):
    for seed in range(40):
        dice = random.Random(seed)
        up: list[bytes] = []
        down: list[bytes] = []
        gateway, cloud = Gateway(gateway_code, up.append), Cloud(cloud_code, down.append)
        for step in range(4000):
            gateway.now = step * SECOND // 10
            bad = step < 400
            if bad and dice.random() < 0.2:
                gateway.make(dice.choice([1, 2, 3, 5]), dice.randrange(1, 5))
            if bad and dice.random() < 0.02:
                gateway.connect()
            if bad and dice.random() < 0.01:
                gateway.begin()
            if bad and dice.random() < 0.01:
                cloud.session = cloud.code.receiver.Session()
            for message in passed(up, dice, bad):
                cloud.hear(message)
            for message in passed(down, dice, bad):
                gateway.hear(message)
            gateway.tick()
            made = {(inc, s, n) for (inc, s), last in gateway.last.items() for n in range(1, last + 1)}
            if not bad and made == set(cloud.rows) and gateway.forgotten == gateway.last:
                break
        else:
            raise AssertionError(f"seed {seed}: not everything arrived")
        assert len(cloud.rows) == len(set(cloud.rows))
        assert getattr(gateway.cursor, "protocol", 1) == 1
        assert getattr(cloud.session, "protocol", 1) == 1


def test_a_gateway_that_speaks_only_what_is_to_come_is_told_what_to_do_on_both_sides():
    hello = frames.Hello(session="ab" * 8, inc="0" * 32, protocols=(7, 8))
    answer = receiver.Session().hello(hello, nonce="n", wall=0)
    assert isinstance(answer, frames.Stale)
    assert answer.nonce == hello.session
    assert answer.why == "the cloud speaks protocols (1, 2), the gateway [7, 8]; update one of them"
    one = cursor.Cursor("0" * 32, token=lambda: hello.session)
    one.connected(0, 0)
    assert one.received(answer, 0, 0) == []
    assert one.why == answer.why  # what the gateway's page shows


def test_what_an_older_cloud_says_to_nobody_in_particular_is_taken():
    up: list[bytes] = []
    gateway = Gateway(NOW, up.append)
    (stale,) = [old_frames.seal(old_frames.Stale(why="restarted"), KEY)]
    gateway.hear(stale)
    assert gateway.cursor.why == "restarted"
