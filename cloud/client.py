"""A thin client of the cloud's API: `/api/v1` as Python calls.

    with Cloud("http://127.0.0.1:8080") as cloud:
        answer = cloud.ask({"analysis": "TREND", "metrics": ["oee"], "period": {"relative": "last_7_days"}, "grain": "day"})
        for sentence in answer.sentences["en"]:
            print(sentence)
        for verdict in cloud.verdicts(decision="critical"):  # every page, one after the other
            print(verdict["at"], verdict["work_unit"])
        for row in cloud.csv("verdicts", decision="critical"):
            ...

A line is named by its path, or by `site:path` where two sites have the same: `cloud.line("busan:bottling/line-1/filler")`.
Times are aware datetimes, lists are walked page by page, and what the cloud refuses is an `ApiFailure` that says what
was wrong and what to check. Answers are what /openapi.json says they are, as plain dictionaries.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

PAGE_SIZE: Final = 100
NOT_MODIFIED: Final = 304
Json = dict[str, Any]


class ApiFailure(Exception):  # noqa: N818 - a failure that is told, not always an error of the caller
    """The cloud answered that it will not or cannot."""

    def __init__(self, status: int, code: str, message: str, check: str, fields: list[dict[str, str]]) -> None:
        super().__init__(f"{code}: {message} ({check})" if check else f"{code}: {message}")
        self.status, self.code, self.message, self.check, self.fields = status, code, message, check, fields


class UnreachableError(Exception):
    """Nothing answered in time; the same may work later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one plan."""

    data: Json
    """Whole, as /openapi.json describes it."""
    etag: str = ""
    """Give it to `ask` to learn whether anything has changed."""

    @property
    def columns(self) -> list[str]:
        return [column["name"] for column in self.data["columns"]]

    @property
    def rows(self) -> list[Json]:
        """Give the rows by column name; None where there is no figure."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.data["rows"]]

    @property
    def findings(self) -> Json:
        return self.data["findings"]

    @property
    def sentences(self) -> dict[str, list[str]]:
        """Give what it comes to in words, `ko` and `en`."""
        return self.data["sentences"]

    @property
    def refused(self) -> str | None:
        """Give the code of the reason why there is no answer, if there is none."""
        return self.data["refused"]


