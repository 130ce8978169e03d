"""The core without a thread, in memory and on files: turns, chains, tallies, receipts, clouds that were set back."""

from __future__ import annotations

import itertools
import random
import secrets
from pathlib import Path

import apsw
import pytest

from edge.store.chunks import request
from edge.store.file import connect
from edge.store.outbox import Outbox
from edge.store.ring import Ring
from edge.store.shed import Quota
from edge.store.tally import HOUR_NS
from edge.store.witness import witnesses
from sync.chain import follow, genesis
from sync.chunk import decode, digest
from sync.facts import Audited, HealthReported, Stream, Tallied
from sync.frames import Loss, Rejection, Watermark, Witness
from tests.edge.stores import MB, batch, dictionary, state

NOON = 1_800_000_000 * 10**9 // HOUR_NS * HOUR_NS


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.wall, self.ticks = NOON, 0

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> int:
        return self.ticks

    def go(self, seconds: float) -> None:
        self.wall += round(seconds * 1e9)
        self.ticks += round(seconds * 1e9)

    async def sleep(self, seconds: float) -> None:
        self.go(seconds)


def outbox(clock: Hands | None = None, connection: apsw.Connection | None = None, **more) -> Outbox:
    made = Outbox(
        connection or apsw.Connection(":memory:"),
        clock=clock or Hands(),
        quota_bytes=more.pop("quota", 64 * MB),
        **more,
    )
    made.begin(secrets.token_hex(16), "test")
    return made


def commit(box: Outbox, facts=(), readings=(), tags=None):
    return box.commit([request(list(facts), list(readings), tags, {}, known_dictionary=True)])


def again(box: Outbox, clock: Hands, **more) -> Outbox:
    """The same bytes in another connection, as after a crash or from a backup."""
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", box.connection.serialize("main"))
    return outbox(clock, connection, **more)


def lane(box: Outbox, inc: str, stream: Stream) -> list:
    """All chunks of a lane, in order, as the uplink fetches them."""
    found, after = [], 0
    while (chunk := box.next_chunk(inc, stream, after).chunk) is not None:
        found.append(chunk)
        after = chunk.first + chunk.count - 1
    return found


def facts(box: Outbox, inc: str, stream: Stream) -> list:
    return [fact for chunk in lane(box, inc, stream) for fact in decode(chunk.body, chunk.count)]


def mark(box: Outbox, stream: Stream, stored: int, safe: int = 0, *, inc: str = "", link: str = "") -> Watermark:
    return Watermark(inc=inc or box.incarnation, stream=stream, stored=stored, safe=safe, link=link)


def losses(box: Outbox, inc: str, stream: Stream) -> list[Loss]:
    (one,) = [one for one in box.holdings(1000)[0] if one.inc == inc]
    return list(one.streams[str(int(stream))].losses)


def books(box: Outbox) -> None:
    """What the books say is what the tables say, and every number is in exactly one place."""
    fresh = box.connection.execute(
        "SELECT ord, stream, first, count, bytes FROM chunk ORDER BY ord, stream, first"
    ).fetchall()
    for one in box.books.lanes():
        mine = [(first, first + count - 1, size) for ord_, stream, first, count, size in fresh
                if (ord_, stream) == (one.ord, one.stream)]  # fmt: skip
        covered = sorted([(a, b) for a, b, _ in mine] + [(x.first, x.last) for x in one.losses if x.last > one.floor])
        covered = [(max(a, one.floor + 1), b) for a, b in covered]
        assert [a for a, _ in covered] == [one.floor + 1, *[b + 1 for _, b in covered]][: len(covered)], (one, covered)
        assert (covered[-1][1] if covered else one.floor) == one.last
        assert sum(size for first, _, size in mine if first > one.stored) == one.waiting_bytes
        assert sum(size for first, _, size in mine if first <= one.stored) == one.stored_bytes


# --- turning ---


def test_a_turn_goes_on_under_a_new_name_with_the_dictionary_it_had():
    box = outbox()
    tags = dictionary(5)
    commit(box, [state(1)], [batch(3, 5)], tags)
    old = box.incarnation
    box.turn("ab" * 16, "a backlog")
    assert box.incarnation == "ab" * 16
    commit(box, [state(2)], [batch(4, 5)], tags)  # a caller that does not know of the turn
    held, _ = box.holdings()
    assert [(one.inc, one.closed, one.previous) for one in held] == [(old, True, ""), ("ab" * 16, False, old)]
    first, second = lane(box, box.incarnation, Stream.FACT)
    assert decode(first.body, first.count)[0].version == tags.version
    assert decode(second.body, second.count).dictionary == tags.version
    (turned,) = facts(box, box.incarnation, Stream.AUDIT)
    assert (turned.action, turned.detail["why"], turned.detail["from"]) == ("store.turned", "a backlog", old)
    tally, event = facts(box, box.incarnation, Stream.EVENT)
    assert (tally.inc, tally.lanes) == (old, {"2": (1, 1), "3": (1, 4)})
    assert event.reason == "r2"
    books(box)


