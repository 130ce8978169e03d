"""Acting on real machines: asyncua and pymodbus servers that count what is written, a real store, real loss."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from asyncua import ua
from asyncua.common.callback import CallbackType
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes

from edge.acting.acting import Acting
from edge.acting.journal import action_id
from edge.acting.refusal import OrderRefusedError
from sync.facts import Audited, ModeChanged
from sync.judgment import ActionDecided, ActionEnded, ApprovalAnswered
from tests.edge.acting.gateway import (
    AUTO,
    LINE,
    MEDIUM,
    MODBUS,
    NODES,
    OPCUA,
    REGISTERS,
    TARGET,
    Gateway,
    asked,
    gateway,
    write_site,
)  # fmt: skip
from tests.edge.drivers.machines import ModbusMachine, OpcUaMachine
from tests.edge.stores import until


class ModbusPlc(ModbusMachine):
    """A Modbus machine with a speed, a pressure and a door."""

    def __init__(self) -> None:
        super().__init__([], holding={0: [30, 5]}, coils={0: [True]})
        self.clamp = 10_000
        """More than this the machine does not take."""
        self.dies = False
        """It hangs up on who writes to it."""
        self.writes = 0

    async def _act(self, function, start, address, count, current, new):
        if new is not None and self.dies:
            for connection in list(self.server.active_connections.values()):
                connection.close()
            return ExcCodes.DEVICE_FAILURE
        if new is not None:
            self.writes += 1
            new[0] = min(new[0], self.clamp)
        return await super()._act(function, start, address, count, current, new)

    def site(self, folder: Path, **more) -> Path:
        return write_site(folder, MODBUS.format(port=self.port), REGISTERS, **more)


class OpcUaPlc(OpcUaMachine):
    """The same as an OPC UA server."""

    def __init__(self) -> None:
        double = ua.VariantType.Double
        nodes = {"speed": ua.Variant(30.0, double), "pressure": ua.Variant(5.0, double), "door": ua.Variant(True)}
        super().__init__(nodes, [])
        self.writes = 0

    async def start(self) -> None:
        await super().start()
        index = await self.server.get_namespace_index("urn:triflow:test:machine")
        for name in ("speed", "door"):
            await self.server.get_node(ua.NodeId(name, index)).set_writable()
        self.server.subscribe_server_callback(CallbackType.PreWrite, self._written)

    async def _written(self, event, _) -> None:
        self.writes += len(event.request_params.NodesToWrite)

    def site(self, folder: Path, **more) -> Path:
        return write_site(folder, OPCUA.format(port=self.port), NODES, **more)


@pytest.fixture(params=["modbus", "opcua"])
async def plc(request):
    machine = ModbusPlc() if request.param == "modbus" else OpcUaPlc()
    await machine.start()
    yield machine
    await machine.stop()


@pytest.fixture
async def opcua():
    machine = OpcUaPlc()
    await machine.start()
    yield machine
    await machine.stop()


@pytest.fixture
async def modbus():
    machine = ModbusPlc()
    await machine.start()
    yield machine
    await machine.stop()


async def ended(made: Gateway, count: int = 1) -> ActionEnded:
    await until(lambda: len(made.of(ActionEnded)) >= count, "the action ends")
    return made.of(ActionEnded)[count - 1]


async def test_a_recommended_write_is_decided_written_read_back_and_on_record(plc, tmp_path):
    async with gateway(plc.site(tmp_path, acting=AUTO, permit=MEDIUM)) as made:
        await made.judge("v1", ("speed_setpoint", 50.0))
        end = await ended(made)
        (decided,) = made.of(ActionDecided)
        assert (decided.decision, decided.risk, decided.mode, decided.trust) == ("auto_execute", "MEDIUM", "control", 0)
        assert decided.action == end.action == action_id("v1", "parameter_adjust", TARGET, "50.0")
        assert (end.status, end.before, end.written, end.read_back) == ("EXECUTED", 30, 50, 50)
        assert plc.writes == 1
        audited = {fact.action: fact.detail for fact in made.of(Audited)}
        assert list(audited) == ["action.decided", "action.begun", "action.ended"]
        assert (audited["action.ended"]["old"], audited["action.ended"]["read_back"]) == (30, 50)
        await until(lambda: made.window(LINE).tags["speed_setpoint"].last == 50, "the line sees it")
        for window in range(3):  # the same recommendation, window after window, is one occasion
            await made.judge(f"again {window}", ("speed_setpoint", 50.0))
        await asyncio.sleep(0.5)
        assert plc.writes == 1
        await made.judge("over", decision="normal")
        await made.judge("v9", ("speed_setpoint", 55.0))
        assert (await ended(made, 2)).status == "EXECUTED"
        assert plc.writes == 2


@pytest.mark.parametrize(
    ("site", "value", "why"),
    [
        ({"mode": "monitor"}, 50.0, "mode monitor"),
        ({}, 81.0, "81 is outside 20 to 80"),
        ({"permit": f"{MEDIUM}\nmax_change = 5"}, 50.0, "a change by 20, 5 may be"),
        ({"permit": f"{MEDIUM}\nmax_change_per_min = 15"}, 50.0, "changes by 20 within a minute, 15 may be"),
        ({"acting": AUTO + "cooldown_s = 0\nmin_trust_score = 0.9"}, 50.0, None),
        ({"permit": 'risk = "CRITICAL"'}, 50.0, "trust 0 × CRITICAL: reject"),
    ],
)
async def test_what_is_not_allowed_is_blocked_with_its_reason_and_on_record(modbus, tmp_path, site, value, why):
    async with gateway(modbus.site(tmp_path, **{"acting": AUTO, "permit": MEDIUM, **site})) as made:
        await made.judge("v1", ("speed_setpoint", value))
        (decided,) = made.of(ActionDecided)
        if why is None:
            assert decided.decision == "require_approval"
        else:
            assert decided.decision == "reject"
            assert any(why in reason for reason in decided.reasons), decided.reasons
        (audit,) = made.of(Audited)
        assert (audit.action, audit.detail["decision"]) == ("action.decided", decided.decision)
        await asyncio.sleep(0.5)
        assert modbus.writes == 0


async def test_a_tag_without_a_permit_and_a_foreign_value_are_refused(modbus, tmp_path):
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=MEDIUM)) as made:
        await made.judge("v1", ("door_closed", True), ("speed_setpoint", True))
        first, second = made.of(ActionDecided)
        assert "no [[acting.write]]" in first.reasons[-1]
        assert first.risk == "HIGH"
        assert "True is no number" in " ".join(second.reasons)
        assert (first.decision, second.decision) == ("reject", "reject")


async def test_an_interlock_that_is_unmet_or_unknown_blocks(plc, tmp_path):
    async with gateway(plc.site(tmp_path, acting=AUTO, permit=MEDIUM)) as made:
        if isinstance(plc, ModbusPlc):
            await poke(plc, 1, 1)
        else:
            await plc.write("pressure", 1.0, ua.VariantType.Double)
        await until(lambda: made.window(LINE).tags["oil_pressure"].last == 1, "the pressure falls")
        await made.judge("v1", ("speed_setpoint", 50.0))
        assert "interlock not met: oil_pressure > 2.0 is false" in " ".join(made.of(ActionDecided)[0].reasons)
        await plc.stop()
        await until(lambda: not made.drivers, "the connection is lost", 15)
        await made.judge("none", decision="normal")
        await made.judge("v2", ("speed_setpoint", 50.0))
        reasons = " ".join(made.of(ActionDecided)[1].reasons)
        assert "connection plc is down" in reasons
        await asyncio.sleep(0.3)
        assert plc.writes == 0
        await plc.start()


async def poke(machine: ModbusPlc, address: int, value: int) -> None:
    """Change a register as the machine's program would."""
    client = AsyncModbusTcpClient("127.0.0.1", port=machine.port)
    await client.connect()
    await client.write_register(address, value)
    client.close()
    machine.writes -= 1


