"""Trust in a running gateway: taken away in the transaction that shows why, never given, kept through restarts."""

from __future__ import annotations

import asyncio

import pytest

from edge.acting.refusal import OrderRefusedError
from sync.facts import Audited
from sync.judgment import ActionDecided, ActionEnded, FeedbackGiven, TrustChanged
from tests.edge.acting.gateway import gateway
from tests.edge.acting.test_acting import ended, modbus  # noqa: F401 - the same machine


def rated(number: int, kind: str = "negative", target: str = "") -> FeedbackGiven:
    return FeedbackGiven(
        at=number, feedback=f"f{number}", target=target or f"v{number}", type=kind, actor="kim", ruleset="filler"
    )


async def raise_to(made, level: int) -> None:
    for step in range(1, level + 1):
        await made.acting.set_trust("filler", step, actor="lee", reason="for the test", confirmed=True)


async def test_three_negatives_in_a_row_at_full_trust_take_one_level_in_their_own_transaction(modbus, tmp_path):  # noqa: F811
    site = modbus.site(tmp_path)
    async with gateway(site, acts=False) as made:
        await raise_to(made, 3)
        for number in range(40):
            await made.judge(f"v{number}", decision="critical")  # right alarms, every one of them
            await made.recording.commit([], [rated(number + 1, "positive")])
        assert made.acting.hands.evidence.record("filler").level == 3
        assert made.acting.history("filler") == 1.0
        for number in (101, 102):
            await made.recording.commit([], [rated(number)])
        assert made.acting.hands.evidence.record("filler").level == 3
        before = len(made.of(TrustChanged))
        more, checkpoints = made.acting.follow([rated(103)])
        kinds = [type(fact) for fact in more]
        assert kinds == [TrustChanged, Audited]
        assert "trust:filler" in checkpoints
        changed = more[0]
        assert (changed.previous, changed.level, changed.triggered_by) == (3, 2, "feedback")
        assert "3 negative ratings in a row" in changed.reason
        assert changed.metrics["negatives_in_a_row"] == 3
        assert before == 3


async def test_accuracy_zero_falls_step_by_step_and_nothing_ever_rises_by_itself(modbus, tmp_path):  # noqa: F811
    site = modbus.site(tmp_path)
    async with gateway(site, acts=False) as made:
        await raise_to(made, 3)
        for number, level in ((1, 2), (2, 1), (3, 0), (4, 0)):
            await made.recording.commit([], [rated(number)])
            assert made.acting.hands.evidence.record("filler").level == level
    async with gateway(site, acts=False) as made:
        assert made.acting.hands.evidence.record("filler").level == 0
        assert made.acting.hands.evidence.metrics("filler", made.recording.clock.now()).accuracy == 0
        for number in range(5, 300):
            await made.recording.commit([], [rated(number, "positive")])
        record = made.acting.hands.evidence.record("filler")
        record.runs, record.promoted = 500, 1  # everything a promotion needs
        await made.recording.commit([], [rated(300, "positive")])
        assert made.acting.hands.evidence.record("filler").level == 0


async def test_full_trust_needs_an_administrator_and_every_order_a_reason(modbus, tmp_path):  # noqa: F811
    async with gateway(modbus.site(tmp_path), acts=False) as made:
        await raise_to(made, 2)
        for level, reason, confirmed in ((3, "a good reason", False), (3, "ok", True), (2, "a good reason", True), (7, "a good reason", True)):  # fmt: skip
            with pytest.raises(OrderRefusedError):
                await made.acting.set_trust("filler", level, actor="lee", reason=reason, confirmed=confirmed)
        await made.acting.set_trust("filler", 0, actor="lee", reason="back to the beginning")
        assert made.of(TrustChanged)[-1].actor == "lee"


async def test_an_automatic_action_whose_trust_is_gone_by_then_is_not_begun(modbus, tmp_path):  # noqa: F811
    """Decided in one transaction with the verdict, and the next one takes the trust it rested on."""
    site = modbus.site(tmp_path, permit='risk = "LOW"')
    async with gateway(site, acts=False) as made:
        await raise_to(made, 2)
        await made.judge("v1", ("alert", "speed_setpoint", 50.0))
        assert made.of(ActionDecided)[0].decision == "auto_execute"
        await made.recording.commit([], [rated(number) for number in range(1, 6)])
        assert made.acting.hands.evidence.record("filler").level == 1
        acting = asyncio.create_task(made.acting.run())
        end = await ended(made)
        assert end.status == "REJECTED"
        assert "trust 1 × LOW: require_approval" in end.why
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
        assert modbus.writes == 0


async def test_failures_of_automatic_actions_take_trust_and_end_going_ahead(modbus, tmp_path):  # noqa: F811
    site = modbus.site(tmp_path, permit='risk = "LOW"\nwrites_per_min = 60')
    modbus.clamp = 10  # the machine refuses whatever is asked
    async with gateway(site) as made:
        await raise_to(made, 2)
        for number in range(2):
            await made.judge(f"none {number}", decision="normal")
            await made.judge(f"v{number}", ("alert", "speed_setpoint", 50.0))
            assert (await ended(made, number + 1)).status == "FAILED"
        changed = made.of(TrustChanged)[-1]
        assert (changed.level, "2 automatic actions failed" in changed.reason) == (1, True)
        await made.judge("none", decision="normal")
        await made.judge("v9", ("alert", "speed_setpoint", 50.0))
        assert made.of(ActionDecided)[-1].decision == "require_approval"
        assert len(made.of(ActionEnded)) == 2
