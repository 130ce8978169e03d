"""Charts and capability over windows: points, series, memory, what is said, and the same verdict again."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.judgment import State, Verdict, dump, gather, judge, judged, recalled, restore
from models.rulesets import Ruleset
from models.spc import NELSON, Design, Limits, Point, series
from sync.facts import Context
from tests.edge.judgment.conftest import S, ruleset, tag, window

LIMITS = 'limits = { center = 60.0, sigma = 1.0, version = "1" }\n'
INDIVIDUALS = f'[[chart]]\nname = "oil"\nkind = "individuals"\nvalue = "oil_temperature"\n{LIMITS}'


def run(rules: Ruleset, windows, state: State | None = None) -> list[Verdict]:
    """Judge windows one after the other, the memory through its checkpoint, and each verdict again from its record."""
    told: list[Verdict] = []
    for one in windows:
        verdict = judge(rules, gather(rules, one, memory=restore(None if state is None else dump(state))))
        fact = msgspec.json.decode(msgspec.json.encode(judged(verdict)), type=type(judged(verdict)))
        again = judge(rules, recalled(fact))
        assert msgspec.json.encode(judged(again)) == msgspec.json.encode(judged(verdict))
        state = verdict.state
        told.append(verdict)
    return told


def statuses(verdicts: list[Verdict]) -> list[str | None]:
    return [verdict.status for verdict in verdicts]


def test_a_point_beyond_its_limit_is_told_with_rule_value_limit_and_point():
    verdicts = run(ruleset(INDIVIDUALS), [window(0, oil=60.5), window(1, oil=63.25)])
    assert [(v.decision, v.status) for v in verdicts] == [("normal", None), ("warning", "NELSON_1")]
    (finding,) = verdicts[1].findings
    assert (finding.value, finding.threshold, finding.side, finding.path) == (63.25, 63.0, "high", ("NELSON_1 2",))
    assert "one point beyond 3 σ (NELSON_1, point 2, upper side); 63.25 °C against 63 °C" in verdicts[1].summary["en"]
    assert "한 점이 3σ 한계를 벗어남 (NELSON_1, 점 2, 위쪽)" in verdicts[1].summary["ko"]
    assert [(a.alarm, a.active, a.severity) for a in verdicts[1].alarms] == [("oil", True, "warning")]


def test_a_run_on_one_side_names_its_points_and_ends_with_the_next_on_the_other():
    verdicts = run(ruleset(INDIVIDUALS), [window(i, oil=60.5) for i in range(10)] + [window(10, oil=59.9)])
    assert statuses(verdicts) == [None] * 8 + ["NELSON_2", "NELSON_2", None]
    assert [v.findings[0].path for v in verdicts[8:]] == [("NELSON_2 1–9",), ("NELSON_2 2–10",), ()]
    assert not verdicts[10].alarms[0].active


def test_severities_of_rules_decide_which_is_told_first():
    rules = ruleset(INDIVIDUALS + 'rules = ["nelson_1", "nelson_5"]\nseverities = { nelson_5 = "critical" }\n')
    verdict = run(rules, [window(0, oil=63.5), window(1, oil=63.4)])[-1]
    assert (verdict.decision, verdict.status) == ("critical", "NELSON_5")
    assert verdict.findings[0].path == ("NELSON_5 1, 2", "NELSON_1 2")
    assert "also NELSON_1" in verdict.summary["en"]
    quiet = ruleset(INDIVIDUALS + 'severity = "info"\n')
    assert (run(quiet, [window(0, oil=64.0)])[0].decision, run(quiet, [window(0, oil=64.0)])[0].status) == (
        "normal",
        "NELSON_1",
    )


def test_a_missing_value_is_unknown_and_no_point():
    rules = ruleset(INDIVIDUALS)
    gone = window(8, tags=[tag("oil_temperature", None, count=0, unit="CEL", age_ns=1 << 60)])
    stale = window(9, tags=[tag("oil_temperature", 60.5, count=0, unit="CEL", age_ns=60 * S)])
    verdicts = run(rules, [*(window(i, oil=60.5) for i in range(8)), gone, stale, window(10, oil=60.5)])
    assert [v.findings[0].level for v in verdicts[8:]] == ["unknown", "unknown", "warning"]
    assert verdicts[10].findings[0].path == ("NELSON_2 1–9",), "nine points in ten windows: none was made up"


def test_a_window_without_a_new_value_gives_no_point_unless_it_shall():
    quiet = [window(i, tags=[tag("oil_temperature", 60.5, count=0, unit="CEL")]) for i in range(1, 20)]
    verdicts = run(ruleset(INDIVIDUALS), [window(0, oil=60.5), *quiet])
    assert statuses(verdicts) == [None] * 20
    assert [v.findings[0].applied for v in verdicts] == [True] + [False] * 19
    assert verdicts[1].findings[0].path == ("no new value",)
    every = run(ruleset(INDIVIDUALS + "every_window = true\n"), [window(0, oil=60.5), *quiet])
    assert statuses(every)[8] == "NELSON_2"


def test_a_hole_between_windows_adds_no_points_and_begins_anew_only_when_it_shall():
    eight, late = [window(i, oil=60.5) for i in range(8)], window(100, oil=60.5)
    assert run(ruleset(INDIVIDUALS), [*eight, late])[-1].status == "NELSON_2"
    rules = ruleset(INDIVIDUALS + "reset_after_s = 60\n")
    assert run(rules, [*eight, late])[-1].status is None
    assert run(rules, [*eight, window(9, oil=60.5)])[-1].status == "NELSON_2"


def test_another_product_begins_anew_and_may_have_its_own_limits():
    def of(number: int, product: str | None, oil: float):
        return window(number, oil=oil, context=Context(order="O", product=product, lot="L", shift="A"))

    rules = ruleset(INDIVIDUALS + 'reset_on = "product"\n')
    same = [of(i, "A", 60.5) for i in range(8)]
    assert run(rules, [*same, of(8, "B", 60.5)])[-1].status is None
    assert run(rules, [*same, of(8, "A", 60.5)])[-1].status == "NELSON_2"
    two = ruleset(
        INDIVIDUALS.replace(LIMITS, "")
        + '[[chart.limits]]\nproduct = "A"\ncenter = 60.0\nsigma = 1.0\nversion = "1"\n'
        + '[[chart.limits]]\nproduct = "B"\ncenter = 80.0\nsigma = 2.0\nversion = "1"\n'
    )
    verdicts = run(two, [of(0, "A", 61.0), of(1, "B", 81.0), of(2, "B", 61.0), of(3, "C", 61.0), of(4, None, 61.0)])
    assert statuses(verdicts)[:3] == [None, None, "NELSON_1"]
    assert verdicts[1].findings[0].threshold == 86.0
    assert [v.findings[0].level for v in verdicts[3:]] == ["unknown", "unknown"]
    assert "oil.limits[C] missing" in verdicts[3].summary["en"]


def test_other_limits_are_another_series():
    eight = run(ruleset(INDIVIDUALS), [window(i, oil=60.5) for i in range(8)])
    changed = ruleset(INDIVIDUALS.replace("sigma = 1.0", "sigma = 1.1"))
    assert run(changed, [window(8, oil=60.5)], eight[-1].state)[0].status is None
    assert run(ruleset(INDIVIDUALS), [window(8, oil=60.5)], eight[-1].state)[0].status == "NELSON_2"


def test_outside_only_when_there_is_no_point_and_the_series_goes_on():
    rules = ruleset(INDIVIDUALS + "only_when = 'state == \"EXECUTE\"'\n")
    windows = [window(i, oil=60.5) for i in range(8)] + [window(8, oil=99.0, state="HELD"), window(9, oil=60.5)]
    verdicts = run(rules, windows)
    assert statuses(verdicts)[8:] == [None, "NELSON_2"]
    assert not verdicts[8].findings[0].applied


def test_means_have_the_limits_of_their_size_and_the_spread_its_own():
    rules = ruleset(
        '[[chart]]\nname = "oil"\nkind = "xbar"\nvalue = "oil_temperature.mean"\nspread = "oil_temperature.stddev"\n'
        + LIMITS
    )

    def of(number: int, mean: float, count: int, stddev: float):
        return window(number, tags=[tag("oil_temperature", mean, mean=mean, count=count, stddev=stddev, unit="CEL")])

    verdicts = run(rules, [of(0, 61.0, 4, 0.9), of(1, 61.0, 16, 0.9), of(2, 60.0, 4, 2.2), of(3, 60.0, 1, 0.0)])
    assert statuses(verdicts) == [None, "NELSON_1", "SPREAD", None]
    assert verdicts[0].findings[0].threshold == 61.5
    assert verdicts[2].findings[0].value == pytest.approx(2.2 * (4 / 3) ** 0.5)  # with n - 1
    no_values = run(rules, [window(0, tags=[tag("oil_temperature", 70.0, mean=70.0, count=0, stddev=0.0, unit="CEL")])])
    assert not no_values[0].findings[0].applied


def counts(number: int, produced: int, scrap: int):
    return window(number, counts={"produced": produced, "good": produced - scrap, "scrap": scrap})


@pytest.mark.parametrize("kind", ["p", "np", "u"])
def test_counts_have_the_limits_of_what_was_inspected(kind):
    rules = ruleset(
        f'[[chart]]\nname = "scrap"\nkind = "{kind}"\ncounted = "counts.scrap"\ninspected = "counts.produced"\n'
        'limits = { center = 0.02, version = "1" }\n'
    )
    verdicts = run(
        rules, [counts(0, 100, 5), counts(1, 100, 8), counts(2, 10_000, 250), counts(3, 0, 0), counts(4, 5, 0)]
    )
    assert statuses(verdicts) == [None, "NELSON_1", "NELSON_1", None, None]
    assert [v.findings[0].applied for v in verdicts] == [True, True, True, False, True]
    assert verdicts[1].findings[0].value == (8.0 if kind == "np" else 0.08)


def test_more_counted_than_inspected_cannot_be_and_is_no_point():
    rules = ruleset(
        '[[chart]]\nname = "scrap"\nkind = "p"\ncounted = "counts.scrap"\ninspected = "counts.good"\n'
        'limits = { center = 0.02, version = "1" }\n'
    )
    verdict = run(rules, [counts(0, 10, 8)])[0]
    assert (verdict.decision, verdict.findings[0].level) == ("unknown", "unknown")
    assert "8 of 2" in verdict.summary["en"]


def test_a_cusum_says_since_when():
    rules = ruleset(
        f'[[chart]]\nname = "oil"\nkind = "cusum"\nvalue = "oil_temperature.last"\nseverity = "critical"\n{LIMITS}'
    )
    verdicts = run(rules, [window(i, oil=59.9 if i < 5 else 61.5) for i in range(12)])
    first = next(v for v in verdicts if v.status)
    assert (first.status, first.findings[0].threshold, first.findings[0].unit) == ("CUSUM", 5.0, None)
    assert first.findings[0].path == ("CUSUM 6–11",)
    assert first.findings[0].value == pytest.approx(6.0)


def test_an_ewma_shows_its_average_and_its_limit():
    rules = ruleset(
        f'[[chart]]\nname = "oil"\nkind = "ewma"\nvalue = "oil_temperature.last"\nlambda = 0.3\nwidth = 3\n{LIMITS}'
    )
    verdicts = run(rules, [window(0, oil=60.0), *(window(i, oil=62.0) for i in range(1, 6))])
    assert verdicts[1].findings[0].value == pytest.approx(60.6)
    assert statuses(verdicts)[:2] == [None, None]
    assert "EWMA" in statuses(verdicts)


values = st.lists(st.floats(min_value=54, max_value=66), min_size=1, max_size=25)


@settings(max_examples=40, deadline=None)
@given(values, st.sampled_from(["individuals", "ewma", "cusum"]))
def test_windows_one_by_one_are_the_series_at_once(found, kind):
    more = "moving_range = true\n" if kind == "individuals" else ""
    rules = ruleset(
        f'[[chart]]\nname = "oil"\nkind = "{kind}"\nvalue = "oil_temperature.last"\nrules = "nelson"\n{more}{LIMITS}'
    )
    verdicts = run(rules, [window(i, oil=value) for i, value in enumerate(found)])
    design = Design(rules=NELSON, moving_range=kind == "individuals")
    whole = series(Limits(kind=kind, center=60.0, sigma=1.0, version="1"), design, [Point(value=v) for v in found])
    for verdict, (_, signals) in zip(verdicts, whole, strict=True):
        told = {step.split()[0] for step in verdict.findings[0].path}
        assert told == {signal.rule.upper() for signal in signals}


# --- capability

CAPABILITY = '[[capability]]\nname = "fill"\nvalue = "oil_temperature.mean"\nspread = "oil_temperature.stddev"\n'


def sample(number: int, mean: float, stddev: float, count: int = 10):
    return window(number, tags=[tag("oil_temperature", mean, mean=mean, count=count, stddev=stddev, unit="CEL")])


def test_capability_waits_for_enough_values_then_warns_and_alarms():
    rules = ruleset(CAPABILITY + "lsl = 54\nusl = 66\nwindows = 3\n")
    good, fair, bad = (0.9**0.5 * sigma for sigma in (1.0, 1.6, 2.5))  # divided by n = 10, not by 9
    spreads = [good] * 4 + [fair] * 3 + [bad] * 3
    verdicts = run(rules, [sample(i, 60.0, stddev) for i, stddev in enumerate(spreads)])
    found = [v.findings[0] for v in verdicts]
    assert [f.level for f in found[:3]] == ["unknown", "unknown", "ok"]
    assert "fill: 10/30" in verdicts[0].summary["en"]
    assert found[3].value == pytest.approx(2.0)
    assert (found[6].level, found[6].status, found[6].threshold) == ("warning", "CPK_LOW", 1.33)
    assert found[6].value == pytest.approx(1.25)
    assert (found[9].level, found[9].value) == ("critical", pytest.approx(0.8))
    assert "Cpk is 0.8, below 1 (30 values, 95 % between 0." in verdicts[9].summary["en"]
    assert "Cpk 0.8, 기준 1 미달" in verdicts[9].summary["ko"]


def test_capability_of_single_values_says_when_they_are_not_normal():
    noise = random.Random(12)
    rules = ruleset(
        '[[capability]]\nname = "fill"\nvalue = "oil_temperature"\nusl = 64\nindex = "ppk"\njudged_by = "lower"\n'
    )
    verdicts = run(rules, [window(i, oil=60 + noise.expovariate(1)) for i in range(60)])
    assert [v.findings[0].level for v in verdicts[:29]] == ["unknown"] * 29
    last = verdicts[-1].findings[0]
    assert last.level == "critical"
    assert "not normal" in verdicts[-1].summary["en"]
    assert len(last.held.numbers) == 60


def test_capability_without_variation_is_unknown():
    rules = ruleset(CAPABILITY + "lsl = 54\nusl = 66\nwindows = 3\n")
    verdict = run(rules, [sample(i, 60.0, 0.0) for i in range(4)])[-1]
    assert verdict.findings[0].level == "unknown"


def test_capability_begins_anew_with_another_lot():
    rules = ruleset(CAPABILITY + 'lsl = 54\nusl = 66\nwindows = 5\nreset_on = "lot"\n')
    windows = [sample(i, 60.0, 1.0) for i in range(4)]
    other = Context(order="O", product="COLA-500", lot="L-8", shift="A")
    last = msgspec.structs.replace(other, lot="L-7")
    verdicts = run(rules, [*windows, *(_in(sample(4 + i, 60.0, 1.0), other) for i in range(3)), _in(windows[0], last)])
    assert [v.findings[0].level for v in verdicts[3:]] == ["ok", "unknown", "unknown", "ok", "unknown"]


def _in(one, context: Context):
    from dataclasses import replace

    return replace(one, context=context)
