"""What the API answers and takes about facts and figures, as OpenAPI tells it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.api.schemas import Answer, Page


class MartStatus(Answer):
    """One mart: how fresh it is, and what its last refresh took."""

    name: str
    kind: Literal["mart", "view"]
    status: Literal["fresh", "pending", "failed", "empty"]
    refreshed: str | None
    duration_ms: float | None
    """Of its newest bucket."""
    rows: int
    refreshes: int
    version: int
    pending: int
    """Buckets that should have been recomputed by now."""
    oldest_due: str | None
    error: str


class MvStatus(Answer):
    """Every mart, and the five mv_ tables."""

    as_of: str
    items: list[MartStatus]


class IngestLag(Answer):
    """How far a gateway's newest data is behind the clock."""

    site: str
    gateway: str
    last_seen: str | None
    data_at: str | None
    waiting: int
    lag_s: float | None


class RuleCount(Answer):
    """What one rule found."""

    code: str
    severity: Literal["info", "warning", "error", "critical"]
    title: dict[str, str]
    open: int
    held: int
    total: int


class LetterCounts(Answer):
    """Dead letters and warnings, counted."""

    open: int
    held: int
    released: int
    total: int
    by_rule: list[RuleCount]


class Mismatch(Answer):
    """A figure that is not what its records come to."""

    id: int
    site: str
    work_unit: str
    mart: str
    start: str
    row: str
    measure: str
    stored: str | None
    """JSON of the value; null where there is no such row."""
    recomputed: str | None
    found: str
    last: str
    mended: str | None


class AuditorStatus(Answer):
    """What the auditor looked at."""

    checked: int
    differing: int
    last: str | None
    last_mismatch: str | None
    mismatches: list[Mismatch]


class JobAnswer(Answer):
    """A restatement or a rebuild."""

    id: int
    kind: Literal["restate", "rebuild"]
    state: Literal["queued", "running", "done", "failed"]
    dry_run: bool
    lines: list[str]
    product: str | None
    ideal_cycle_ms: float | None
    by: str
    why: str
    buckets: int
    done_buckets: int
    changed: int
    """Figures that changed (or would); of a rebuild, buckets that are not what they should be."""
    equal: bool | None
    """Of a rebuild that is done: whether the marts are what their records come to."""
    error: str
    asked: str | None
    started: str | None
    ended: str | None
    start: str | None = Field(alias="from")
    end: str | None = Field(alias="to")


class JobPage(Page):
    """Jobs, newest first."""

    items: list[JobAnswer]


class Figure(Answer):
    """What a restatement changed in one shift of one product."""

    site: str
    work_unit: str
    start: str
    business_date: str
    shift: str
    product: str
    before: dict[str, int]
    after: dict[str, int]
    oee_before: float | None
    oee_after: float | None


class JobDetail(JobAnswer):
    """… with the figures that changed, or would."""

    figures: list[Figure]


class EtlStatus(Answer):
    """How far figures are behind facts."""

    as_of: str
    marts: list[MartStatus]
    pending: int
    oldest_due: str | None
    ingest: list[IngestLag]
    dead_letters: LetterCounts
    auditor: AuditorStatus
    jobs: list[JobAnswer]


class Letter(Answer):
    """A fact that was found fault with, or a chunk that cannot be read."""

    id: str
    kind: str
    code: str
    severity: str
    title: dict[str, str]
    why: dict[str, str]
    held: bool
    """Whether it is out of every figure now."""
    state: Literal["open", "released", "corrected", "passed"]
    site: str
    gateway: str
    work_unit: str
    inc: str
    stream: int
    seq: int
    """The record; of a warning that counts several the newest."""
    rev: int
    count: int
    subject: str
    at: str | None
    recorded: str
    last: str
    settled: str | None
    settled_by: str
    settled_why: str
    detail: dict[str, Any]


class LetterPage(Page):
    """Dead letters and warnings, newest first."""

    items: list[Letter]


class Revision(Answer):
    """What a fact says, or should have said."""

    rev: int
    state: Literal["standing", "superseded", "waiting", "refused"]
    at: str | None
    recorded: str | None
    by: str
    reason: str
    site: str
    retracts: bool
    body: Any
    why: str


class Revisions(Answer):
    """Every revision of a fact, the one it came with first."""

    inc: str
    stream: int
    seq: int
    arrived: bool
    revisions: list[Revision]


class CorrectionDone(Answer):
    """What a correction came to."""

    rev: int
    state: str
    """counts, held, retracted; waiting when the fact has not arrived."""
    new: bool
    buckets: int


class Released(Answer):
    """A held fact counts now."""

    id: str
    state: str
    buckets: int


class Retried(Answer):
    """What the rules of today say of held facts."""

    passed: int
    still_held: int


class DeedAnswer(Answer):
    """Something a person did to data here."""

    id: int
    at: str
    by: str
    action: str
    target: str
    reason: str
    detail: dict[str, Any]


class DeedPage(Page):
    """Deeds, newest first."""

    items: list[DeedAnswer]


class RuleAnswer(Answer):
    """One thing that is asked of facts."""

    code: str
    severity: Literal["info", "warning", "error", "critical"]
    holds: bool
    title: dict[str, str]
    why: dict[str, str]


class Rules(Answer):
    """All of them."""

    items: list[RuleAnswer]


Words = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class Reasoned(BaseModel):
    """Who decides, and why; on record for good."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]
    reason: Words


class CorrectionOrder(Reasoned):
    """A fact is put right, or taken back."""

    replacement: dict[str, Any] | None
    """The whole fact as it should have been, its kind included; null takes it back."""
    rev: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """The number it is to have, one above the newest; none takes the next. The same again changes nothing."""


class RetryOrder(Reasoned):
    """Held facts are looked at again."""

    code: Annotated[str, Field(max_length=100)] | None = None
    """Of one rule only."""


class RestateOrder(Reasoned):
    """Shifts are computed anew."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime, Field(alias="to")]
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    """Where times that say no offset are local (an IANA name)."""
    lines: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=500)] = []
    """Work units; none for all."""
    dry_run: bool = False
    """Only say what would change."""
    product: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    ideal_cycle_ms: Annotated[float, Field(gt=0, lt=1e9)] | None = None
    """With a product: what its pieces of this time are rated by."""
