"""`triflow edge act`: orders to a running gateway and to one that is not, and the kill switch when all else is broken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.commands import act
from sync.facts import Audited
from sync.judgment import ActionEnded, TrustChanged
from tests.edge.acting.flows import flowing
from tests.edge.acting.gateway import LINE, MEDIUM
from tests.edge.acting.test_acting import modbus  # noqa: F401 - the same machine
from tests.edge.stores import until


async def command(*words: object) -> int:
    return await asyncio.to_thread(act.main, [str(word) for word in words])


async def test_a_person_at_the_command_line_sees_answers_and_orders(modbus, tmp_path, capsys):  # noqa: F811
    site = modbus.site(tmp_path, mode="monitor", permit=MEDIUM)
    async with flowing(site) as running:
        assert await command("mode", site, "advise", "--reason", "trial of the line") == 0
        assert "within a second" in capsys.readouterr().out
        await until(lambda: running.acting.hands.modes.of(LINE) == "advise", "the order is taken in")
        await running.judge("v1", ("speed_setpoint", 50.0))
        assert await command("status", site) == 0
        said = capsys.readouterr().out
        assert "mode        advise, ordered by" in said
        assert "parameter_adjust hall/line-1/filler/speed_setpoint = 50.0 (MEDIUM)" in said
        assert "for level 1: 1 of 50 runs" in said
        action = next(iter(running.acting.hands.journal.entries))
        assert await command("approve", site, "zzz") == act.EX_DATAERR
        assert await command("approve", site, action[:8], "--comment", "looked at it") == 0
        await until(lambda: running.of(ActionEnded), "it is done")
        assert running.of(ActionEnded)[0].status == "EXECUTED"
        assert modbus.writes == 1
        (answered,) = [fact for fact in running.of(Audited) if fact.action == "action.answered"]
        assert answered.actor.endswith("(command)")
        assert list((tmp_path / "data" / "acting").iterdir()) == []


async def test_trust_rises_one_step_at_a_time_with_a_reason_and_full_trust_with_an_administrator(
    modbus,  # noqa: F811
    tmp_path,
    capsys,
):
    site = modbus.site(tmp_path)
    async with flowing(site) as running:
        await running.judge("v1")
        assert await command("trust", site, "filler", 1, "--reason", "no") == act.EX_DATAERR
        assert await command("trust", site, "fuller", 1, "--reason", "a good month") == act.EX_DATAERR
        assert await command("trust", site, "filler", 2, "--reason", "a good month") == 0
        await until(lambda: list((tmp_path / "data" / "acting").glob("*.refused")), "two steps at once are refused")
        await command("status", site)
        assert "trust rises one step at a time" in capsys.readouterr().out
        for level in (1, 2):
            assert await command("trust", site, "filler", level, "--reason", "a good month") == 0
            await until(lambda: running.acting.hands.evidence.record("filler").level == level, "it rises")  # noqa: B023
        assert await command("trust", site, "filler", 3, "--reason", "a good year") == act.EX_DATAERR
        assert await command("trust", site, "filler", 3, "--confirm", "--reason", "a good year") == 0
        await until(lambda: running.acting.hands.evidence.record("filler").level == 3, "it rises")
        changes = running.of(TrustChanged)
        assert [(each.previous, each.level, each.triggered_by) for each in changes] == [
            (0, 1, "manual"), (1, 2, "manual"), (2, 3, "manual"),
        ]  # fmt: skip
        assert changes[0].metrics["runs"] == 1
        assert sum(fact.action == "trust.changed" for fact in running.of(Audited)) == 3
    async with flowing(site) as running:
        assert running.acting.hands.evidence.record("filler").level == 3


async def test_orders_left_while_the_gateway_is_down_come_before_anything_is_done(modbus, tmp_path, capsys):  # noqa: F811
    site = modbus.site(tmp_path, permit=MEDIUM)
    async with flowing(site) as running:
        await running.judge("v1", ("speed_setpoint", 50.0))
        action = next(iter(running.acting.hands.journal.entries))
    assert await command("approve", site, action) == 0
    assert "from the next start" in capsys.readouterr().out
    assert await command("mode", site, "monitor", "--reason", "not today, please") == 0
    async with flowing(site) as running:
        await until(lambda: running.of(ActionEnded), "it is settled")
        assert running.of(ActionEnded)[0].status == "REJECTED"
        assert modbus.writes == 0


@pytest.mark.parametrize(
    "broken",
    ["", "[gateway", "[gateway]\nid = 5\ndata = 'data'\n", "gateway = 3", f"x = {'[' * 5_000}", f"x = {'9' * 5_000}"],
)
def test_the_kill_switch_works_with_a_broken_site_file(tmp_path: Path, broken: str):
    site = tmp_path / "site.toml"
    site.write_text(broken)
    assert act.main(["kill", str(site)]) == act.EX_DATAERR  # no gateway ever ran here
    (tmp_path / "data").mkdir()
    assert act.main(["kill", str(site), "--reason", "smoke"]) == 0
    assert (tmp_path / "data" / "kill").exists()
    assert act.main(["kill", str(tmp_path / "data")]) == 0
    assert act.main(["lift", str(site), "--reason", "all is well"]) == act.EX_CONFIG


def test_help_names_what_there_is(capsys):
    with pytest.raises(SystemExit):
        act.main(["--help"])
    said = capsys.readouterr().out
    for word in ("status", "mode", "kill", "lift", "models-off", "models-on", "approve", "reject", "trust"):
        assert word in said
