"""The process of a package: answers, soft stop, hard end, and that nobody else waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from edge.scoring.worker import HARD_S, Worker
from sync.clock import WallClock
from tests.edge.scoring import moody
from tests.edge.stores import until


@contextlib.asynccontextmanager
async def serving(folder: Path, content: bytes, sha256: str | None = None) -> AsyncIterator[Worker]:
    path = folder / "package"
    path.write_bytes(content)
    worker = Worker(path, sha256 or hashlib.sha256(content).hexdigest(), WallClock())
    task = asyncio.create_task(worker.run())
    try:
        await worker.started()
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def row(load: float) -> np.ndarray:
    return np.array([[load]], np.float32)


async def test_it_answers_the_very_numbers_and_says_what_hangs_on_what(tmp_path):
    async with serving(tmp_path, moody.package()) as worker:
        said = await worker.ask(row(0.95), 1.0)
        assert np.float32(said.reply.outputs["worn"]) == np.float32(0.95)
        assert (said.reply.label, said.reply.decision) == ("worn", "critical")
        assert said.reply.contributions["load"] == pytest.approx(0.45, abs=0.01)  # against the median of training, 0.5
        assert (await worker.ask(row(0.5), 1.0)).reply.decision == "normal"


async def test_nan_is_a_failure_and_no_class(tmp_path):
    async with serving(tmp_path, moody.package()) as worker:
        said = await worker.ask(row(moody.NAN), 1.0)
        assert said.reply.failure is not None
        assert said.reply.failure.startswith("not_finite")
        assert said.reply.decision == "unknown"


async def test_a_slow_run_is_stopped_between_operators_and_its_process_lives(tmp_path):
    async with serving(tmp_path, moody.package()) as worker:
        pid = worker.pid
        said = await worker.ask(row(moody.SLOW), 0.02)
        assert said.reply.failure == "deadline: no answer within 20 ms"
        assert said.blamed
        assert (await worker.ask(row(0.5), HARD_S)).reply.outputs == {"worn": 0.5}
        assert (worker.pid, worker.killed) == (pid, 0)


async def test_a_run_that_hangs_ends_with_its_process_and_the_next_one_serves(tmp_path):
    async with serving(tmp_path, moody.package()) as worker:
        pid = worker.pid
        said = await worker.ask(row(moody.HANG), 0.3)
        assert said.reply.failure == "deadline: no answer within 300 ms"
        await until(lambda: worker.killed == 1, "the hung process is ended")
        await until(lambda: worker.pid not in {None, pid}, "another one is up")
        assert (await worker.ask(row(0.5), HARD_S)).reply.outputs == {"worn": 0.5}


async def test_while_a_model_hangs_the_loop_turns(tmp_path):
    """The readings' side of it: ticks go on while the model is inside one long operator."""
    async with serving(tmp_path, moody.package()) as worker:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        await worker.ask(row(moody.HANG), 0.3)
        ticking.cancel()
        assert ticks >= 10  # of 60; a blocked loop gives none


async def test_lines_that_wait_behind_a_hanging_run_are_not_blamed_for_it(tmp_path):
    async with serving(tmp_path, moody.package()) as worker:
        hanging, waiting = await asyncio.gather(worker.ask(row(moody.HANG), 0.3), worker.ask(row(0.5), 0.2))
        assert hanging.blamed
        assert waiting.reply.failure == "deadline: its process was busy or starting"
        assert not waiting.blamed


async def test_a_process_that_is_killed_is_started_again(tmp_path):
    async with serving(tmp_path, moody.package()) as worker:
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: worker.pid not in {None, pid}, "another process")
        assert worker.starts == 2
        assert (await worker.ask(row(0.25), HARD_S)).reply.outputs == {"worn": 0.25}


async def test_a_package_that_changed_since_it_was_verified_is_not_served(tmp_path):
    async with serving(tmp_path, moody.package(), "0" * 64) as worker:
        assert "was changed" in worker.why
        said = await worker.ask(row(0.5), 0.05)
        assert said.reply.failure is not None
        assert said.reply.failure.startswith("error: ")


async def test_the_process_ends_with_the_gateway(tmp_path):
    async with serving(tmp_path, moody.package()) as worker:
        pid = worker.pid
        assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_many_lines_share_one_process(tmp_path):
    async with serving(tmp_path, moody.package()) as worker:
        loads = [round(0.4 + i / 1000, 3) for i in range(100)]
        said = await asyncio.gather(*(worker.ask(row(load), HARD_S) for load in loads))
        assert [np.float32(s.reply.outputs["worn"]) for s in said] == [np.float32(load) for load in loads]
        assert worker.starts == 1


OWNER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from edge.scoring.worker import Worker
from sync.clock import WallClock

async def main():
    worker = Worker(Path(sys.argv[1]), sys.argv[2], WallClock())
    task = asyncio.create_task(worker.run())
    await worker.started()
    asking = asyncio.create_task(worker.ask(np.array([[0.81]], np.float32), 0.4))
    await asyncio.sleep(0.1)
    print(worker.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_gateway_that_is_killed_while_its_model_hangs_leaves_no_process(tmp_path):
    content = moody.package()
    (tmp_path / "package").write_bytes(content)
    words = ["-c", OWNER, str(tmp_path / "package"), hashlib.sha256(content).hexdigest()]
    gateway = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    assert gateway.stdout is not None
    pid = int(await gateway.stdout.readline())
    gateway.kill()
    await gateway.wait()

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
        except OSError:
            return True

    await until(gone, "the model's process ends with it", 5.0)
