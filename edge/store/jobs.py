"""What is handed to the store's thread, and how its caller hears of the end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from edge.store.chunks import Request
from edge.store.outbox import Outbox


@dataclass(slots=True)
class Commit:
    """A call of `commit` on its way to the disk."""

    request: Request
    done: Future[None] = field(default_factory=Future[None])


@dataclass(slots=True)
class Job:
    """Anything else: a read, answered at once, or a write, which shares the next transaction or has its own."""

    run: Callable[[Outbox], Any]
    writes: bool
    alone: bool = False
    """A transaction of its own, after everything that was handed in before it."""
    done: Future[Any] = field(default_factory=Future[Any])


Item = Commit | Job | None
"""None: finish what is there and close."""


def settle(done: Future[Any], result: Any) -> None:
    if done.set_running_or_notify_cancel():  # else nobody waits any more
        done.set_result(result)


def fail(done: Future[Any], error: BaseException) -> None:
    if not done.done() and done.set_running_or_notify_cancel():
        done.set_exception(error)
