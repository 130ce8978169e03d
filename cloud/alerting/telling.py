"""Queues letters about alerts, in one transaction with the marks that they were told: a crash tells all or nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from cloud.alerting import escalation, words
from cloud.alerting.digest import BETWEEN_MS, Alert, Decision, decide
from cloud.config import Settings
from cloud.database import Connection, Database, DatabaseError
from cloud.outgoing import queue, webhook
from cloud.outgoing.queue import Letter
from cloud.plant import Plants

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
MOST: Final = 2_000
Group = tuple[str, tuple[str, ...]]
"""(language, readers)."""


def _group(settings: Settings, readers: str, language: str) -> Group:
    mail = settings.file.mail
    if mail is None:
        return language or "ko", ()
    named = tuple(sorted(json.loads(readers))) if readers else tuple(sorted(mail.alerts))
    return language or mail.language, named


def _key(group: Group) -> str:
    return json.dumps([group[0], list(group[1])])


def waiting(connection: Connection, settings: Settings, tenant: str, now_ms: int) -> dict[Group, list[Alert]]:
    """Give every alert about which something may be left to tell, by its readers."""
    told: dict[str, int] = {}
    for kind, site, gateway, unit, subject, at in connection.execute(
        "select kind, site, gateway, work_unit, subject, max(told_ms) from alert where tenant=? and told_ms>?"
        " group by kind, site, gateway, work_unit, subject",
        (tenant, now_ms - BETWEEN_MS),
    ):
        told[f"{kind}|{site}|{gateway}|{unit}|{subject}"] = int(at)
    found: dict[Group, list[Alert]] = {}
    for row in connection.execute(
        "select id, site, gateway, work_unit, subject, kind, severity, detail, raised_ms, cleared_ms, acked_ms, silent_until_ms,"
        " told_ms, readers, language from alert where tenant=? and end_told_ms is null order by raised_ms, id limit ?",
        (tenant, MOST),
    ):
        number, site, gateway, unit, subject, kind, severity, detail, raised, cleared, acked, silent, at = row[:13]
        same = f"{kind}|{site}|{gateway}|{unit}|{subject}"
        said = {"site": site, "gateway": gateway, "work_unit": unit, "kind": kind, "detail": json.loads(detail)}
        alert = Alert(
            number=number,
            same=same,
            severity=severity,
            raised_ms=raised,
            cleared_ms=cleared,
            acked=acked is not None,
            silent_until_ms=silent,
            told_ms=at,
            same_told_ms=told.get(same),
            row=said,
        )
        found.setdefault(_group(settings, row[13], row[14]), []).append(alert)
    return found


def _decisions(
    connection: Connection, settings: Settings, tenant: str, now_ms: int
) -> list[tuple[Group, Decision, int]]:
    """Give what is to be done now, by group, with how many tellings were spared since its last letter."""
    last = {
        readers: (int(at), int(kept))
        for readers, at, kept in connection.execute(
            "select readers, told_ms, kept_back from told where tenant=?", (tenant,)
        )
    }
    found: list[tuple[Group, Decision, int]] = []
    for group, alerts in waiting(connection, settings, tenant, now_ms).items():
        at, kept = last.get(_key(group), (0, 0))
        if not group[1] and settings.file.webhook is None:  # nobody is told: what is over is settled
            over = tuple(one.number for one in alerts if one.cleared_ms is not None)
            found.append((group, Decision(letter=(), settled=over), kept))
            continue
        found.append((group, decide(alerts, at or None, now_ms), kept))
    return [one for one in found if one[1].letter or one[1].settled]


def tell(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> int:
    """Queue what is due; gives how many letters."""
    settings = plants.settings
    connection.execute(
        "insert into told(tenant, readers, told_ms, kept_back) values(?,'',0,0) on conflict do nothing", (tenant,)
    )
    connection.execute(
        "select 1 from told where tenant=? and readers='' for update", (tenant,)
    )  # one process at a time
    queued = 0
    for group, decision, kept in _decisions(connection, settings, tenant, now_ms):
        if decision.letter:
            queued += _queue(
                connection, plants, tenant, group, decision, spared=kept + len(decision.spared), now_ms=now_ms
            )
        elif decision.spared:
            connection.execute(
                "insert into told(tenant, readers, told_ms, kept_back) values(?,?,0,?) on conflict(tenant, readers) do update"
                " set kept_back=told.kept_back+excluded.kept_back",
                (tenant, _key(group), len(decision.spared)),
            )
        connection.many("update alert set end_told_ms=? where id=?", [(now_ms, number) for number in decision.settled])
    return queued + escalation.escalate(connection, plants, tenant, now_ms)


def _queue(
    connection: Connection, plants: Plants, tenant: str, group: Group, decision: Decision, *, spared: int, now_ms: int
) -> int:
    settings, (language, readers) = plants.settings, group
    page = settings.file.mail.page if settings.file.mail is not None else None
    written = words.letter(decision.letter, plants, tenant, language, page=page, spared=spared, now_ms=now_ms)
    name = f"alerts.{hashlib.sha256(_key(group).encode()).hexdigest()[:10]}.{now_ms}"
    to: list[tuple[Any, Sequence[str]]] = [("mail", readers)] if readers else []
    if settings.file.webhook is not None:
        to.append(("webhook", (webhook.READER,)))
    for channel, whom in to:
        letter = Letter(
            tenant=tenant,
            name=name if channel == "mail" else f"{name}.webhook",
            channel=channel,
            cause="alert",
            language=language,
            readers=whom,
            **written,
        )
        queue.put(connection, letter, now_ms)
    connection.execute(
        "insert into told(tenant, readers, told_ms, kept_back) values(?,?,?,0) on conflict(tenant, readers) do update set"
        " told_ms=excluded.told_ms, kept_back=0",
        (tenant, _key(group), now_ms),
    )
    standing = [(now_ms, one.alert.number) for one in decision.letter if one.why != "over"]
    connection.many("update alert set told_ms=?, tellings=tellings+1 where id=?", standing)
    return 1


def _something(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> bool:
    """Tell whether anything is due."""
    decided = bool(_decisions(connection, plants.settings, tenant, now_ms))
    return decided or bool(escalation.due(connection, plants, tenant, now_ms))


async def once(database: Database, plants: Plants, now_ms: int) -> int:
    """Tell what is due; gives how many letters were queued. Nothing is written when nothing is due."""
    queued = 0
    for tenant in plants.tenants:
        if await database.read(lambda c, t=tenant: _something(c, plants, t, now_ms)):
            queued += await database.write(lambda c, t=tenant: tell(c, plants, t, now_ms))
    return queued


async def run_telling(database: Database, plants: Plants) -> None:
    """Tell for ever; a database that is away is waited for."""
    while True:
        try:
            await once(database, plants, time.time_ns() // 1_000_000)
        except DatabaseError as error:  # the refresher says so
            log.debug("what is to be told waits for the database: %s", error)
        await asyncio.sleep(EVERY_S)
