"""What people at the line say of verdicts: a thumb, a correction, why. On disk before it is thanked for, also while cut.

    POST /api/feedback            {"target": verdict id, "type": "positive" | "negative" | "correction", "corrected": decision?,
                                   "reason": …?, "comment": …?, "actor": …}
    GET  /api/feedback            the newest, one per person and verdict

A later word of the same person on the same verdict replaces the earlier one wherever it is counted; the same word twice
is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.page.answers import HEADERS, refused
from edge.page.protect import BadBodyError, Guard, body
from edge.recording import Recording
from sync.facts import Judged
from sync.judgment import FeedbackGiven

RECENT: Final = 500
"""Verdicts that can be spoken of here: those the page still lists."""
Decision = Literal["normal", "warning", "critical", "unknown"]


class Said(BaseModel):
    """One word on one verdict."""

    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)

    target: Annotated[str, Field(min_length=1, max_length=64)]
    type: Literal["positive", "negative", "correction"]
    corrected: Decision | None = None
    reason: Literal["incorrect", "incomplete", "irrelevant", "unclear", "slow", "other"] | None = None
    comment: Annotated[str, Field(max_length=1_000)] = ""
    actor: Annotated[str, Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _whole(self) -> Said:
        if (self.type == "correction") != (self.corrected is not None):
            raise ValueError("a correction says what it should have been (corrected), and nothing else does")
        return self


def feedback_routes(recording: Recording, guard: Guard, online: Callable[[], bool]) -> list[Route]:
    """Give the page's routes about feedback. online: whether the cloud hears us at this moment."""
    store, clock = recording.store, recording.clock

    async def newest(_: Request) -> Response:
        known: dict[tuple[str, str], Any] = {}
        for fact in await store.recent(["feedback"], RECENT):
            if isinstance(fact, FeedbackGiven):
                known.setdefault((fact.target, fact.actor), msgspec.to_builtins(fact))
        return JSONResponse({"feedback": list(known.values())}, headers=HEADERS)

    async def give(request: Request) -> Response:
        no = guard.refusal(request)
        if no is not None:
            return no
        try:
            said = Said.model_validate(await body(request))
        except BadBodyError as error:
            return refused(400, "VALIDATION", str(error))
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors())
            return refused(422, "VALIDATION", told)
        verdicts = await store.recent(["verdict"], RECENT)
        verdict = next((one for one in verdicts if isinstance(one, Judged) and one.verdict_id == said.target), None)
        if verdict is None:
            return refused(
                404,
                "NOT_FOUND",
                f"no verdict {said.target!r} among the newest {RECENT}; older ones are rated in the cloud",
            )
        if said.corrected == verdict.decision:
            return refused(
                422, "VALIDATION", f"corrected: the verdict says {verdict.decision} already; thumb up instead"
            )
        now = clock.now()
        fact = FeedbackGiven(
            at=now,
            work_unit=verdict.work_unit,
            feedback=_id(said, now),
            target=said.target,
            type=said.type,
            reason=said.reason,
            corrected=said.corrected,
            comment=said.comment,
            actor=said.actor,
            offline=not online(),
            ruleset=verdict.ruleset,
            ruleset_version=verdict.ruleset_version,
            decision=verdict.decision,
        )
        before = [one for one in await store.recent(["feedback"], RECENT) if isinstance(one, FeedbackGiven)]
        last = next((one for one in before if (one.target, one.actor) == (said.target, said.actor)), None)
        if last is not None and _word(last) == _word(fact):
            fact = last  # a second tap
        else:
            await recording.commit([], [fact])
        return JSONResponse({"feedback": fact.feedback, "offline": fact.offline}, headers=HEADERS)

    return [Route("/api/feedback", newest, methods=["GET"]), Route("/api/feedback", give, methods=["POST"])]


def _word(fact: FeedbackGiven) -> tuple[str | None, ...]:
    return fact.type, fact.corrected, fact.reason, fact.comment


def _id(said: Said, at: int) -> str:
    return hashlib.sha256(f"{at} {said.model_dump_json()}".encode()).hexdigest()[:32]
