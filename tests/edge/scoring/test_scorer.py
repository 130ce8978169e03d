"""What a window's way gives when it cannot be asked; and drift, measured on the line."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edge.judgment.asked import Asked
from edge.judgment.scored import PackagedModel
from edge.scoring.watch import Watch
from models.package import read
from sync.facts import AlarmChanged
from sync.judgment import DriftMeasured
from tests.edge.scoring import moody
from tests.edge.scoring.gateway import OTHER, WORK_UNIT, lay_out, running
from tests.edge.stores import until

HOUR = 3600 * 10**9


@pytest.mark.parametrize(
    ("window", "failure"),
    [
        (moody.moment(None), "missing_input: load (load.mean bad)"),
        (moody.moment(0.5, age_ns=10**12, count=0), "missing_input: load (load.mean stale)"),
        (moody.moment(1.7), "out_of_range: load is 1.7, known from 0 to 1"),
        (moody.moment(0.5, unit="BAR"), None),  # the contract names no unit for it
    ],
)
async def test_what_cannot_be_asked_is_a_failure_before_the_model_is(tmp_path, window, failure):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        scored = await gateway.scorer.score(window)
        assert scored.failure == failure
        if failure is not None:
            assert scored.decision == "unknown"
            assert (scored.model, scored.version) == ("moody", "1.0.0")
            assert gateway.scoring.states()[0].asked == 0
            assert gateway.scoring.states()[0].breaker == "closed"


async def test_the_ruleset_hears_only_the_model_it_asks(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        scored = await gateway.scorer.score(moody.moment(0.5), "bearing_wear")
        assert scored.failure == "other_model: the ruleset asks bearing_wear, the line runs moody"
        none = await gateway.scoring.scorer(OTHER).score(moody.moment(0.5))
        assert none.failure == "no_model: none"


async def test_a_window_waits_in_a_checkpoint_and_is_asked_after_a_restart(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        kept = msgspec.msgpack.encode(gateway.scorer.prepare(moody.moment(0.95)))
        before = await gateway.scorer.score(moody.moment(0.95))
    async with running(tmp_path) as gateway:  # its process is starting: such a window waits for it
        assert gateway.scoring.states()[0].process is None
        after = await gateway.scorer.answer(msgspec.msgpack.decode(kept, type=Asked))
    assert msgspec.structs.replace(after, latency_us=0) == msgspec.structs.replace(before, latency_us=0)


async def test_models_that_are_switched_off_are_not_asked(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        scored = gateway.scorer.passed_over(gateway.scorer.prepare(moody.moment(0.5)), "models_off")
        assert (scored.failure, scored.features, scored.decision) == ("models_off", {"load": 0.5}, "unknown")


async def test_made_up_inputs_count_for_nothing(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        for i in range(8):
            scored = await gateway.scorer.answer(gateway.scorer.prepare(moody.moment(moody.NAN, i)), trial=True)
            assert scored.failure is not None
        state = gateway.scoring.states()[0]
        assert (state.breaker, state.drift_samples) == ("closed", 0)


async def test_a_replay_gives_the_very_same_answer(tmp_path):
    lay_out(tmp_path)
    again = PackagedModel(read(moody.package(), trusted=None))
    async with running(tmp_path) as gateway:
        await gateway.active()
        for i, load in enumerate((0.1, 0.123456789, 0.93, moody.NAN, 1.3, 1.7, None)):
            scored = await gateway.scorer.score(moody.moment(load, i))
            told = again.score(scored.features)
            if load is None:
                assert told.failure is not None
                assert told.failure.partition(":")[0] == scored.failure.partition(":")[0]
            else:
                assert msgspec.structs.replace(scored, latency_us=0) == msgspec.structs.replace(told, latency_us=0)


async def drifting(watch: Watch, loads: np.ndarray, first: int) -> list[tuple[str, bool]]:
    """Feed loads a second apart, looking every hundred; gives what was told."""
    told = []
    for i, load in enumerate(loads):
        at = (first + i) * 10**9
        watch.take(at, {"load": float(load)}, [], {"worn": float(load)})
        if i % 100 == 99:
            drift, changed = await watch.look(at)
            if drift is not None:
                told.append((drift.level, changed))
    return told


def watch_of(**sizes: int) -> Watch:
    package = read(moody.package(), trusted=None)
    return Watch(package.reference, package.sha256, **sizes)


async def test_inputs_like_those_of_training_raise_nothing_and_others_do_after_two_windows():
    rng = np.random.default_rng(1)
    watch = watch_of()
    told = await drifting(watch, rng.normal(0.5, 0.05, 5_000), 1_000_000)
    assert {level for level, _ in told} == {"ok"}
    assert not any(changed for _, changed in told)
    await drifting(watch, rng.normal(0.65, 0.05, 1_000), 1_005_000)
    assert watch.level == "ok"  # one window proves nothing
    told = await drifting(watch, rng.normal(0.65, 0.05, 1_000), 1_006_000)
    assert watch.level == "critical"
    assert ("critical", True) in told
    assert watch.last is not None
    assert watch.last.alarmed == ("load", "output:worn")
    assert watch.last.shift["load"] == pytest.approx(0.15, abs=0.01)
    await drifting(watch, rng.normal(0.5, 0.05, 2_000), 1_007_000)
    assert watch.level == "ok"


async def test_the_summary_is_told_hourly_and_its_window_outlives_a_restart():
    rng = np.random.default_rng(2)
    watch = watch_of()
    await drifting(watch, rng.normal(0.5, 0.05, 300), 1_000_000)
    dumped = watch.dump()
    again = watch_of()
    again.restore(dumped)
    assert again.samples == watch.samples == 300
    drift, changed = await again.look(1_000_300 * 10**9 + HOUR)
    assert drift is not None
    assert (drift.samples, changed) == (300, False)
    assert await again.look(1_000_400 * 10**9 + HOUR) == (None, False)
    again.restore(b"damaged")
    other = Watch(read(moody.package(), trusted=None).reference, "0" * 64)
    other.restore(dumped)
    assert other.samples == 0


async def test_on_the_line_drift_is_a_fact_an_alarm_and_a_mark_on_every_answer(tmp_path):
    lay_out(tmp_path)
    rng = np.random.default_rng(3)
    async with running(tmp_path) as gateway:
        await gateway.active()
        running_ = gateway.scorer.running
        assert running_ is not None
        running_.watch = watch_of(least=50, most=50)
        for i, load in enumerate(rng.normal(0.6, 0.02, 160)):
            assert not (await gateway.scorer.score(moody.moment(float(load), i))).drifted or i > 100
            if i in {60, 120}:
                await until(lambda: running_.watch.samples < 50, "the window is closed")
        await until(lambda: gateway.scoring.states()[0].drift == "critical", "drift")
        scored = await gateway.scorer.score(moody.moment(0.6, 200))
        assert scored.drifted
        assert scored.confidence == pytest.approx(0.6)  # the policy takes its share, not we

        async def told(kind: type) -> list:
            return [fact for fact in await gateway.facts() if isinstance(fact, kind)]

        await until(lambda: gateway.scoring.states()[0].alarmed != (), "measured")
        for _ in range(100):
            if await told(AlarmChanged):
                break
            await gateway.scoring._clock.sleep(0.02)
        (alarm,) = await told(AlarmChanged)
        assert (alarm.alarm, alarm.active, alarm.severity, alarm.work_unit) == (
            "model.drift", True, "critical", WORK_UNIT,
        )  # fmt: skip
        assert "Load" in alarm.summary["en"]
        assert "부하" in alarm.summary["ko"]
        fact = next(fact for fact in await told(DriftMeasured) if fact.level == "critical")
        assert fact.psi["load"] > 0.25
        assert (await gateway.order("activate", moody.package("2.0.0"))).done  # another model: its drift is its own
        alarms = await told(AlarmChanged)
        assert sorted((a.alarm, a.active) for a in alarms) == [("model.drift", False), ("model.drift", True)]
        assert not (await gateway.scorer.score(moody.moment(0.6, 300))).drifted
