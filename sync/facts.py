"""What goes up: every kind of fact that crosses the wire, and the lane each kind travels on.

A fact is what happened, with the time it happened (`at`, ns since 1970 UTC, the machine's clock where it has one).
Facts are never changed; a correction is a new fact. Fields are only ever added, with a default; unknown fields are
ignored and an unknown kind is kept as it came, so that an old cloud never loses what a new gateway says.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from sync.corrections import Corrected
from sync.fact import Context, Fact, Stream
from sync.judgment import (
    ActionDecided,
    ActionEnded,
    ApprovalAnswered,
    CcpRecorded,
    CommandAnswered,
    DriftMeasured,
    FeedbackGiven,
    ModeChanged,
    ModelChanged,
    RulesetActivated,
    Scored,
    TrustChanged,
)
from sync.operations import (
    InventoryCounted,
    JobOrderPlanned,
    JobResponded,
    LotDefined,
    ProductDefined,
    QualityMeasured,
    ShiftPlanned,
)


class StateChanged(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="state"):
    """The work unit is in `state` (PackML name) from `at` until the next one says otherwise."""

    state: str
    reason: str | None = None
    """Stop reason code of the machine or operator; None while executing or when none was given."""
    status: int = 0
    """OPC UA StatusCode of the state; bad means that nobody could see the machine (state UNDEFINED)."""
    context: Context = Context()


class Produced(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="production"):
    """What the counters gained in [start, at): pieces, never negative; roll-over and reset are already dealt with."""

    start: int
    produced: int
    good: int
    scrap: int = 0
    rework: int = 0
    defects: dict[str, int] = {}
    """Defect type → pieces; sums to at most produced - good."""
    ideal_cycle_ms: float | None = None
    """Planned run time per item (ISO 22400 PRI) of the product in force; None when not known."""
    energy_wh: int | None = None
    context: Context = Context()


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule's part in a verdict: what was looked at, and what it said."""

    name: str
    status: str
    """ok, warning, critical or unknown."""
    value: float | str | bool | None = None
    threshold: float | str | None = None
    unit: str | None = None
    priority: int = 0
    suppressed_by: str | None = None
    """The check that made this one say nothing of its own."""
    path: list[str] = []
    """How it was reached: rows of a table, nodes of a tree, rules of a chart."""


class Judged(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="verdict"):
    """A verdict over a window of one work unit; `verdict_id` = hash(ruleset, window, inputs): the same twice."""

    verdict_id: str
    start: int
    """Begin of the window, ns; `at` is its end."""
    ruleset: str
    ruleset_version: str
    ruleset_hash: str
    decision: str
    """normal, warning, critical or unknown."""
    severity: str
    """info, warning or critical."""
    status: str | None = None
    """Domain word of the deciding finding: HIGH_DEFECT."""
    confidence: float
    policy: str
    source: str
    """rule, ml, hybrid, …, or none when nothing could judge."""
    summary: dict[str, str] = {}
    """Language (ko, en) → two or three sentences."""
    matched: list[str] = []
    checks: list[Check] = []
    inputs: dict[str, float | str | bool | None] = {}
    components: dict[str, float] = {}
    """rule_confidence, match, quality, history …: how the confidence came about."""
    actions: list[dict[str, str]] = []
    """Recommended actions: action_type, priority, ko, en."""
    needs_human: bool = False
    context: Context = Context()
    form: int = 1
    """Which meaning of judging: 1 kept too little to be repeated; from 2 on `inputs` hold all a verdict stood on."""
    state: str = ""
    """PackML name in force at the end of the window."""
    ml: Scored | None = None
    """The model's part; None when no model was asked."""
    evidence: dict[str, Any] = {}
    cached: bool = False


class AlarmChanged(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="alarm"):
    """An alarm became active or went away; `alarm` names it within the work unit."""

    alarm: str
    active: bool
    severity: str
    summary: dict[str, str] = {}
    verdict_id: str | None = None
    source: str = ""
    """Connection whose machine raised it (OPC UA condition); empty for an alarm of ours."""
    acknowledged: bool | None = None
    """Whether somebody took note at the machine; None where nobody can."""


class EventNotified(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="event"):
    """Something happened at a machine and it said so (OPC UA event); `at` is the machine's time of it."""

    source: str
    """Connection."""
    event: str
    """The machine's own id of the event, hex; the same event twice has the same."""
    type: str
    """Browse name of the event type."""
    node: str = ""
    """Name of what it happened to."""
    severity: int
    """1 to 1000, the machine's own."""
    message: str = ""
    fields: dict[str, float | str | bool | None] = {}


class Gap(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="gap"):
    """Nothing was acquired from `source` between `start` and `at`: a silence that is known to be one."""

    source: str
    start: int
    tags: int
    reason: str
    names: list[str] = []
    """Which tags, when it is not all of the work unit; at most 100."""


class Backfilled(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="backfill"):
    """What was missed between `start` and `at` was taken from the machine's own history, for `tags` tags."""

    source: str
    start: int
    tags: int
    readings: int
    """How many readings that gave; they are on the lane of readings, marked historical."""


