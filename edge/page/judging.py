"""Judging what somebody asks: `POST /api/judge` with inputs of his own, by the rules a line runs. Nothing is recorded.

    {"line_code": "bottling/line-1/filler", "input_data": {"oil_temperature": 81.5, "counts": {"produced": 100, "scrap": 5}},
     "context": {"product": "COLA-500"}, "language": "ko", "policy": "rule_only"}

The same request again is answered from memory for `cache_s` of the ruleset (300 s where it says none), with `cached`;
the header `X-Skip-Cache: true` has it judged anew. It works with the network cut.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.bundles import line_names
from edge.judgment import asks_model, gather, judge, judged
from edge.judgment.cache import Cache, key_of
from edge.judgment.request import TTL_S, RequestError, RequestFault, Wanted, read_request, under, window_of
from edge.judgment.result import result
from edge.page.answers import HEADERS
from edge.site import Site
from models.ruleset import Ruleset
from models.window import Window
from sync.clock import Clock
from sync.judgment import Scored

MOST_BYTES: Final = 64 * 1024
SKIP_HEADER: Final = "X-Skip-Cache"

Ask = Callable[[str, Ruleset, Window], Awaitable[Scored | None]]
"""Work unit, ruleset, window → what the line's model says; None where it has none."""


class Requests:
    """Answers requests for judgments, and remembers answers."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        *,
        ask: Ask | None = None,
        model: Callable[[str], str] = lambda _: "",
        history: Callable[[str], float | None] = lambda _: None,
    ) -> None:
        """ask: the line's model; None = there are none. model: work unit → SHA-256 of the package that would be asked.

        history: ruleset's name → how often its verdicts were right.
        """
        self.cache = Cache()
        """`purge` it where rules or models are activated: what is in it then is never asked for again."""
        self._site, self._clock = site, clock
        self._ask, self._model, self._history = ask, model, history

    async def answer(self, body: bytes, *, skip_cache: bool = False) -> dict[str, Any]:
        """Judge a request's body. Raises RequestError with every fault."""
        began = self._clock.monotonic()
        wanted = read_request(body)
        work_unit = self._line(wanted)
        line = next(line for line in self._site.file.lines if line.work_unit == work_unit)
        now = self._clock.now()
        window_ns = round(line.window_s * 1e9)
        names = line_names(work_unit, self._site.table.of_work_unit(work_unit), self._site.virtual.get(work_unit))
        window = window_of(wanted, names, at=now, window_ns=window_ns)
        ruleset = under(self._site.rulesets[work_unit], wanted.policy)
        given = gather(ruleset, window, history=self._history(ruleset.name))
        key = key_of(ruleset, given, model=self._model(work_unit))
        kept = self.cache.find(key, now) if wanted.cache_enabled and not skip_cache else None
        if kept is None:
            asked = self._ask is not None and asks_model(ruleset, given)
            scored = await self._ask(work_unit, ruleset, window) if asked and self._ask is not None else None
            fact = judged(judge(ruleset, given, scored=scored))
            if wanted.cache_enabled:
                ttl = wanted.cache_ttl_s if wanted.cache_ttl_s is not None else ruleset.settings.cache_s or TTL_S
                self.cache.keep(key, fact, now=now, ttl_s=ttl)
        else:
            fact = kept.fact
        return result(
            fact,
            language=wanted.language,
            gateway=self._site.file.gateway.id,
            kept=kept,
            need_explanation=wanted.need_explanation,
            need_evidence=wanted.need_evidence,
            need_feature_importance=wanted.need_feature_importance,
            execution_time_ms=round((self._clock.monotonic() - began) / 1e6, 3),
        )

    def _line(self, wanted: Wanted) -> str:
        """Give the work unit whose rules are meant: the one that is named, or the only one that fits."""
        lines = self._site.rulesets
        if wanted.line is not None and wanted.line not in lines:
            there = ", ".join(lines) or "none"
            raise RequestError([RequestFault("line_code", f"no such line with rules here; there are {there}")])
        fit = [
            work_unit
            for work_unit, ruleset in lines.items()
            if wanted.line in {None, work_unit} and wanted.ruleset in {None, ruleset.name}
        ]
        if len(fit) == 1:
            return fit[0]
        if not fit:
            there = ", ".join(sorted({ruleset.name for ruleset in lines.values()})) or "none"
            raise RequestError([RequestFault("ruleset_id", f"no line runs these rules; there are {there}")])
        raise RequestError([RequestFault("line_code", f"say which line; rules run on {', '.join(fit)}")])


def judge_routes(requests: Requests) -> list[Route]:
    """Give the routes of judging."""

    async def answer(request: Request) -> Response:
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                fault = RequestFault("", f"a request has at most {MOST_BYTES} bytes")
                return _refused(RequestError([fault], too_large=True))
        try:
            told = await requests.answer(content, skip_cache=request.headers.get(SKIP_HEADER, "").lower() == "true")
        except RequestError as error:
            return _refused(error)
        return JSONResponse(told, headers=HEADERS)

    return [Route("/api/judge", answer, methods=["POST"])]


def _refused(error: RequestError) -> Response:
    code = "PAYLOAD_TOO_LARGE" if error.too_large else "VALIDATION"
    told = {"code": code, "message": str(error), "fields": msgspec.to_builtins(error.faults)}
    return JSONResponse({"error": told}, status_code=413 if error.too_large else 400, headers=HEADERS)
