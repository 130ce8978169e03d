"""Replay on the gateway's page: what a recorded verdict stood on, and what would have been said otherwise.

    GET  /api/verdicts/{id}      the verdict, what judged it, and what can be changed in a what-if
    POST /api/replay             {"verdict": id, "overrides"?: {name: value}, "rules"?: text or up to five}
    POST /api/replay/batch       {"rules": text, "begin"?, "end"?, "line"?, "decision"?, "ruleset"?, "product"?,
                                  "sample"?, "sampling"?, "seed"?, "memory"?}

It works with the network cut and changes nothing: no fact, no notification, no counter. A verdict of rules alone is
judged in a thread; a model and a batch in a process of their own that gives way to the line, one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.judgment.archive import ArchiveError
from edge.judgment.batch import MOST
from edge.judgment.compare import MOST_VERSIONS
from edge.judgment.evidence import explanation
from edge.judgment.given import NotRepeatableError, values_of
from edge.judgment.names import LineNames
from edge.judgment.whatif import OverrideError
from edge.judgment.wording import LANGUAGES
from edge.page.answers import HEADERS, refused
from edge.replaying import Answer, NoVerdictError, open_replays, rules_of
from edge.store.file import DamagedError, StoreRefusedError
from edge.store.history import HistoryError
from models.rulesets import MAX_BYTES, RulesetError
from sync.facts import Judged

MOST_INPUT: Final = 10 * 1024
"""Bytes of what a what-if changes."""
MOST_BODY: Final = MAX_BYTES + 64 * 1024
BATCH_S: Final = 120.0
"""A batch that takes longer is ended: the line's own work comes first."""
Time = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Rules = Annotated[str, Field(min_length=1, max_length=MAX_BYTES)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReplayAsked(_Asked):
    """One verdict judged again."""

    verdict: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    overrides: dict[str, float | str | bool | None] = {}
    rules: Rules | Annotated[list[Rules], Field(max_length=MOST_VERSIONS)] = []


class BatchAsked(_Asked):
    """Many verdicts with other rules. Times in ns."""

    rules: Rules
    begin: Time | None = None
    end: Time | None = None
    line: Text | None = None
    decision: Literal["normal", "warning", "critical", "unknown"] | None = None
    ruleset: Text | None = None
    product: Text | None = None
    sample: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """So many, replayed whole; left out: all of them, in columns."""
    sampling: Literal["random", "stratified", "sequential"] = "random"
    seed: int = 0
    memory: Literal["recorded", "continuous"] = "continuous"


class BadRequestError(Exception):
    """A request that cannot be answered; `response` says why."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def replay_routes(data: Path) -> list[Route]:
    """Give the page's routes about replay. data: the gateway's data folder."""
    one_batch = asyncio.Lock()
    few = asyncio.Semaphore(2)
    """Threads at once."""

    async def verdict(request: Request) -> Response:
        verdict_id = str(request.path_params["id"])
        async with few:
            return await asyncio.to_thread(_answering, lambda: _shown(data, verdict_id))

    async def again(request: Request) -> Response:
        try:
            asked = ReplayAsked.model_validate(await _body(request))
        except ValidationError as error:
            return _invalid(_fields(error))
        except BadRequestError as error:
            return error.response
        if len(msgspec.json.encode(asked.overrides)) > MOST_INPUT:
            return refused(413, "TOO_LARGE", f"overrides of more than {MOST_INPUT} bytes")
        texts = [asked.rules] if isinstance(asked.rules, str) else asked.rules
        async with few:
            answer = await asyncio.to_thread(_answering, lambda: _judged_again(data, asked, texts))
        if answer is not _MODEL:
            return answer
        async with one_batch:
            return await _child(data, ["verdict", asked.verdict, *_set(asked.overrides)], texts)

    async def batch(request: Request) -> Response:
        try:
            asked = BatchAsked.model_validate(await _body(request))
        except ValidationError as error:
            return _invalid(_fields(error))
        except BadRequestError as error:
            return error.response
        if one_batch.locked():
            return refused(429, "TOO_MANY_REQUESTS", "another batch runs; wait for it")
        words: list[str] = []
        for name in ("line", "decision", "ruleset", "product", "sample", "sampling", "seed", "memory"):
            value = getattr(asked, name)
            if value is not None:
                words.append(f"--{name}={value}")
        words += [
            f"--{name}={value}ns" for name, value in (("from", asked.begin), ("to", asked.end)) if value is not None
        ]
        async with one_batch:
            return await _child(data, ["batch", *words], [asked.rules])

    return [
        Route("/api/verdicts/{id:str}", verdict),
        Route("/api/replay", again, methods=["POST"]),
        Route("/api/replay/batch", batch, methods=["POST"]),
    ]


_MODEL: Final = Response()
"""Stands for: this one needs its model, which never runs in the gateway's own process."""


def _answering(answer: Any) -> Response:
    """Give the answer, or how it was refused. Runs in a thread."""
    try:
        return answer()
    except NoVerdictError as error:
        return refused(404, "NOT_FOUND", str(error))
    except OverrideError as error:
        return _invalid([{"field": f"overrides.{fault.field}", "message": fault.message} for fault in error.faults])
    except RulesetError as error:
        return _invalid([{"field": "rules", "message": str(fault)} for fault in error.faults])
    except NotRepeatableError as error:
        return refused(409, "NOT_REPEATABLE", str(error))
    except ArchiveError as error:
        return refused(409, "NOT_AT_HAND", str(error))
    except (HistoryError, StoreRefusedError, DamagedError) as error:
        return refused(503, "SERVICE_UNAVAILABLE", str(error))


def _judged_again(data: Path, asked: ReplayAsked, texts: Sequence[str]) -> Response:
    with open_replays(data, own=True) as replays:
        if replays.verdict(asked.verdict).ml is not None:
            return _MODEL
        answer: Answer = replays.answered(asked.verdict, asked.overrides, [rules_of(text) for text in texts])
    return _json(msgspec.json.encode(answer))


def _shown(data: Path, verdict_id: str) -> Response:
    with open_replays(data, own=True) as replays:
        fact = replays.verdict(verdict_id)
        names: LineNames | None
        try:
            ruleset, names = replays.original(fact)
            kept: Any = msgspec.json.decode(ruleset.document)
            why = ""
        except ArchiveError as error:
            kept, names, why = None, None, str(error)
    told = {
        "verdict": fact,
        "explanation": {language: explanation(fact, language) for language in LANGUAGES},
        "rules": kept,
        "rules_missing": why,
        "changeable": _changeable(fact, names),
    }
    return _json(msgspec.json.encode(told))


def _changeable(fact: Judged, names: LineNames | None) -> list[dict[str, Any]]:
    """Give what a what-if may change: every input the verdict stood on, with its type, unit and range."""
    environment = None if names is None else names.environment()
    found: list[dict[str, Any]] = []
    for name, value in values_of(fact.inputs).items():
        tag = name.partition(".")[0]
        found.append(
            {
                "name": name,
                "value": value,
                "type": None if environment is None else environment.type_of(name),
                "unit": None if names is None else names.units.get(tag),
                "range": None if names is None else names.ranges.get(tag),
                "why": fact.inputs.get(f"why:{name}"),
            }
        )
    features = {} if fact.ml is None else fact.ml.features
    found += [{"name": f"feature.{name}", "value": value, "type": "double"} for name, value in features.items()]
    return found


def _set(overrides: Mapping[str, float | str | bool | None]) -> list[str]:
    """Give overrides as words of the command line, which reads them by the types of their names."""
    return [
        f"--set={name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in overrides.items()
    ]


async def _child(data: Path, words: Sequence[str], rules: Sequence[str]) -> Response:
    """Let `triflow replay` answer: another process, at the lowest priority, for a bounded time."""
    with tempfile.TemporaryDirectory(prefix="triflow-replay-") as folder:
        files: list[str] = []
        for number, text in enumerate(rules):
            file = Path(folder) / f"rules-{number}.toml"
            await asyncio.to_thread(file.write_text, text, "utf-8")
            files.append(f"--rules={file}")
        process = await asyncio.create_subprocess_exec(
            "nice", "-n", "19", sys.executable, "-m", "edge.commands.replay", *words, *files,
            f"--site={data}", "--json", "--language=en",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        try:
            async with asyncio.timeout(BATCH_S):
                said, fault = await process.communicate()
        except TimeoutError:
            return refused(503, "SERVICE_UNAVAILABLE", f"not done within {BATCH_S:g} s; ask for fewer verdicts")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    if process.returncode in {0, 1} and said:
        return _json(said)
    why = fault.decode(errors="replace").strip() or f"ended with {process.returncode}"
    return _invalid([{"field": "rules" if "rules-" in why else "", "message": line} for line in why.splitlines()])


async def _body(request: Request) -> object:
    """Give a request's JSON, bounded."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise BadRequestError(refused(415, "VALIDATION", "send JSON (Content-Type: application/json)"))
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MOST_BODY:
            raise BadRequestError(refused(413, "TOO_LARGE", f"more than {MOST_BODY} bytes"))
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(refused(400, "VALIDATION", f"no JSON: {error}")) from error


def _fields(error: ValidationError) -> list[dict[str, str]]:
    return [
        {"field": ".".join(str(part) for part in detail["loc"]), "message": detail["msg"]}
        for detail in error.errors(include_url=False, include_input=False)
    ]


def _invalid(fields: list[dict[str, str]]) -> Response:
    """Say all that is wrong with a request at once."""
    told = {"code": "VALIDATION", "message": f"{len(fields)} field(s) cannot be used", "fields": fields}
    return JSONResponse({"error": told}, status_code=422, headers=HEADERS)


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json", headers=HEADERS)