def test_a_turn_before_anything_was_said_forgets_the_one_before():
    box = outbox()
    box.turn("ab" * 16)
    assert [one.inc for one in box.holdings()[0]] == ["ab" * 16]


def test_numbers_that_a_copy_uses_too_are_put_aside_and_named():
    clock = Hands()
    box = outbox(clock)
    for i in range(6):
        commit(box, [state(i)])
    box.apply([mark(box, Stream.EVENT, 2, 2)])
    old = box.incarnation
    box.turn("ab" * 16, "a copy", forked=True)
    assert box.connection.execute("SELECT inc, stream, first, why FROM aside ORDER BY id").fetchall() == [
        (old, 2, first, "forked") for first in (3, 4, 5, 6)
    ]
    (turned,) = facts(box, box.incarnation, Stream.AUDIT)
    assert turned.detail["aside"] == {"event": [3, 6]}
    assert box.apply([mark(box, Stream.EVENT, 41, 41, inc=old)]) == []
    assert all(one.lost == 0 for one in box.books.lanes())
    books(box)
    books(again(box, clock))


def test_what_the_cloud_cannot_have_from_us_is_not_taken():
    box = outbox()
    for i in range(4):
        commit(box, [state(i)])
    chunks = lane(box, box.incarnation, Stream.EVENT)
    other = mark(box, Stream.EVENT, 2, 2, link="00" * 32)
    more = mark(box, Stream.EVENT, 9, 9)
    unmade = mark(box, Stream.DIAG, 1, 1)
    assert box.apply([other, more, unmade]) == [other, more, unmade]
    assert box.books.current.lanes[Stream.EVENT].stored == 0
    assert box.apply([mark(box, Stream.EVENT, 2, 2, link=chunks[1].link.hex())]) == []
    assert box.apply([mark(box, Stream.EVENT, 4, 4, link=chunks[3].link.hex())]) == []
    books(box)


# --- chain and countersignatures ---


def test_every_chunk_names_the_link_before_it_also_across_what_was_shed():
    box = outbox(quota=300_000)
    commit(box, tags=dictionary())
    for i in range(60):
        commit(box, [HealthReported(at=i, values={"a": float(i)})], [batch(500, noise=True, start=i)])
    for stream in (Stream.FACT, Stream.DIAG):
        gap = {loss.first for loss in losses(box, box.incarnation, stream)}
        link, last = genesis(box.incarnation, stream), 0
        for chunk in lane(box, box.incarnation, stream):
            assert len(chunk.before) == 32
            assert chunk.link == follow(chunk.before, chunk.digest)
            if chunk.first == last + 1:
                assert chunk.before == link
            else:
                assert gap & set(range(last + 1, chunk.first))
            link, last = chunk.link, chunk.first + chunk.count - 1
        held = box.holdings()[0][-1].streams[str(int(stream))]
        assert held.link == link.hex()


def test_countersignatures_are_kept_the_newest_of_a_lane_and_all_of_the_audit():
    box = outbox()
    commit(box, tags=dictionary())
    for i in range(3):
        commit(box, [Audited(at=i, actor="a", action="b")], [batch(1)])
    for i in range(3):
        seen = [
            Witness(inc=box.incarnation, stream=stream, seq=c.first, link=c.link.hex(), at=i, signature="bb" * 64)
            for stream in (Stream.AUDIT, Stream.FACT)
            for c in [lane(box, box.incarnation, stream)[i]]
        ]
        assert box.apply([], witnessed=seen) == []
    assert [(one.stream, one.seq) for one in witnesses(box.connection)] == [(1, 1), (1, 2), (1, 3), (3, 3)]


def test_a_countersignature_of_another_chain_is_not_kept_and_tells_of_a_copy():
    box = outbox()
    commit(box, [state(1)])
    other = Witness(inc=box.incarnation, stream=2, seq=1, link="aa" * 32, at=1, signature="bb" * 64)
    beyond = Witness(inc=box.incarnation, stream=2, seq=9, link="aa" * 32, at=1, signature="bb" * 64)
    assert [(m.stream, m.stored) for m in box.apply([], witnessed=[other, beyond])] == [(2, 1), (2, 9)]
    assert witnesses(box.connection) == []


