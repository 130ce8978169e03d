"""An OPC UA connection examined: the way there, endpoints, certificates on both sides, login, the server itself, tags.

The tags are read by the driver itself, polling instead of subscribing, so that what is said of a tag is what a running
gateway would say. It works on a copy of the trust folder: nothing is quarantined, made or renewed by looking.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlparse

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds

from edge.connections import OpcUa
from edge.drivers.appraisal import off_by, tally, valued
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.finding import Finding, fault, ok, warning
from edge.drivers.opcua.certificates import Certificate, CertificateFaultError, at, own_uri, read
from edge.drivers.opcua.driver import OpcUaDriver
from edge.drivers.opcua.refusals import ChannelRefusedError
from edge.drivers.opcua.security import endpoints, offered
from edge.drivers.opcua.trust import TrustList
from edge.drivers.opcua.validation import Shown, UnknownError, UntrustedError, judge
from edge.drivers.reach import reach
from edge.tags import Tag
from sync.clock import Clock
from sync.quality import (
    BAD,
    BAD_CONFIGURATION_ERROR,
    BAD_NODE_ID_UNKNOWN,
    BAD_OUT_OF_RANGE,
    BAD_TYPE_MISMATCH,
    BAD_WAITING_FOR_INITIAL_DATA,
    UNCERTAIN_UNITS_EXCEEDED,
)

PORT: Final = 4840
ASK_S: Final = 4.0
READ_S: Final = 20.0
"""For all tags together."""
CLOSE_S: Final = 2.0
_CODE: Final = 0xFFFF_0000
_MODES: Final = {
    "sign": ua.MessageSecurityMode.Sign,
    "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt,
}
_C: Final = ua.status_codes.StatusCodes
_REFUSALS: Final[dict[int, tuple[str, str]]] = {
    _C.BadUserAccessDenied: ("user", "opcua.user_refused"),
    _C.BadIdentityTokenRejected: ("user", "opcua.user_refused"),
    _C.BadIdentityTokenInvalid: ("user", "opcua.user_refused"),
    _C.BadUserSignatureInvalid: ("user", "opcua.user_refused"),
    _C.BadTooManySessions: ("session", "opcua.too_many_sessions"),
    _C.BadTcpNotEnoughResources: ("session", "opcua.too_many_sessions"),
    _C.BadSecurityChecksFailed: ("trust", "opcua.distrusts_us"),
    _C.BadCertificateUntrusted: ("trust", "opcua.distrusts_us"),
    _C.BadCertificateInvalid: ("trust", "opcua.distrusts_us"),
    _C.BadCertificateRevoked: ("trust", "opcua.distrusts_us"),
    _C.BadCertificateChainIncomplete: ("trust", "opcua.distrusts_us"),
    _C.BadCertificateUriInvalid: ("trust", "opcua.other_uri"),
    _C.BadCertificateTimeInvalid: ("trust", "opcua.their_clock"),
}
"""What a server says to a session it does not want → what was looked at, and the sentence."""
_TAGS: Final[dict[int, str]] = {
    BAD_NODE_ID_UNKNOWN: "opcua.no_node",
    _C.BadNodeIdInvalid: "opcua.no_node",
    BAD_TYPE_MISMATCH: "opcua.type",
    BAD_CONFIGURATION_ERROR: "opcua.address",
    BAD_WAITING_FOR_INITIAL_DATA: "opcua.no_value",
    _C.BadUserAccessDenied: "opcua.not_readable",
    _C.BadNotReadable: "opcua.not_readable",
}
_ABOUT: Final = {
    "time": 2258, "state": 2259, "product": 2261, "version": 2264, "level": 2267,
    "sessions": 2277, "most_sessions": 24095, "rate": 2272,
}  # fmt: skip
"""What is asked of the server itself (Part 5): Server_ServerStatus_CurrentTime, _State, _BuildInfo_ProductName,
_SoftwareVersion, ServiceLevel, CurrentSessionCount, MaxSessions, MinSupportedSampleRate."""


async def examine(
    connection: OpcUa, tags: Sequence[Tag], clock: Clock, around: Surroundings
) -> AsyncGenerator[Finding]:
    """Examine the connection and read each tag once; stops at what makes the rest pointless."""
    url = urlparse(connection.url)
    for finding in await reach(url.hostname or "", url.port or PORT):
        yield finding
        if finding.severity == "fault":
            return
    found = await _endpoints(connection)
    if isinstance(found, Finding):
        yield found
        return
    yield ok("endpoint", "opcua.endpoints", offered=offered(found))
    for finding in await asyncio.to_thread(_security, connection, found, clock.now(), around):
        yield finding
        if finding.severity == "fault" or finding.key == "opcua.own_none":
            return
    if not tags:
        yield warning("tags", "tag.none")
    for finding in await _inside(connection, tags, clock, around):
        yield finding


async def _endpoints(connection: OpcUa) -> list[ua.EndpointDescription] | Finding:
    client = Client(connection.url, timeout=ASK_S)
    try:
        async with asyncio.timeout(ASK_S):
            return await endpoints(client)
    except TimeoutError:
        return fault("endpoint", "opcua.mute", limit_s=ASK_S)
    except (OSError, ua.UaError) as error:
        return fault("endpoint", "opcua.no_opcua", why=str(error) or type(error).__name__)
    finally:
        with contextlib.suppress(TimeoutError, OSError, ua.UaError):
            async with asyncio.timeout(CLOSE_S):
                await client.disconnect_sessionless()


# ── security, by what is on disk and what the server shows ──


def _security(
    connection: OpcUa, found: Sequence[ua.EndpointDescription], now: int, around: Surroundings
) -> list[Finding]:
    """Compare what the site file wants with what the server offers, and judge both certificates."""
    said = offered(found) or "-"
    if connection.security == "none":
        wanted, mode, label = "None", ua.MessageSecurityMode.None_, "none"
    else:
        wanted, mode = connection.security, _MODES[connection.message_mode]
        label = f"{connection.security} {connection.message_mode}"
    fitting = [
        one for one in found if (one.SecurityPolicyUri or "").endswith(f"#{wanted}") and one.SecurityMode == mode
    ]
    if not fitting:
        return [fault("security", "opcua.not_offered", wanted=label, offered=said)]
    token, who = _token(connection)
    if not any(policy.TokenType == token for one in fitting for policy in one.UserIdentityTokens or []):
        return [fault("user", "opcua.token_not_offered", who=who, offered=said)]
    if connection.security == "none":
        return [ok("security", "opcua.plain")]
    checks = [ok("security", "opcua.policy", wanted=label)]
    try:
        checks += _own(connection, now, around)
        checks += _trust(connection, fitting[0], now, around)
    except PermissionError as error:
        checks.append(fault("trust", "opcua.pki_forbidden", file=error.filename))
    return checks


def _token(connection: OpcUa) -> tuple[ua.UserTokenType, str]:
    if connection.user is not None:
        return ua.UserTokenType.UserName, connection.user
    if connection.user_certificate is not None:
        return ua.UserTokenType.Certificate, connection.user_certificate
    return ua.UserTokenType.Anonymous, "anonymous"


def _own(connection: OpcUa, now: int, around: Surroundings) -> list[Finding]:
    """Judge the gateway's own application certificate as it lies there."""
    pki = TrustList(around.data).pki
    if (pki / "own").is_dir():
        any((pki / "own").iterdir())  # raises where we may not look; a glob would hide that
    uri = own_uri(pki, connection.application_uri, around.gateway)
    others: list[str] = []
    for path in sorted((pki / "own").glob("*.der")):
        try:
            certificate = read(path.read_bytes())[0]
        except (CertificateFaultError, IndexError) as error:
            return [fault("own", "opcua.own_damaged", file=path, why=str(error))]
        if uri in certificate.application_uris:
            return [_lasting("own", "opcua.own", certificate, now, uri=uri, file=path)]
        others += certificate.application_uris
    if others:
        return [warning("own", "opcua.own_other", uri=uri, others=others)]
    return [warning("own", "opcua.own_none", uri=uri, folder=pki / "own")]


