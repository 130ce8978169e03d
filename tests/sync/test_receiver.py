from __future__ import annotations

import random

import pytest

from sync.frames import Batch, Challenge, Hello, Incarnation, Loss, Resume, Stale, StreamHoldings, Watermark, Witness
from sync.receiver import (
    HeaderError,
    Place,
    Position,
    Session,
    check_batch,
    check_incarnations,
    regain,
    rollback,
    to_ask_for,
)

HELLO = Hello(session="ab" * 8, inc="0" * 32)


def test_a_chunk_right_after_the_watermark_is_next_and_nothing_else_is():
    position = Position(stored=10, last=20)
    assert position.place(11, 5) is Place.NEXT
    assert position.place(6, 5) is Place.KNOWN
    assert position.place(12, 5) is Place.EARLY
    assert position.place(10, 2) is Place.ASTRIDE


def test_losses_carry_the_watermark_and_only_news_counts():
    position = Position(stored=10, last=10)
    assert position.lose([Loss(5, 15, "shed")]) == [Loss(11, 15, "shed")]
    assert (position.stored, position.last, position.ahead) == (15, 15, [])
    assert position.lose([Loss(20, 25, "quarantine")]) == [Loss(20, 25, "quarantine")]
    assert (position.stored, position.ahead) == (15, [(20, 25)])
    assert position.lose([Loss(18, 30, "shed")]) == [Loss(18, 19, "shed"), Loss(26, 30, "shed")]
    position.took(17)
    assert (position.stored, position.ahead) == (30, [])


def test_what_a_restored_disk_no_longer_knows_is_a_rollback():
    position = Position(stored=4, last=20, ahead=[(8, 9)])
    restored = Incarnation(
        inc="0" * 32, ord=1, closed=True, streams={"2": StreamHoldings(last=12, held=[(6, 7), (11, 12)])}
    )
    assert rollback(restored, 2, position) == [
        Loss(5, 5, "rollback"),
        Loss(10, 10, "rollback"),
        Loss(13, 20, "rollback"),
    ]
    assert rollback(restored, 3, Position(stored=1, last=2)) == [Loss(2, 2, "rollback")]


def test_every_record_ends_up_stored_or_lost_whatever_comes(seed: int):
    """Random chunks and losses, resent in any order: each record counts once, the watermark never goes back."""
    rng = random.Random(seed)
    for _ in range(200):
        chunks, at = [], 1
        while at < 200:
            count = rng.randrange(1, 20)
            chunks.append((at, count))
            at += count
        lost_chunks = {chunk for chunk in chunks if rng.random() < 0.2}
        position, stored, lost = Position(), set(), set()
        while position.stored < at - 1:
            first, count = rng.choice(chunks)
            before = position.stored
            if (first, count) in lost_chunks:
                for loss in position.lose([Loss(first, first + count - 1, "shed")]):
                    fresh = set(range(loss.first, loss.last + 1))
                    assert not fresh & (stored | lost)
                    lost |= fresh
            elif position.place(first, count) is Place.NEXT:
                fresh = set(range(first, first + count))
                assert not fresh & (stored | lost)
                stored |= fresh
                position.took(first + count - 1)
            assert position.stored >= before
            assert set(range(1, position.stored + 1)) <= stored | lost
        assert stored | lost == set(range(1, at))
        assert position.unaccounted([]) == []


# --- late beats lost ---


def test_what_was_asked_for_is_never_rejected_for_where_it_stands():
    position = Position(stored=10, last=30, ahead=[(15, 16)])
    assert position.place(5, 3, again=True) is Place.LATE
    assert position.place(8, 3, again=True) is Place.LATE
    assert position.place(11, 4, again=True) is Place.NEXT  # the outbox had it: in its order as well
    assert position.place(9, 5, again=True) is Place.EARLY
    assert position.place(9, 5) is Place.ASTRIDE
    assert position.place(12, 5, again=True) is Place.EARLY
    assert position.place(20, 5, again=True) is Place.EARLY


