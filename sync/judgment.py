"""Facts of judging beside the verdict itself: what people said of it, what was done about it, and how models fare.

They travel on the lane of events and are never shed. Names of states are those of the decision matrix: a decision is
auto_execute, require_approval or reject; what came of it EXECUTED, FAILED, REJECTED or EXPIRED.
"""

from __future__ import annotations

import msgspec

from sync.fact import Context, Fact


class Scored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model said about one window, or why it said nothing."""

    model: str
    version: str
    sha256: str
    """Of the package's model file, hex."""
    decision: str = "unknown"
    """normal, warning, critical or unknown."""
    confidence: float = 0.0
    label: str | None = None
    """The model's own word."""
    scores: dict[str, float] = {}
    """Output name or label → number."""
    features: dict[str, float | None] = {}
    """What it was given, in the contract's order, after imputation None where a value was missing."""
    contributions: dict[str, float] = {}
    """Feature → its weight in this answer, where the package can tell."""
    failure: str | None = None
    """Why there is no answer: deadline, not_finite, breaker_open, missing_input, out_of_range, error: …"""
    latency_us: int = 0
    drifted: bool = False
    """The inputs of late were unlike those it was trained on."""


class FeedbackGiven(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="feedback"):
    """A person's word on a verdict; a later one of the same actor on the same target replaces it."""

    feedback: str
    """Id, given where it was said; the same twice is one."""
    target: str
    """verdict_id."""
    type: str
    """positive, negative or correction."""
    reason: str | None = None
    """incorrect, incomplete, irrelevant, unclear, slow or other."""
    corrected: str | None = None
    """The decision it should have been; a correction has one."""
    comment: str = ""
    actor: str = ""
    offline: bool = False
    """Said while the cloud could not hear it."""
    ruleset: str = ""
    ruleset_version: str = ""
    decision: str = ""
    """What the verdict had said."""


class ActionDecided(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="action_decision"):
    """What the decision matrix said of one action that a verdict or a person asked for."""

    action: str
    """Id: hash(verdict, action), or the request's own; at most one actuation ever bears it."""
    verdict_id: str | None = None
    action_type: str
    target: str | None = None
    """Tag id to be written, where it is a write."""
    value: float | str | bool | None = None
    ruleset: str = ""
    trust: int
    """Level 0 to 3 of the ruleset."""
    score: float
    risk: str
    """LOW, MEDIUM, HIGH or CRITICAL."""
    mode: str
    """monitor, advise or control."""
    decision: str
    """auto_execute, require_approval or reject."""
    reasons: list[str] = []
    expires: int = 0
    """After this (ns) nothing is done any more."""
    actor: str = "system"
    context: Context = Context()


class ApprovalAnswered(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="approval"):
    """A person said yes or no to an action that waited for it."""

    action: str
    approved: bool
    actor: str
    comment: str = ""
    place: str = "edge"
    """Where it was said: edge or cloud."""
    superseded: bool = False
    """Somebody had answered before; this changed nothing."""


class ActionEnded(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="action"):
    """What became of an action."""

    action: str
    status: str
    """EXECUTED, FAILED, REJECTED or EXPIRED; UNKNOWN when a crash hides whether the machine took it."""
    target: str | None = None
    before: float | str | bool | None = None
    written: float | str | bool | None = None
    read_back: float | str | bool | None = None
    why: str = ""
    needs_human: bool = False
    """Somebody has to look at the machine: it may hold something else than it should."""


class TrustChanged(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="trust"):
    """A ruleset's trust level went up or down."""

    ruleset: str
    previous: int
    level: int
    reason: str
    triggered_by: str
    """auto, manual, feedback or schedule."""
    metrics: dict[str, float | None] = {}
    actor: str = "system"


class ModeChanged(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="mode"):
    """The gateway or a line was told how far it may go: monitor, advise or control; or the kill switch was thrown."""

    mode: str
    killed: bool = False
    actor: str
    reason: str = ""


class ModelChanged(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="model"):
    """A model package was activated, refused or left, or its breaker opened or closed."""

    model: str
    version: str = ""
    sha256: str = ""
    state: str
    """active, refused, retired, breaker_open or breaker_closed."""
    why: str = ""


class DriftMeasured(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="drift"):
    """How unlike its training data a model's inputs of late are (summary of a window of judgments)."""

    model: str
    version: str
    sha256: str
    start: int
    samples: int
    level: str
    """ok, warning or critical."""
    psi: dict[str, float] = {}
    ks_p: dict[str, float] = {}
    missing: dict[str, float] = {}
    """Feature → share of missing values."""
    out_of_range: dict[str, float] = {}
    shift: dict[str, float] = {}
    """Feature → difference of means in its engineering unit."""
    alarmed: list[str] = []
    """Features beyond their calibrated thresholds, twice in a row."""


class CommandAnswered(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="command_answer"):
    """What became of a command of the cloud's."""

    command: str
    done: bool
    why: str = ""
    """Why not, or what there is to know about it."""
    actor: str = ""


class CcpRecorded(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="ccp"):
    """A critical control point was looked at (HACCP): value against critical limits, for the lot being made."""

    ccp: str
    """Name of the check."""
    value: float | str | bool | None = None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    within: bool | None = None
    """None when it could not be told."""
    verdict_id: str = ""
    ruleset: str = ""
    ruleset_version: str = ""
    context: Context = Context()


class RulesetActivated(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="ruleset"):
    """From now on this ruleset judges the work unit; with all that its verdicts need to be judged again elsewhere."""

    ruleset: str
    ruleset_version: str
    ruleset_hash: str
    names: str = ""
    """Hex SHA-256 of what the line's rules may name (`edge.judgment.names`)."""
    part: int = 1
    parts: int = 1
    """A large one comes in several facts of the same `at`."""
    content: str = ""
    """Base64 of this part of the zstd frame of JSON: {"document": the ruleset as parsed, "names": what it may name}."""
