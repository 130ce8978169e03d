"""Certificates in use end on a known day: said 60, 30 and 7 days before, as an alarm of every line that needs them.

Looked at once an hour, from the files and not from the connections: one that has been up for months is warned about
like any other. What was said is kept with the record, so that a restart neither repeats an alarm nor forgets one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from edge.config import SiteFile
from edge.connections import OpcUa
from edge.drivers.opcua.certificates import EARLIEST, Certificate, CertificateFaultError, at, own_uri, read
from edge.drivers.opcua.trust import TrustList
from edge.site import Site
from edge.store import Store
from sync.clock import Clock
from sync.facts import AlarmChanged, Fact

log = logging.getLogger(__name__)

LOOK_S: Final = 3600.0
CHECKPOINT: Final = "certificates"
_SEVERITY: Final = {"notice": "info", "warning": "warning", "critical": "critical", "expired": "critical"}


def wanted(file: SiteFile) -> list[OpcUa]:
    """Give the connections that need certificates."""
    return [one for one in file.connections if isinstance(one, OpcUa) and one.security != "none"]


def in_use(file: SiteFile, data: Path) -> Iterator[tuple[str, OpcUa, Certificate]]:
    """Give what each connection uses: (server, connection, its certificate) and (own, connection, ours)."""
    trust = TrustList(data)
    met = trust.met()
    ours: dict[str, Certificate] = {}
    for path in sorted((trust.pki / "own").glob("*.der")):
        try:
            certificate = read(path.read_bytes())[0]
        except (CertificateFaultError, FileNotFoundError):
            continue  # written anew from the pair at the next connect
        ours |= dict.fromkeys(certificate.application_uris, certificate)
    for connection in wanted(file):
        if connection.name in met:
            yield "server", connection, met[connection.name]
        uri = own_uri(trust.pki, connection.application_uri, file.gateway.id)
        if uri in ours:
            yield "own", connection, ours[uri]


def announce(site: Site, now: datetime, said: dict[str, str]) -> tuple[list[Fact], dict[str, str]]:
    """Give the alarms that changed since `said` (`work_unit alarm` → level), and what is said now."""
    facts: list[Fact] = []
    levels: dict[str, str] = {}
    if now < EARLIEST:
        return facts, said
    for whose, connection, certificate in in_use(site.file, site.data):
        level = certificate.level(now)
        for line in site.file.lines:
            if line.connection != connection.name:
                continue
            key = f"{line.work_unit} certificate.{connection.name}.{whose}"
            if level != "ok":
                levels[key] = level
            if level != said.get(key, "ok"):
                facts.append(_alarm(key, level, now, _text(whose, connection.name, certificate, now)))
    gone = (
        said.keys()
        - levels.keys()
        - {f"{fact.work_unit} {fact.alarm}" for fact in facts if isinstance(fact, AlarmChanged)}
    )
    facts += [_alarm(key, "ok", now, {}) for key in sorted(gone)]
    return facts, levels


def _alarm(key: str, level: str, now: datetime, text: dict[str, str]) -> AlarmChanged:
    work_unit, _, alarm = key.partition(" ")
    return AlarmChanged(
        at=round(now.timestamp()) * 1_000_000_000,
        work_unit=work_unit,
        alarm=alarm,
        active=level != "ok",
        severity=_SEVERITY.get(level, "info"),
        summary=text,
    )


def _text(whose: str, connection: str, certificate: Certificate, now: datetime) -> dict[str, str]:
    day, left = f"{certificate.ends:%Y-%m-%d}", int(certificate.days_left(now))
    ko, en = ("서버", "server's") if whose == "server" else ("게이트웨이", "gateway's")
    over = left < 0
    return {
        "ko": f"{connection}: {ko} 인증서가 {day}에 만료{'되었습니다' if over else f'됩니다 ({left}일 남음)'}. 새 인증서를 준비하십시오.",
        "en": f"{connection}: the {en} certificate {'ended' if over else 'ends'} on {day}{'' if over else f' ({left} days left)'}; have a new one ready.",
    }


async def watch(site: Site, store: Store, clock: Clock) -> None:
    """Announce the ends of certificates until cancelled."""
    said: dict[str, str] = msgspec.json.decode(store.checkpoint(CHECKPOINT) or b"{}")
    while True:
        facts, levels = await asyncio.to_thread(announce, site, at(clock.now()), said)
        for fact in facts:
            if isinstance(fact, AlarmChanged) and fact.active:
                log.warning("certificate: work_unit=%s %s", fact.work_unit, fact.summary.get("en"))
        if facts:
            await store.commit(facts=facts, checkpoints={CHECKPOINT: msgspec.json.encode(levels)})
            said = levels
        await clock.sleep(LOOK_S)