# --- hours ---


def test_an_hour_that_is_over_is_tallied_with_the_next_commit_or_when_idle():
    clock = Hands()
    box = outbox(clock)
    commit(box, [state(1)], [batch(3)], dictionary())
    clock.go(3_599)
    commit(box, [state(2)])
    clock.go(2)
    commit(box, [state(3)])
    clock.go(3_600)
    box.tidy()
    tallies = [fact for fact in facts(box, box.incarnation, Stream.EVENT) if isinstance(fact, Tallied)]
    assert [(one.start, one.lanes) for one in tallies] == [
        (NOON, {"2": (1, 2), "3": (1, 4)}),
        (NOON + HOUR_NS, {"2": (3, 4)}),
    ]
    box.tidy()
    assert box.last[Stream.EVENT] == 5


@pytest.mark.parametrize("jump", [-1_000, 1_000, 10 * 365 * 86_400])
def test_a_clock_that_jumps_ends_the_hour_and_no_record_is_in_two(jump: int):
    clock = Hands()
    box = outbox(clock)
    for i in range(4):
        commit(box, [state(i)])
        clock.go(1)
        if i == 1:
            clock.wall += jump * 10**9
    box.close()
    tallies = [fact for fact in facts(box, box.incarnation, Stream.EVENT) if isinstance(fact, Tallied)]
    assert [one.lanes["2"] for one in tallies] == [(1, 2), (3, 6)]  # the second counts the first, and itself
    assert tallies[0].at <= NOON + 3 * 10**9


def test_the_hour_a_crash_cut_short_is_tallied_by_the_next_start_once():
    clock = Hands()
    box = outbox(clock)
    commit(box, [state(1)], [batch(3)], dictionary())
    old = box.incarnation
    box = again(box, clock)
    (tally,) = facts(box, box.incarnation, Stream.EVENT)
    assert (tally.inc, tally.start, tally.lanes) == (old, NOON, {"2": (1, 1), "3": (1, 4)})
    box.close()
    box = again(box, clock)
    assert box.last == {}  # the start before ended in order: it had told everything itself


def test_every_record_of_many_lives_stands_in_exactly_one_tally():
    dice = random.Random(7)
    clock = Hands()
    box, known, made, told = outbox(clock), False, {}, {}

    def read() -> None:
        for one in box.holdings(1000)[0]:
            for number, held in one.streams.items():
                made[one.inc, number] = held.last
            for fact in facts(box, one.inc, Stream.EVENT):
                if isinstance(fact, Tallied):
                    for number, span in fact.lanes.items():
                        told.setdefault((fact.inc, number), set()).add(tuple(span))

    for _ in range(120):
        match dice.randrange(7):
            case 0:
                clock.go(dice.randrange(4_000))
            case 1:
                clock.wall += dice.randrange(-(10**12), 10**12)
            case 2:
                box.turn(secrets.token_hex(16))
            case 3:
                if dice.random() < 0.5:
                    box.close()
                box, known = again(box, clock), False
            case 4:
                box.tidy()
            case _:
                commit(box, [state(1)] * dice.randrange(3), [batch(2)], None if known else dictionary())
                known = True
    box.close()
    read()
    for key, spans in told.items():
        numbers = [n for a, b in spans for n in range(a, b + 1)]
        assert sorted(numbers) == list(range(1, made[key] + 1)), key
    assert told.keys() == {key for key, last in made.items() if last}


# --- clouds that were set back ---


def test_what_was_forgotten_before_it_was_safe_is_lost_with_its_times_when_the_cloud_is_set_back():
    clock = Hands()
    box = outbox(clock, quota=400_000)
    commit(box, tags=dictionary())
    for i in range(20):
        commit(box, readings=[batch(1000, noise=True, start=i)])
    inc = box.incarnation
    box.apply([mark(box, Stream.FACT, 20_001, 1)])
    for i in range(20):
        commit(box, readings=[batch(1000, noise=True, start=i)])
    assert box.books.current.lanes[Stream.FACT].floor > 1
    books(box)
    box = again(box, clock, quota=400_000)
    books(box)
    floor = next(one.floor for one in box.books.lanes() if one.stream is Stream.FACT)
    box.apply([mark(box, Stream.FACT, 5_001, 1, inc=inc)])
    declared = losses(box, inc, Stream.FACT)
    assert {loss.reason for loss in declared} <= {"retention", "shed"}
    assert all(0 < loss.t0 <= loss.t1 for loss in declared)
    gone = [(loss.first, loss.last) for loss in declared if loss.reason == "retention"]
    assert gone[0][0] == 5_002
    assert gone[-1][1] == floor
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(gone))
    books(box)
    books(again(box, clock))


