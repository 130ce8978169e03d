"""kill -9 of a process at every point of an action, against a real machine that counts: never two writes, always an end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from edge.acting.journal import action_id
from sync.judgment import ActionEnded
from tests.edge.acting.gateway import AUTO, MEDIUM, TARGET, gateway
from tests.edge.acting.test_acting import ModbusPlc
from tests.edge.stores import until
from tests.servers import ROOT

ACTION = action_id("v1", "parameter_adjust", TARGET, "50.0")


@pytest.fixture
async def plc():
    machine = ModbusPlc()
    await machine.start()
    yield machine
    await machine.stop()


async def life(folder: Path, *, failpoint: str = "", seconds: float | None = None) -> tuple[str, int]:
    """Run a gateway that asks for one write until it dies there, after so long, or at its own end; give what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.edge.acting.gateway", str(folder), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        env=os.environ | ({"TRIFLOW_FAILPOINT": failpoint} if failpoint else {}),
    )  # fmt: skip
    assert child.stdout is not None
    if seconds is not None:
        await child.stdout.readline()
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):  # it was faster
            child.kill()
    said = (await child.stdout.read()).decode()
    return said, await child.wait()


async def aftermath(site: Path, plc: ModbusPlc) -> ActionEnded | None:
    """Start again, hear the same verdict once more, wait until nothing is on its way; give the end on record."""
    async with gateway(site) as made:
        await made.judge("v1", ("speed_setpoint", 50.0))  # the crash may have swallowed it: its line would say it again
        journal = made.acting.hands.journal
        await until(lambda: not journal.entries, "nothing is on its way any more")
        await asyncio.sleep(0.3)
        ends = await made.recording.store.recent(["action"], 10)
        assert len(ends) <= 1
        assert plc.writes <= 1
        return ends[0] if ends else None


@pytest.mark.parametrize(
    ("place", "writes", "status", "again"),
    [
        ("edge.act_intent:1", 1, "EXECUTED", True),  # nothing was begun, so it is carried out now
        ("edge.act_write:1", 0, "UNKNOWN", False),  # it might have been written: a person looks, nothing is written
        ("edge.act_written:1", 1, "EXECUTED", False),  # the machine shows the value that it did not hold before
        ("edge.act_ended:1", 1, "EXECUTED", False),
    ],
)
async def test_killed_at_every_point_of_an_action_the_machine_is_written_to_once_at_most(
    plc, tmp_path, place, writes, status, again
):
    site = plc.site(tmp_path, acting=AUTO, permit=MEDIUM)
    said, code = await life(tmp_path, failpoint=place)
    assert code == -signal.SIGKILL
    assert place == "edge.act_ended:1" or "EXECUTED" not in said
    before = plc.writes
    assert before == (0 if again or status == "UNKNOWN" else 1)
    end = await aftermath(site, plc)
    assert plc.writes == writes
    assert end is not None
    assert (end.action, end.status) == (ACTION, status)
    assert end.needs_human == (place in {"edge.act_write:1", "edge.act_written:1"})


@pytest.mark.parametrize("place", ["edge.before_commit", "edge.after_commit"])
async def test_killed_around_any_commit_it_is_done_once_at_most(plc, tmp_path, place):
    site = plc.site(tmp_path, acting=AUTO, permit=MEDIUM)
    for nth in range(2, 14, 2):
        said, code = await life(tmp_path, failpoint=f"{place}:{nth}")
        if code == 0:
            assert said.split()[-1] in {"EXECUTED", "UNKNOWN"}
        assert plc.writes <= 1
    end = await aftermath(site, plc)
    assert end is None or end.status in {"EXECUTED", "UNKNOWN"}
    assert (plc.writes == 1) or end is None or end.status == "UNKNOWN"


async def test_killed_at_any_moment_again_and_again_it_is_done_once_at_most(plc, tmp_path):
    site = plc.site(tmp_path, acting=AUTO, permit=MEDIUM)
    for _ in range(6):
        await life(tmp_path, seconds=random.uniform(0, 0.25))
        assert plc.writes <= 1
    end = await aftermath(site, plc)
    assert end is None or (end.status == "EXECUTED") == (plc.writes == 1), end
