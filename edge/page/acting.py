"""Acting on the gateway's page: what waits and what was done, a person's yes or no, modes, the kill switch, trust.

    GET  /api/actions                modes, switches, what is on its way, what is held, the newest decisions and ends
    GET  /api/approvals              what waits for a person
    POST /api/approvals/{action}     {"approve": true, "actor": "…", "comment": "…"}
    POST /api/mode                   {"mode": "advise", "work_unit": "…", "actor": "…", "reason": "…"}
    POST /api/kill                   {"on": true, "models": false, "actor": "…", "reason": "…"}
    GET  /api/trust                  levels, scores, and what the next level lacks

It works with the network cut. Reading is as open as the rest of the page, changing goes through `edge.page.protect`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.acting.acting import Acting
from edge.acting.refusal import OrderRefusedError
from edge.acting.status import entry_told, holds_told, modes_told, trust_told, waiting_told
from edge.page.answers import HEADERS, refused
from edge.page.protect import BadBodyError, Guard, at_the_gateway, body
from edge.site import Site
from edge.store import Store
from sync.clock import Clock

RECENT: Final = 50
Actor = Annotated[str, Field(min_length=1, max_length=100)]
Reason = Annotated[str, Field(min_length=5, max_length=1_000)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)

    actor: Actor


class Word(_Given):
    """A person's word on an action."""

    approve: bool
    comment: Annotated[str, Field(max_length=1_000)] = ""


class ModeWanted(_Given):
    """How far the gateway or a line may go."""

    mode: Literal["monitor", "advise", "control"]
    work_unit: str = ""
    reason: Reason


class SwitchWanted(_Given):
    """A switch thrown or taken back."""

    on: bool
    models: bool = False
    """All models off instead of all acting."""
    reason: Annotated[str, Field(max_length=1_000)] = ""
    """Needed to take it back."""


def acting_routes(acting: Acting, site: Site, store: Store, clock: Clock, guard: Guard) -> list[Route]:
    """Give the page's routes about acting."""
    hands = acting.hands
    lines = [line.work_unit for line in site.file.lines]

    def told() -> dict[str, Any]:
        return modes_told(hands.modes, lines, hands.kill, hands.models)

    async def actions(_: Request) -> Response:
        now = hands.now()
        recent = await store.recent(["action_decision", "approval", "action"], RECENT)
        on_their_way = [entry_told(entry, now) for entry in hands.journal.entries.values()]
        more = {"open": on_their_way, "held": holds_told(hands.journal, now), "recent": msgspec.to_builtins(recent)}
        return JSONResponse(told() | more, headers=HEADERS)

    async def approvals(request: Request) -> Response:
        waiting = waiting_told(hands.journal, hands.now())
        for each in waiting:
            present = hands.present(each["target"])
            each["present"] = None if present is None else present.last
        key = site.file.page.key is not None
        told = {"approvals": waiting, "key": key, "may_decide": key or at_the_gateway(request)}
        return JSONResponse(told, headers=HEADERS)

    async def trust(_: Request) -> Response:
        return JSONResponse({"trust": trust_told(hands.evidence, hands.rulesets, clock.now())}, headers=HEADERS)

    async def answer(request: Request) -> Response:
        word = Word.model_validate(await body(request))
        action = str(request.path_params["action"])
        said = await acting.answer(action, approved=word.approve, actor=word.actor, comment=word.comment)
        if said == "unknown":
            return refused(404, "NOT_FOUND", f"no action {action!r} waits; it may be long over")
        if said == "superseded":
            over = hands.journal.ended.get(action)
            what = "somebody answered before" if over is None else f"it is over: {over.status}"
            return refused(409, "CONFLICT", f"{what}; your answer is on record and changes nothing")
        return JSONResponse({"action": action, "answer": said}, headers=HEADERS)

    async def mode(request: Request) -> Response:
        wanted = ModeWanted.model_validate(await body(request))
        await acting.set_mode(wanted.mode, actor=wanted.actor, reason=wanted.reason, work_unit=wanted.work_unit)
        return JSONResponse(told(), headers=HEADERS)

    async def kill(request: Request) -> Response:
        wanted = SwitchWanted.model_validate(await body(request))
        turn = acting.throw if wanted.on else acting.lift
        await turn(actor=wanted.actor, reason=wanted.reason, models=wanted.models)
        return JSONResponse(told(), headers=HEADERS)

    def changing(work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            no = guard.refusal(request)
            if no is not None:
                return no
            try:
                return await work(request)
            except BadBodyError as error:
                return refused(400, "VALIDATION", str(error))
            except ValidationError as error:
                return refused(422, "VALIDATION", _said(error))
            except OrderRefusedError as error:
                return refused(422, "VALIDATION", str(error))

        return guarded

    return [
        Route("/api/actions", actions),
        Route("/api/approvals", approvals),
        Route("/api/approvals/{action:str}", changing(answer), methods=["POST"]),
        Route("/api/mode", changing(mode), methods=["POST"]),
        Route("/api/kill", changing(kill), methods=["POST"]),
        Route("/api/trust", trust),
    ]


def _said(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
