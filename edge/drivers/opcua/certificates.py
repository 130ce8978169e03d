"""X.509 certificates as OPC UA uses them (Part 6 §6.2): read, described, and our own made, kept and renewed.

Our application certificate lies in `<data>/pki/own/`, one per ApplicationUri: `<name>.pem` (0600) holds certificate and
private key together, so that one rename replaces both; `<name>.der` is the certificate alone, to hand to a server. A
renewed pair leaves the old one beside it as `<name>.previous.pem`: it is used until the server trusts the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import re
import socket
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.durable import private_folder, put
from sync.timing import UNSET_BEFORE_NS

LIFE: Final = timedelta(days=5 * 365)
KEY_BITS: Final = 2048
"""What every policy allows and every controller can work with; the policies end at 4096."""
RENEW_BELOW: Final = 1 / 3
"""Part of its life left at which our certificate is made anew: 20 months for people to trust the new one."""
EARLIEST: Final = datetime.fromtimestamp(UNSET_BEFORE_NS // 10**9, UTC)
"""Before this no clock is right: a box that starts without one judges no certificate by time, and backdates its own."""
WARNINGS: Final = ((7, "critical"), (30, "warning"), (60, "notice"))
"""Days before a certificate ends → how loudly it is said."""


class CertificateFaultError(Exception):
    """Not a certificate, or one that cannot be used. The message says which and why."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate and what people compare: made by `read`."""

    x509: x509.Certificate
    der: bytes

    @property
    def thumbprint(self) -> str:
        """SHA-256 of the DER, 64 hex digits."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def sha1(self) -> str:
        """SHA-1 of the DER, as UaExpert, TIA Portal and Windows show it."""
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()

    @property
    def subject(self) -> str:
        return _name(self.x509.subject)

    @property
    def issuer(self) -> str:
        return _name(self.x509.issuer)

    @property
    def begins(self) -> datetime:
        return self.x509.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        return self.x509.not_valid_after_utc

    @property
    def application_uris(self) -> list[str]:
        san = self._names()
        return [] if san is None else san.get_values_for_type(x509.UniformResourceIdentifier)

    @property
    def hosts(self) -> list[str]:
        """DNS names and addresses it stands for."""
        san = self._names()
        if san is None:
            return []
        return [*san.get_values_for_type(x509.DNSName), *map(str, san.get_values_for_type(x509.IPAddress))]

    @property
    def authority(self) -> bool:
        """Whether it is a CA: may vouch for others."""
        try:
            return self.x509.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (x509.ExtensionNotFound, ValueError):
            return False

    def days_left(self, now: datetime) -> float:
        return (self.ends - now) / timedelta(days=1)

    def level(self, now: datetime) -> str:
        """Give how urgent its end is: ok, notice (60 days), warning (30), critical (7) or expired."""
        if now < EARLIEST:
            return "ok"
        left = self.days_left(now)
        if left <= 0:
            return "expired"
        return next((level for days, level in WARNINGS if left <= days), "ok")

    def _names(self) -> x509.SubjectAlternativeName | None:
        try:
            return self.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, ValueError):  # ValueError: an extension that cannot be parsed names nothing
            return None


@dataclass(frozen=True, slots=True)
class Own:
    """Our application certificate with its key, and the one before while the new one may not be trusted yet."""

    certificate: Certificate
    key: rsa.RSAPrivateKey
    file: Path
    """The certificate alone (DER), to hand to a server."""
    previous: Own | None = None


def read(data: bytes) -> list[Certificate]:
    """Give the certificates of a DER blob, the leaf first (servers send chains so), or of a PEM file.

    Raises CertificateFaultError.
    """
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return [_described(one) for one in x509.load_pem_x509_certificates(data)]
        found: list[Certificate] = []
        while data:
            size = _der_size(data)
            found.append(_described(x509.load_der_x509_certificate(data[:size])))
            data = data[size:]
    except (ValueError, IndexError) as error:
        raise CertificateFaultError(f"not a certificate (X.509, DER or PEM): {error}") from error
    return found


def _described(certificate: x509.Certificate) -> Certificate:
    return Certificate(certificate, certificate.public_bytes(serialization.Encoding.DER))


def _der_size(data: bytes) -> int:
    """Give the length of the first DER sequence, head and all."""
    if data[0] != 0x30:
        raise ValueError("no DER sequence")
    short = data[1]
    if short < 0x80:
        return 2 + short
    digits = short & 0x7F
    return 2 + digits + int.from_bytes(data[2 : 2 + digits], "big")


def _name(name: x509.Name) -> str:
    """Give a name as people read it, most telling part first: CN=Press, O=Acme."""
    parts = sorted(name, key=lambda part: part.oid != NameOID.COMMON_NAME)
    return ", ".join(f"{part.rfc4514_attribute_name}={part.value!s}" for part in parts) or "(no subject)"


# ── our own ──


def own_uri(pki: Path, configured: str | None, gateway: str) -> str:
    """Give our ApplicationUri: the configured one, else the one made before for this gateway, else a new one.

    The one made before is kept when the box gets another host name (containers do at every start): servers trust the
    certificate that carries it.
    """
    if configured is not None:
        return configured
    ours = re.compile(rf"urn:[^:]+:triflow:{re.escape(gateway)}")
    for path in sorted((pki / "own").glob("*.der")):
        with contextlib.suppress(CertificateFaultError, OSError):
            for uri in read(path.read_bytes())[0].application_uris:
                if ours.fullmatch(uri):
                    return uri
    return f"urn:{_host()}:triflow:{gateway}"


def own(pki: Path, application_uri: str, now: datetime, hosts: Sequence[str] | None = None) -> Own:
    """Give our certificate for an ApplicationUri, made or renewed when that is due. Works for several callers at once.

    hosts: names and addresses it stands for; the box's own when left out. Raises OSError when the folder is not ours to
    write, CertificateFaultError when the file there is damaged.
    """
    folder = private_folder(pki / "own")
    name = re.sub(r"[^A-Za-z0-9.]+", "-", application_uri).strip("-")[:60]
    name = (
        f"{name}-{hashlib.sha256(application_uri.encode()).hexdigest()[:8]}"  # two URIs may look alike in a file name
    )
    path, previous_path = folder / f"{name}.pem", folder / f"{name}.previous.pem"
    with _alone(folder):
        current = _load(path) if path.exists() else None
        if current is None or _due(current.certificate, application_uri, now):
            if current is not None:
                put(previous_path, path.read_bytes(), 0o600)
            put(path, _make(application_uri, now, _hosts() if hosts is None else hosts), 0o600)
            current = _load(path)
        exported = path.with_suffix(".der")
        if not exported.exists() or exported.read_bytes() != current.certificate.der:
            put(exported, current.certificate.der, 0o644)
        previous = _load(previous_path) if previous_path.exists() else None
    if previous is not None and not _usable(previous.certificate, current.certificate, application_uri, now):
        previous = None
    return Own(current.certificate, current.key, exported, previous)


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Hold the folder: connections of one gateway and the command line may all find that it is time."""
    with (folder / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _due(certificate: Certificate, application_uri: str, now: datetime) -> bool:
    if application_uri not in certificate.application_uris:
        return True
    left = certificate.ends - now  # more than its whole life when the clock is behind: never due for that
    return left < (certificate.ends - certificate.begins) * RENEW_BELOW


def _usable(previous: Certificate, current: Certificate, application_uri: str, now: datetime) -> bool:
    same = previous.thumbprint == current.thumbprint
    return not same and now < previous.ends and application_uri in previous.application_uris


def _load(path: Path) -> Own:
    data = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(data, None)
        certificate = read(data)[0]
    except (ValueError, IndexError, CertificateFaultError) as error:
        raise CertificateFaultError(
            f"{path} is damaged ({error}); move it away and a new certificate is made, which the server must then trust"
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey) or certificate.x509.public_key() != key.public_key():
        raise CertificateFaultError(f"{path}: the private key is not the certificate's; move the file away")
    return Own(certificate, key, path.with_suffix(".der"))


def _make(application_uri: str, now: datetime, hosts: Sequence[str]) -> bytes:
    """Make key and self-signed certificate, with what Part 6 §6.2.2 asks of an application certificate. Takes a while."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
    try:
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(application_uri)]
    except ValueError as error:
        raise CertificateFaultError(
            f"application_uri {application_uri!r}: a certificate takes plain ASCII only"
        ) from error
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    subject = x509.Name([
        x509.NameAttribute(NameOID.COMMON_NAME, f"Triflow {application_uri.rpartition(':')[2]}"[:64]),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Triflow"),
    ])  # fmt: skip
    begins = max(now, EARLIEST) - timedelta(hours=1)  # a server's clock may be behind ours
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_cert_sign=True,  # self-signed
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()  # the file mode protects it: nobody is there to type a password at boot
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
    )


def _host() -> str:
    """Give the box's host name as a DNS name, `localhost` if it has none."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:63].strip("-.") or "localhost"


def _hosts() -> list[str]:
    """Give the box's host name and the address of its first way out; no name is looked up, no packet is sent."""
    hosts = [_host()]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # TEST-NET: any address that is not ours
        hosts.append(str(probe.getsockname()[0]))
    return hosts


def at(ns: int) -> datetime:
    """Give a clock's nanoseconds as certificates count time."""
    return datetime.fromtimestamp(ns / 1e9, UTC)
