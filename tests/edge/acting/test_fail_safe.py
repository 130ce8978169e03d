"""Held tags on a real machine: when the reason is lost the fail-safe value goes out once, and never against people."""

from __future__ import annotations

import asyncio

import pytest

from sync.facts import Audited
from sync.judgment import ActionDecided, ActionEnded
from tests.edge.acting.gateway import AUTO, LINE, MEDIUM, TARGET, gateway
from tests.edge.acting.test_acting import ended, modbus, poke  # noqa: F401 - the same machine
from tests.edge.stores import until

PERMIT = f"{MEDIUM}\nfail_safe = 25"


async def written(made) -> None:
    await made.judge("v1", ("speed_setpoint", 50.0))
    assert (await ended(made)).status == "EXECUTED"


async def test_an_interlock_lost_while_the_tag_is_held_writes_the_fail_safe_value_once(modbus, tmp_path):  # noqa: F811
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=PERMIT)) as made:
        await written(made)
        await poke(modbus, 1, 1)
        end = await ended(made, 2)
        decided = made.of(ActionDecided)[1]
        assert (decided.actor, decided.action_type, decided.value) == ("watchdog", "fail_safe", 25)
        assert "interlock lost: oil_pressure > 2.0 is false" in decided.reasons
        assert (end.status, end.before, end.read_back) == ("EXECUTED", 50, 25)
        await poke(modbus, 1, 5)
        await poke(modbus, 1, 1)
        await asyncio.sleep(0.8)
        assert modbus.writes == 2
        assert len(made.of(ActionEnded)) == 2


async def test_a_line_that_is_not_judged_any_more_falls_back(modbus, tmp_path):  # noqa: F811
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=f"{PERMIT}\nwatchdog_s = 4")) as made:
        await written(made)
        for window in range(18):  # judged on for longer than the watchdog waits, it is left alone
            await made.judge(f"on {window}", ("speed_setpoint", 50.0))
            await asyncio.sleep(0.25)
        assert modbus.writes == 1
        await made.judge("blind", decision="unknown")  # who cannot tell is no judge
        end = await ended(made, 2)
        assert (end.status, end.written) == ("EXECUTED", 25)
        assert f"watchdog: {LINE} was not judged for" in made.of(ActionDecided)[1].reasons[0]


async def test_a_machine_that_was_away_is_brought_back_to_the_fail_safe_value(modbus, tmp_path):  # noqa: F811
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=f"{PERMIT}\nwatchdog_s = 2")) as made:
        await written(made)
        await modbus.stop()
        await until(lambda: len(made.of(ActionDecided)) == 2, "the watchdog decides", 15)
        await until(lambda: not made.drivers, "the connection is lost", 15)
        assert modbus.writes == 1
        await modbus.start()  # its registers are those of its start
        assert (await ended(made, 2)).status == "EXECUTED"
        assert modbus.writes == 2


async def test_a_gateway_that_comes_back_and_does_not_judge_falls_back_and_only_once(modbus, tmp_path):  # noqa: F811
    site = modbus.site(tmp_path, acting=AUTO, permit=f"{PERMIT}\nwatchdog_s = 2")
    async with gateway(site) as made:
        await written(made)
    async with gateway(site) as made:
        assert (await ended(made)).written == 25
    async with gateway(site) as made:
        await asyncio.sleep(2.5)
        assert not made.of(ActionDecided)
    assert modbus.writes == 2


@pytest.mark.parametrize("how", ["kill switch", "mode monitor"])
async def test_when_people_take_over_nothing_at_all_is_written(modbus, tmp_path, how):  # noqa: F811
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=f"{PERMIT}\nwatchdog_s = 2")) as made:
        await written(made)
        if how == "kill switch":
            await made.acting.throw(actor="kim", reason="smoke at the filler")
        else:
            await made.acting.set_mode("monitor", actor="kim", reason="we run it by hand")
        await poke(modbus, 1, 1)
        await asyncio.sleep(2.5)
        assert modbus.writes == 1
        assert TARGET not in made.acting.hands.journal.holds


async def test_a_hold_ends_with_its_time_and_the_value_stays(modbus, tmp_path):  # noqa: F811
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=f"{PERMIT}\nhold_s = 0.4")) as made:
        await written(made)
        await until(lambda: not made.acting.hands.journal.holds, "the hold ends")
        await poke(modbus, 1, 1)
        await asyncio.sleep(0.6)
        assert modbus.writes == 1


async def test_who_sets_another_value_at_the_machine_has_it(modbus, tmp_path):  # noqa: F811
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=PERMIT)) as made:
        await written(made)
        await until(lambda: made.acting._fail_safe._shown, "the line shows what was written")
        await poke(modbus, 0, 62)
        await until(lambda: not made.acting.hands.journal.holds, "the tag is let go")
        (audit,) = [fact for fact in made.of(Audited) if fact.action == "hold.taken_over"]
        assert (audit.detail["written"], audit.detail["found"]) == (50, 62)
        await poke(modbus, 1, 1)
        await asyncio.sleep(0.5)
        assert modbus.writes == 1
