"""One work unit from readings to facts: windows judged in the machine's time, resumed exactly after a restart."""

from __future__ import annotations

import pytest
import zstandard

from edge.pipeline import LinePipeline
from edge.production import counters_of
from edge.tags import Tag, TagSpec
from models.expression import window_environment
from models.rulesets import load
from sync import quality
from sync.facts import AlarmChanged, Fact, Judged, Produced, StateChanged
from sync.reading import readings

SECOND = 1_000_000_000
T0 = 1_700_000_040 * SECOND
FIRST = 5  # the table has other work units' tags before ours
SPECS = [
    TagSpec(name="state", address="s", role="state"),
    TagSpec(name="made", address="m", role="counter", counter="produced"),
    TagSpec(name="oil", address="o", unit="CEL", low=0, high=150, required=True, max_age_s=5),
]
STATE, MADE, OIL = FIRST, FIRST + 1, FIRST + 2
RULES = """
[ruleset]
name = "t"
version = "1.0.0"
title = { ko = "시험", en = "Test" }
policy = "rule_only"
[[limit]]
name = "oil"
title = { ko = "유온", en = "Oil" }
value = "oil.mean"
warning_high = 70
delay_s = 20
[[rule]]
name = "fast"
title = { ko = "빠름", en = "Fast" }
when = "counts.produced > 50.0"
severity = "warning"
"""


def pipeline(**options) -> LinePipeline:
    tags = [
        Tag(index=FIRST + i, work_unit="a/b/c", connection="x", address=s.address, spec=s) for i, s in enumerate(SPECS)
    ]
    ruleset = load(RULES, window_environment({s.name: s.type for s in SPECS}, counters_of(tags)))
    return LinePipeline("a/b/c", tags, ruleset, window_ns=10 * SECOND, report_ns=60 * SECOND, **options)


def feed(line: LinePipeline, *rows: tuple[int, object, int]) -> list[Fact]:
    """Rows of (tag, value, seconds after T0); None is a bad value."""
    batch = [(tag, value, 0 if value is not None else quality.BAD, T0 + round(at * SECOND)) for tag, value, at in rows]
    return line.feed(readings(batch, received=batch[-1][3])).facts


def verdicts(facts: list[Fact]) -> list[Judged]:
    return [fact for fact in facts if isinstance(fact, Judged)]


def test_a_window_is_judged_when_the_machines_time_passes_its_end():
    line = pipeline()
    assert verdicts(feed(line, (STATE, 6, 0), (OIL, 60, 1), (OIL, 64, 9.9))) == []
    (verdict,) = verdicts(feed(line, (OIL, 65, 10)))
    assert (verdict.start, verdict.at, verdict.decision) == (T0, T0 + 10 * SECOND, "normal")


def test_a_batch_that_spans_windows_is_split_between_them():
    line = pipeline()
    found = verdicts(feed(line, (OIL, 60, 1), (OIL, 80, 11), (OIL, 90, 21), (OIL, 1, 31)))
    assert [v.inputs["oil.mean"] for v in found] == [60, 80, 90]


def test_the_counts_of_a_window_are_its_own():
    line = pipeline()
    facts = feed(line, (OIL, 60, 0), (MADE, 0, 0), (MADE, 51, 5), (MADE, 60, 12), (OIL, 60, 22))
    assert [v.decision for v in verdicts(facts)] == ["warning", "normal"]


@pytest.mark.parametrize("back_s", [3600, 7, 0.5])
@pytest.mark.parametrize("at", [3, 12, 25])
def test_a_clock_that_is_set_back_within_a_batch_counts_nothing_twice(at, back_s):
    line = pipeline()
    facts = feed(line, (OIL, 60, 0), (MADE, 100, 0))
    before = [(MADE, 100 + i, at + i / 10) for i in range(1, 11)]
    after = [(MADE, 110 + i, at + 1 + i / 10 - back_s) for i in range(1, 11)]
    facts += feed(line, *before, *after)
    for i in range(1, 80):
        facts += feed(line, (MADE, 120 + i, at + 2 + i - back_s), (OIL, 60, at + 2 + i - back_s))
    for i in range(1, 80):  # and forth again
        facts += feed(line, (MADE, 199 + i, at + 90 + i), (OIL, 60, at + 90 + i))
    assert sum(fact.produced for fact in facts if isinstance(fact, Produced)) + gained(line) == 178


