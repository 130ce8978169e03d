from __future__ import annotations

import random

import pytest

from sync.frames import Batch, Challenge, Hello, Incarnation, Loss, Resume, Stale, StreamHoldings, Watermark
from sync.receiver import HeaderError, Place, Position, Session, check_batch, check_incarnations, rollback

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
