"""What the API answers, as OpenAPI tells it. Times are ISO 8601 in UTC with Z; ratios are 0 to 1."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """An object of an answer; nothing beyond its fields."""

    model_config = ConfigDict(extra="forbid")


class ShiftNow(Answer):
    """A shift instance."""

    code: str
    business_date: str
    start: str
    end: str


class OeeNow(Answer):
    """OEE and its parts; `reason` says why there is none."""

    oee: float | None
    availability: float | None
    effectiveness: float | None
    quality_ratio: float | None
    reason: Literal["no_states", "no_plan", "no_shift", "unknown_state", "no_ideal_cycle"] | None
    implausible: bool
    """Effectiveness above 1: the ideal cycle is wrong, most likely."""
    pending_buckets: int


class Output(Answer):
    """Pieces of the shift so far; the plan is what the job orders ask for, spread evenly over their time."""

    produced: int
    good: int
    scrap: int
    planned_now: int | None
    planned_shift: int | None


class LineVerdict(Answer):
    """The newest verdict of a line."""

    work_unit: str
    verdict_id: str
    at: str
    decision: str
    severity: str
    confidence: float
    summary: dict[str, str]


class TimelineSegment(Answer):
    """A stretch in one state."""

    state: str
    reason: str | None
    time_element: str
    start: str
    end: str


class Line(Answer):
    """One work unit now."""

    key: str
    """What to ask for it by: its path, or `site:path` where several sites have the same."""
    work_unit: str
    site: str
    area: str
    work_center: str
    name: dict[str, str]
    gateway: str | None
    state: str
    state_since: str | None
    reason: str | None
    time_element: str
    order: str | None
    product: str | None
    lot: str | None
    context_stale: bool
    shift: ShiftNow | None
    oee: OeeNow
    output: Output
    verdict: LineVerdict | None
    alarms_active: int
    data_at: str | None
    data_age_s: float | None
    timeline: list[TimelineSegment]
    """The present shift until now."""


class AlarmFields(Answer):
    """What every alarm has."""

    alarm: str
    site: str
    work_unit: str
    severity: str
    summary: dict[str, str]
    verdict_id: str | None


class ActiveAlarm(AlarmFields):
    """An alarm that is active."""

    since: str


class Verdict(Answer):
    """A verdict in a list."""

    verdict_id: str
    site: str
    work_unit: str
    start: str
    at: str
    decision: str
    severity: str
    confidence: float
    ruleset: str
    summary: dict[str, str]


class GatewayHealth(Answer):
    """A gateway as it last told."""

    id: str
    site: str
    online: bool
    state: Literal["connected", "offline", "never"]
    last_seen: str | None
    waiting: int
    waiting_bytes: int
    oldest_age_s: float | None
    autonomy_hours: float | None
    data_age_s: float | None
    disk_free_bytes: int | None
    sources: dict[str, str]
    clock_offset_ms: int | None
    software: str
    conflicts: int
    page: str | None


class LossCount(Answer):
    """Records lost for one reason."""

    reason: str
    count: int


class Proof(Answer):
    """produced = stored + waiting + lost, or by how much not."""

    gateway: str
    site: str
    produced: int
    stored: int
    waiting: int
    lost: int
    balanced: bool
    losses: list[LossCount]
    as_of: str | None


class Link(Answer):
    """The demo's switch."""

    controllable: bool
    cut: bool | None


class Overview(Answer):
    """The hall at a glance."""

    as_of: str
    lines: list[Line]
    alarms: list[ActiveAlarm]
    verdicts: list[Verdict]
    gateways: list[GatewayHealth]
    proof: list[Proof]
    link: Link


class VerdictDetail(Verdict):
    """A verdict whole: the fact as it came, and where it stands."""

    gateway: str
    policy: str
    source: str
    ruleset_version: str
    ruleset_hash: str
    matched: list[str]
    checks: list[dict[str, Any]]
    inputs: dict[str, float | str | bool | None]
    components: dict[str, float]
    actions: list[dict[str, str]]
    needs_human: bool
    context: dict[str, Any]
    record: str
    """Identity of the fact: incarnation/stream/seq."""
    status: str | None
    policy_used: str
    cached: bool
    """It came from the gateway's memory of answers."""
    form: int
    repeatable: bool
    """Whether the record keeps all it stood on, so that it can be judged again."""
    state: str
    """PackML name at the end of the window."""
    rule_result: dict[str, Any]
    ml_result: dict[str, Any] | None
    ml: dict[str, Any] | None
    """The model's part as recorded, with features and contributions."""
    explanation: dict[str, Any]
    evidence: dict[str, Any]
    feature_importance: dict[str, float]
    recommended_actions: list[dict[str, Any]]
    executed_at: str
    given: list[dict[str, Any]]
    """Input by input: name, value, unit, why it has none, what is wrong with its tag."""
    feedback: list[dict[str, Any]]
    """What people say of it now; `state` recorded, or that of the command which waits for the gateway."""
    acted: list[dict[str, Any]]
    """Actions decided because of it, with answers and ends."""


class AlarmChange(AlarmFields):
    """An alarm that came or went."""

    at: str
    active: bool


class FactRow(Answer):
    """A fact as it came."""

    site: str
    gateway: str
    inc: str
    stream: int
    seq: int
    kind: str
    work_unit: str
    at: str
    body: dict[str, Any]


class Page(Answer):
    """Which part of how many."""

    page: int
    page_size: int
    total: int
    """Exact."""


class VerdictPage(Page):
    """Verdicts, newest first."""

    items: list[Verdict]


class AlarmPage(Page):
    """Alarm changes, newest first."""

    items: list[AlarmChange]


class FactPage(Page):
    """Facts, newest first."""

    items: list[FactRow]


class Gateways(Answer):
    """All gateways."""

    as_of: str
    gateways: list[GatewayHealth]


class Problem(Answer):
    """What went wrong."""

    code: str
    message: str
    check: str
    """What to check."""
    fields: list[FieldFault] = []
    """Every field of the request that cannot be used, where that is what is wrong."""


class FieldFault(Answer):
    """One field that cannot be used."""

    field: str
    message: str
    nearest: str = ""
    """What was meant, perhaps."""


class ProblemAnswer(Answer):
    """Any answer that is not 2xx."""

    error: Problem


class LinkOrder(BaseModel):
    """Cut the link between gateways and broker, or heal it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    cut: bool


class Health(Answer):
    """Whether the process lives."""

    status: Literal["ok"]


class Readiness(Answer):
    """Whether it can serve: the database answers; the broker may be away."""

    ready: bool
    database: str
    broker: str
