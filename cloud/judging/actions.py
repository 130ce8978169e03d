"""Actions as gateways decided them: what waits for a person, what a person said, what became of it, what we asked for.

The gateway decides and does; here a yes or no is only asked for (a command), and what it answered is shown with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from cloud.bi.times import iso, iso_ns
from cloud.database import Connection, Row
from sync.judgment import ActionDecided, ActionEnded, ApprovalAnswered

State = Literal["waiting", "decided", "ended"]
HOUR_NS: Final = 3_600_000_000_000
DAY_NS: Final = 24 * HOUR_NS
MOST_ASKED: Final = 500
"""Commands about actions that are looked at for one answer."""

_SAME: Final = "x.tenant=s.tenant and x.gateway=s.gateway and x.subject=s.subject"
_ENDED: Final = f"exists(select 1 from fact_subject x where {_SAME} and x.kind='action')"  # noqa: S608 - our own words
_ANSWERED: Final = f"exists(select 1 from fact_subject x where {_SAME} and x.kind='approval')"  # noqa: S608 - as above
# A fact's JSON is written by one encoder without blanks, and quotes within its texts are escaped: no text can pass for
# this field.
_SAID: Final = 'f.body like \'%"decision":"{}"%\''
_WHERE: Final[dict[State, str]] = {
    "waiting": f"not {_ENDED} and not {_ANSWERED} and {_SAID.format('require_approval')}",
    "decided": f"not {_ENDED} and ({_ANSWERED} or {_SAID.format('auto_execute')}) and not {_SAID.format('reject')}",
    "ended": f"({_ENDED} or {_SAID.format('reject')})",
}
_FROM: Final = (
    " from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
    " join gateway g on g.id=s.gateway where s.tenant=? and s.kind='action_decision'"
)
_decided: Final = msgspec.json.Decoder(ActionDecided)
_approval: Final = msgspec.json.Decoder(ApprovalAnswered)
_ended: Final = msgspec.json.Decoder(ActionEnded)


def page(
    connection: Connection, tenant: str, state: State | None, *, limit: int, offset: int, now_ms: int
) -> tuple[list[dict[str, Any]], int]:
    """Give actions, newest first, and how many there are."""
    where = _FROM + ("" if state is None else f" and {_WHERE[state]}")
    total = int(connection.execute(f"select count(*){where}", (tenant,))[0][0])
    rows = connection.execute(
        f"select f.body, s.site, g.name, s.gateway{where} order by s.at desc, s.inc desc, s.seq desc limit ? offset ?",
        (tenant, limit, offset),
    )
    return told(connection, tenant, rows, now_ms), total


def one(connection: Connection, tenant: str, action: str, now_ms: int) -> dict[str, Any] | None:
    """Give one action, or None."""
    rows = connection.execute(
        f"select f.body, s.site, g.name, s.gateway{_FROM} and s.subject=? order by s.at desc limit 1", (tenant, action)
    )
    return told(connection, tenant, rows, now_ms)[0] if rows else None


def about_verdict(connection: Connection, tenant: str, verdict_id: str, now_ms: int) -> list[dict[str, Any]]:
    """Give the actions that a verdict asked for, in the order decided: within the day after it."""
    when = connection.one(
        "select work_unit, at from judgment where tenant=? and verdict_id=? order by at desc limit 1",
        (tenant, verdict_id),
    )
    if when is None:
        return []
    rows = connection.execute(
        f"select f.body, s.site, g.name, s.gateway{_FROM} and s.work_unit=? and s.at>=? and s.at<? order by s.at, s.seq",
        (tenant, when[0], when[1] - HOUR_NS, when[1] + DAY_NS),
    )
    mine = [row for row in rows if _decided.decode(row[0]).verdict_id == verdict_id]
    return told(connection, tenant, mine, now_ms)


def told(connection: Connection, tenant: str, rows: Sequence[Row], now_ms: int) -> list[dict[str, Any]]:
    """Give actions as the API says them. rows: (body, site, gateway, gateway's row)."""
    orders = _asked(connection, tenant, now_ms) if rows else {}
    return [_told(connection, tenant, row, orders, now_ms) for row in rows]


def _told(
    connection: Connection, tenant: str, row: Row, orders: dict[str, list[dict[str, Any]]], now_ms: int
) -> dict[str, Any]:
    fact = _decided.decode(row[0])
    after = connection.execute(
        "select s.kind, f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
        " where s.tenant=? and s.kind in ('approval', 'action') and s.subject=? and s.gateway=? order by s.at, s.seq",
        (tenant, fact.action, row[3]),
    )
    answers = [_approval.decode(body) for kind, body in after if kind == "approval"]
    ends = [_ended.decode(body) for kind, body in after if kind == "action"]
    end = ends[-1] if ends else None
    return {
        "action": fact.action,
        "site": row[1],
        "gateway": row[2],
        "work_unit": fact.work_unit,
        "at": iso_ns(fact.at),
        "verdict_id": fact.verdict_id,
        "action_type": fact.action_type,
        "target": fact.target,
        "value": fact.value,
        "ruleset": fact.ruleset,
        "trust": fact.trust,
        "score": fact.score,
        "risk": fact.risk,
        "mode": fact.mode,
        "decision": fact.decision,
        "reasons": fact.reasons,
        "expires": iso_ns(fact.expires) if fact.expires else None,
        "asked_by": fact.actor,
        "state": _state(fact, answers, end, now_ms),
        "answers": [
            {
                "approved": answer.approved,
                "actor": answer.actor,
                "comment": answer.comment,
                "place": answer.place,
                "superseded": answer.superseded,
                "at": iso_ns(answer.at),
            }
            for answer in answers
        ],
        "end": None
        if end is None
        else {
            "status": end.status,
            "before": end.before,
            "written": end.written,
            "read_back": end.read_back,
            "why": end.why,
            "needs_human": end.needs_human,
            "at": iso_ns(end.at),
        },
        "asked": [order for order in orders.get(fact.action, []) if order["gateway"] == row[2]],
    }


def _state(fact: ActionDecided, answers: Sequence[ApprovalAnswered], end: ActionEnded | None, now_ms: int) -> str:
    """Give waiting, overdue (its gateway has not told yet), approved, refused, executing, or how it ended."""
    if end is not None:
        return end.status
    if fact.decision == "reject":
        return "REJECTED"
    if fact.decision == "auto_execute":
        return "executing"
    counted = next((answer for answer in answers if not answer.superseded), None)
    if counted is not None:
        return "approved" if counted.approved else "refused"
    return "waiting" if now_ms * 1_000_000 < fact.expires else "overdue"


def _asked(connection: Connection, tenant: str, now_ms: int) -> dict[str, list[dict[str, Any]]]:
    """Give action → the commands about it, newest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for command, gateway, kind, arguments, actor, given_ms, expires_ms, state, detail in connection.execute(
        "select command, gateway, kind, arguments, actor, given_ms, expires_ms, state, detail from command where tenant=?"
        " and kind in ('approve', 'reject') order by given_ms desc, command limit ?",
        (tenant, MOST_ASKED),
    ):
        late = state == "given" and expires_ms <= now_ms
        found.setdefault(str(msgspec.json.decode(arguments).get("action", "")), []).append(
            {
                "command": command,
                "gateway": gateway,
                "kind": kind,
                "actor": actor,
                "given": iso(given_ms),
                "state": "expired" if late else state,
                "why": detail,
            }
        )
    return found
