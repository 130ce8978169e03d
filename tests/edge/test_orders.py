"""What was made of each order adds up, whatever order the facts take, and is told once it is over."""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
from hypothesis import given

from edge import orders
from edge.orders import INTERIM_NS, Orders, Waiting
from sync.facts import Context, JobOrderPlanned, JobResponded, Produced, StateChanged

UNIT = "bottling/line-1/filler"
S = 1_000_000_000


def made(order: str | None, start: int, end: int, good: int, scrap: int = 0, unit: str = UNIT) -> Produced:
    context = Context(order=order, product="cola", lot="L1")
    return Produced(
        at=end * S, work_unit=unit, start=start * S, produced=good + scrap, good=good, scrap=scrap, context=context
    )


def state(order: str | None, at: int, unit: str = UNIT) -> StateChanged:
    return StateChanged(at=at * S, work_unit=unit, state="EXECUTE", context=Context(order=order))


def test_an_order_is_told_when_the_line_turns_to_another():
    book = Orders()
    assert book.take([state("A", 0), made("A", 0, 60, 10, 1), made("A", 60, 120, 5)]) == []
    (told,) = book.take([made("B", 120, 180, 7)])
    assert told == JobResponded(
        at=120 * S, work_unit=UNIT, response=told.response, order="A", product="cola", lot="L1", start=0,
        produced=16, good=15, scrap=1, complete=True,
    )  # fmt: skip
    assert book.open[UNIT].produced == 7


def test_it_is_told_too_when_the_line_turns_to_nothing_or_the_order_is_closed():
    for last in (state(None, 90), state("B", 90), made(None, 60, 90, 3)):
        (told,) = Orders(open={}).take([made("A", 0, 60, 10), last])
        assert (told.order, told.complete, told.produced) == ("A", True, 10)
    plan = {"product": "cola", "quantity": 10, "start": 0, "end": 1}
    book = Orders()
    other = JobOrderPlanned(at=70 * S, work_unit=UNIT, order="Z", state="completed", **plan)
    running = JobOrderPlanned(at=70 * S, work_unit=UNIT, order="A", state="running", **plan)
    assert book.take([made("A", 0, 60, 10), other, running]) == []
    (told,) = book.take([JobOrderPlanned(at=70 * S, work_unit=UNIT, order="A", state="completed", **plan)])
    assert (told.order, told.complete, told.at) == ("A", True, 60 * S)


def test_an_order_that_goes_on_is_told_of_in_between_under_the_same_id():
    book = Orders()
    told = [response for i in range(12) for response in book.take([made("A", 60 * i, 60 * i + 60, 10)])]
    assert [(r.complete, r.produced, r.at) for r in told] == [(False, 50, INTERIM_NS), (False, 100, 2 * INTERIM_NS)]
    (last,) = book.take([state(None, 800)])
    assert (last.complete, last.produced) == (True, 120)
    assert len({r.response for r in [*told, last]}) == 1


def test_an_order_taken_up_again_is_another_response():
    told = Orders().take([made("A", 0, 60, 1), made("B", 60, 120, 2), made("A", 120, 180, 3), state(None, 200)])
    assert [(r.order, r.produced) for r in told] == [("A", 1), ("B", 2), ("A", 3)]
    assert len({r.response for r in told}) == 3


def test_lines_do_not_mix():
    other = "bottling/line-2/filler"
    told = Orders().take(
        [made("A", 0, 60, 1), made("A", 0, 60, 5, unit=other), state(None, 90), state(None, 90, other)]
    )
    assert [(r.work_unit, r.produced) for r in told] == [(UNIT, 1), (other, 5)]
    assert told[0].response != told[1].response


@given(
    steps=st.lists(st.tuples(st.sampled_from(["A", "B", None]), st.integers(0, 9), st.integers(0, 3)), max_size=40),
    cuts=st.sets(st.integers(0, 40)),
)
def test_every_piece_of_an_order_is_told_in_exactly_one_response(steps, cuts):
    """Restarts included: the state that is committed with the facts is all there is."""
    book, said = Orders(), dict[str, JobResponded]()
    for i, (order, good, scrap) in enumerate(steps):
        if i in cuts:
            book = msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=Orders)
        said |= {r.response: r for r in book.take([made(order, 60 * i, 60 * i + 60, good, scrap)])}
    said |= {r.response: r for r in book.take([state(None, 60 * len(steps))])}
    for order in ("A", "B"):
        assert sum(r.produced for r in said.values() if r.order == order) == sum(
            good + scrap for name, good, scrap in steps if name == order
        )
    assert all(r.complete and r.produced == r.good + r.scrap for r in said.values())


def response(name: str, produced: int = 1) -> JobResponded:
    return JobResponded(at=1, work_unit=UNIT, response=name, order="A", start=0, produced=produced, good=produced)


def test_a_later_response_takes_the_place_of_an_earlier_one():
    waiting = Waiting()
    waiting.put([response("r1"), response("r2")])
    first = waiting.first()
    waiting.put([response("r1", 5)])
    assert first == response("r1")
    waiting.done(first)
    assert waiting.first() == response("r1", 5), "what changed on the way is still to be told"
    waiting.done(response("r1", 5))
    assert waiting.first() == response("r2")


def test_what_is_refused_or_too_much_is_put_aside(monkeypatch):
    monkeypatch.setattr(orders, "MOST_WAITING", 3)
    monkeypatch.setattr(orders, "MOST_ASIDE", 2)
    waiting = Waiting()
    over = waiting.put([response(f"r{i}") for i in range(6)])
    assert [r.response for r in over] == ["r0", "r1", "r2"]
    assert [r.response for r in waiting.aside] == ["r1", "r2"]
    waiting.put_aside(response("r3"))
    assert [r.response for r in waiting.aside] == ["r2", "r3"]
    assert list(waiting.queue) == ["r4", "r5"]