async def test_a_person_says_yes_and_it_is_done_once_whatever_is_said_later(plc, tmp_path):
    async with gateway(plc.site(tmp_path, mode="advise", acting=AUTO, permit=MEDIUM)) as made:
        await made.judge("v1", ("speed_setpoint", 50.0))
        (decided,) = made.of(ActionDecided)
        assert decided.decision == "require_approval"
        assert await made.acting.answer("nobody", approved=True, actor="kim") == "unknown"
        both = await asyncio.gather(
            made.acting.answer(decided.action, approved=True, actor="kim"),
            made.acting.answer(decided.action, approved=True, actor="lee", place="cloud"),
        )
        assert both == ["approved", "superseded"]
        assert (await ended(made)).status == "EXECUTED"
        assert await made.acting.answer(decided.action, approved=False, actor="park", place="cloud") == "superseded"
        assert [word.superseded for word in made.of(ApprovalAnswered)] == [False, True, True]
        assert plc.writes == 1
        assert len(made.of(ActionEnded)) == 1


async def test_a_no_ends_it_and_time_ends_it(modbus, tmp_path):
    async with gateway(modbus.site(tmp_path, permit=f"{MEDIUM}\nexpiry_s = 2")) as made:
        await made.judge("v1", ("speed_setpoint", 50.0))
        assert await made.acting.answer(made.of(ActionDecided)[0].action, approved=False, actor="kim") == "rejected"
        await made.judge("v2", decision="normal")
        await made.judge("v3", ("speed_setpoint", 50.0))
        late = made.of(ActionDecided)[1].action
        await ended(made, 2)
        assert [end.status for end in made.of(ActionEnded)] == ["REJECTED", "EXPIRED"]
        assert await made.acting.answer(late, approved=True, actor="kim") == "superseded"
        await asyncio.sleep(0.3)
        assert modbus.writes == 0


