"""The way to the broker, step by step as the gateway goes it: name, port, TLS, our own certificate, MQTT."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from edge.config import Uplink
from edge.drivers.finding import Finding, fault, ok, warning, worst
from edge.drivers.reach import greet, reach
from edge.site import Site
from sync.clock import Clock
from sync.mqtt import Mqtt
from sync.transport import TransportError

SOON_S: Final = 30 * 86_400.0
"""A certificate that ends within this time is worth a warning: renewing takes people."""


async def uplink_findings(site: Site, clock: Clock) -> list[Finding]:
    """Go the whole way as far as it leads; nothing is published and the running session is not taken over."""
    uplink = site.file.uplink
    if uplink is None:
        return [ok("uplink", "uplink.none")]
    now = datetime.fromtimestamp(clock.now() / 1e9, UTC)
    found = await reach(uplink.host, uplink.port)
    own = own_certificate(site, uplink, now)
    through = worst(found) != "fault"
    if uplink.tls and through:
        secured = await _tls(site, uplink, now)
        found += secured
        through = worst(secured) != "fault"
    elif not uplink.tls:
        found.append(warning("tls", "uplink.plain"))
    found += own
    if through and worst(own) != "fault":
        found.append(await _mqtt(site, uplink))
    return found


async def _tls(site: Site, uplink: Uplink, now: datetime) -> list[Finding]:
    ca = None if uplink.ca is None else site.folder / uplink.ca
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        return [fault("tls", "reach.tls_ca_file", file=ca, why=error.strerror or error)]
    said, raw = await greet(uplink.host, uplink.port, context)
    return [said] if raw is None else [said, *peer_certificate(raw, now)]


def peer_certificate(raw: bytes, now: datetime) -> list[Finding]:
    """Say until when a peer's certificate (DER) lasts, and whom it names where that is the trouble."""
    try:
        certificate = x509.load_der_x509_certificate(raw)
    except ValueError as error:
        return [warning("certificate", "uplink.peer_unreadable", why=str(error))]
    left = (certificate.not_valid_after_utc - now).total_seconds()
    words: dict[str, Any] = {
        "until": certificate.not_valid_after_utc.date().isoformat(),
        "names": names_of(certificate) or [certificate.subject.rfc4514_string() or "?"],
        "issuer": certificate.issuer.rfc4514_string() or "?",
        "left_s": left,
    }
    if left < 0:
        return [fault("certificate", "uplink.peer_expired", **words)]
    if left < SOON_S:
        return [warning("certificate", "uplink.peer_soon", **words)]
    return [ok("certificate", "uplink.peer", **words)]


def names_of(certificate: x509.Certificate) -> list[str]:
    """Give the host names and addresses a certificate is made out to."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in alternative if isinstance(name, x509.DNSName | x509.IPAddress)]


def own_certificate(site: Site, uplink: Uplink, now: datetime) -> list[Finding]:
    """Judge the certificate we show the broker: readable, with its key, in time, made out to this gateway."""
    if uplink.certificate is None or uplink.private_key is None:
        return []
    file, key_file = site.folder / uplink.certificate, uplink.private_key.path(site.folder)
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:  # TypeError: the key has a pass phrase
        return [fault("own", "uplink.own_unreadable", file=file, key=key_file, why=_brief(error))]
    if _public(key.public_key()) != _public(certificate.public_key()):
        return [fault("own", "uplink.own_other_key", file=file, key=key_file)]
    left = (certificate.not_valid_after_utc - now).total_seconds()
    gateway = site.file.gateway
    expected = f"{gateway.tenant}/{gateway.site}/{gateway.id}"
    common = [str(entry.value) for entry in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    words: dict[str, Any] = {
        "file": file.name,
        "until": certificate.not_valid_after_utc.date().isoformat(),
        "left_s": left,
        "expected": expected,
        "name": common[0] if common else "?",
    }
    if left < 0:
        return [fault("own", "uplink.own_expired", **words)]
    if certificate.not_valid_before_utc > now:
        return [fault("own", "uplink.own_not_yet", **words)]
    if expected not in common:
        return [warning("own", "uplink.own_other_name", **words)]
    if left < SOON_S:
        return [warning("own", "uplink.own_soon", **words)]
    return [ok("own", "uplink.own", **words)]


def _public(key: object) -> bytes:
    encode = getattr(key, "public_bytes", None)
    return b"" if encode is None else bytes(encode(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _brief(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    return "the key has a pass phrase" if isinstance(error, TypeError) else str(error).split(".")[0]


async def _mqtt(site: Site, uplink: Uplink) -> Finding:
    """Say hello under a name of our own, so that the running gateway's session is left alone."""
    certificate = None
    if uplink.certificate is not None and uplink.private_key is not None:
        certificate = (site.folder / uplink.certificate, uplink.private_key.path(site.folder))
    words: dict[str, Any] = {"host": uplink.host, "port": uplink.port}
    link = Mqtt(
        uplink.host,
        uplink.port,
        client_id=f"{site.file.gateway.id}.doctor",
        subscriptions=[site.address.down("ctl")],
        tls=uplink.tls,
        ca=None if uplink.ca is None else str(site.folder / uplink.ca),
        certificate=certificate,
    )
    try:
        async with link:
            return ok("mqtt", "uplink.mqtt", **words)
    except TransportError as error:
        why = str(error).removeprefix(f"broker {link.where}: ")
        return fault("mqtt", "uplink.mqtt_refused", why=why, **words)