def test_losses_and_notes_go_once_the_clouds_backup_has_passed_them_and_then_the_incarnation_is_done():
    clock = Hands()
    box = outbox(clock, quota=300_000)
    commit(box, tags=dictionary())
    for i in range(120):
        commit(box, readings=[batch(500, noise=True, start=i)])
        if i == 20:
            box.apply([mark(box, Stream.FACT, box.last[Stream.FACT], 1)])
    inc, last = box.incarnation, box.last[Stream.FACT]
    box.turn("ab" * 16)
    tables = ("chunk", "loss", "latent", "dictionary")

    def left() -> list[int]:
        counted = [box.connection.execute(f"SELECT count(*) FROM {table} WHERE ord = 1").fetchone() for table in tables]
        return [count for (count,) in counted]

    assert all(left()[:3])
    box.apply([mark(box, Stream.FACT, last, last - 1, inc=inc)])
    assert left()[0] > 0
    assert inc in [one.inc for one in box.holdings()[0]]
    books(box)
    box.apply([mark(box, Stream.FACT, last, last, inc=inc)])
    assert left() == [0, 0, 0, 0]
    assert inc not in [one.inc for one in box.holdings()[0]]
    assert box.books.sealed_produced == last
    assert box.books.sealed_lost > 0


def test_a_cloud_set_back_gets_from_the_ring_what_the_outbox_has_forgotten(tmp_path: Path):
    ring = Ring(tmp_path / "ring", MB)
    box = outbox(ring=ring)
    commit(box, tags=dictionary())
    for i in range(5):
        commit(box, [state(i)], [batch(10, start=i)])
    sent = {s: lane(box, box.incarnation, s) for s in (Stream.EVENT, Stream.FACT)}
    box.apply([mark(box, Stream.EVENT, 5, 5), mark(box, Stream.FACT, 51, 51)])
    assert box.connection.execute("SELECT count(*) FROM chunk").fetchone() == (0,)
    assert box.kept(box.incarnation, Stream.FACT, 2, 15) == sent[Stream.FACT][1:3]
    box.apply([mark(box, Stream.EVENT, 0, 0), mark(box, Stream.FACT, 11, 11)])
    assert lane(box, box.incarnation, Stream.EVENT) == sent[Stream.EVENT]
    assert lane(box, box.incarnation, Stream.FACT) == sent[Stream.FACT][2:]
    assert all(one.lost == 0 for one in box.books.lanes())
    books(box)


def test_without_a_ring_the_dictionary_at_least_comes_back():
    box = outbox()
    commit(box, tags=dictionary())
    for i in range(5):
        commit(box, readings=[batch(10, start=i)])
    first = lane(box, box.incarnation, Stream.FACT)[0]
    box.apply([mark(box, Stream.FACT, 31, 31)])
    box.apply([mark(box, Stream.FACT, 0, 0)])
    assert lane(box, box.incarnation, Stream.FACT)[0] == first
    assert [(x.first, x.last, x.reason) for x in losses(box, box.incarnation, Stream.FACT)] == [(2, 31, "retention")]
    books(box)


def test_a_dictionary_that_changed_on_the_disk_is_written_anew():
    box = outbox()
    commit(box, [state(1)], [batch(3)], dictionary())
    box.connection.execute("UPDATE chunk SET body = zeroblob(length(body)) WHERE keep = 1")
    first, second = lane(box, box.incarnation, Stream.FACT)
    assert decode(first.body, first.count)[0].version == dictionary().version
    assert second.first == 2
    assert losses(box, box.incarnation, Stream.FACT) == []


def test_incarnations_of_which_nothing_is_left_are_named_to_a_cloud_that_may_have_been_set_back():
    clock = Hands()
    box = outbox(clock)
    old = []
    for _ in range(70):
        commit(box, [state(1)])
        box.apply([mark(box, Stream.EVENT, n, n) for n in [box.last[Stream.EVENT]]])
        box.apply([mark(box, Stream.AUDIT, n, n) for n in [box.last.get(Stream.AUDIT, 0)] if n])
        old.append((box.incarnation, box.last[Stream.EVENT]))
        box.turn(secrets.token_hex(16))
        box.apply([])
    assert len(box.holdings()[0]) == 1
    named, whole = box.holdings(done=True)
    assert whole
    assert [(one.inc, one.streams["2"].last, one.streams["2"].held) for one in named[:-1]] == [
        (inc, last, []) for inc, last in old[-64:]
    ]
    assert len(again(box, clock).holdings(done=True)[0]) == 66
    part, whole = box.holdings(10, named[3].ord, done=True)
    assert ([one.inc for one in part[:-1]], whole) == ([inc for inc, _ in old[-60:-51]], False)