async def test_after_a_yes_everything_is_looked_at_again(modbus, tmp_path):
    async with gateway(modbus.site(tmp_path, permit=MEDIUM)) as made:
        await poke(modbus, 1, 1)
        await until(lambda: made.window(LINE).tags["oil_pressure"].last == 1, "the pressure falls")
        await made.judge("v1", ("speed_setpoint", 50.0))
        (decided,) = made.of(ActionDecided)
        assert decided.decision == "require_approval"  # it may be met by the time somebody answers
        assert "not yet: interlock not met" in " ".join(decided.reasons)
        await made.acting.answer(decided.action, approved=True, actor="kim")
        end = await ended(made)
        assert (end.status, end.written) == ("REJECTED", None)
        assert "interlock not met" in end.why
        assert modbus.writes == 0


async def test_the_kill_switch_stops_everything_at_once_survives_and_is_lifted_by_a_person_only(modbus, tmp_path):
    site = modbus.site(tmp_path, acting=AUTO, permit=MEDIUM)
    async with gateway(site) as made:
        (tmp_path / "data" / "kill").touch()  # neither page nor network nor command
        await made.judge("v1", ("speed_setpoint", 50.0))
        assert "kill switch: kill was put there by hand" in " ".join(made.of(ActionDecided)[0].reasons)
        await until(lambda: made.of(ModeChanged), "it is on record")
        assert made.of(ModeChanged)[0].killed
        (tmp_path / "data" / "kill").unlink()
        await until((tmp_path / "data" / "kill").exists, "who takes the file away lifts nothing")
    async with gateway(site) as made:
        await made.judge("none", decision="normal")
        await made.judge("v2", ("speed_setpoint", 50.0))
        assert made.of(ActionDecided)[0].decision == "reject"
        with pytest.raises(OrderRefusedError, match="reason of at least 5"):
            await made.acting.lift(actor="kim", reason="")
        await made.acting.lift(actor="kim", reason="inspected the line")
        assert not made.of(ModeChanged)[-1].killed
        assert not (tmp_path / "data" / "kill").exists()
        await made.judge("v3", decision="normal")
        await made.judge("v4", ("speed_setpoint", 50.0))
        assert (await ended(made)).status == "EXECUTED"
    assert modbus.writes == 1


