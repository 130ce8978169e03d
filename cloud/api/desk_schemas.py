"""What the answers about alerts, watches, reports and letters look like, as OpenAPI tells it; and the orders they take."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cloud.alerting.rows import Against, Severity, Watched
from cloud.alerting.states import Side
from cloud.api.schemas import Answer, Page
from cloud.outgoing.config import Language, Reader

By = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AckOrder(_Order):
    """Who has seen an alert."""

    by: By
    note: Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")] = ""


class SilenceOrder(_Order):
    """For how long an alert tells nobody."""

    by: By
    minutes: Annotated[int, Field(ge=1, le=7 * 1440)]


class WatchOrder(_Order):
    """A watch: which figure, where, and when it is trouble."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    metric: Annotated[str, Field(min_length=1, max_length=64)]
    site: Annotated[str, Field(max_length=64)] = ""
    work_unit: Annotated[str, Field(max_length=200)] = ""
    """Empty: the whole site."""
    period: Watched = "this_shift"
    against: Against = "value"
    side: Side
    level: Number | None = None
    """In the metric's unit (ratios 0 to 1), with against = value."""
    margin: Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)] = 0.0
    """How far beyond the level it has recovered."""
    for_s: Annotated[int, Field(ge=0, le=86_400)] = 300
    min_pieces: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    min_minutes: Annotated[int, Field(ge=0, le=100_000)] = 0
    in_shift: bool = True
    severity: Severity = "warning"
    readers: Annotated[tuple[Reader, ...], Field(max_length=50)] = ()
    language: Language | Literal[""] = ""
    enabled: bool = True
    by: By


class WatchChange(WatchOrder):
    """A watch as it is to be."""

    changed: AwareDatetime | None = None
    """`changed` of the watch as it was read: where somebody changed it since, the answer is 409 and nothing happens."""


class ReportOrder(_Order):
    """Which shift or week to report."""

    kind: Literal["shift", "week"]
    site: Annotated[str, Field(max_length=64)] = ""
    business_date: date
    """Of a week its Monday."""
    shift: Annotated[str, Field(max_length=16)] = ""
    language: Language = "ko"
    by: By


class AlertItem(Answer):
    """Something a person has to know, and what was said about it."""

    id: int
    site: str
    gateway: str
    work_unit: str
    watch: int | None
    kind: str
    severity: str
    detail: dict[str, Any]
    raised: str
    cleared: str | None
    acknowledged: str | None
    acknowledged_by: str
    note: str
    silent_until: str | None
    told: str | None
    tellings: int
    escalated_min: int
    """The last step of [[escalation]] it took; 0: none."""


class AlertList(Page):
    """One page of alerts."""

    as_of: str
    items: list[AlertItem]


class WatchItem(Answer):
    """A watch and how it stands."""

    id: int
    site: str
    work_unit: str
    name: str
    metric: str
    unit: str
    period: str
    against: str
    side: str
    level: float | None
    margin: float
    recovery: float | None
    for_s: int
    min_pieces: int
    min_minutes: int
    in_shift: bool
    severity: str
    readers: list[str]
    language: str
    enabled: bool
    silent_until: str | None
    changed: str
    changed_by: str
    standing: dict[str, Any] | None


class WatchList(Answer):
    """Every watch."""

    as_of: str
    items: list[WatchItem]


class Removed(Answer):
    """What is gone."""

    removed: int


class ReportItem(Answer):
    """A report that is kept."""

    id: int
    site: str
    kind: str
    business_date: str
    shift: str
    language: str
    version: int
    schedule: str
    start: str
    end: str
    as_of: str
    made: str
    made_by: str
    digest: str
    restated: int


class ReportMade(ReportItem):
    """A report that was asked for; `again`: the same figures were there."""

    again: bool


class ReportList(Page):
    """One page of reports."""

    as_of: str
    items: list[ReportItem]


class ReportWhole(ReportItem):
    """A report with its data."""

    report: dict[str, Any]


class LetterItem(Answer):
    """A letter and what became of it for each reader."""

    id: int
    name: str
    channel: str
    cause: str
    subject: str
    queued: str
    attempts: int
    next: str | None
    ended: str | None
    readers: list[dict[str, Any]]


class LetterList(Page):
    """One page of letters."""

    as_of: str
    items: list[LetterItem]