# --- time quotas ---


def test_age_is_counted_in_time_the_store_was_open_and_no_clock_makes_anything_old():
    clock = Hands()
    quotas = {Stream.DIAG: Quota(most_ns=HOUR_NS), Stream.EVENT: Quota(most_ns=1)}
    box = outbox(clock, quotas=quotas)
    inc = box.incarnation
    for i in range(5):
        commit(box, [HealthReported(at=i, values={}), state(i)])
        clock.go(600)
    clock.wall += 10 * 365 * 86_400 * 10**9
    box.tidy()
    assert box.books.current.lanes[Stream.DIAG].lost == 0
    clock.go(601)
    box.tidy()
    assert [(x.first, x.last, x.reason, x.t0, x.t1) for x in losses(box, inc, Stream.DIAG)] == [(1, 1, "expired", 0, 0)]
    box.close()
    clock.ticks = 5  # a reboot, years later
    clock.wall += 10**18
    box = again(box, clock, quotas=quotas)
    box.tidy()
    assert [(x.first, x.last) for x in losses(box, inc, Stream.DIAG)] == [(1, 1)]
    clock.go(600)
    box.tidy()
    assert [(x.first, x.last) for x in losses(box, inc, Stream.DIAG)] == [(1, 2)]
    books(box)


# --- all of it at once ---


@pytest.mark.parametrize("seed_", range(12))
def test_the_books_equal_the_tables_whatever_happens(seed_: int, tmp_path: Path):
    dice = random.Random(seed_)
    clock = Hands()
    ring = Ring(tmp_path / "ring", 300_000) if dice.random() < 0.5 else None
    quotas = (
        {Stream.DIAG: Quota(most_ns=HOUR_NS), Stream.FACT: Quota(most_bytes=100_000)} if dice.random() < 0.5 else {}
    )
    more = {"ring": ring, "quotas": quotas, "quota": dice.choice([200_000, 64 * MB])}
    if dice.random() < 0.3:
        box = outbox(clock, connect(tmp_path / "edge.db"), path=tmp_path / "edge.db", **more)
    else:
        box = outbox(clock, **more)
    known = False
    for _ in range(80):
        match dice.randrange(11):
            case 0 | 1 | 2:
                commit(box, [state(1)] * dice.randrange(3), [batch(dice.randrange(1, 900), noise=True)],
                       None if known else dictionary())  # fmt: skip
                known = True
            case 3:
                commit(box, [HealthReported(at=1, values={"a": dice.random()}), Audited(at=1, actor="a", action="b")])
            case 4:
                clock.go(dice.randrange(3_000))
                box.tidy()
            case 5:
                box.turn(secrets.token_hex(16), forked=dice.random() < 0.3)
            case 6 if box.disk.name == ":memory:":
                if dice.random() < 0.5:
                    box.close()
                box, known = again(box, clock, **more), False
            case 7:
                refuse(box, dice)
            case _:
                receive(box, dice)
        books(box)
        on_disk = box.connection.execute("SELECT sum(count) FROM chunk").fetchone()[0] or 0
        assert on_disk == sum(one.held_count() for one in box.books.lanes())
    for one in box.books.lanes():
        for chunk in lane(box, box.books.starts[one.ord].inc, one.stream):
            assert digest(chunk.body) == chunk.digest


def receive(box: Outbox, dice: random.Random) -> None:
    """A receipt of a cloud that goes forward, sometimes without a backup, sometimes back."""
    one = dice.choice(box.holdings(1000)[0])
    for number in one.streams:
        ends = [0] + [c.first + c.count - 1 for c in lane(box, one.inc, Stream(int(number)))]
        stored = dice.choice(ends) if dice.random() < 0.3 else ends[len(ends) // 2]
        box.apply([mark(box, Stream(int(number)), stored, dice.choice([0, stored // 2, stored]), inc=one.inc)])


def refuse(box: Outbox, dice: random.Random) -> None:
    one = dice.choice(box.holdings(1000)[0])
    for number in one.streams:
        chunks = lane(box, one.inc, Stream(int(number)))
        if chunks:
            bad = dice.choice(chunks)
            why = Rejection(inc=one.inc, stream=int(number), first=bad.first, count=bad.count, why="test")
            box.apply([], [why])
