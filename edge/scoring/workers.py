"""The processes of a gateway's packages: one each, shared by the lines that run the same."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from edge.scoring.worker import Worker
from sync.clock import Clock


class Workers:
    """Package → its process. Those wanted before `enter` start with it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def enter(self, group: asyncio.TaskGroup) -> None:
        """Run them in this group from now on."""
        self._group = group
        for sha256, worker in self._workers.items():
            self._start(group, sha256, worker)

    def of(self, path: Path, sha256: str) -> Worker:
        """Give the process of a package."""
        worker = self._workers.get(sha256)
        if worker is None:
            worker = self._workers[sha256] = Worker(path, sha256, self._clock)
            if self._group is not None:
                self._start(self._group, sha256, worker)
        return worker

    def only(self, wanted: Collection[str]) -> None:
        """End all others."""
        for sha256 in [one for one in self._workers if one not in wanted]:
            del self._workers[sha256]
            task = self._tasks.pop(sha256, None)
            if task is not None:
                task.cancel()

    def _start(self, group: asyncio.TaskGroup, sha256: str, worker: Worker) -> None:
        self._tasks[sha256] = group.create_task(worker.run(), name=f"model {sha256[:12]}")