async def test_the_kill_switch_empties_what_waits(modbus, tmp_path):
    async with gateway(modbus.site(tmp_path, permit=MEDIUM)) as made:
        await made.judge("v1", ("speed_setpoint", 50.0))
        await made.acting.throw(actor="kim", reason="smoke at the filler")
        end = await ended(made)
        assert (end.status, end.why) == ("REJECTED", "kill switch: smoke at the filler (kim)")
        assert await made.acting.answer(end.action, approved=True, actor="lee") == "superseded"
        await asyncio.sleep(0.4)
        assert modbus.writes == 0


async def test_a_tag_has_one_writer_at_a_time(modbus, tmp_path):
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=MEDIUM)) as made:
        await made.judge("v1", ("speed_setpoint", 50.0))
        await ended(made)
        other = {"asker": "another rule", "ruleset": "other", "verdict_id": "w1", "action": "w1"}
        await made.recording.commit([], made.acting.hands.decide(asked("w1", 60.0, **other)))
        decided = made.of(ActionDecided)[-1]
        assert decided.decision == "reject"
        assert f"the tag is held by filler at {LINE}" in decided.reasons
        assert modbus.writes == 1


async def test_the_cloud_may_ask_and_only_a_person_here_makes_it_so(modbus, tmp_path):
    careless = AUTO + '[[acting.cell]]\ntrust = 0\nrisk = "LOW"\ndecision = "auto_execute"\n'
    async with gateway(modbus.site(tmp_path, acting=careless, permit='risk = "LOW"')) as made:
        request = asked("", 50.0, kind="alert", verdict_id=None, ruleset="", asker="cloud", actor="cloud", action="r1")
        assert await made.acting.request(request)
        assert not await made.acting.request(request)
        (decided,) = made.of(ActionDecided)
        assert (decided.decision, decided.actor) == ("require_approval", "cloud")
        too_much = asked("", 99.0, verdict_id=None, ruleset="", asker="cloud", actor="cloud", action="r2")
        await made.acting.request(too_much)
        assert made.of(ActionDecided)[1].decision == "reject"
        await asyncio.sleep(0.4)
        with pytest.raises(OrderRefusedError, match="only a person at the gateway"):
            await made.acting.answer("r1", approved=True, actor="lee", place="cloud")
        assert modbus.writes == 0
        await made.acting.answer("r1", approved=True, actor="kim")
        assert (await ended(made)).status == "EXECUTED"
        assert modbus.writes == 1


async def test_a_machine_that_refuses_is_a_failure_that_a_person_looks_at(modbus, tmp_path):
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=MEDIUM)) as made:
        modbus.clamp = 40  # its answer says 40
        await made.judge("v1", ("speed_setpoint", 50.0))
        end = await ended(made)
        assert (end.status, end.written, end.needs_human) == ("FAILED", None, True)


@pytest.mark.parametrize(("machine", "status"), [("holds 40", "FAILED"), ("takes its time", "EXECUTED")])
async def test_what_was_written_is_read_back_within_its_time(opcua, tmp_path, machine, status):
    async def after(*_) -> None:
        await opcua.write("speed", 40.0, ua.VariantType.Double)
        if machine == "takes its time":
            asyncio.get_running_loop().call_later(0.2, lambda: tasks.append(asyncio.ensure_future(ramp())))

    async def ramp() -> None:
        await opcua.write("speed", 49.9, ua.VariantType.Double)

    tasks: list[asyncio.Future[None]] = []
    opcua.server.subscribe_server_callback(CallbackType.PostWrite, after)
    async with gateway(opcua.site(tmp_path, acting=AUTO, permit=f"{MEDIUM}\ntolerance = 0.5")) as made:
        await made.judge("v1", ("speed_setpoint", 50.0))
        end = await ended(made)
        assert (end.status, end.written) == (status, 50)
        assert end.read_back == (40 if status == "FAILED" else pytest.approx(49.9))
        assert end.needs_human == (status == "FAILED")
        assert opcua.writes == 1


