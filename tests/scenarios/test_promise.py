"""The promise over the whole path: real machines, gateways, broker and cloud, broken one after another.

After every fault: produced = stored + waiting + declared losses in the databases themselves, nothing stored twice,
and every piece the plant made is in the cloud exactly once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.hall import LINES, Hall
from tests.servers import Broker, wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def hall(tmp_path: Path, broker: Broker) -> Iterator[Hall]:
    running = Hall(tmp_path / "hall", broker)
    try:
        yield running
    finally:
        running.stop()


def begin(hall: Hall) -> None:
    """Start everything, wait for the first verdicts, and let the machines produce."""
    hall.start("plant")
    hall.start("cloud", *LINES)
    for gateway in LINES:
        wait_until(lambda g=gateway: hall.judged(g) >= 1, f"{gateway} judges\n{hall.log(gateway)}", 40)
    hall.produce(on=True)


def pass_time(hall: Hall, pieces: int) -> None:
    """Wait until the machines made so many more pieces."""
    goal = hall.truth + pieces
    wait_until(lambda: hall.truth >= goal, "the machines produce", 40)


def prove(hall: Hall) -> None:
    """Hold the machines, wait until all is quiet, and count."""
    hall.produce(on=False)
    for gateway, work_unit in LINES.items():
        wait_until(
            lambda g=gateway, w=work_unit: hall.made_in_cloud(w) == hall.truth,
            lambda g=gateway, w=work_unit: (
                f"every piece of {w} is in the cloud: {hall.made_in_cloud(w)} of {hall.truth}\n{hall.log(g)}\n{hall.log('cloud')}"
            ),
            60,
        )
        wait_until(
            lambda g=gateway: hall.proof(g)["balanced"], f"the cloud's proof for {gateway}: {hall.proof(gateway)}", 30
        )
    hall.stop()
    for gateway in LINES:
        account = hall.account(gateway)
        assert account.balanced, account
        assert account.lost == 0, account
        assert account.twice == 0, account


def test_a_piece_on_the_machine_is_a_piece_in_the_cloud(hall):
    begin(hall)
    pass_time(hall, 60)
    prove(hall)


def test_a_broker_killed_in_the_middle_loses_nothing(hall, broker):
    begin(hall)
    for _ in range(3):
        pass_time(hall, 20)
        broker.kill()
        judged = {g: hall.judged(g) for g in LINES}
        for gateway, before in judged.items():
            wait_until(lambda g=gateway, b=before: hall.judged(g) > b + 1, f"{gateway} judges without a broker", 30)
        broker.start()
    pass_time(hall, 20)
    prove(hall)


def test_a_long_outage_drains_and_lines_are_judged_meanwhile(hall, broker):
    begin(hall)
    pass_time(hall, 20)
    broker.stop()
    before = {g: hall.judged(g) for g in LINES}
    pass_time(hall, 120)
    for gateway in LINES:
        status = hall.get(gateway, "/api/status")
        assert status["judged_total"] >= before[gateway] + 4
        assert status["judged_while_offline"] >= 4
        assert status["store"]["waiting"] > 50
        assert status["uplink"]["state"] != "streaming"
    broker.start()
    prove(hall)


def test_gateways_killed_at_random_moments_lose_and_repeat_nothing(hall, seed):
    begin(hall)
    rng = random.Random(seed)
    for _ in range(6):
        time.sleep(rng.uniform(0.1, 1.5))  # the moment is the fault: at random, from the seed
        victim = rng.choice(sorted(LINES))
        hall.kill(victim)
        hall.start(victim)
    pass_time(hall, 20)
    prove(hall)


def test_the_cloud_killed_between_commit_and_receipt_stores_nothing_twice(hall):
    begin(hall)
    for nth in (1, 3, 8):
        hall.kill("cloud")
        hall.start("cloud", env={"TRIFLOW_FAILPOINT": f"cloud.after_commit_before_receipt:{nth}"})
        wait_until(lambda: hall.processes["cloud"].poll() is not None, "the cloud dies at the failpoint", 40)
        assert hall.processes.pop("cloud").returncode == -9
        hall.start("cloud")
        pass_time(hall, 20)
    prove(hall)


def test_the_cloud_killed_at_random_moments_stores_everything_once(hall, seed):
    begin(hall)
    rng = random.Random(seed)
    for _ in range(3):
        time.sleep(rng.uniform(0.2, 2.0))  # the moment is the fault: at random, from the seed
        hall.kill("cloud")
        pass_time(hall, 10)
        hall.start("cloud")
    prove(hall)


def test_a_plant_that_restarts_is_a_gap_and_its_pieces_are_counted_once(hall):
    begin(hall)
    pass_time(hall, 30)
    hall.kill("plant")
    for gateway in LINES:
        wait_until(
            lambda g=gateway: hall.get(g, "/api/status")["sources"][0]["state"] == "down", f"{gateway} notices", 30
        )
    hall.start("plant")
    pass_time(hall, 40)
    hall.produce(on=False)
    prove(hall)
    # (a PLC keeps its counters, so what was made is counted once although nobody looked for a while)
