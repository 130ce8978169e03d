"""What nobody has acknowledged is told to others, step by step: each alert once per step, until it is seen or over.

The steps are `[[escalation]]` of cloud.toml. An alert remembers the last step it took, so that neither a restart nor a
second process takes one twice. A step's readers get one letter per BETWEEN_MS: what falls due meanwhile comes together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.alerting import words
from cloud.alerting.digest import Alert, Said
from cloud.database import Connection
from cloud.outgoing import queue, webhook
from cloud.outgoing.config import Escalation
from cloud.outgoing.queue import Channel, Letter
from cloud.plant import Plants

MINUTE_MS: Final = 60_000
BETWEEN_MS: Final = 300_000
MOST: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """An alert that stands and that nobody has acknowledged."""

    alert: Alert
    taken_min: int
    """The step it took last; 0: none yet."""


def falls_due(step: Escalation, unseen: Sequence[Unseen], told_ms: int | None, now_ms: int) -> list[Unseen]:
    """Give what the step's readers are to be told now. told_ms: when they were told last."""
    if told_ms is not None and now_ms - told_ms < BETWEEN_MS:
        return []
    return [
        one
        for one in unseen
        if one.alert.severity in step.severity
        and one.taken_min < step.after_min
        and now_ms - one.alert.raised_ms >= step.after_min * MINUTE_MS
    ]


def _unseen(connection: Connection, tenant: str, before_ms: int, now_ms: int) -> list[Unseen]:
    rows = connection.execute(
        "select id, site, gateway, work_unit, kind, severity, detail, raised_ms, told_ms, escalated_min from alert"
        " where tenant=? and end_told_ms is null and cleared_ms is null and acked_ms is null and silent_until_ms<=?"
        " and raised_ms<=? order by raised_ms, id limit ?",
        (tenant, now_ms, before_ms, MOST),
    )
    return [
        Unseen(
            alert=Alert(
                number=number,
                same="",
                severity=severity,
                raised_ms=raised,
                cleared_ms=None,
                acked=False,
                silent_until_ms=0,
                told_ms=told,
                same_told_ms=None,
                row={"site": site, "gateway": gateway, "work_unit": unit, "kind": kind, "detail": json.loads(detail)},
            ),
            taken_min=taken,
        )
        for number, site, gateway, unit, kind, severity, detail, raised, told, taken in rows
    ]


def _key(step: Escalation) -> str:
    """Name a step's readers as `told` keeps them."""
    return json.dumps(["escalation", step.after_min, step.severity, step.readers, step.webhook])


def due(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> list[tuple[Escalation, list[Unseen]]]:
    """Give the steps that are to be taken now, the earliest first, with what is told at each."""
    steps = sorted(plants.settings.file.escalations, key=lambda one: one.after_min)
    if not steps:
        return []
    unseen = _unseen(connection, tenant, now_ms - steps[0].after_min * MINUTE_MS, now_ms)
    if not unseen:
        return []
    told: dict[str, int] = {
        readers: int(at)
        for readers, at in connection.execute("select readers, told_ms from told where tenant=?", (tenant,))
    }
    found = [(step, falls_due(step, unseen, told.get(_key(step)), now_ms)) for step in steps]
    return [(step, alerts) for step, alerts in found if alerts]


def escalate(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> int:
    """Queue the letters of every step that is due and mark it taken; gives how many steps. One process at a time."""
    steps = due(connection, plants, tenant, now_ms)
    for step, alerts in steps:
        _queue(connection, plants, tenant, (step, alerts), now_ms)
        connection.execute(
            "insert into told(tenant, readers, told_ms, kept_back) values(?,?,?,0) on conflict(tenant, readers) do update"
            " set told_ms=excluded.told_ms",
            (tenant, _key(step), now_ms),
        )
        connection.many(
            "update alert set escalated_min=greatest(escalated_min, ?), tellings=tellings+1 where id=?",
            [(step.after_min, one.alert.number) for one in alerts],
        )
    return len(steps)


def _queue(
    connection: Connection, plants: Plants, tenant: str, taken: tuple[Escalation, Sequence[Unseen]], now_ms: int
) -> None:
    step, alerts = taken
    mail = plants.settings.file.mail
    language = step.language or (mail.language if mail is not None else "ko")
    said = [Said(alert=one.alert, why="unseen") for one in alerts]
    page = None if mail is None else mail.page
    written = words.letter(said, plants, tenant, language, page=page, spared=0, now_ms=now_ms, unseen=step.after_min)
    name = f"escalation.{step.after_min}.{hashlib.sha256(_key(step).encode()).hexdigest()[:10]}.{now_ms}"
    to: list[tuple[Channel, str, Sequence[str]]] = [("mail", name, step.readers)]
    if step.webhook:
        to.append(("webhook", f"{name}.webhook", (webhook.READER,)))
    given: dict[str, Any] = {"tenant": tenant, "cause": "escalation", "language": language, **written}
    for channel, called, readers in to:  # without readers nothing is queued
        queue.put(connection, Letter(name=called, channel=channel, readers=readers, **given), now_ms)
