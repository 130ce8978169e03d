from __future__ import annotations

import itertools

import msgspec
import pytest

from cloud.ingest.door import SESSIONS, Door, Say
from cloud.ingest.fair import ITEMS_EACH, FairQueue, Quota
from cloud.ingest.items import Answer, Committed, Gone, Item, Want
from cloud.ingest.shard import Shard, shard
from sync.farewell import farewell
from sync.frames import (
    Challenge,
    Hello,
    Receipt,
    Reincarnate,
    Resume,
    Stale,
    Wanted,
    Watermark,
    Welcome,
    open_down,
    seal,
)
from sync.topics import EVERYTHING_UP, Address
from tests.cloud.gateway import KEY, S, Start, state
from tests.cloud.ingest.conftest import Watch

HERE = Address("demo", "seoul", "gw-1")
KEYS = {HERE: KEY, Address("demo", "seoul", "gw-2"): KEY}


class Post:
    """A door, and what is said through it."""

    def __init__(self, **options) -> None:
        self.clock, self.notes = Watch(), []
        numbers = itertools.count(1)
        self.door = Door(
            KEYS,
            clock=self.clock,
            token=lambda: f"{next(numbers):032x}",
            note=lambda kind, what: self.notes.append((kind, what)),
            **options,
        )

    def take(self, frame, body: bytes = b"", address: Address = HERE, what: str = "ctl") -> list:
        return self.door.take(address.up(what), seal(frame, KEYS[address], body))

    def hello(self, start: Start, **more) -> Challenge:
        (say,) = self.take(Hello(session="ab" * 8, inc=start.inc, software="test", **more))
        return say.frame

    def join(self, start: Start, *others: Start, **more) -> str:
        nonce = self.hello(start, **more).nonce
        (item,) = self.take(start.resume(*others, nonce=nonce))
        assert isinstance(item, Item)
        return nonce

    def batch(self, start: Start, nonce: str) -> list:
        frame, body = start.facts(state(1_790_000_000 * S, "EXECUTE"))
        return self.take(msgspec.structs.replace(frame, nonce=nonce), body, what="b/2")


def told(nonce: str, **what) -> Committed:
    return Committed(answers={(HERE, nonce): Answer(**what)})


def test_two_boxes_with_one_identity_have_a_session_each() -> None:
    post, a, b = Post(), Start(), Start(ord=2)
    first = post.join(a)
    # B is new: A has to prove that it is still there, once.
    second = post.join(b)
    (stale,) = post.batch(a, first)
    assert (stale.frame.nonce, type(stale.frame)) == (first, Stale)
    third = post.join(a)
    for start, nonce in ((a, third), (b, second), (a, third)):
        (item,) = post.batch(start, nonce)
        assert item.caller == (HERE, nonce)
    # From now on nobody is sent away any more.
    fourth = post.join(b)
    assert isinstance(post.batch(a, third)[0], Item)
    assert isinstance(post.batch(b, fourth)[0], Item)
    assert isinstance(post.batch(b, second)[0], Say)


def test_a_reboot_ends_the_session_of_before() -> None:
    post, before = Post(), Start()
    old = post.join(before)
    before.closed = True
    post.join(Start(ord=2, previous=before.inc), before)
    assert isinstance(post.batch(before, old)[0].frame, Stale)


def test_one_gateway_fills_no_memory_with_hellos() -> None:
    post = Post()
    for _ in range(50):
        post.hello(Start())
    assert len(post.door._gateways[HERE].guests) == SESSIONS


@pytest.mark.parametrize("bad", [{"inc": "x"}, {"box": "me"}, {"public_key": "zz" * 32}, {"inc": "A" * 32}])
def test_names_that_cannot_be_are_counted_and_nothing_else(bad: dict) -> None:
    post = Post()
    assert post.take(Hello(**{"session": "ab" * 8, "inc": "0" * 32} | bad)) == []
    assert [kind for kind, _ in post.notes] == ["header"]


def test_what_another_process_answered_is_left_to_it() -> None:
    """Two processes hear one gateway: the one whose challenge was not answered must not send it away."""
    mine, start = Post(), Start()
    mine.hello(start)
    theirs = "f" * 32
    assert mine.take(start.resume(nonce=theirs)) == []
    assert mine.batch(start, theirs) == []
    # A nonce of our own that counts no more is something else.
    old = mine.hello(start).nonce
    new = mine.hello(start).nonce
    (stale,) = mine.take(start.resume(nonce=old))
    assert (type(stale.frame), stale.frame.nonce) == (Stale, old)
    assert isinstance(mine.take(start.resume(nonce=new))[0], Item)


def test_a_new_process_sends_everybody_to_their_hello() -> None:
    post, start = Post(), Start()
    (stale,) = post.batch(start, "e" * 32)
    assert stale.frame.nonce == "e" * 32


def test_a_hall_that_comes_back_at_once_is_let_in_one_after_another() -> None:
    post = Post(hellos_per_s=50)
    delays = [post.hello(Start()).delay_ms for _ in range(500)]
    assert delays[:20] == [0] * 20
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(480 * 20, abs=20)
    post.clock.at += 20 * S
    assert post.hello(Start()).delay_ms == 0