def _trust(connection: OpcUa, endpoint: ua.EndpointDescription, now: int, around: Surroundings) -> list[Finding]:
    """Judge the server's certificate by the trust list, without putting it into quarantine."""
    try:
        chain = read(endpoint.ServerCertificate or b"")
    except CertificateFaultError as error:
        return [fault("trust", "opcua.no_certificate", why=str(error))]
    if not chain:
        return [fault("trust", "opcua.no_certificate", why="-")]
    leaf = chain[0]
    shown = Shown(
        chain=chain,
        application_uri=endpoint.Server.ApplicationUri or "",
        connection=connection.name,
        host=urlparse(connection.url).hostname or "",
    )
    trust = TrustList(around.data)
    words: dict[str, Any] = {"subject": leaf.subject, "sha256": leaf.thumbprint, "sha1": leaf.sha1}
    words |= {"short": leaf.thumbprint[:16], "until": leaf.ends.date().isoformat()}
    if leaf.level(at(now)) == "expired":
        return [fault("trust", "opcua.server_expired", **words)]
    try:
        judge(shown, trust, at(now))
    except UnknownError as error:
        entry = trust.state_of(leaf.thumbprint)
        waiting = entry is not None and entry.state == "quarantine"
        return [fault("trust", "opcua.waiting" if waiting else "opcua.unknown_server", why=str(error), **words)]
    except UntrustedError as error:
        return [fault("trust", "opcua.untrusted", why=str(error), **words)]
    return [_lasting("trust", "opcua.trusted", leaf, now, **words)]