@pytest.mark.parametrize(
    ("chunk", "rows", "rest"),
    [
        ((10, 11), [(10, 20)], [[]]),
        ((8, 4), [(10, 11)], [[(12, 20)]]),
        ((19, 9), [(19, 20)], [[(10, 18)]]),
        ((12, 3), [(12, 14)], [[(10, 11), (15, 20)]]),
        ((1, 9), [], []),
        ((21, 9), [], []),
        ((15, 20), [(15, 20), (30, 32)], [[(10, 14)], []]),
    ],
)
def test_late_beats_lost_and_the_loss_shrinks_by_what_came(chunk, rows, rest):
    losses = [Loss(30, 32, "gone", 5, 6), Loss(10, 20, "rollback", 1, 2)]
    came, shrunk = regain(*chunk, losses)
    assert came == rows
    assert [[(loss.first, loss.last) for loss in one.rest] for one in shrunk] == rest
    for one in shrunk:
        assert one.loss in losses
        assert all((part.reason, part.t0, part.t1) == (one.loss.reason, one.loss.t0, one.loss.t1) for part in one.rest)


def test_what_is_gone_makes_nothing_known_to_exist():
    position = Position(stored=4, last=10)
    assert position.gone([Loss(3, 99, "gone"), Loss(200, 300, "gone")]) == [Loss(5, 10, "gone")]
    assert (position.stored, position.last) == (10, 10)


def test_what_is_asked_for_is_what_is_lost_here_and_held_there():
    lost = [Loss(30, 40, "gone"), Loss(1, 10, "rollback")]
    assert to_ask_for([(5, 32), (35, 60)], lost) == [(5, 10), (30, 32), (35, 40)]
    assert to_ask_for([(11, 29)], lost) == []


def test_late_rows_and_losses_always_partition_what_was_declared(seed: int):
    """Random chunks come again over random losses: rows and losses never overlap, and together are what was lost."""
    rng = random.Random(seed)
    for _ in range(300):
        at, losses = 1, []
        while at < 120:
            first = at + rng.randrange(0, 6)
            at = first + rng.randrange(1, 15)
            losses.append(Loss(first, at - 1, rng.choice(["shed", "gone", "rollback"]), first, at))
        declared = {n for loss in losses for n in range(loss.first, loss.last + 1)}
        reason = {n: (loss.reason, loss.t0) for loss in losses for n in range(loss.first, loss.last + 1)}
        rows: set[int] = set()
        for _ in range(12):
            first, count = rng.randrange(1, 125), rng.randrange(1, 20)
            rng.shuffle(losses)
            came, shrunk = regain(first, count, losses)
            fresh = {n for a, b in came for n in range(a, b + 1)}
            assert not fresh & rows
            assert fresh == (declared - rows) & set(range(first, first + count))
            rows |= fresh
            for one in shrunk:
                losses.remove(one.loss)
                losses += one.rest
            left = [n for loss in losses for n in range(loss.first, loss.last + 1)]
            assert len(left) == len(set(left))
            assert set(left) == declared - rows
            assert all(reason[n] == (loss.reason, loss.t0) for loss in losses for n in range(loss.first, loss.last + 1))


def test_every_record_is_a_row_or_lost_also_when_things_come_again(seed: int):
    """As above, with chunks on request in between: what was lost may come back, nothing counts twice."""
    rng = random.Random(seed)
    for _ in range(150):
        chunks, at = [], 1
        while at < 150:
            count = rng.randrange(1, 15)
            chunks.append((at, count))
            at += count
        position, rows, lost = Position(), set(), []
        for _ in range(600):
            first, count = rng.choice(chunks)
            numbers, before = set(range(first, first + count)), position.stored
            match rng.randrange(4):
                case 0:
                    lost += position.lose([Loss(first, first + count - 1, "shed")])
                case 1:
                    lost += position.gone([Loss(first, first + count + 40, "gone")])
                case choice:
                    again = choice == 2
                    place = position.place(first, count, again=again)
                    if place is Place.NEXT:
                        assert not numbers & rows
                        rows |= numbers
                        position.took(first + count - 1)
                    elif place is Place.LATE:
                        came, shrunk = regain(first, count, lost)
                        fresh = {n for a, b in came for n in range(a, b + 1)}
                        assert not fresh & rows
                        rows |= fresh
                        for one in shrunk:
                            lost.remove(one.loss)
                            lost += one.rest
                    if place is Place.LATE:
                        assert numbers <= rows
            assert position.stored >= before
            gone = [n for loss in lost for n in range(loss.first, loss.last + 1)]
            assert len(gone) == len(set(gone))
            assert not set(gone) & rows
            assert set(range(1, position.stored + 1)) <= rows | set(gone)


