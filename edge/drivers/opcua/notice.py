"""What is asked of every event, and what its fields say as a fact. Pure. OPC UA Part 5, 6.4 (events), Part 9 (alarms)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge.drivers.columns import FUTURE_NS, YEAR_2000_NS
from edge.drivers.opcua.objects import ticks
from edge.drivers.opcua.values import UNIX_EPOCH_TICKS
from sync.facts import AlarmChanged, EventNotified
from sync.timing import UNSET_BEFORE_NS

_BASE: Final = ObjectIds.BaseEventType
_CONDITION: Final = ObjectIds.ConditionType
CLAUSES: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "EventId": (_BASE, ("EventId",)),
    "EventType": (_BASE, ("EventType",)),
    "SourceNode": (_BASE, ("SourceNode",)),
    "SourceName": (_BASE, ("SourceName",)),
    "Time": (_BASE, ("Time",)),
    "Message": (_BASE, ("Message",)),
    "Severity": (_BASE, ("Severity",)),
    "ConditionId": (_CONDITION, ()),
    "ConditionName": (_CONDITION, ("ConditionName",)),
    "BranchId": (_CONDITION, ("BranchId",)),
    "Retain": (_CONDITION, ("Retain",)),
    "Enabled": (_CONDITION, ("EnabledState", "Id")),
    "Acked": (ObjectIds.AcknowledgeableConditionType, ("AckedState", "Id")),
    "Active": (ObjectIds.AlarmConditionType, ("ActiveState", "Id")),
}
"""Name of ours → type that has the field, and the way to it; no way is the condition's own node."""
PLAIN: Final = 7
"""So many of them are every event's; a server without conditions may refuse the rest."""
REFRESH_BEGINS: Final = ua.NodeId(ua.Int32(ObjectIds.RefreshStartEventType))
REFRESH_ENDS: Final = ua.NodeId(ua.Int32(ObjectIds.RefreshEndEventType))
REFRESH_WANTED: Final = ua.NodeId(ua.Int32(ObjectIds.RefreshRequiredEventType))
OVERFLOW: Final = ua.NodeId(ua.Int32(ObjectIds.EventQueueOverflowEventType))
_INDEX: Final = re.compile(r"^\d+:")
MOST_TEXT: Final = 2_000
MOST_ID: Final = 256
"""Characters of a text, bytes of an event's id."""
CRITICAL: Final = 667
WARNING: Final = 334
"""1 to 333 low, 334 to 666 medium, 667 to 1000 high."""


@dataclass(slots=True)
class Notice:
    """One event as it came, its fields by our names."""

    source: int
    """Which of the connection's event sources it came from."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def type(self) -> ua.NodeId | None:
        held = self.fields.get("EventType")
        return held if isinstance(held, ua.NodeId) else None

    @property
    def severity(self) -> int:
        held = self.fields.get("Severity")
        return min(1000, max(1, held)) if isinstance(held, int) else 1

    @property
    def condition(self) -> str | None:
        """Name of the alarm that the event is of, `source/condition`; None for an event that is of none."""
        name = self.fields.get("ConditionName")
        if not isinstance(name, str) or self.fields.get("Retain") is None:
            return None
        name = text_of(name)
        source = self.source_name
        return f"{source}/{name}" if source else name

    @property
    def source_name(self) -> str:
        """What it happened to; a namespace index before the name is left out, because a server may number anew."""
        return text_of(_INDEX.sub("", str(self.fields.get("SourceName") or "")))

    @property
    def is_branch(self) -> bool:
        """Whether it tells of an earlier state that nobody took note of yet, not of the present one."""
        branch = self.fields.get("BranchId")
        return isinstance(branch, ua.NodeId) and not branch.is_null()

    @property
    def active(self) -> bool:
        """Whether the condition stands: an alarm when it is active, any other as long as it is of interest."""
        if self.fields.get("Enabled") is False:
            return False
        held = self.fields.get("Active")
        return bool(held) if isinstance(held, bool) else bool(self.fields.get("Retain"))


def of(found: ua.EventFieldList) -> Notice:
    """Read an event as the subscription gives it."""
    values = [variant.Value if isinstance(variant, ua.Variant) else None for variant in found.EventFields or []]
    return Notice(int(found.ClientHandle), dict(zip(CLAUSES, values, strict=False)))


def filter_of(severity: int, *, conditions: bool) -> ua.EventFilter:
    """Give what to ask of the server: our fields, of plain events those of at least this severity.

    Conditions come whatever their severity is now: one that has become harmless has still to be closed.
    """
    names = list(CLAUSES) if conditions else list(CLAUSES)[:PLAIN]
    wanted = ua.EventFilter(SelectClauses=[_clause(*CLAUSES[name]) for name in names])
    if severity > 1 and conditions:
        wanted.WhereClause = ua.ContentFilter(
            Elements=[
                _element(ua.FilterOperator.Or, ua.ElementOperand(ua.UInt32(1)), ua.ElementOperand(ua.UInt32(2))),
                _element(
                    ua.FilterOperator.GreaterThanOrEqual,
                    _clause(_BASE, ("Severity",)),
                    ua.LiteralOperand(ua.Variant(severity, ua.VariantType.UInt16)),
                ),
                _element(ua.FilterOperator.Or, ua.ElementOperand(ua.UInt32(3)), ua.ElementOperand(ua.UInt32(4))),
                _of_type(_CONDITION),
                _of_type(ObjectIds.SystemEventType),  # the begin and the end of a refresh
            ]
        )
    return wanted


def bracket_filter() -> ua.EventFilter:
    """Give what to ask of the server's own object when only the begin and the end of a refresh are wanted."""
    clauses = [_clause(*CLAUSES[name]) for name in list(CLAUSES)[:PLAIN]]
    where = ua.ContentFilter(Elements=[_of_type(ObjectIds.SystemEventType)])
    return ua.EventFilter(SelectClauses=clauses, WhereClause=where)


