"""Certificates made at test time: servers', users', CAs', good ones and every kind of bad one."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.drivers.opcua.certificates import Certificate, read

NOW = datetime.now(UTC)


@functools.cache
def key(number: int = 0, bits: int = 2048):
    """Give one of a few keys: making one takes a while, and most tests do not care which."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


@functools.cache
def curve():
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Issued:
    x509: x509.Certificate
    key: object

    @property
    def der(self) -> bytes:
        return self.x509.public_bytes(serialization.Encoding.DER)

    @property
    def described(self) -> Certificate:
        return read(self.der)[0]

    @property
    def thumbprint(self) -> str:
        return self.described.thumbprint

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def write(self, folder: Path, name: str = "server") -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        certificate, private = folder / f"{name}.der", folder / f"{name}.key.pem"
        certificate.write_bytes(self.der)
        private.write_bytes(self.key_pem)
        return certificate, private


def issue(
    name: str = "Press",
    *,
    uri: str | None = "urn:test:press",
    hosts: tuple[str, ...] = ("127.0.0.1",),
    begins: datetime = NOW - timedelta(days=1),
    ends: datetime = NOW + timedelta(days=365),
    by: Issued | None = None,
    ca: bool = False,
    depth: int | None = None,
    with_key: object = None,
    server: bool = True,
) -> Issued:
    """Make a certificate: self-signed unless `by` a CA; a CA itself with `ca`."""
    private = with_key or key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.x509.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=depth if ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca, content_commitment=not ca, key_encipherment=not ca, data_encipherment=not ca,
                key_cert_sign=ca or by is None, crl_sign=ca, key_agreement=False, encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if not ca:
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    names: list[x509.GeneralName] = [] if uri is None else [x509.UniformResourceIdentifier(uri)]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    if names and not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Issued(builder.sign(private if by is None else by.key, hashes.SHA256()), private)


def revoke(by: Issued, *revoked: Issued) -> bytes:
    """Give a CA's revocation list, DER."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(by.x509.subject)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=7))
    )
    for one in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(one.x509.serial_number).revocation_date(NOW).build()
        )
    return builder.sign(by.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