async def test_a_mode_is_ordered_with_a_name_and_a_reason_and_outlives_a_restart(modbus, tmp_path):
    site = modbus.site(tmp_path, mode="monitor", acting=AUTO, permit=MEDIUM)
    async with gateway(site) as made:
        acting: Acting = made.acting
        for actor, reason, line in (("", "a good reason", ""), ("kim", "no", ""), ("kim", "a good reason", "hall/x/y")):
            with pytest.raises(OrderRefusedError, match=r"who you are|at least 5|no line"):
                await acting.set_mode("control", actor=actor, reason=reason, work_unit=line)
        with pytest.raises(OrderRefusedError, match="the site file says monitor"):
            await acting.set_mode("advise", actor="lee", reason="from my desk", place="cloud")
        await acting.set_mode("control", actor="kim", reason="trial of line 1")
        await acting.set_mode("advise", actor="kim", reason="line 1 first", work_unit=LINE)
    async with gateway(site) as made:
        assert made.acting.hands.modes.of("") == "control"
        assert made.acting.hands.modes.of(LINE) == "advise"
        await made.judge("v1", ("speed_setpoint", 50.0))
        assert made.of(ActionDecided)[0].decision == "require_approval"
        await made.acting.set_mode("monitor", actor="kim", reason="the trial is over")
        assert (await ended(made)).why == "mode monitor was ordered"
    site.write_text(site.read_text().replace('mode = "monitor"', 'mode = "advise"'))  # a newer word than the order
    async with gateway(site) as made:
        assert made.acting.hands.modes.of("") == "advise"


def when_begun(made: Gateway, then) -> None:
    """Do something while the intent of an action is on its way to the disk."""

    def follow(facts):
        if any(isinstance(fact, Audited) and fact.action == "action.begun" for fact in facts):
            then()
        return [], {}

    made.recording.after.append(follow)


async def test_the_kill_switch_thrown_between_intent_and_write_is_in_time(plc, tmp_path):
    async with gateway(plc.site(tmp_path, acting=AUTO, permit=MEDIUM)) as made:
        when_begun(made, (tmp_path / "data" / "kill").touch)
        await made.judge("v1", ("speed_setpoint", 50.0))
        end = await ended(made)
        assert (end.status, end.written) == ("REJECTED", None)
        assert end.why.startswith("nothing was written: kill switch")
        assert plc.writes == 0


async def test_an_interlock_lost_between_intent_and_write_is_in_time(modbus, tmp_path):
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=MEDIUM)) as made:
        when_begun(made, lambda: setattr(made, "blind", True))
        await made.judge("v1", ("speed_setpoint", 50.0))
        end = await ended(made)
        assert end.status == "REJECTED"
        assert "interlock not known, so not met" in end.why
        assert modbus.writes == 0


async def test_a_connection_lost_during_the_write_leaves_nobody_to_guess(modbus, tmp_path):
    """The machine dies with the request in its hands: it is not written again, and a person is told to look."""
    async with gateway(modbus.site(tmp_path, acting=AUTO, permit=MEDIUM)) as made:
        modbus.dies = True
        await made.judge("v1", ("speed_setpoint", 50.0))
        await until(made.acting.hands.journal.begun, "it begins")
        end = await ended(made)
        assert (end.status, end.needs_human, end.written) == ("UNKNOWN", True, None)
        assert "nothing is written again" in end.why
        assert modbus.writes == 0
        assert made.acting.hands.evidence.metrics("filler", made.recording.clock.now()).critical_failures_7d == 1