def test_what_protocol_1_does_not_know_is_not_sent_to_it() -> None:
    post, start = Post(), Start()
    want = Want(start.inc, 2, 5, 9)
    said = {"reincarnate": (start.inc, "a copy"), "wanted": [want], "receipt": True}
    old = post.join(start, protocols=(1,))
    assert [type(say.frame) for say in post.door.told(told(old, **said))] == [Receipt]
    new = post.join(start)
    assert [type(say.frame) for say in post.door.told(told(new, **said))] == [Receipt, Reincarnate, Wanted]


def test_what_is_told_is_sealed_and_goes_to_the_session_alone() -> None:
    post, start = Post(public_key="ab" * 32), Start()
    assert post.hello(start).public_key == "ab" * 32
    nonce = post.join(start)
    mark = Watermark(inc=start.inc, stream=2, stored=7, safe=5)
    (say,) = post.door.told(told(nonce, welcome=True, watermarks={(start.inc, 2): mark}, identity="conflict"))
    frame = open_down(post.door.seal(say), KEY)
    assert isinstance(frame, Welcome)
    assert (frame.nonce, frame.identity, frame.watermarks) == (nonce, "conflict", [mark])
    assert post.door.told(told("0" * 32, receipt=True)) == []


def test_the_window_is_told_to_everybody_at_once() -> None:
    post = Post()
    joined = [post.join(start) for start in (Start(), Start(ord=2))]
    post.door.told(Committed())
    stopped = post.door.throttle(0)
    assert {say.frame.window for say in stopped} == {0}
    assert {say.frame.nonce for say in stopped} <= set(joined)
    (say,) = post.door.told(told(joined[-1], receipt=True))
    assert (say.frame.window, say.frame.number) == (0, 2)


def test_a_will_is_a_hint() -> None:
    post, start = Post(), Start()
    will = farewell(KEY, HERE, start.inc)
    assert post.door.take(HERE.up("state"), will) == []
    post.join(start)
    (item,) = post.door.take(HERE.up("state"), will)
    assert item.frame == Gone()
    assert post.door.take(HERE.up("state"), b"?") == []


def test_more_than_its_quota_is_not_even_opened() -> None:
    post, start = Post(quota=Quota(10, 1e6)), Start()
    post.join(start)
    for _ in range(100):
        post.take(Resume(nonce="0" * 32, incarnations=[]))
    assert [kind for kind, _ in post.notes].count("quota") == 82
    assert post.take(Hello(session="ab" * 8, inc="1" * 32), address=Address("demo", "seoul", "gw-2"))
    post.clock.at += S
    assert post.take(Hello(session="ab" * 8, inc=start.inc)), "ten more a second later"


def test_a_quota_lets_one_large_message_through_and_not_two() -> None:
    quota = Quota(1e9, 100)
    assert quota.allows(HERE, 10_000, 0)
    assert not quota.allows(HERE, 10_000, S)
    assert quota.allows(HERE, 10_000, 200 * S)


def test_every_gateway_has_its_turn() -> None:
    queue = FairQueue()
    greedy, modest = (Address("demo", "seoul", name) for name in ("gw-1", "gw-2"))
    start = Start()
    taken = [queue.put(Item(greedy, *start.facts(state(S, "EXECUTE")))) for _ in range(1_000)]
    assert taken == [True] * ITEMS_EACH + [False] * (1_000 - ITEMS_EACH)
    items = [Item(modest, *start.facts(state(S, "EXECUTE"))) for _ in range(3)]
    assert all(queue.put(item) for item in items)
    assert len(queue) == ITEMS_EACH + 3
    order = [queue.take() for _ in range(ITEMS_EACH + 3)]
    assert [item for item in order if item.address == modest] == items
    assert [item.address for item in order[:6]] == [greedy, modest] * 3
    firsts = [item.frame.first for item in order if item.address == greedy]
    assert firsts == sorted(firsts)
    assert queue.take() is None
    assert len(queue) == 0


def test_what_is_too_large_for_a_gateways_share_waits() -> None:
    queue, start = FairQueue(), Start()
    frame, _ = start.facts(state(S, "EXECUTE"))
    for i in range(200):
        queue.put(Item(Address("demo", "seoul", f"gw-{i}"), frame))
    here = Address("demo", "seoul", "gw-0")
    assert [queue.put(Item(here, frame, bytes(400_000))) for _ in range(4)] == [True, True, False, False]


def test_shards_share_all_gateways_and_one_more_moves_only_its_own() -> None:
    hall = [Address("demo", "seoul", f"gw-{i}") for i in range(300)]
    for count in (1, 2, 3, 7):
        owners = [[i for i in range(1, count + 1) if Shard(i, count).has(address)] for address in hall]
        assert all(len(owner) == 1 for owner in owners)
    of_three = {a: next(i for i in (1, 2, 3) if Shard(i, 3).has(a)) for a in hall}
    of_four = {a: next(i for i in (1, 2, 3, 4) if Shard(i, 4).has(a)) for a in hall}
    moved = [a for a in hall if of_three[a] != of_four[a]]
    assert {of_four[a] for a in moved} == {4}
    assert 40 < len(moved) < 110
    assert Shard().subscriptions(hall) == [EVERYTHING_UP]
    topics = [topic for i in (1, 2, 3) for topic in Shard(i, 3).subscriptions(hall)]
    assert sorted(topics) == sorted(address.up("#") for address in hall)
    assert str(shard("2/3")) == "2/3"
    for bad in ("3", "0/2", "3/2", "a/b", "1/9999", ""):
        with pytest.raises(ValueError, match="write I/N"):
            shard(bad)
