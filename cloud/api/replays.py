"""Replays for API and pages: read on the database's readers, judged in a thread, batches in a process of their own.

All of it is a dry run. Two verdicts at once are judged again, and one batch at a time; a second one is told to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from cloud.api.errors import ApiError, Field, not_found, unusable
from cloud.database import Connection, Database
from cloud.judging import verdicts
from cloud.judging.archive import Archive
from cloud.judging.child import Batch, Outcome
from cloud.judging.history import Sampled, Tested
from cloud.judging.replaying import Answer, AskedError, Case, answered, case
from cloud.packages.store import Packages
from edge.judgment.archive import ArchiveError
from edge.judgment.batch import Sampling, Wanted
from edge.judgment.given import NotRepeatableError
from edge.judgment.steps import Memory
from edge.judgment.whatif import OverrideError, Overrides

AT_ONCE: Final = 2
BATCH_S: Final = 120.0
ROOT: Final = Path(__file__).parents[2]
_outcome: Final = msgspec.json.Decoder(Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAsked:
    """Rules to be tried on verdicts of the past."""

    rules: str
    wanted: Wanted
    sample: int | None = None
    sampling: Sampling = "random"
    seed: int = 0
    memory: Memory = "continuous"


class Replays:
    """What this process judges again."""

    def __init__(self, database: Database, packages: Packages, *, batch_s: float = BATCH_S) -> None:
        self._database, self._packages = database, packages
        self.archive = Archive(packages)
        self._few = asyncio.Semaphore(AT_ONCE)
        self._batch = asyncio.Lock()
        self._batch_s = batch_s

    async def case(self, tenant: str, verdict_id: str) -> Case:
        """Read a verdict with what was told of its rules. Raises ApiError 404."""

        def read(connection: Connection) -> Case | None:
            one = verdicts.recorded(connection, tenant, verdict_id)
            return None if one is None else case(connection, one)

        found = None if "\0" in verdict_id else await self._database.read(read)
        if found is None:
            raise not_found(
                f"there is no verdict {verdict_id!r}", "it may not have arrived yet; see /api/v1/completeness"
            )
        return found

    async def replay(
        self, tenant: str, verdict_id: str, overrides: Overrides, rules: Sequence[str], models: Sequence[str]
    ) -> Answer:
        """Judge one verdict again. Raises ApiError."""
        about = await self.case(tenant, verdict_id)
        async with self._few:
            return await asyncio.to_thread(self._answered, about, overrides, rules, models)

    def _answered(self, about: Case, overrides: Overrides, rules: Sequence[str], models: Sequence[str]) -> Answer:
        try:
            return answered(self.archive, about, overrides, rules, models)
        except AskedError as error:
            raise unusable([_field(fault.field, fault.message) for fault in error.faults]) from error
        except OverrideError as error:
            raise unusable([_field(f"overrides.{one.field}", one.message) for one in error.faults]) from error
        except NotRepeatableError as error:
            raise ApiError(409, "NOT_REPEATABLE", str(error), "only verdicts of form 2 and later can be") from error
        except ArchiveError as error:
            raise not_at_hand(str(error)) from error

    async def batch(self, tenant: str, asked: BatchAsked) -> Tested | Sampled:
        """Try rules on many verdicts. Raises ApiError: 429 while another batch runs, 503 when it takes too long."""
        if self._batch.locked():
            raise ApiError(429, "TOO_MANY_REQUESTS", "another batch runs on this cloud", "wait until it is done")
        async with self._batch:
            said = await self._child(
                Batch(
                    url=self._database.url.render_as_string(hide_password=False),
                    packages=str(self._packages.folder),
                    tenant=tenant,
                    wanted=asked.wanted,
                    rules=asked.rules,
                    sample=asked.sample,
                    sampling=asked.sampling,
                    seed=asked.seed,
                    memory=asked.memory,
                )
            )
        if said.faults:
            raise unusable([_field(fault.field, fault.message) for fault in said.faults])
        if said.problem:
            raise not_at_hand(said.message)
        answer = said.tested or said.sampled
        assert answer is not None  # noqa: S101 - the child gives one of the two
        return answer

    async def _child(self, asked: Batch) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cloud.judging.child", cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._batch_s):
                told, fault = await process.communicate(msgspec.json.encode(asked))
        except TimeoutError as error:
            what = f"the batch was not done within {self._batch_s:g} s"
            raise ApiError(503, "SERVICE_UNAVAILABLE", what, "ask for a shorter time or one line") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            why = (fault.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise ApiError(503, "SERVICE_UNAVAILABLE", f"the batch ended with {process.returncode}: {why}", "try again")
        return _outcome.decode(told)


def not_at_hand(why: str) -> ApiError:
    """Say that something that judged is not here."""
    return ApiError(409, "NOT_AT_HAND", why, "what has to be done stands in the message")


def _field(name: str, message: str) -> Field:
    return {"field": name, "message": message}
