"""Every state of a gateway's session × everything that may come in: what follows, and that nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync.cursor import Cursor
from sync.effects import Apply, AskHoldings, Backlog, Effect, Fetch, FetchAgain, HangUp, Say, Send, State, Turn
from sync.frames import (
    Challenge,
    Command,
    DownFrame,
    Hello,
    Incarnation,
    Loss,
    Offer,
    Receipt,
    Reincarnate,
    Resume,
    Stale,
    StreamHoldings,
    Wanted,
    Watermark,
    Welcome,
    Witness,
)
from sync.sending import MAX_WANTS, SECOND, Bucket
from tests.sync.sessions import ASKED, INC, NONCE, OLD, holding, new, piece, receipt, streaming

THERE = holding(INC, 2, s2=3)


def challenged(cursor: Cursor, **more) -> list[Effect]:
    (say,) = cursor.connected(0, 0)
    frame = Challenge(session=say.frame.session, nonce=NONCE, protocol=2, wall=0, **more)
    return cursor.received(frame, 0, 0)


def offline() -> Cursor:
    return new()


def hello_sent() -> Cursor:
    cursor = new()
    cursor.connected(0, 0)
    return cursor


def admitted() -> Cursor:
    cursor = new()
    assert challenged(cursor, delay_ms=1000) == []
    return cursor


def asking() -> Cursor:
    cursor = new()
    assert challenged(cursor) == [ASKED]
    return cursor


def resumed() -> Cursor:
    cursor = asking()
    cursor.holdings(ASKED, [THERE], True, 0)
    return cursor


def turning() -> Cursor:
    cursor = asking()
    assert isinstance(cursor.holdings(ASKED, [THERE], True, 0, Backlog(records=20_001))[0], Turn)
    return cursor


def flowing() -> Cursor:
    return streaming(THERE)[0]


STATES = {
    "offline": offline, "hello sent": hello_sent, "admitted": admitted, "asking": asking, "resumed": resumed,
    "turning": turning, "streaming": flowing,
}  # fmt: skip
MARK = Watermark(inc=INC, stream=2, stored=0, safe=0)
HELLO, ASK, TAKE, TURN, AGAIN = "hello", "ask", "take", "turn", "again"
FRAMES: dict[str, tuple[Callable[[Cursor], DownFrame], dict[str, list[str]]]] = {
    # What comes in, and what follows where; in every other state it is ignored and counted.
    "a challenge": (
        lambda cursor: Challenge(session=cursor._handshake.session, nonce=NONCE, protocol=2, wall=0),
        {"hello sent": [ASK]},
    ),
    "a challenge of another session": (lambda _: Challenge(session="e" * 16, nonce=NONCE, protocol=2, wall=0), {}),
    "a welcome": (lambda _: Welcome(nonce=NONCE, watermarks=[]), {"resumed": [TAKE, "fetch"]}),
    "a welcome of another session": (lambda _: Welcome(nonce="e" * 32, watermarks=[]), {}),
    "a receipt": (lambda _: Receipt(nonce=NONCE, number=1, watermarks=[MARK]), {"streaming": [TAKE]}),
    "a receipt of another session": (lambda _: Receipt(nonce="e" * 32, number=9, watermarks=[MARK]), {}),
    "a receipt that is no news": (lambda _: Receipt(nonce=NONCE, number=0, watermarks=[MARK]), {}),
    "stale, to me": (
        lambda _: Stale(why="gone", nonce=NONCE),
        {"admitted": [HELLO], "asking": [HELLO], "resumed": [HELLO], "streaming": [HELLO]},
    ),
    "stale, to everybody": (
        lambda _: Stale(why="gone"),
        {"hello sent": [], "admitted": [HELLO], "asking": [HELLO], "resumed": [HELLO], "streaming": [HELLO]},
    ),
    "stale, to another": (lambda _: Stale(why="gone", nonce="e" * 32), {}),
    "wanted": (lambda _: Wanted(nonce=NONCE, inc=OLD, stream=2, first=1, last=2), {"streaming": []}),
    "wanted of another session": (lambda _: Wanted(nonce="e" * 32, inc=OLD, stream=2, first=1, last=2), {}),
    "reincarnate": (lambda _: Reincarnate(nonce=NONCE, inc=INC, why="copy"), {"streaming": [TURN]}),
    "reincarnate of another session": (lambda _: Reincarnate(nonce="e" * 32, inc=INC, why="copy"), {}),
    "reincarnate of what I was before": (lambda _: Reincarnate(nonce=NONCE, inc=OLD, why="copy"), {}),
    "an offer": (lambda _: Offer(nonce=NONCE, digest="", size=1, path="/", expires=0), {}),
    "a command": (
        lambda _: Command(nonce=NONCE, command="c", kind="mode", actor="kim", issued=0, expires=1, signature=""),
        {},
    ),
}


def kind(effect: Effect) -> str:
    match effect:
        case Say(Hello()):
            return HELLO
        case AskHoldings():
            return ASK
        case Apply():
            return TAKE
        case Turn():
            return TURN
        case _:
            return type(effect).__name__.lower()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("what", FRAMES)
def test_what_follows_a_frame(state: str, what: str):
    make, follows = FRAMES[what]
    cursor = STATES[state]()
    was, nonce = cursor.state, cursor.nonce
    effects = cursor.received(make(cursor), SECOND, 0)
    if state in follows:
        assert [kind(effect) for effect in effects] == follows[state]
        assert cursor.counters.ignored == 0
    else:
        assert effects == []
        assert (cursor.state, cursor.nonce) == (was, nonce)
        assert cursor.counters.ignored == 1


@pytest.mark.parametrize("state", STATES)
def test_answers_of_the_store_to_an_earlier_session_are_dropped(state: str):
    cursor = STATES[state]()
    was = cursor.state
    assert cursor.holdings(AskHoldings("e" * 32), [THERE], True, 0) == []
    assert cursor.fetched(Fetch(INC, 2, 7), piece(8), [], 9, 0) == []
    assert cursor.found(FetchAgain(INC, 2, 7, 8), piece(7), 0) == []
    assert cursor.state is was


@pytest.mark.parametrize("state", STATES)
def test_a_store_that_turned_is_said_with_a_new_hello(state: str):
    cursor = STATES[state]()
    assert cursor.turned(INC, 0, 0) == [] or state == "turning"
    effects = cursor.turned("d" * 32, 0, 0)
    assert cursor.inc == "d" * 32
    match state:
        case "offline":
            assert effects == []
            (say,) = cursor.connected(0, 0)
            assert say.frame.inc == "d" * 32
        case "turning":
            pass  # asked for: below
        case _:
            assert effects[0].frame.inc == "d" * 32
            assert cursor.state is State.HELLO_SENT


@pytest.mark.parametrize("state", STATES)
def test_when_nobody_listens_the_link_is_kept_and_hello_said_again(state: str):
    cursor = STATES[state]()
    assert cursor.unheard(0) == []
    if state in {"offline", "turning"}:
        assert cursor.due is None
        return
    assert cursor.state is State.HELLO_SENT
    assert cursor.tick(cursor.due - 1, 0) == []
    assert isinstance(cursor.tick(cursor.due, 0)[0].frame, Hello)


# --- admission ---


def test_a_gateway_that_is_told_to_wait_resumes_when_the_wait_is_over():
    cursor = admitted()
    assert cursor.due == SECOND
    assert cursor.tick(SECOND - 1, 0) == []
    assert cursor.tick(SECOND, 0) == [ASKED]
    assert isinstance(cursor.holdings(ASKED, [THERE], True, SECOND)[0].frame, Resume)


def test_nobody_is_made_to_wait_for_days():
    cursor = new()
    challenged(cursor, delay_ms=10**9)
    assert cursor.due == 300 * SECOND


def test_a_cloud_that_speaks_nothing_in_common_is_said():
    cursor = hello_sent()
    frame = Challenge(session=cursor._handshake.session, nonce=NONCE, protocol=7, wall=0)
    assert cursor.received(frame, 0, 0) == []
    assert "update one of them" in cursor.why
    assert cursor.state is State.HELLO_SENT


# --- turning ---


@pytest.mark.parametrize(
    ("backlog", "turns"),
    [
        (None, False),
        (Backlog(20_000, 60 * SECOND), False),
        (Backlog(20_001, 0), True),
        (Backlog(1, 60 * SECOND + 1), True),
    ],
)
def test_a_session_that_begins_far_behind_begins_with_a_new_incarnation(backlog: Backlog | None, turns: bool):
    cursor = asking()
    (effect,) = cursor.holdings(ASKED, [THERE], True, 0, backlog)
    assert isinstance(effect, Turn) == turns
    if turns:
        assert cursor.turned("d" * 32, 0, 0) == [
            ASKED
        ]  # of the same challenge: the cloud's admission is not asked twice
        held = [holding(INC, 2, closed=True, s2=3), holding("d" * 32, 3)]
        (say,) = cursor.holdings(ASKED, held, True, 0, Backlog(10**6, 10**12))
        assert say.frame == Resume(nonce=NONCE, incarnations=held), "a store that cannot help is resumed all the same"


def test_a_copy_of_the_box_makes_the_session_go_on_under_a_new_name():
    cursor, _ = streaming(THERE)
    (turn,) = cursor.received(Reincarnate(nonce=NONCE, inc=INC, why="same numbers, other content"), 0, 0)
    assert turn == Turn("same numbers, other content", forked=True)
    assert cursor.grown({2: 9}, 0) == []  # nothing more goes out under the numbers that are not ours alone
    (say,) = cursor.turned("d" * 32, 0, 0)
    assert (say.frame.inc, cursor.counters.turns) == ("d" * 32, 1)


@pytest.mark.parametrize("how", ["welcome", "receipt"])
def test_a_cloud_that_has_more_of_us_than_we_made_is_not_believed_but_told_apart(how: str):
    beyond = Watermark(inc=INC, stream=2, stored=4, safe=4)
    if how == "welcome":
        cursor = resumed()
        effects = cursor.received(Welcome(nonce=NONCE, watermarks=[beyond]), 0, 0)
    else:
        cursor, _ = streaming(THERE)
        effects = cursor.received(Receipt(nonce=NONCE, number=1, watermarks=[beyond]), 0, 0)
    (turn,) = effects  # above all nothing is applied: the store would forget what the cloud never had
    assert "copy of this box" in turn.why
    assert turn.forked
    assert isinstance(cursor.turned("d" * 32, 0, 0)[0].frame, Hello)


def test_a_store_that_finds_a_foreign_watermark_turns_once():
    cursor, _ = streaming(THERE)
    (turn,) = cursor.forked()
    assert turn.forked
    assert cursor.forked() == []  # the next receipt said so, too


def test_a_cloud_that_has_more_of_an_earlier_start_is_the_one_that_knows_better():
    cursor = asking()
    cursor.holdings(ASKED, [holding(OLD, 1, closed=True, s2=3), THERE], True, 0)
    mark = Watermark(inc=OLD, stream=2, stored=9, safe=9)  # restored from a backup: what came after it is there
    apply, *_ = cursor.received(Welcome(nonce=NONCE, watermarks=[mark]), 0, 0)
    assert isinstance(apply, Apply)
    assert apply.watermarks[0] == mark


@pytest.mark.parametrize(("stream", "stored", "turns"), [(3, 4, True), (3, 5, False), (2, 4, False)])
def test_a_cloud_restored_to_before_what_we_forgot_is_told_the_tags_anew(stream: int, stored: int, turns: bool):
    cursor = asking()
    held = StreamHoldings(last=9, held=[(8, 9)], losses=[Loss(6, 7, "shed")])
    cursor.holdings(ASKED, [Incarnation(inc=INC, ord=1, closed=False, streams={str(stream): held})], True, 0)
    mark = Watermark(inc=INC, stream=stream, stored=stored, safe=stored)
    apply, then = cursor.received(Welcome(nonce=NONCE, watermarks=[mark]), 0, 0)
    assert apply == Apply([mark], welcome=True)  # the store declares what is nowhere any more
    assert isinstance(then, Turn) == turns
    assert not turns or not then.forked


def test_a_new_session_begins_with_nothing_of_the_old_one():
    cursor, (fetch,) = streaming(THERE, window=16)
    cursor.received(Wanted(nonce=NONCE, inc=OLD, stream=2, first=1, last=2), 0, 0)
    (say,) = cursor.received(Stale(why="restarted"), 0, 0)
    (ask,) = cursor.received(Challenge(session=say.frame.session, nonce="m" * 32, protocol=2, wall=0), 0, 0)
    cursor.holdings(ask, [THERE], True, 0)
    *_, again = cursor.received(Welcome(nonce="m" * 32, watermarks=[], window=16), 0, 0)
    assert again == fetch  # the store is asked anew, whether or not it still answers what was asked before
    effects = cursor.fetched(again, piece(1, 3), [], 3, 0)
    assert [type(effect) for effect in effects] == [Send]  # and what the old session wanted is nobody's wish now
    (first,) = cursor.received(Receipt(nonce="m" * 32, number=1, watermarks=[MARK]), 0, 0)[:1]
    assert isinstance(first, Apply)  # receipts count from one again


# --- flow control ---


def test_a_window_of_none_stops_and_a_receipt_opens_it_again():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=9), window=2)
    _, fetch = cursor.fetched(fetch, piece(1), [], 9, 0)
    cursor.fetched(fetch, piece(2), [], 9, 0)
    closed = Receipt(nonce=NONCE, number=1, watermarks=[Watermark(inc=INC, stream=2, stored=2, safe=2)], window=0)
    assert len(cursor.received(closed, 0, 0)) == 1
    assert cursor.grown({1: 1}, 0) == []  # nor does audit pass
    opened = Receipt(nonce=NONCE, number=2, watermarks=[], window=5)
    assert cursor.received(opened, SECOND, 0) == [Fetch(INC, 1, 0)]
    unchanged = Receipt(nonce=NONCE, number=3, watermarks=[])
    assert cursor.received(unchanged, SECOND, 0) == []


def test_a_window_may_shrink_below_what_is_in_flight():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=9), window=3)
    for number in (1, 2, 3):
        _, *more = cursor.fetched(fetch, piece(number), [], 9, 0)
        fetch = more[0] if more else fetch
    one = Receipt(nonce=NONCE, number=1, watermarks=[Watermark(inc=INC, stream=2, stored=1, safe=1)], window=1)
    assert len(cursor.received(one, 0, 0)) == 1
    two = Receipt(nonce=NONCE, number=2, watermarks=[Watermark(inc=INC, stream=2, stored=3, safe=3)])
    assert cursor.received(two, 0, 0)[1:] == [Fetch(INC, 2, 3)]
    assert len(cursor.fetched(Fetch(INC, 2, 3), piece(4), [], 9, 0)) == 1


def test_when_the_word_that_opens_the_window_is_lost_the_gateway_asks():
    cursor, _ = streaming(holding(INC, 1, s2=9), window=0)
    assert cursor.due == 60 * SECOND
    assert cursor.tick(60 * SECOND - 1, 0) == []
    assert isinstance(cursor.tick(60 * SECOND, 0)[0].frame, Hello)


def test_what_is_not_confirmed_in_time_is_sent_again_with_less_at_once():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=99), window=8)
    for number in range(1, 9):
        _, *more = cursor.fetched(fetch, piece(number), [], 99, 0)
        fetch = more[0] if more else fetch
    (fetch,) = cursor.tick(5 * SECOND, 0)
    sent = 0
    while fetch is not None:
        _, *more = cursor.fetched(fetch, piece(fetch.after + 1), [], 99, 5 * SECOND)
        fetch, sent = (more[0] if more else None), sent + 1
    assert sent == 4
    cursor.received(receipt(cursor, 1, (INC, 2, 4)), 6 * SECOND, 0)
    assert cursor._sending._share == 5


def test_each_lane_has_its_own_time_out():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=1, s3=99), window=8)
    _, fetch = cursor.fetched(fetch, piece(1), [], 1, 0)  # lost on the way
    now, number = 0, 0
    while fetch.stream == 3:  # the other lane goes on and on
        now, number = now + SECOND // 4, number + 1
        effects = [
            *cursor.fetched(fetch, piece(number), [], 99, now),
            *cursor.received(receipt(cursor, number, (INC, 3, number)), now, 0),
            *cursor.tick(now, 0),
        ]
        if fetches := [effect for effect in effects if isinstance(effect, Fetch)]:
            fetch = fetches[-1]
            if cursor.counters.resent:
                break
    assert now == 5 * SECOND
    cursor.fetched(fetch, piece(number + 1), [], 99, now)
    assert cursor._sending.asked == Fetch(INC, 2, 0)


def test_a_chunk_that_was_read_before_the_lane_was_rewound_is_not_sent():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=9), window=4)
    _, fetch = cursor.fetched(fetch, piece(1), [], 9, 0)
    assert fetch == Fetch(INC, 2, 1)
    assert cursor.tick(5 * SECOND, 0) == []  # rewound, while the store still reads
    assert cursor.fetched(fetch, piece(2), [], 9, 5 * SECOND) == [Fetch(INC, 2, 0)]


def test_what_is_late_once_in_a_while_is_no_reason_to_begin_anew():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=99), window=1)
    now = 0
    for number in range(1, 9):
        cursor.fetched(fetch, piece(number), [], 99, now)
        assert cursor.due == now + 5 * SECOND
        now = cursor.due
        (fetch,) = cursor.tick(now, 0)
        cursor.fetched(fetch, piece(number), [], 99, now)
        (_, fetch) = cursor.received(receipt(cursor, number, (INC, 2, number)), now, 0)
    assert cursor.state is State.STREAMING


def test_what_is_missing_there_is_sent_at_once_each_time():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=99), window=1)
    for number in range(1, 9):
        cursor.fetched(fetch, piece(number), [], 99, 0)
        (_, fetch) = cursor.received(receipt(cursor, 2 * number, (INC, 2, number - 1)), 0, 0)
        cursor.fetched(fetch, piece(number), [], 99, 0)
        (_, fetch) = cursor.received(receipt(cursor, 2 * number + 1, (INC, 2, number)), 0, 0)
        assert cursor.counters.resent == number


def test_while_something_is_confirmed_the_rest_has_its_full_time():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=9), window=2)
    _, fetch = cursor.fetched(fetch, piece(1), [], 9, 0)
    cursor.fetched(fetch, piece(2), [], 9, 0)
    cursor.received(receipt(cursor, 1, (INC, 2, 1)), 4 * SECOND, 0)
    assert cursor.due == 9 * SECOND


def test_what_the_cloud_has_meanwhile_is_not_sent_again():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=9), window=4)
    for number in (1, 2, 3, 4):
        _, *more = cursor.fetched(fetch, piece(number), [], 9, 0)
        fetch = more[0] if more else fetch
    (fetch,) = cursor.tick(5 * SECOND, 0)
    cursor.received(receipt(cursor, 1, (INC, 2, 4)), 5 * SECOND, 0)  # all four had come; the receipt was late
    assert cursor.fetched(fetch, piece(1), [], 9, 5 * SECOND) == [Fetch(INC, 2, 4)]


def test_what_the_link_takes_late_of_an_earlier_session_counts_for_no_lane_of_this_one():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=1))
    (old,) = cursor.fetched(fetch, piece(1), [], 1, 0)
    cursor.posting(0, old.frame)
    (say,) = cursor.received(Stale(why="restarted"), 0, 0)
    (ask,) = cursor.received(Challenge(session=say.frame.session, nonce="m" * 32, protocol=2, wall=0), 0, 0)
    cursor.holdings(ask, [holding(INC, 1, s2=1)], True, 0)
    _, fetch = cursor.received(Welcome(nonce="m" * 32, watermarks=[]), 0, 0)
    cursor.fetched(fetch, piece(1), [], 1, 0)
    cursor.posted(SECOND, old.frame)
    assert cursor.due == 5 * SECOND
    assert cursor.tick(5 * SECOND, 0) == [Fetch(INC, 2, 0)]


# --- the link ---


def test_a_slow_link_is_waited_for_and_a_dead_one_given_up():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=1))
    (send,) = cursor.fetched(fetch, piece(1), [], 1, 0)
    cursor.posting(0, send.frame)
    assert cursor.tick(34 * SECOND, 0) == []  # the broker has not taken it: sent again it would come no sooner
    cursor.posted(34 * SECOND, send.frame)
    assert cursor.due == 39 * SECOND
    (fetch,) = cursor.tick(39 * SECOND, 0)
    (send,) = cursor.fetched(fetch, piece(1), [], 1, 39 * SECOND)
    cursor.posting(39 * SECOND, send.frame)
    assert cursor.due == 74 * SECOND
    (hang_up,) = cursor.tick(74 * SECOND, 0)
    assert isinstance(hang_up, HangUp)
    assert "check the network" in hang_up.why
    assert cursor.state is State.OFFLINE


def test_a_heartbeat_on_its_way_says_nothing_about_chunks():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=1))
    (send,) = cursor.fetched(fetch, piece(1), [], 1, 0)
    cursor.posting(0, send.frame)
    cursor.posted(0, send.frame)
    beat = Resume(nonce=NONCE, incarnations=[])  # anything that is no batch
    for second in range(1, 5):
        cursor.posting(second * SECOND, beat)
        cursor.posted(second * SECOND, beat)
    cursor.posting(4 * SECOND, beat)
    assert cursor.due == 5 * SECOND
    assert cursor.tick(5 * SECOND, 0) == [Fetch(INC, 2, 0)]


def test_a_half_open_link_is_given_up_within_45_seconds():
    """Whether or not anybody says when the broker took something."""
    for link_tells in (True, False):
        cursor, (fetch,) = streaming(holding(INC, 1, s2=1))
        (send,) = cursor.fetched(fetch, piece(1), [], 1, 0)
        if link_tells:  # taken just before the link broke
            cursor.posting(0, send.frame)
            cursor.posted(0, send.frame)
        now, effects = 0, []
        while not any(isinstance(effect, HangUp) for effect in effects):
            now += SECOND // 4
            effects = cursor.tick(now, 0)
            for effect in effects:
                if isinstance(effect, Fetch):
                    (send,) = cursor.fetched(effect, piece(1), [], 1, now)
                    if link_tells:
                        cursor.posting(now, send.frame)
                elif isinstance(effect, Say) and link_tells:
                    cursor.posting(now, effect.frame)
        assert now <= 45 * SECOND


def test_a_broker_that_limits_us_is_sent_less():
    cursor, _ = streaming(holding(INC, 1, s2=9), window=8)
    assert cursor.throttled() == []
    assert cursor._sending._share == 4


def test_a_quiet_hour_saves_up_no_burst():
    bucket = Bucket(1000)
    assert bucket.open(0)
    assert bucket.open(3600 * SECOND)
    bucket.take(1500)
    assert not bucket.open(3600 * SECOND)
    assert bucket.due() == 3600 * SECOND + SECOND // 2 + 1_000_000
    assert bucket.open(bucket.due())
    assert Bucket(None).open(0)


# --- what is wanted again ---


def wanting(*held, window: int = 16, **wanted) -> tuple[Cursor, list[Effect]]:
    cursor, _ = streaming(*held, window=window)
    return cursor, cursor.received(Wanted(nonce=NONCE, **wanted), 0, 0)


def test_what_is_wanted_is_sent_chunk_by_chunk_outside_the_order():
    cursor, (ask,) = wanting(holding(INC, 2), inc=OLD, stream=2, first=5, last=20)
    assert ask == FetchAgain(OLD, 2, 5, 20)
    (send,) = cursor.found(ask, piece(3, 8), 0)  # the chunk that has the first of it
    assert (send.frame.again, send.frame.first, send.frame.count, send.frame.losses) == (True, 3, 8, [])
    assert cursor.in_flight() == 1
    (apply, ask) = cursor.received(receipt(cursor, 1, (OLD, 2, 30)), 0, 0)
    assert isinstance(apply, Apply)
    assert ask == FetchAgain(OLD, 2, 11, 20)
    (send,) = cursor.found(ask, piece(14, 2), 0)
    assert send.frame.losses == [Loss(11, 13, "gone")]
    assert cursor.tick(5 * SECOND - 1, 0) == []
    (ask,) = cursor.tick(5 * SECOND, 0)  # that one was never answered: the cloud asks once more if it matters
    (send,) = cursor.found(ask, None, 0)
    assert (send.frame.count, send.frame.first, send.frame.last, send.frame.again) == (0, 16, 20, True)
    assert send.frame.losses == [Loss(16, 20, "gone")]
    assert cursor.counters.again == 3


def test_what_is_wanted_waits_for_everything_else():
    cursor, (fetch,) = streaming(holding(OLD, 1, closed=True, s3=2), holding(INC, 2), window=4)
    assert cursor.received(Wanted(nonce=NONCE, inc=OLD, stream=2, first=1, last=1), 0, 0) == []
    _, then = cursor.fetched(fetch, piece(1), [], 2, 0)
    assert then == Fetch(OLD, 3, 1)
    (_,) = cursor.fetched(then, piece(2), [], 2, 0)  # the backlog's part of the window is full, and it is backlog
    cursor.grown({1: 1}, 0)
    _, *rest = cursor.fetched(Fetch(INC, 1, 0), piece(1), [], 1, 0)
    assert rest == []
    assert cursor.received(receipt(cursor, 1, (OLD, 3, 2)), 0, 0)[1:] == [FetchAgain(OLD, 2, 1, 1)]


def test_what_comes_in_its_order_anyway_is_never_said_to_be_gone():
    cursor, effects = wanting(holding(INC, 2, s2=9), inc=INC, stream=2, first=1, last=99)
    assert effects == []  # the fetch that is out already
    assert cursor.counters.ignored == 1
    cursor.fetched(Fetch(INC, 2, 0), piece(1, 9), [], 9, 0)
    cursor.received(receipt(cursor, 1, (INC, 2, 9)), 0, 0)
    assert cursor.received(Wanted(nonce=NONCE, inc=INC, stream=2, first=1, last=99), 0, 0) == [FetchAgain(INC, 2, 1, 9)]


def test_wants_are_bounded_and_told_apart():
    cursor, _ = streaming(holding(INC, 2, s2=9), window=1)
    for n in range(1, MAX_WANTS + 10):
        for _ in range(2):
            cursor.received(Wanted(nonce=NONCE, inc=OLD, stream=2, first=n, last=n), 0, 0)
    assert [want.first for want in cursor._sending._wants] == list(range(1, MAX_WANTS + 1))
    assert cursor.counters.ignored == 2 * 9 + MAX_WANTS


def test_an_answer_to_what_was_wanted_does_not_send_the_rest_of_the_lane_again():
    cursor, (ask,) = wanting(holding(INC, 2), inc=INC, stream=3, first=1, last=1)
    cursor.found(ask, piece(1), 0)
    (fetch,) = cursor.grown({3: 2}, 0)
    cursor.fetched(fetch, piece(2), [], 2, 0)
    cursor.received(receipt(cursor, 1, (INC, 3, 0)), 0, 0)
    assert cursor.counters.resent == 0
    cursor.received(receipt(cursor, 2, (INC, 3, 0)), 0, 0)  # this one tells of something that is missing there
    assert cursor.counters.resent == 1


def test_a_backup_in_the_cloud_sends_nothing_again():
    cursor, (fetch,) = streaming(holding(INC, 1, s2=3), window=3)
    _, fetch = cursor.fetched(fetch, piece(1), [], 3, 0)
    cursor.received(receipt(cursor, 1, (INC, 2, 1)), 0, 0)
    cursor.fetched(fetch, piece(2), [], 3, 0)
    safe = Watermark(inc=INC, stream=2, stored=1, safe=0)
    cursor.received(Receipt(nonce=NONCE, number=2, watermarks=[safe]), 0, 0)
    assert cursor.counters.resent == 0


def test_countersignatures_go_to_the_store():
    cursor, _ = streaming(holding(INC, 1, s2=3))
    witness = Witness(inc=INC, stream=2, seq=3, link="a" * 64, at=1, signature="b" * 128)
    frame = Receipt(nonce=NONCE, number=1, watermarks=[], witnessed=[witness])
    assert cursor.received(frame, 0, 0) == [Apply([], [], [witness])]


# --- protocol, parts, identity ---


@pytest.mark.parametrize(("protocol", "before", "link"), [(1, "", b""), (2, "0a", b"\x0b")])
def test_the_chain_is_told_to_a_cloud_that_knows_it(protocol: int, before: str, link: bytes):
    cursor, (fetch,) = streaming(holding(INC, 1, s2=1), protocol=protocol)
    chained = piece(1)
    chained = type(chained)(1, 1, chained.digest, chained.body, b"\x0a", b"\x0b")
    (send,) = cursor.fetched(fetch, chained, [], 1, 0)
    assert isinstance(send, Send)
    assert (send.frame.before, send.link) == (before, link)


def test_many_starts_are_named_part_by_part_whatever_keeps_them_in_the_books():
    """Stored but not safe yet: the store holds them all, and the same first part is not named for ever."""
    ords = range(1, 11)

    def part(after: int):
        closed = [holding(f"{o:032x}", o, closed=True, s2=1) for o in ords if o > after]
        return [*closed[:3], holding(INC, 11)], len(closed) <= 3

    cursor, named = new(), []
    effects = cursor.connected(0, 0)
    for _ in range(4):
        nonce = f"{len(named):032x}"
        (ask,) = cursor.received(Challenge(session=effects[-1].frame.session, nonce=nonce, protocol=2, wall=0), 0, 0)
        held, complete = part(ask.after)
        (say,) = cursor.holdings(ask, held, complete, 0)
        named += [one.ord for one in say.frame.incarnations if one.closed]
        assert say.frame.complete == (named[-1] == 10)
        marks = [Watermark(inc=one.inc, stream=2, stored=1, safe=0) for one in held if one.closed]
        effects = cursor.received(Welcome(nonce=nonce, watermarks=marks), 0, 0)
    assert named == list(ords)
    assert cursor.state is State.STREAMING
    (say,) = cursor.received(Stale(why="restarted"), 0, 0)
    (ask,) = cursor.received(Challenge(session=say.frame.session, nonce=NONCE, protocol=2, wall=0), 0, 0)
    assert ask.after == 0  # a cloud that was restored must hear of all of them


def test_a_part_that_names_nothing_new_is_the_last():
    cursor = asking()
    (say,) = cursor.holdings(ASKED, [THERE], False, 0)
    assert say.frame.complete


def test_two_boxes_with_one_identity_are_told_so():
    cursor = resumed()
    cursor.received(Welcome(nonce=NONCE, watermarks=[], identity="conflict"), 0, 0)
    assert cursor.identity == "conflict"


def test_the_hello_says_which_box_and_whose_key():
    cursor = new(box="b" * 32, public_key="c" * 64)
    (say,) = cursor.connected(0, 5)
    assert (say.frame.box, say.frame.public_key, say.frame.wall) == ("b" * 32, "c" * 64, 5)


def test_time_is_asked_for_only_when_it_changes_something():
    assert offline().due is None
    assert turning().due is None
    assert hello_sent().due == SECOND
    assert resumed().due == 5 * SECOND
    cursor, (fetch,) = streaming(holding(INC, 1, s2=1))
    assert cursor.due is None
    cursor.fetched(fetch, piece(1), [], 1, 7)
    assert cursor.due == 7 + 5 * SECOND
