"""Answers given again: only for the same input to the same rules, model and policy, and only for a while."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.judgment import State, gather, judge, judged
from edge.judgment.cache import Cache, key_of
from edge.judgment.result import result
from models.policy import POLICIES
from sync.facts import Context
from sync.judgment import Scored
from tests.edge.judgment.conftest import S, ruleset, window
from tests.edge.judgment.test_models_part import LIMIT, scored, under


def kept(cache: Cache, rules, seen, now: int, answer: Scored | None = None, *, state=None):
    """Give an answer as a request gets it: from memory, or judged and kept."""
    stood_on = gather(rules, seen, memory=state, history=0.9)
    key = key_of(rules, stood_on, model="" if answer is None else answer.sha256)
    found = cache.find(key, now)
    if found is not None:
        return found.fact
    fact = judged(judge(rules, stood_on, scored=answer))
    cache.keep(key, fact, now=now, ttl_s=300)
    return fact


def test_the_same_input_twice_within_its_time_is_answered_from_memory_whole():
    cache, rules = Cache(), ruleset(LIMIT)
    first = kept(cache, rules, window(oil=80.0), 0)
    again = kept(cache, rules, window(9, oil=80.0), 299 * S)
    assert again.cached
    assert msgspec.structs.replace(again, cached=False) == first
    assert again.summary == first.summary != {}
    key = key_of(rules, gather(rules, window(oil=80.0), history=0.9))
    found = cache.find(key, 100 * S)
    assert found is not None
    fresh, old = result(first), result(found.fact, kept=found)
    assert fresh.keys() == old.keys()
    assert {name for name in fresh if fresh[name] != old[name]} == {"cached", "cached_at", "cache_ttl_remaining"}
    assert (old["cached_at"], old["cache_ttl_remaining"]) == ("1970-01-01T00:00:00.000Z", 200.0)
    assert not kept(cache, rules, window(oil=80.0), 300 * S).cached
    assert (cache.hits, cache.misses) == (2, 2)


def test_a_clock_that_was_set_back_gives_nothing_from_the_future():
    cache, rules = Cache(), ruleset(LIMIT)
    kept(cache, rules, window(), 1000 * S)
    assert not kept(cache, rules, window(), 10 * S).cached


def test_unsure_answers_and_ones_without_their_model_are_not_kept():
    cache, rules = Cache(), ruleset(LIMIT)
    unsure = judged(judge(rules, gather(rules, window(), history=0.0)))
    assert unsure.confidence < 0.7
    assert not cache.keep("a", unsure, now=0, ttl_s=300)
    hybrid = under("hybrid_weighted")
    for answer in (None, scored("unknown", 0.0, failure="deadline")):
        lacking = judged(judge(hybrid, gather(hybrid, window()), scored=answer))
        assert lacking.confidence >= 0.7
        assert not cache.keep("a", lacking, now=0, ttl_s=300)
    assert not cache.keep("a", judged(judge(rules, gather(rules, window()))), now=0, ttl_s=0)
    assert len(cache) == 0


def test_the_answer_nobody_asked_for_longest_goes_first():
    cache, rules = Cache(most=2), ruleset(LIMIT)
    for oil in (60.0, 61.0, 60.0, 62.0):
        kept(cache, rules, window(oil=oil), 0)
    assert len(cache) == 2
    assert kept(cache, rules, window(oil=60.0), 1).cached
    assert not kept(cache, rules, window(oil=61.0), 1).cached


def test_another_version_or_activation_is_judged_anew():
    cache, rules = Cache(), ruleset(LIMIT)
    kept(cache, rules, window(oil=80.0), 0)
    newer = ruleset(LIMIT.replace("75", "81"))
    assert kept(cache, newer, window(oil=80.0), 1).decision == "normal"
    assert kept(cache, rules, window(oil=80.0), 1).cached
    assert cache.purge("other") == 0
    assert cache.purge(rules.name) == 2
    assert not kept(cache, rules, window(oil=80.0), 1).cached
    assert cache.purge() == 1


variants = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(POLICIES),
        "head": st.sampled_from(["", "safety_first = false", "gate = 0.5", "weights = { rule = 0.1, ml = 0.9 }", "review = 0.9"]),
        "limit": st.sampled_from(["75", "70"]),
        "title": st.sampled_from(["Oil", "Oil temperature"]),
        "oil": st.sampled_from([60.0, 72.0, 80.0, 90.0, 75.00000000000001]),
        "state": st.sampled_from(["EXECUTE", "STOPPED"]),
        "lot": st.sampled_from([None, "L-7"]),
        "line": st.sampled_from(["a/b/c", "a/b/d"]),
        "memory": st.sampled_from([None, State(at=10 * S, alarms={"oil": "warning"})]),
        "history": st.sampled_from([None, 0.75, 1.0]),
        "number": st.integers(0, 1),
        "long": st.booleans(),
        "model": st.sampled_from(["ab", "cd"]),
    }
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(variants, min_size=2, max_size=12))
def test_what_comes_from_memory_is_what_would_have_been_judged(asked):
    cache = Cache()
    for one in asked + asked:
        rules = under(one["policy"], one["head"], LIMIT.replace("75", one["limit"]).replace("Oil", one["title"]))
        seen = window(one["number"], oil=one["oil"], state=one["state"], context=Context(lot=one["lot"]))
        seen = replace(seen, work_unit=one["line"], end=seen.end + (5 * S if one["long"] else 0))
        stood_on = gather(rules, seen, memory=one["memory"], history=one["history"])
        answer = scored("warning" if one["model"] == "ab" else "normal", 0.8)
        answer = msgspec.structs.replace(answer, sha256=one["model"])
        fresh = judged(judge(rules, stood_on, scored=answer))
        key = key_of(rules, stood_on, model=one["model"])
        found = cache.find(key, 0)
        if found is None:
            cache.keep(key, fresh, now=0, ttl_s=300)
        else:
            same = {"at": fresh.at, "start": fresh.start, "verdict_id": fresh.verdict_id, "cached": False}
            assert msgspec.structs.replace(found.fact, **same) == fresh


def test_whatever_differs_has_a_key_of_its_own():
    rules = ruleset(LIMIT)
    base = gather(rules, window(oil=80.0))
    memory = State(at=10 * S, alarms={"oil": "warning"})
    remembered = gather(rules, window(oil=80.0), memory=memory)
    keys = [
        key_of(rules, base),
        key_of(rules, base, model="ab"),
        key_of(rules, base, tenant="acme"),
        key_of(replace(rules, settings=replace(rules.settings, review=0.9)), base),
        key_of(ruleset(LIMIT.replace("75", "76")), base),
        *(
            key_of(rules, msgspec.structs.replace(base, **changed))
            for changed in (
                {"state": "HELD"}, {"context": Context(lot="L-8")}, {"work_unit": "a/b/c"}, {"values": {"oil_temperature": 80.5}},
                {"end": base.end + S}, {"history": 0.8}, {"needed": 2}, {"units": {"oil_temperature": "FAH"}},
                {"blind": ["oil_temperature"]}, {"causes": {"oil_temperature": "bad"}}, {"faults": {"oil_temperature": "uncertain"}},
            )
        ),
        key_of(rules, remembered),
        key_of(rules, gather(rules, window(1, oil=80.0), memory=memory)),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key_of(rules, gather(rules, window(7, oil=80.0))) == keys[0], "without a memory the time is no part of it"