def _clause(kind: int, way: Sequence[str]) -> ua.SimpleAttributeOperand:
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=ua.NodeId(ua.Int32(kind)),
        BrowsePath=[ua.QualifiedName(name, ua.UInt16(0)) for name in way],
        AttributeId=ua.IntegerId(AttributeIds.Value if way else AttributeIds.NodeId),
    )


def _element(operator: ua.FilterOperator, *operands: Any) -> ua.ContentFilterElement:
    return ua.ContentFilterElement(FilterOperator=operator, FilterOperands=list(operands))


def _of_type(kind: int) -> ua.ContentFilterElement:
    return _element(ua.FilterOperator.OfType, ua.LiteralOperand(ua.Variant(ua.NodeId(ua.Int32(kind)))))


def band(severity: int) -> str:
    """Give our word for OPC UA's 1 to 1000."""
    return "critical" if severity >= CRITICAL else "warning" if severity >= WARNING else "info"


def time_of(notice: Notice, received: int) -> int:
    """Give the machine's time of an event, ns; when it came, where that cannot be believed."""
    held = notice.fields.get("Time")
    if not isinstance(held, datetime):
        return received
    at = (ticks(held) - UNIX_EPOCH_TICKS) * 100
    limit = received + FUTURE_NS if received >= UNSET_BEFORE_NS else 2**62
    return at if YEAR_2000_NS <= at <= limit else received


def text_of(held: Any) -> str:
    """Give a text of a machine's, cut where no person reads on: a record has an end."""
    text = str(held.Text or "") if isinstance(held, ua.LocalizedText) else str(held or "")
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


def summary_of(held: Any) -> dict[str, str]:
    """Give a message by language; one that names none of ours stands for both."""
    text = text_of(held)
    if not text:
        return {}
    locale = str(getattr(held, "Locale", "") or "").lower()
    return {locale[:2]: text} if locale[:2] in {"ko", "en"} else {"ko": text, "en": text}


def event(notice: Notice, connection: str, work_unit: str, type_name: str, received: int) -> EventNotified:
    """Give a plain event as a fact."""
    raw = notice.fields.get("EventId")
    return EventNotified(
        at=time_of(notice, received),
        work_unit=work_unit,
        source=connection,
        event=raw[:MOST_ID].hex() if isinstance(raw, bytes) else "",
        type=type_name,
        node=notice.source_name,
        severity=notice.severity,
        message=text_of(notice.fields.get("Message")),
    )


def alarm(notice: Notice, connection: str, work_unit: str, received: int) -> AlarmChanged:
    """Give a condition's present state as a fact."""
    acked = notice.fields.get("Acked")
    return AlarmChanged(
        at=time_of(notice, received),
        work_unit=work_unit,
        alarm=str(notice.condition),
        active=notice.active,
        severity=band(notice.severity),
        summary=summary_of(notice.fields.get("Message")),
        source=connection,
        acknowledged=acked if isinstance(acked, bool) else None,
    )