class ConnectionChanged(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="connection"):
    """A source or the uplink was lost or came back."""

    source: str
    connected: bool
    why: str = ""


class Faulted(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="fault"):
    """A line's pipeline broke on a bug and was started again; the other lines ran on."""

    why: str


class SchemaDrifted(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="schema_drift"):
    """A source offers something else than it did: columns, fields, nodes or registers changed."""

    source: str
    severity: str
    """critical (gone, or of another type), warning or info."""
    changes: list[str]
    """What changed, one short sentence each; at most 50."""
    counts: dict[str, int] = {}
    """Kind of change (column_deleted, type_changed, …) → how many."""


class Aggregated(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="aggregate"):
    """A tag's readings in [start, at), reduced: only good ones count in mean, min and max."""

    tag: str
    start: int
    count: int
    bad: int
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    last: float | None = None


class TagEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tag of a dictionary."""

    id: str
    """`work_unit/tag`, unique on the gateway."""
    unit: str | None = None
    """UNECE code."""
    role: str = "measurement"
    low: float | None = None
    high: float | None = None
    address: str = ""


class TagDictionary(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="dictionary"):
    """The gateway's tags; readings of the same stream and incarnation that follow refer to it by index."""

    version: str
    """First 16 hex digits of the SHA-256 of the entries."""
    tags: list[TagEntry]


class Audited(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="audit"):
    """Who did what to what, and the hash chain that shows nobody changed it later."""

    actor: str
    action: str
    target: str = ""
    detail: dict[str, Any] = {}
    previous: str = ""
    """Hex SHA-256 of the record before (the last of the previous incarnation for the first); empty at genesis."""


class Tallied(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="tally"):
    """Which records of this incarnation were committed in one hour by the gateway's clock.

    The cloud's completeness ledger counts from these ranges. Written when the hour is over, and at an orderly end.
    """

    start: int
    """Begin of the hour, ns; `at` is when the counting ended."""
    inc: str
    lanes: dict[str, tuple[int, int]]
    """Stream number → [first, last], both included."""


class ClockStepped(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="clock_step"):
    """The gateway's wall clock jumped; `at` is the new time.

    What was dated by a clock that had never been set is dated anew in the cloud by `step`; order never depended on it.
    """

    step: int
    """ns added to the wall clock, negative for back."""
    uptime: int
    """ns since the machine started, when it was noticed."""
    was: str
    """synced, free or unset (see `sync.timing`)."""
    sync: str
    """The same, afterwards."""
    incarnations: list[str] = []
    """All of this boot, the present one last: what they dated by a clock that was not set is off by the same step."""


class HealthReported(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="health"):
    """The gateway about itself."""

    values: dict[str, float]


AnyFact = (
    StateChanged
    | Produced
    | Judged
    | AlarmChanged
    | EventNotified
    | Gap
    | Backfilled
    | ConnectionChanged
    | Faulted
    | JobOrderPlanned
    | ProductDefined
    | InventoryCounted
    | LotDefined
    | ShiftPlanned
    | QualityMeasured
    | JobResponded
    | SchemaDrifted
    | Aggregated
    | TagDictionary
    | Audited
    | Tallied
    | ClockStepped
    | FeedbackGiven
    | ActionDecided
    | ApprovalAnswered
    | ActionEnded
    | TrustChanged
    | ModeChanged
    | ModelChanged
    | DriftMeasured
    | CcpRecorded
    | CommandAnswered
    | RulesetActivated
    | HealthReported
    | Corrected
)

STREAM_OF: Final[dict[type[Fact], Stream]] = {
    StateChanged: Stream.EVENT,
    Produced: Stream.EVENT,
    Judged: Stream.EVENT,
    AlarmChanged: Stream.EVENT,
    EventNotified: Stream.EVENT,
    Gap: Stream.EVENT,
    Backfilled: Stream.EVENT,
    ConnectionChanged: Stream.EVENT,
    Faulted: Stream.EVENT,
    JobOrderPlanned: Stream.EVENT,
    ProductDefined: Stream.EVENT,
    InventoryCounted: Stream.EVENT,
    LotDefined: Stream.EVENT,
    ShiftPlanned: Stream.EVENT,
    QualityMeasured: Stream.EVENT,
    JobResponded: Stream.EVENT,
    SchemaDrifted: Stream.EVENT,
    Aggregated: Stream.AGG,
    TagDictionary: Stream.FACT,
    Audited: Stream.AUDIT,
    Tallied: Stream.EVENT,
    ClockStepped: Stream.EVENT,
    FeedbackGiven: Stream.EVENT,
    ActionDecided: Stream.EVENT,
    ApprovalAnswered: Stream.EVENT,
    ActionEnded: Stream.EVENT,
    TrustChanged: Stream.EVENT,
    ModeChanged: Stream.EVENT,
    ModelChanged: Stream.EVENT,
    DriftMeasured: Stream.EVENT,
    CcpRecorded: Stream.EVENT,
    CommandAnswered: Stream.EVENT,
    RulesetActivated: Stream.EVENT,
    HealthReported: Stream.DIAG,
    Corrected: Stream.EVENT,
}