def gained(line: LinePipeline) -> int:
    """Give what is counted and not reported yet."""
    return line.production.now.gains.get("produced", 0)


def test_quiet_time_closes_windows_by_the_clock():
    line = pipeline()
    feed(line, (OIL, 60, 3))
    assert line.tick(T0 + 9 * SECOND).facts == []
    assert [v.at for v in verdicts(line.tick(T0 + 11 * SECOND).facts)] == [T0 + 10 * SECOND]
    assert [v.decision for v in verdicts(line.tick(T0 + 21 * SECOND).facts)] == ["normal"], "unchanged is not stale"


def test_a_lost_connection_ends_in_unknown_never_in_normal():
    line = pipeline()
    feed(line, (STATE, 6, 0), (OIL, 60, 3))
    states = [f.state for f in line.lost().facts if isinstance(f, StateChanged)]
    assert states == ["UNDEFINED"]
    found = verdicts(line.tick(T0 + 11 * SECOND).facts) + verdicts(line.tick(T0 + 31 * SECOND).facts)
    assert [v.decision for v in found] == ["unknown"] * len(found)
    assert all(v.needs_human for v in found)


def test_a_bad_required_tag_is_unknown_and_says_which():
    line = pipeline()
    feed(line, (OIL, 60, 1), (OIL, None, 2))
    (verdict,) = verdicts(feed(line, (OIL, None, 12)))
    assert verdict.decision == "unknown"
    assert "oil" in verdict.summary["en"]


def test_a_delayed_alarm_is_raised_once_and_cleared_once():
    line = pipeline()
    facts = [f for k in range(8) for f in feed(line, (OIL, 80 if k < 5 else 60, k * 10))]
    alarms = [(f.alarm, f.active) for f in facts if isinstance(f, AlarmChanged)]
    assert alarms == [("oil", True), ("oil", False)]


def test_a_long_sleep_is_not_judged_window_by_window():
    line = pipeline()
    feed(line, (OIL, 60, 1))
    assert len(verdicts(line.tick(T0 + 3600 * SECOND).facts)) <= 2


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_restart_at_any_batch_gives_the_same_facts(cut):
    script = [[(OIL, 60 + 3 * k, 4 * k), (MADE, 7 * k, 4 * k), (STATE, 6 if k % 5 else 11, 4 * k)] for k in range(12)]
    whole = pipeline()
    expected = [fact for rows in script for fact in feed(whole, *rows)]
    line, found = pipeline(), []
    for k, rows in enumerate(script):
        if k == cut:
            saved, line = line.dump(), pipeline()
            assert line.restore(saved)
        found += feed(line, *rows)
    assert found == expected


def test_a_checkpoint_of_other_tags_keeps_the_counters_and_drops_the_window():
    line, other = pipeline(), pipeline()
    feed(line, (MADE, 10, 0))
    other.tags = (*other.tags[:2], Tag(index=7, work_unit="a/b/c", connection="x", address="n", spec=SPECS[2].model_copy(update={"name": "new"})))  # fmt: skip
    assert not other.restore(line.dump())
    facts = feed(other, (MADE, 15, 1), (MADE, 18, 70))
    assert [f.produced for f in facts if isinstance(f, Produced)] == [5]


def test_a_checkpoint_that_is_none_is_refused():
    with pytest.raises(ValueError, match="not a checkpoint of a/b/c"):
        pipeline().restore(b"\x00garbage")


def test_a_checkpoint_is_small_and_one_of_an_earlier_version_is_taken_too():
    line, again = pipeline(), pipeline()
    feed(line, (MADE, 10, 0), (OIL, 60, 1))
    saved = line.dump()
    earlier = zstandard.ZstdDecompressor().decompress(saved)
    assert len(saved) < len(earlier)
    assert again.restore(earlier)
    assert feed(again, (OIL, 61, 10)) == feed(line, (OIL, 61, 10))


def test_a_damaged_checkpoint_is_refused():
    line = pipeline()
    feed(line, (OIL, 60, 1))
    with pytest.raises(ValueError, match="not a checkpoint of a/b/c"):
        pipeline().restore(line.dump()[:-5])


def test_only_what_changed_is_recorded():
    line = pipeline()
    first = line.feed(readings([(OIL, 60.0, 0, T0), (STATE, 6, 0, T0)], received=T0)).readings
    assert first is not None
    assert len(first) == 2
    assert line.feed(readings([(OIL, 60.0, 0, T0 + SECOND)], received=T0 + SECOND)).readings is None