class Cloud:
    """One cloud, one tenant. Not for several threads at once."""

    def __init__(
        self,
        base: str,
        *,
        tenant: str | None = None,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Take the cloud's address; `tenant` where it has several. transport: another way to the server, for tests."""
        self._tenant = tenant
        self._http = httpx.Client(base_url=f"{base.rstrip('/')}/api/v1/", timeout=timeout_s, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- the plant now ---

    def overview(self) -> Json:
        """Give the hall: lines, alarms, newest verdicts, gateways, and the proof that nothing is lost."""
        return self.get("overview")

    def line(self, work_unit: str, *, start: datetime | None = None, end: datetime | None = None) -> Json:
        """Give one line over a period; the present shift without one."""
        return self.get(f"lines/{quote(work_unit, safe='/')}", start=start, end=end)

    def gateways(self) -> list[Json]:
        return self.get("gateways")["gateways"]

    def completeness(self, *, count: bool = False) -> Json:
        """Account for every record; with `count` every row is counted anew."""
        return self.get("completeness", count=count or None)

    def complete(self, work_unit: str, *, start: datetime, end: datetime) -> Json:
        """Tell whether a period of a line is complete, and if not, why."""
        return self.get("completeness/answer", work_unit=work_unit, start=start, end=end)

    # --- lists, every page ---

    def verdicts(
        self,
        *,
        work_unit: str | None = None,
        decision: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[Json]:
        """Give verdicts, newest first."""
        return self.items("verdicts", work_unit=work_unit, decision=decision, start=start, end=end)

    def verdict(self, verdict_id: str, *, language: str = "en") -> Json:
        """Give one verdict whole."""
        return self.get(f"verdicts/{quote(verdict_id, safe='')}", language=language)

    def alarms(
        self, *, work_unit: str | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> Iterator[Json]:
        """Give alarms as they came and went, newest first."""
        return self.items("alarms", work_unit=work_unit, start=start, end=end)

    def facts(
        self,
        *,
        kind: str | None = None,
        work_unit: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[Json]:
        """Give facts as they came, newest first; readings are not among them."""
        return self.items("facts", kind=kind, work_unit=work_unit, start=start, end=end)

    def alerts(self) -> list[Json]:
        """Give what is raised and not cleared."""
        return self.get("alerts")["items"]

    def audit(self, **selection: Any) -> Iterator[Json]:
        """Give who did what, newest first: actor, action, target, gateway, text, start, end."""
        return self.items("audit", **selection)

    # --- figures ---

    def catalogue(self) -> Json:
        """Give every metric with its definition, and every dimension."""
        return self.get("bi/catalogue")

    def values(self, dimension: str, *, limit: int = 200) -> list[Json]:
        """Give values of a dimension to filter by."""
        return self.get("bi/values", dimension=dimension, limit=limit)["items"]

    def ask(self, plan: Mapping[str, Any], *, language: str = "en", etag: str = "") -> Answer | None:
        """Answer a plan; None when `etag` still holds. language: of the chart's names."""
        if not etag:
            said = self._send("POST", "bi/ask", {"language": language}, json=dict(plan))
            return Answer(said.json(), said.headers.get("etag", ""))
        asked = {"language": language, "plan": json.dumps(dict(plan), separators=(",", ":"))}
        said = self._send("GET", "bi/ask", asked, headers={"If-None-Match": etag})
        return None if said.status_code == NOT_MODIFIED else Answer(said.json(), said.headers["etag"])

    def explain(self, plan: Mapping[str, Any]) -> Json:
        """Say which marts a plan's figures come from, and why."""
        return self._send("POST", "bi/explain", {}, json=dict(plan)).json()

    # --- whatever else there is ---

    def csv(self, what: str, **parameters: Any) -> Iterator[dict[str, str]]:
        """Give a list, or `bi/ask` with a plan, as rows of text by column, streamed."""
        if isinstance(parameters.get("plan"), Mapping):
            parameters["plan"] = json.dumps(parameters["plan"], separators=(",", ":"))
        request = self._http.build_request("GET", f"{what}.csv", params=self._parameters(parameters))
        answer = self._answered(request, stream=True)
        try:
            yield from csv.DictReader(_lines(answer.iter_text()))
        except httpx.TransportError as error:
            raise UnreachableError(f"{request.url}: the answer broke off: {error}") from error
        finally:
            answer.close()

    def items(self, what: str, *, where: str = "items", **parameters: Any) -> Iterator[Json]:
        """Give the items of every page of a list."""
        page = 1
        while True:
            answer = self.get(what, page=page, page_size=PAGE_SIZE, **parameters)
            yield from answer[where]
            if page * PAGE_SIZE >= answer["total"] or not answer[where]:
                return
            page += 1

    def get(self, what: str, **parameters: Any) -> Json:
        """Give any answer below /api/v1. `start` and `end` are datetimes with a zone."""
        return self._send("GET", what, parameters).json()

    def post(self, what: str, order: Mapping[str, Any]) -> Json:
        """Ask for something to be done."""
        return self._send("POST", what, {}, json=dict(order)).json()

    def _send(self, method: str, what: str, parameters: Mapping[str, Any], **more: Any) -> httpx.Response:
        return self._answered(self._http.build_request(method, what, params=self._parameters(parameters), **more))

    def _answered(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            answer = self._http.send(request, stream=stream)
            if not (answer.is_success or answer.status_code == NOT_MODIFIED):
                answer.read()
        except httpx.TransportError as error:
            raise UnreachableError(f"{request.url}: {error or type(error).__name__}; does the cloud run?") from error
        if answer.is_success or answer.status_code == NOT_MODIFIED:
            return answer
        raise _failure(answer)

    def _parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        names = {"start": "from", "end": "to"}
        found: dict[str, Any] = {} if self._tenant is None else {"tenant": self._tenant}
        for name, value in given.items():
            if isinstance(value, datetime):
                if value.tzinfo is None:
                    raise ValueError(
                        f"`{name}` has no time zone: {value.isoformat()}; use datetime.now(UTC) and its like"
                    )
                found[names.get(name, name)] = value.isoformat()
            elif value is not None:
                found[names.get(name, name)] = str(value).lower() if isinstance(value, bool) else value
        return found


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Cut text at line feeds and nowhere else: a cell may hold any other break."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from (f"{line}\n".removeprefix("\ufeff") for line in lines)
    if rest:
        yield rest


def _failure(answer: httpx.Response) -> ApiFailure:
    try:
        error = answer.json()["error"]
        code, message, check = (str(error[name]) for name in ("code", "message", "check"))
        fields: list[dict[str, str]] = error.get("fields", [])
    except (ValueError, KeyError, TypeError):  # a proxy in between, perhaps
        return ApiFailure(answer.status_code, "ERROR", f"HTTP {answer.status_code} of {answer.url}", "", [])
    return ApiFailure(answer.status_code, code, message, check, fields)
