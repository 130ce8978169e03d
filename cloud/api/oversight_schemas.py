"""What the answers about the ledger, alerts and the audit log look like, as OpenAPI tells it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cloud.api.schemas import Answer, LossCount, Page, Proof

HourState = Literal["complete", "lost", "arriving", "unaccounted", "unknown", "running", "empty", "before"]


class Terms(Answer):
    """Where records are: produced = stored + waiting + lost + unaccounted."""

    produced: int
    stored: int
    waiting: int
    lost: int
    unaccounted: int
    losses: list[LossCount]


class StreamTerms(Terms):
    """The same for one stream."""

    stream: int


class HourAnswer(Terms):
    """One hour (UTC) of one gateway."""

    start: str
    state: HourState
    unknown: int
    """Records of this hour or of hours beside it which no tally tells apart yet."""
    streams: list[StreamTerms]


class GatewayHoursAnswer(Answer):
    """One gateway's hours, oldest first."""

    gateway: str
    site: str
    heard: str | None
    """When it last said what it holds."""
    total: Terms
    """Of the hours below."""
    not_safe: int
    """Records that are stored and in no verified backup yet."""
    hours: list[HourAnswer]


class HoursAnswer(Answer):
    """All gateways' hours."""

    as_of: str
    start: str
    end: str
    gateways: list[GatewayHoursAnswer]


class GapAnswer(Answer):
    """A silence of a source that is known to be one."""

    source: str
    start: str
    end: str
    tags: int
    reason: str
    filled: bool
    """Whether the machine's own history gave it back."""


class LineAnswer(Terms):
    """Whether a line's period is complete; None while nobody can say."""

    as_of: str
    work_unit: str
    site: str
    gateway: str | None
    start: str
    end: str
    complete: bool | None
    state: Literal["complete", "lost", "arriving", "unaccounted", "unknown", "running", "empty", "before", "gap"]
    unknown: int
    gaps: list[GapAnswer]
    sentence: dict[str, str]


Seq = Annotated[int, Field(ge=1, lt=2**62)]


class RequestOrder(BaseModel):
    """Ask a gateway again: for a range of one stream, or for what is missing in the hours from `from` to `to`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    gateway: str
    site: str | None = None
    inc: str | None = None
    stream: Annotated[int, Field(ge=1, le=255)] | None = None
    first: Seq | None = None
    last: Seq | None = None
    start: Annotated[str | None, Field(alias="from", description="ISO 8601")] = None
    end: Annotated[str | None, Field(alias="to", description="ISO 8601")] = None
    by: Annotated[str, Field(max_length=100)] = ""

    @model_validator(mode="after")
    def _one_way(self) -> RequestOrder:
        ranged = [self.inc, self.stream, self.first, self.last]
        timed = [self.start, self.end]
        if self.inc is not None and None not in ranged and timed == [None, None]:
            return self
        if None not in timed and self.inc is None and self.first is None and self.last is None:
            return self
        raise ValueError("give either inc, stream, first and last, or from and to (and a stream, if only one)")


class RangeAnswer(Answer):
    """Records of one stream."""

    inc: str
    stream: int
    first: int
    last: int


class Requested(Answer):
    """What is asked for now."""

    as_of: str
    asked: int
    """Ranges that were not asked for already."""
    records: int
    ranges: list[RangeAnswer]


class AlertAnswer(Answer):
    """Something a person has to know."""

    id: int
    site: str
    gateway: str
    """Empty for what concerns the cloud itself."""
    kind: Literal["unaccounted", "conflict", "chain", "mart_mismatch", "lost", "autonomy", "backup", "silent", "clock"]
    severity: Literal["critical", "warning"]
    detail: dict[str, Any]
    raised: str
    cleared: str | None


class Alerts(Answer):
    """What is raised now, the most urgent first."""

    as_of: str
    items: list[AlertAnswer]


class AlertPage(Page):
    """All alerts there ever were, newest first."""

    items: list[AlertAnswer]


class AuditItem(Answer):
    """One record of the audit log; `gateway/ord/stream/seq` names it."""

    at: str | None
    """By the gateway's clock."""
    site: str
    gateway: str
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    previous: str
    """Hex SHA-256 of the record before."""
    inc: str
    ord: int
    stream: int
    seq: int
    received: str | None
    """When the cloud stored it."""


class AuditPage(Answer):
    """One page of the audit log, newest first."""

    items: list[AuditItem]
    total: int
    page: int
    page_size: int
    total_pages: int
    has_next: bool


class AuditStats(Answer):
    """How many records, and how they are made up; the most frequent 50 of each."""

    total: int
    actors: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    targets: list[dict[str, Any]]
    gateways: list[dict[str, Any]]


class StreamAccount(Answer):
    """The account of one stream of one incarnation."""

    inc: str
    ord: int
    closed: bool
    stream: int
    watermark: int
    produced: int
    stored: int
    waiting: int
    lost: int
    missing: int
    losses: list[LossCount]
    counted: int | None
    """Rows counted one by one, when asked for with `count=true`."""


class GatewayCompleteness(Proof):
    """A gateway's account, part by part."""

    streams: list[StreamAccount]


class Completeness(Answer):
    """All accounts."""

    as_of: str
    gateways: list[GatewayCompleteness]
