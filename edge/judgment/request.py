"""A judgment that somebody asks for, with inputs of his own: read whole, every fault named, and judged like a window.

A number given for a tag is the value it had throughout a window, so that its statistics have it too; `oil.max` says one
of them apart. There is no memory: a check that waits for its delay says nothing yet. Nothing is recorded.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any, Final, cast

import msgspec

from edge.judgment.names import LineNames
from models.expression_checker import Environment, Value, ValueType
from models.policy import POLICIES, Policy
from models.ruleset import Ruleset
from models.ruleset_inputs import tag_of
from models.window import TagWindow, Window
from sync.facts import Context

MAX_INPUT_BYTES: Final = 10 * 1024
MAX_TEXT: Final = 200
TTL_S: Final = 300.0
"""For which an answer may be given again where neither the ruleset nor the request says so."""
NS_PER_S: Final = 1e9
GIVEN: Final = ("", "last", "first", "mean", "min", "max", "stddev")
"""Parts of a tag that a request may say."""
CONTEXT: Final = ("order", "product", "lot", "shift")
_WANTED: Final[dict[ValueType, str]] = {
    "double": "a finite number", "int": "a whole number", "bool": "true or false", "string": "a text",
}  # fmt: skip


class RequestFault(msgspec.Struct, frozen=True):
    """One thing wrong with a request."""

    field: str
    message: str


class RequestError(ValueError):
    """A request that cannot be judged; `faults` names every field that is wrong."""

    def __init__(self, faults: list[RequestFault], *, too_large: bool = False) -> None:
        self.faults = tuple(faults)
        self.too_large = too_large
        super().__init__("\n".join(f"{fault.field}: {fault.message}" for fault in faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request asks for; its inputs are not yet held against a line."""

    ruleset: str | None
    line: str | None
    inputs: dict[str, Any]
    context: Context
    policy: Policy | None
    language: str
    need_explanation: bool
    need_evidence: bool
    need_feature_importance: bool
    cache_enabled: bool
    cache_ttl_s: float | None
    timeout_ms: int


def read_request(body: bytes) -> Wanted:
    """Read a request's JSON. Raises RequestError with every field that is wrong."""
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError([RequestFault("", f"is no JSON: {error}")]) from error
    if not isinstance(document, dict):
        raise RequestError([RequestFault("", "must be an object with input_data")])
    return _Reading(cast("dict[str, Any]", document)).wanted()


class _Reading:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._faults: list[RequestFault] = []
        self._too_large = False

    def wanted(self) -> Wanted:
        for name in self._document.keys() - _KNOWN:
            self._blame(str(name)[:MAX_TEXT], f"is unknown; {_nearest(name, _KNOWN)}")
        policy = self._text("policy")
        if policy is not None and policy not in POLICIES:
            self._blame("policy", f"{policy!r} is no policy; there are {', '.join(POLICIES)}")
        wanted = Wanted(
            ruleset=self._text("ruleset_id") or self._text("workflow_id"),
            line=self._text("line_code"),
            inputs=self._inputs(),
            context=self._context(),
            policy=cast("Policy | None", policy),
            language=self._text("language") or "en",
            need_explanation=self._flag("need_explanation"),
            need_evidence=self._flag("need_evidence"),
            need_feature_importance=self._flag("need_feature_importance"),
            cache_enabled=self._flag("cache_enabled"),
            cache_ttl_s=self._number("cache_ttl_sec", 0, 86_400),
            timeout_ms=round(self._number("timeout_ms", 1, 30_000) or 30_000),
        )
        if self._faults:
            order = {name: place for place, name in enumerate(_KNOWN)}
            faults = sorted(self._faults, key=lambda fault: (order.get(fault.field.partition(".")[0], 99), fault.field))
            raise RequestError(faults, too_large=self._too_large)
        return wanted

    def _blame(self, field: str, message: str) -> None:
        self._faults.append(RequestFault(field, message))

    def _text(self, name: str) -> str | None:
        value = self._document.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
            self._blame(name, f"must be a text of 1 to {MAX_TEXT} characters")
            return None
        return value

    def _flag(self, name: str) -> bool:
        value = self._document.get(name, True)
        if not isinstance(value, bool):
            self._blame(name, "must be true or false")
            return True
        return value

    def _number(self, name: str, low: float, high: float) -> float | None:
        value = self._document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self._blame(name, f"must be a number from {low:g} to {high:g}")
            return None
        return float(value)

    def _inputs(self) -> dict[str, Any]:
        data = self._document.get("input_data")
        if not isinstance(data, dict):
            self._blame("input_data", "must be an object: name of a tag or count → value")
            return {}
        size = len(msgspec.json.encode(data))
        if size > MAX_INPUT_BYTES:
            self._blame("input_data", f"is {size} bytes; at most {MAX_INPUT_BYTES} are judged")
            self._too_large = True
            return {}
        flat: dict[str, Any] = {}
        for name, value in cast("dict[str, Any]", data).items():
            if isinstance(value, dict):  # {"counts": {"produced": 100}} is counts.produced
                flat |= {f"{name}.{part}": inner for part, inner in cast("dict[str, Any]", value).items()}
            else:
                flat[name] = value
        return flat

    def _context(self) -> Context:
        given = self._document.get("context")
        if given is None:
            return Context()
        if not isinstance(given, dict):
            self._blame("context", f"must be an object with {', '.join(CONTEXT)}")
            return Context()
        told: dict[str, str] = {}
        for name, value in cast("dict[str, Any]", given).items():
            if name not in CONTEXT:
                self._blame(f"context.{name}"[:MAX_TEXT], f"is unknown; {_nearest(name, CONTEXT)}")
            elif value is not None and (not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT):
                self._blame(f"context.{name}", f"must be a text of 1 to {MAX_TEXT} characters")
            elif value is not None:
                told[name] = value
        return Context(
            order=told.get("order"), product=told.get("product"), lot=told.get("lot"), shift=told.get("shift")
        )