# --- sessions ---


def test_a_session_is_hello_challenge_resume():
    session = Session()
    assert not session.takes("n1")
    challenge = session.hello(HELLO, nonce="n1", wall=5)
    assert isinstance(challenge, Challenge)
    assert (challenge.session, challenge.nonce, challenge.wall) == (HELLO.session, "n1", 5)
    assert not session.takes("n1")
    session.hello(HELLO, nonce="n2", wall=6)
    assert not session.resume(Resume(nonce="n1", incarnations=[]))
    assert session.resume(Resume(nonce="n2", incarnations=[]))
    assert session.takes("n2")
    assert not session.resume(Resume(nonce="n2", incarnations=[])), "a resume counts once"


def test_the_old_session_stands_until_the_new_one_does():
    session = Session()
    session.hello(HELLO, nonce="n1", wall=0)
    session.resume(Resume(nonce="n1", incarnations=[]))
    session.hello(HELLO, nonce="n2", wall=0)
    assert session.takes("n1")
    assert session.resuming
    session.resume(Resume(nonce="n2", incarnations=[]))
    assert not session.takes("n1")
    assert not session.resuming


def test_receipts_are_numbered_within_the_session():
    session = Session()
    assert session.receipt([], []) is None
    session.hello(HELLO, nonce="n1", wall=0)
    session.resume(Resume(nonce="n1", incarnations=[]))
    mark = Watermark(inc="0" * 32, stream=2, stored=5, safe=5)
    receipts = [session.receipt([mark], []) for _ in range(3)]
    assert [receipt.number for receipt in receipts if receipt] == [1, 2, 3]
    session.hello(HELLO, nonce="n2", wall=0)
    session.resume(Resume(nonce="n2", incarnations=[]))
    again = session.receipt([], [])
    assert again is not None
    assert (again.nonce, again.number) == ("n2", 1)


def test_a_receipt_carries_the_window_and_what_was_countersigned():
    session = Session()
    challenge = session.hello(HELLO, nonce="n1", wall=0, delay_ms=70, public_key="c" * 64)
    assert isinstance(challenge, Challenge)
    assert (challenge.delay_ms, challenge.public_key, challenge.protocol, session.protocol) == (70, "c" * 64, 2, 2)
    session.resume(Resume(nonce="n1", incarnations=[]))
    witness = Witness(inc="0" * 32, stream=1, seq=5, link="a" * 64, at=1, signature="b" * 128)
    receipt = session.receipt([], [], window=0, witnessed=[witness])
    assert receipt is not None
    assert (receipt.window, receipt.witnessed) == (0, [witness])


def test_an_older_gateway_is_known_as_one():
    session = Session()
    session.hello(Hello(session="ab" * 8, inc="0" * 32, protocols=(1,)), nonce="n1", wall=0)
    assert session.protocol == 1


def test_a_frame_without_a_nonce_belongs_to_nobody():
    assert not Session().takes("")


def test_no_common_protocol_is_said():
    answer = Session().hello(Hello(session="ab" * 8, inc="0" * 32, protocols=(7,)), nonce="n", wall=0)
    assert isinstance(answer, Stale)
    assert "update" in answer.why


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": -1},
        {"count": 1_001, "last": 5_000},
        {"first": 0},
        {"first": 95, "count": 10, "last": 100},
        {"last": 2**63},
        {"stream": 0},
        {"losses": [Loss(5, 4, "shed")]},
        {"losses": [Loss(5, 500, "shed")]},
    ],
)
def test_impossible_numbers_are_refused(wrong):
    right = {"nonce": "n", "inc": "0" * 32, "stream": 2, "first": 1, "count": 10, "last": 100}
    check_batch(Batch(**right))
    with pytest.raises(HeaderError):
        check_batch(Batch(**(right | wrong)))


@pytest.mark.parametrize(
    "streams",
    [
        {"x": StreamHoldings(last=1)},
        {"2": StreamHoldings(last=-1)},
        {"2": StreamHoldings(last=5, held=[(4, 6)])},
        {"2": StreamHoldings(last=5, held=[(3, 2)])},
        {"999": StreamHoldings(last=5)},
    ],
)
def test_impossible_holdings_are_refused(streams):
    with pytest.raises(HeaderError):
        check_incarnations([Incarnation(inc="0" * 32, ord=1, closed=False, streams=streams)])
