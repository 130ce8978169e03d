"""Requests: read whole, every fault named, and judged as a window with those values would be."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.judgment import gather, judge, judged
from edge.judgment.names import LineNames
from edge.judgment.request import MAX_INPUT_BYTES, RequestError, RequestFault, read_request, under, window_of
from tests.edge.judgment.conftest import TAGS, S, ruleset
from tests.edge.judgment.test_models_part import LIMIT

LINE = LineNames(
    work_unit="bottling/line-1/filler", tags=TAGS, units={"oil_temperature": "CEL"},
    ranges={"oil_temperature": (0.0, 150.0)}, required=["oil_temperature"],
)  # fmt: skip


def body(**given) -> bytes:
    return json.dumps({"input_data": {"oil_temperature": 80.0}} | given).encode()


def verdict(rules, content: bytes):
    seen = window_of(read_request(content), LINE, at=1000 * S, window_ns=10 * S)
    return judged(judge(rules, gather(rules, seen)))


def test_a_request_is_judged_as_a_window_of_such_values():
    fact = verdict(ruleset(LIMIT), body(context={"lot": "L-7"}))
    assert (fact.decision, fact.context.lot) == ("warning", "L-7")
    assert fact.checks[0].unit == "CEL"
    mean = ruleset(LIMIT.replace("oil_temperature", "oil_temperature.mean"))
    assert verdict(mean, body(input_data={"oil_temperature": 80})).decision == "warning"
    assert verdict(mean, body(input_data={"oil_temperature": {"last": 60.0, "mean": 90.0}})).decision == "critical"


def test_counts_may_stand_in_an_object_of_their_own(filler):
    given = {"oil_temperature": 60, "filling_pressure": 3, "vibration": 2, "counts": {"produced": 100, "scrap": 5}}
    fact = verdict(filler, body(input_data=given, context={"product": "COLA-500"}))
    assert (fact.status, fact.decision) == ("HIGH_DEFECT", "critical")


def test_without_a_required_tag_nothing_is_judged():
    fact = verdict(ruleset(LIMIT), body(input_data={"vibration": 2.0}))
    assert (fact.decision, fact.needs_human) == ("unknown", True)
    assert "oil_temperature (no values)" in fact.summary["en"]


def test_a_required_state_is_what_the_request_says_and_not_a_tag_that_it_could_not_name():
    line = msgspec.structs.replace(LINE, tags={**TAGS, "state": "int32"}, required=["oil_temperature", "state"])
    rules = ruleset(LIMIT + "\nonly_when = 'state == \"EXECUTE\"'")
    for state, decision in (("EXECUTE", "warning"), ("IDLE", "normal")):
        content = body(input_data={"oil_temperature": 80, "state": state})
        seen = window_of(read_request(content), line, at=1000 * S, window_ns=10 * S)
        assert judge(rules, gather(rules, seen)).decision == decision


def test_every_wrong_field_is_named_at_once():
    with pytest.raises(RequestError) as found:
        read_request(body(policy="llm_only", input_data=[1], timeout_ms=-5))
    assert [fault.field for fault in found.value.faults] == ["input_data", "policy", "timeout_ms"]
    with pytest.raises(RequestError) as found:
        read_request(body(polcy="rule_only", context={"lot": 7, "batch": "x"}, need_evidence="yes", cache_ttl_sec=True))
    told = {fault.field: fault.message for fault in found.value.faults}
    assert told.keys() == {"polcy", "context.lot", "context.batch", "need_evidence", "cache_ttl_sec"}
    assert told["polcy"] == "is unknown; nearest is policy"


def test_every_input_that_fits_no_name_of_the_line_is_named():
    given = {
        "oil_temprature": 1,
        "vibration": "much",
        "sku": 5,
        "counts.scrap": -1,
        "filling_pressure": None,
        "vibration.count": 3,
    }
    huge = {"oil_temperature": 10**400}
    with pytest.raises(RequestError, match="oil_temperature: must be a finite number"):
        window_of(read_request(body(input_data=huge)), LINE, at=0, window_ns=S)
    with pytest.raises(RequestError) as found:
        window_of(read_request(body(input_data=given)), LINE, at=0, window_ns=S)
    told = {fault.field.removeprefix("input_data."): fault.message for fault in found.value.faults}
    assert told.keys() == {"oil_temprature", "vibration", "sku", "counts.scrap", "vibration.count"}
    assert "nearest is oil_temperature" in told["oil_temprature"]
    assert told["vibration"] == "must be a finite number"
    assert told["counts.scrap"] == "must be a whole number from 0"


def test_eleven_kilobytes_are_refused_and_ten_are_not():
    with pytest.raises(RequestError, match="at most 10240") as found:
        read_request(body(input_data={"sku": "x" * 11 * 1024}))
    assert found.value.too_large
    fits = {"sku": "x" * (MAX_INPUT_BYTES - len('{"sku":""}'))}
    assert read_request(body(input_data=fits)).inputs == fits


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null", b'{"input_data": {"a": NaN}}', b"[" * 5000])
def test_what_is_no_request_is_said(content):
    with pytest.raises(RequestError):
        read_request(content)


def test_another_policy_is_another_ruleset():
    rules = ruleset(LIMIT)
    assert under(rules, None) is rules
    assert under(rules, "rule_only") is rules
    other = under(rules, "ml_fallback")
    assert (other.policy, other.settings.policy) == ("ml_fallback", "ml_fallback")
    assert other.hash != rules.hash


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["input_data", "context", "policy", "language", "timeout_ms", "cache_ttl_sec", "line_code", "x"]
)
inputs = st.dictionaries(st.sampled_from([*TAGS, "state", "counts", "counts.scrap", "context.lot", "vibration.max", "window.duration_s"]), json_values, max_size=4)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(fields, json_values, max_size=4), inputs)
def test_whatever_comes_is_judged_or_refused_with_reasons(document, data):
    rules = ruleset(LIMIT)
    for content in (document, {"input_data": data}):
        faults: tuple[RequestFault, ...] = ()
        decision = "refused"
        try:
            decision = verdict(rules, msgspec.json.encode(content)).decision
        except RequestError as error:
            faults = error.faults
        assert bool(faults) == (decision == "refused")
        assert all(fault.message for fault in faults)