_KNOWN: Final = (
    "ruleset_id", "workflow_id", "line_code", "input_data", "context", "policy", "language", "need_explanation",
    "need_evidence", "need_feature_importance", "cache_enabled", "cache_ttl_sec", "timeout_ms",
)  # fmt: skip


def under(ruleset: Ruleset, policy: Policy | None) -> Ruleset:
    """Give a ruleset under the policy a request asks for; with a hash of its own, as it is another ruleset then."""
    if policy is None or policy == ruleset.policy:
        return ruleset
    settings = replace(ruleset.settings, policy=policy)
    content = msgspec.json.encode([ruleset.hash, astuple(settings)])
    return replace(ruleset, policy=policy, settings=settings, hash=hashlib.sha256(content).hexdigest())


def window_of(wanted: Wanted, names: LineNames, *, at: int, window_ns: int) -> Window:
    """Give the window that a request speaks of. Raises RequestError with every input that fits no name of the line.

    at: its end, ns. A required tag that is not given is there without a value, so that nothing is judged without it. One
    that is hidden by what `state` or `reason` mean is there: the request says these by themselves.
    """
    environment = names.environment()
    faults = [
        RequestFault(f"input_data.{name}"[:MAX_TEXT], message)
        for name, value in wanted.inputs.items()
        if (message := _misfit(name, value, environment)) is not None
    ]
    if faults:
        raise RequestError(sorted(faults, key=lambda fault: fault.field))
    given: dict[str, dict[str, Value | None]] = {
        name: {} if tag_of(name) is not None else {"last": 1.0} for name in names.required
    }
    counts: dict[str, int] = {}
    fixed: dict[str, Any] = {}
    for name, value in wanted.inputs.items():
        head, _, part = name.partition(".")
        if (tag := tag_of(name)) is not None:
            given.setdefault(tag, {})[part or "last"] = value
        elif head == "counts":
            if value is not None:
                counts[part] = int(value)
        else:
            fixed[name] = value
    context = {name: fixed[f"context.{name}"] for name in CONTEXT if fixed.get(f"context.{name}") is not None}
    return Window(
        work_unit=names.work_unit,
        start=at - window_ns,
        end=at,
        tags={tag: _tag(tag, parts, names) for tag, parts in given.items()},
        state=fixed.get("state") or "EXECUTE",
        reason=fixed.get("reason"),
        context=msgspec.structs.replace(wanted.context, **context),
        counts=counts,
    )


def _misfit(name: str, value: Any, environment: Environment) -> str | None:
    kind = environment.type_of(name)
    head, _, part = name.partition(".")
    if kind is None or (tag_of(name) is None and head == "window") or name == "context.stale":
        return f"is no input of this line; {_nearest(name, list(environment.types))}"
    if tag_of(name) is not None and part not in GIVEN:
        return f"follows from what was measured; give {', '.join(f'{head}.{one}' for one in GIVEN[1:])}"
    if value is None:
        return None
    if head == "counts":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2**53 or value % 1:
            return "must be a whole number from 0"
        return None
    fits = {
        "string": isinstance(value, str) and len(value) <= MAX_TEXT,
        "bool": isinstance(value, bool),
    }.get(kind, isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max)
    return None if fits else f"must be {_WANTED[kind]}"


def _tag(name: str, parts: Mapping[str, Value | None], names: LineNames) -> TagWindow:
    """Give a tag that had one value throughout the window, but for what was said apart."""
    base = parts.get("last", parts.get("mean", next(iter(parts.values()), None)))
    plain = base if base is None or isinstance(base, str) else float(base)
    number = None if isinstance(plain, str) else plain
    told = {part: value if value is None or isinstance(value, str) else float(value) for part, value in parts.items()}
    low, high = names.ranges.get(name, (None, None))
    numbers = cast("dict[str, float | None]", told)
    return TagWindow(
        name=name,
        unit=names.units.get(name),
        last=told.get("last", plain),
        first=told.get("first", plain),
        mean=numbers.get("mean", number),
        min=numbers.get("min", number),
        max=numbers.get("max", number),
        stddev=numbers.get("stddev", None if number is None else 0.0),
        count=0 if plain is None else 1,
        bad=0,
        status=0,
        age_ns=0,
        low=low,
        high=high,
        max_age_ns=round(60 * NS_PER_S),
        required=name in names.required,
    )


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(str(name), [str(one) for one in known], 1, 0.5)
    some = ", ".join(list(known)[:12])
    return f"nearest is {near[0]}" if near else f"there are {some}"