def _lasting(check: str, key: str, certificate: Certificate, now: int, **words: Any) -> Finding:
    """Say until when a certificate lasts, louder when that is soon."""
    words |= {"subject": certificate.subject, "until": certificate.ends.date().isoformat()}
    words["left_s"] = certificate.days_left(at(now)) * 86_400
    level = certificate.level(at(now))
    if level == "expired":
        return fault(check, f"{key}_expired", **words)
    return ok(check, key, **words) if level in {"ok", "notice"} else warning(check, f"{key}_soon", **words)


# ── inside: session, server, tags ──


@contextlib.contextmanager
def _beside(around: Surroundings) -> Generator[Surroundings]:
    """Give surroundings whose data folder is a copy of the trust folder alone, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="triflow-doctor-") as folder:
        pki = around.data / "pki"
        if pki.is_dir():
            shutil.copytree(pki, Path(folder) / "pki")
        yield dataclasses.replace(around, data=Path(folder))


async def _inside(connection: OpcUa, tags: Sequence[Tag], clock: Clock, around: Surroundings) -> list[Finding]:
    polling = connection.model_copy(update={"acquire": "poll", "history": False, "events": []})
    said: list[Finding] = []
    try:
        with _beside(around) as aside:
            driver = OpcUaDriver(polling, tags, clock, aside)
            async with driver:
                said.append(_opened(driver.health.notes.get("security", "")))
                said += await _server(driver.session, clock)
                said += await _tags(driver, tags, clock)
    except DriverError as error:
        said.append(_refused(error, connection, around))
    return said


def _opened(security: str) -> Finding:
    return ok("session", "opcua.secured", security=security) if security else ok("session", "opcua.session")


def _refused(error: DriverError, connection: OpcUa, around: Surroundings) -> Finding:
    """Name what the server said no to."""
    why = str(error).partition("): ")[2] or str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ua.UaStatusCodeError) and cause.code in _REFUSALS:
            check, key = _REFUSALS[cause.code]
            status = ua.StatusCode(ua.UInt32(cause.code)).name
            folder = TrustList(around.data).pki / "own"
            return fault(check, key, status=status, user=_token(connection)[1], folder=folder, why=why)
        if isinstance(cause, ChannelRefusedError):
            return fault("trust", "opcua.channel_refused", folder=TrustList(around.data).pki / "own")
        cause = cause.__cause__ or cause.__context__
    return fault("session", "opcua.refused", why=why)


async def _server(session: UaSession, clock: Clock) -> list[Finding]:
    """Ask the server about itself: its clock, state, make, and how full it is."""
    nodes = [ua.NodeId(ua.Int32(node)) for node in _ABOUT.values()]
    began = clock.now()
    try:
        async with asyncio.timeout(ASK_S):
            values = await session.read_attributes(nodes, AttributeIds.Value)
    except (TimeoutError, OSError, ua.UaError) as error:
        return [warning("device", "opcua.about_nothing", why=str(error) or type(error).__name__)]
    middle = (began + clock.now()) / 2e9
    about: dict[str, Any] = {
        name: None if value.Value is None else value.Value.Value for name, value in zip(_ABOUT, values, strict=True)
    }
    product = " ".join(str(about[name]) for name in ("product", "version") if about[name]) or "?"
    said: list[Finding] = []
    if about["state"] not in {None, 0}:
        said.append(fault("device", "opcua.not_running", product=product, state=_state(about["state"])))
    elif isinstance(about["level"], int) and about["level"] < 200:
        said.append(warning("device", "opcua.not_healthy", product=product, level=about["level"]))
    else:
        said.append(ok("device", "opcua.running", product=product))
    now_there = about["time"]
    if isinstance(now_there, datetime):
        there = now_there if now_there.tzinfo is not None else now_there.replace(tzinfo=UTC)
        said.append(off_by(there.timestamp() - middle, product))
    used, most = about["sessions"], about["most_sessions"]
    if isinstance(used, int) and isinstance(most, int) and most > 0 and used >= most:
        said.append(warning("session", "opcua.sessions_full", used=used, most=most))
    return said


def _state(state: object) -> str:
    try:
        return ua.ServerState(state).name
    except ValueError:
        return str(state)


async def _tags(driver: OpcUaDriver, tags: Sequence[Tag], clock: Clock) -> list[Finding]:
    """Take the driver's first word on every tag."""
    if not tags:
        return []
    waiting = {tag.index: tag for tag in tags}
    found: dict[int, Finding] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_S), aclosing(driver.readings()) as batches:
            async for batch in batches:
                for row, index in enumerate(batch.tag.tolist()):
                    tag = waiting.pop(index, None)
                    if tag is None:
                        continue
                    time, status = int(batch.source_time[row]), int(batch.status[row])
                    why = driver.health.bad_items.get(index, "")
                    found[index] = _judged(tag, batch.scalar(row), status, clock.now() - time if time else None, why)
                if not waiting:
                    break
    for index, tag in waiting.items():
        found[index] = fault("tag", "opcua.unheard", tag=tag.id, address=tag.address, limit_s=READ_S)
    ordered = [found[tag.index] for tag in tags]
    return [*ordered, tally(ordered)]


def _judged(tag: Tag, value: Any, status: int, age_ns: int | None, why: str) -> Finding:
    name = ua.StatusCode(ua.UInt32(status)).name
    age = ok("tag", "opcua.ageless") if age_ns is None else ok("tag", "opcua.age", age_s=max(0.0, age_ns / 1e9))
    words: dict[str, Any] = {
        "address": tag.address, "connection": tag.connection, "status": name, "code": status, "more": age,
        "age": None if age_ns is None else age_ns / 1e9,
    }  # fmt: skip
    code = status & _CODE
    if code == BAD_OUT_OF_RANGE and value is None:
        return warning("tag", "tag.no_number", tag=tag.id, value="NaN", **words)
    if code in _TAGS:
        severity = warning if code == BAD_WAITING_FOR_INITIAL_DATA else fault
        return severity("tag", _TAGS[code], tag=tag.id, type=tag.spec.type, why=why or name, **words)
    if status & BAD:
        return warning("tag", "opcua.bad", tag=tag.id, **words)
    if code and code != UNCERTAIN_UNITS_EXCEEDED:
        return warning("tag", "opcua.uncertain", tag=tag.id, value=value, **words)
    return valued(value, tag.spec, tag.id, **words)
