"""The journal under any order of events and restarts: nothing begins twice, the first answer counts, ends are final."""

from __future__ import annotations

import random

import pytest

from edge.acting.guard import MINUTE_NS
from edge.acting.journal import MOST_ENDED, MOST_OPEN, Entry, Journal, action_id, key_of

S = 10**9


def entry(
    action: str, now: int = 0, *, target: str = "line/speed", asker: str = "rules", state: str = "waiting"
) -> Entry:
    return Entry(
        action=action, origin="verdict", work_unit="line", action_type="parameter_adjust", target=target, value=50.0,
        asker=asker, asked=now, expires=now + 10 * S, state=state,
    )  # fmt: skip


@pytest.mark.parametrize("number", range(30))
def test_whatever_happens_in_whatever_order_an_action_begins_once_at_most(seed, number):
    rng = random.Random(seed + number)
    journal, begun, answers, ends, now = Journal(), dict[str, int](), dict[str, str](), dict[str, str](), 0
    for _ in range(400):
        now += rng.randrange(S)
        action = f"a{rng.randrange(12)}"
        match rng.choice(["open", "answer", "begin", "end", "expire", "restart", "rewind"]):
            case "open" if not journal.known(action):
                journal.open(entry(action, now, state=rng.choice(["waiting", "due"])))
            case "open":
                with pytest.raises(ValueError, match="known already"):
                    journal.open(entry(action, now))
            case "answer":
                waiting = action in journal.entries and journal.entries[action].state == "waiting"
                said = journal.answer(action, approved=rng.random() < 0.7, actor="kim")
                assert (said in {"approved", "rejected"}) == waiting
                if said in {"approved", "rejected"}:
                    assert answers.setdefault(action, said) == said
                if said == "rejected":
                    journal.end(action, "REJECTED", now)
                    ends[action] = "REJECTED"
            case "begin":
                for due in journal.due()[:1]:
                    journal.begin(due, before=30.0, change=20.0, now=now)
                    begun[due.action] = begun.get(due.action, 0) + 1
                    with pytest.raises(ValueError, match="not due"):
                        journal.begin(due, before=30.0, change=20.0, now=now)
            case "end":
                for over in journal.begun()[:1]:
                    journal.end(over.action, "EXECUTED", now)
                    ends[over.action] = "EXECUTED"
            case "expire":
                for over in journal.over(now):
                    assert over.state != "begun"
                    assert now > over.expires
                    journal.end(over.action, "EXPIRED", now)
                    ends[over.action] = "EXPIRED"
            case "restart":
                kept = journal.dump()
                journal = Journal()
                journal.restore(kept, now)
                assert journal.dump() == kept or journal.holds
            case "rewind":
                now = max(0, now - 5 * S)
                kept = journal.dump()
                journal = Journal()
                journal.restore(kept, now)
        assert all(count == 1 for count in begun.values()), begun
        assert {action: each.status for action, each in journal.ended.items()} == ends
        assert not set(journal.entries) & set(ends)


def test_a_tag_is_held_by_who_wrote_it_or_is_about_to():
    journal = Journal()
    first = entry("a", state="due")
    journal.open(first)
    assert journal.held_by("line/speed", "rules", 0, but="a") is None
    assert journal.held_by("line/speed", "other", 0) == "rules (on its way)"
    journal.begin(first, before=None, change=None, now=0)
    assert journal.held_by("line/speed", "rules", 0) == "rules (not ended yet)"  # not even its own next one
    journal.hold(first, now=0, hold_ns=5 * S)
    journal.end("a", "EXECUTED", 0)
    assert journal.held_by("line/speed", "rules", 1) is None
    assert journal.held_by("line/speed", "other", 1) == "rules"
    assert journal.held_by("line/other", "other", 1) is None
    assert journal.held_by("line/speed", "other", 5 * S) is None
    assert journal.released(5 * S) == ["line/speed"]


def test_what_a_person_has_not_answered_holds_no_tag():
    journal = Journal()
    journal.open(entry("a"))
    assert journal.held_by("line/speed", "other", 0) is None


def test_a_recommendation_is_asked_once_as_long_as_it_stands():
    journal = Journal()
    up, down = key_of("adjust", "line/speed", 50.0), key_of("adjust", "line/speed", 20.0)
    assert journal.anew("line", [up, up]) == [up]
    assert journal.anew("line", [up]) == []
    assert journal.anew("other line", [up]) == [up]
    assert journal.anew("line", [down, up]) == [down]
    assert journal.anew("line", []) == []
    assert journal.anew("line", [up]) == [up]


def test_writes_of_a_minute_are_remembered_and_their_memory_is_bounded():
    journal = Journal()
    for number in range(100):
        now = number * 10 * S
        each = entry(f"a{number}", now, state="due")
        journal.open(each)
        journal.begin(each, before=30.0, change=1.0, now=now)
        journal.end(each.action, "EXECUTED", now)
    assert len(journal.moves("line/speed")) == 60 // 10
    assert all(990 * S - move.at < MINUTE_NS for move in journal.moves("line/speed"))


def test_it_is_bounded():
    journal = Journal()
    for number in range(MOST_OPEN):
        assert not journal.full
        journal.open(entry(f"w{number}"))
    assert journal.full
    for number in range(MOST_ENDED + 50):
        journal.open(entry(f"e{number}"))
        journal.end(f"e{number}", "REJECTED", 0)
    assert len(journal.ended) == MOST_ENDED


def test_a_clock_that_was_set_back_keeps_no_tag_for_ever():
    journal = Journal()
    first = entry("a", state="due")
    journal.open(first)
    journal.begin(first, before=None, change=3.0, now=10**6 * S)
    journal.hold(first, now=10**6 * S, hold_ns=5 * S)
    kept, journal = journal.dump(), Journal()
    journal.restore(kept, S)
    assert journal.released(7 * S) == ["line/speed"]
    assert journal.moves("line/speed")[0].at == S


def test_the_same_verdict_and_action_have_the_same_id_and_others_another():
    one = action_id("v1", "adjust", "line/speed", "50.0")
    assert one == action_id("v1", "adjust", "line/speed", "50.0")
    assert (
        len({one, action_id("v2", "adjust", "line/speed", "50.0"), action_id("v1", "adjust", "line/speed", "5")}) == 3
    )


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\xff" * 40, b"{}"])
def test_what_is_no_journal_is_not_taken_for_one(raw):
    with pytest.raises(ValueError, match="no journal"):
        Journal().restore(raw, 0)
