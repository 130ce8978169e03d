"""Questions in addresses: what is read of one is what was written; what is wrong is said at its control."""

from __future__ import annotations

from datetime import date
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.bi.semantic.catalogue import METRICS
from cloud.bi.semantic.plan import Plan
from cloud.dashboard import plans, questions
from cloud.dashboard.plans import Change, Draft, Fault, Where
from cloud.wording.texts import Words

TODAY = date(2026, 11, 23)
name = st.text("abcdefgh_", min_size=1, max_size=8).map(lambda text: "a" + text)
value = st.text(min_size=1, max_size=12).map(str.strip).filter(bool)
several = st.lists(name, unique=True, max_size=3).map(tuple)
where = st.builds(Where, name, st.lists(value, unique=True, min_size=1, max_size=3).map(tuple), st.booleans())
change = st.builds(Change, st.sampled_from(plans.CHANGES), value, st.integers(-50, 50).map(str), st.just("percent"))


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    analysis = draw(st.sampled_from(plans.ANALYSES))
    one = Draft(
        analysis=analysis,
        metrics=draw(st.lists(name, unique=True, min_size=1, max_size=3).map(tuple)),
        by=draw(several),
        wheres=draw(st.lists(where, max_size=3, unique_by=lambda one: one.dimension).map(tuple)),
        period=draw(st.sampled_from([period for period in plans.PERIODS if period != "dates"])),
    )
    more: dict[str, Any] = {}
    if one.shows("grain"):
        more["grain"] = draw(st.sampled_from(("", *plans.GRAINS)))
    if one.shows("horizon"):
        more["horizon"] = draw(st.sampled_from(("", "7", "30")))
    if one.shows("edits"):
        more["edits"] = draw(st.lists(change, max_size=3).map(tuple))
    return Draft(**{slot: getattr(one, slot) for slot in Draft.__slots__} | more)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(drafts())
def test_an_address_reads_back_as_the_question_it_was_made_of(draft: Draft) -> None:
    assert plans.read(parse_qsl(plans.address(draft), keep_blank_values=True)) == draft


@settings(max_examples=40, deadline=None, derandomize=True)
@given(drafts())
def test_a_plan_in_the_address_is_the_same_question(draft: Draft) -> None:
    plan = plans.asked(draft)
    if isinstance(plan, Plan):
        again = plans.asked(plans.of_plan(plan.model_dump(mode="json")))
        assert isinstance(again, Plan)
        assert again.model_copy(update={"limit": 1}) == plan.model_copy(update={"limit": 1})


def test_an_address_that_asks_nothing_is_no_question() -> None:
    assert plans.read([]) is None
    assert plans.read([("lang", "ko"), ("tenant", "demo")]) is None


@pytest.mark.parametrize("plan", ["{", "[]", "7", "null", '"x"'])
def test_a_plan_that_is_no_object_is_refused(plan: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|property|value"):
        plans.read([("plan", plan)])


@pytest.mark.parametrize(
    "plan",
    [
        {
            "metrics": 3,
            "dimensions": "line",
            "filters": [7, {"values": {}}],
            "period": [],
            "edits": [None, {"what": {}}],
        },
        {"period": {"first": 1, "last": None}, "against": {"relative": []}, "analysis": ["x"], "limit": {}},
    ],
)
def test_a_plan_however_wrong_becomes_chips_with_faults(plan: dict[str, Any]) -> None:
    draft = questions.completed(plans.of_plan(plan), TODAY)
    assert questions.faults(draft, Words("en")) or isinstance(plans.asked(draft), (Plan, list))


@pytest.mark.parametrize(
    ("asked", "control"),
    [
        ("metric=Oee!", "metric.0"),
        ("metric=oee&by=Li'ne", "by.0"),
        ("metric=oee&period=for_ever", "period"),
        ("metric=oee&period=dates&first=2026-11-09&last=2026-11-01", "period"),
        ("metric=oee&grain=minute", "grain"),
        ("analysis=GUESS&metric=oee", "analysis"),
        ("analysis=RANK&metric=oee&by=line&order=random", "order"),
        ("analysis=PREDICT&metric=oee&horizon=900", "horizon"),
        ("analysis=WHAT_IF&metric=oee&what=stop&which=jam&amount=-500&unit=percent", "edit.0"),
        ("metric=oee&where.line=" + "x" * 300, "where.line"),
    ],
)
def test_what_is_wrong_is_said_at_the_control_that_holds_it(asked: str, control: str) -> None:
    draft = plans.read(parse_qsl(asked, keep_blank_values=True))
    assert draft is not None
    said = plans.asked(draft)
    assert isinstance(said, list)
    assert [fault.control for fault in said] == [control]
    assert said[0].message


def test_a_name_nobody_knows_comes_with_those_that_were_meant() -> None:
    draft = Draft(metrics=("availabilty",), by=("prodct",), wheres=(Where("linie", ("1",)),))
    found = {fault.control: fault for fault in questions.faults(draft, Words("ko"))}
    assert set(found) == {"metric.0", "by.0", "where.linie"}
    assert found["metric.0"].nearest[0] == "availability"
    assert found["by.0"].nearest[0] == "product"
    assert found["where.linie"].nearest[0] == "line"
    assert "‘availabilty’" in found["metric.0"].message


def test_a_filter_can_leave_out_and_a_control_can_be_dropped() -> None:
    draft = plans.read([("metric", "oee"), ("metric", "scrap"), ("where.line", "a"), ("op.line", "not_in")])
    assert draft is not None
    assert draft.wheres == (Where("line", ("a",), negated=True),)
    assert plans.drop(draft, "metric.0").metrics == ("scrap",)
    assert plans.drop(draft, "where.line").wheres == ()
    for nonsense in ("metric", "metric.x", "metric.9", "nothing.1", ""):
        assert plans.drop(draft, nonsense) == draft


@pytest.mark.parametrize("analysis", plans.ANALYSES)
def test_every_analysis_is_complete_from_the_first_click(analysis: str) -> None:
    """Whoever clicks an analysis has a question that can be asked, whatever was chosen before."""
    before = Draft(analysis=analysis, metrics=("oee", "scrap", "stops", "good"), by=("line", "shift", "product"))
    for draft in (Draft(analysis=analysis), before):
        whole = questions.completed(draft, TODAY)
        assert isinstance(plans.asked(whole), Plan), plans.asked(whole)
        assert questions.faults(whole, Words("en")) == []


@pytest.mark.parametrize(("key", "draft"), questions.GALLERY)
def test_every_question_to_begin_with_can_be_asked(key: str, draft: Draft) -> None:
    assert isinstance(plans.asked(draft), Plan), key
    assert questions.completed(draft, TODAY) == draft
    for language in ("ko", "en"):
        assert questions.title(draft, [], Words(language))


def test_every_metric_stands_in_one_group() -> None:
    shown = [option.value for _, options in questions.metric_groups("oee", Words("en")) for option in options]
    assert sorted(shown) == sorted(METRICS)
    grouped = [name for names in questions.GROUPS.values() for name in names]
    assert len(set(grouped)) == len(grouped)


def test_faults_are_at_most_one_for_each_control() -> None:
    said = plans.asked(Draft(metrics=("oee",), wheres=(Where("line", ("x" * 300, "y" * 300)),)))
    assert [type(one) for one in said] == [Fault]  # type: ignore[union-attr]
