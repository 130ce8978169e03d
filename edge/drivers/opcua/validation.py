"""Is this server who we think it is: the checks of OPC UA Part 4 §6.1.3, as a function of what it showed and whom we trust.

What a person may overrule by approving the very certificate: that nobody vouches for it, and that it names other hosts
(an address in the url, a name in the certificate). What nobody may: time, ApplicationUri, key, signature, revocation.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge.drivers.opcua.certificates import EARLIEST, Certificate
from edge.drivers.opcua.trust import TrustError, TrustList

SKEW: Final = timedelta(minutes=5)
LONGEST_CHAIN: Final = 8


class UntrustedError(Exception):
    """A server's certificate does not pass. The message says why, and what to do at the server."""


class UnknownError(UntrustedError):
    """It would pass if a person approved it."""

    def __init__(self, message: str, replaces: str = "") -> None:
        super().__init__(message)
        self.replaces = replaces
        """Thumbprint of the trusted certificate that the same server had before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a server showed, and where."""

    chain: Sequence[Certificate]
    """Its certificate first, then whatever it sent along."""
    application_uri: str
    """Of the endpoint it describes itself by."""
    connection: str
    host: str
    """As the url names it."""


def judge(shown: Shown, trust: TrustList, now: datetime) -> None:
    """Return if the server may be talked to. Raises UntrustedError; UnknownError if approving would help."""
    leaf = shown.chain[0]
    entry = trust.state_of(leaf.thumbprint)
    if entry is not None and entry.state == "rejected":
        raise UntrustedError(
            f"the server's certificate ({leaf.subject}, {leaf.thumbprint[:16]}…) was rejected by {entry.note.by or 'hand'}; "
            "approve it by its thumbprint if that was a mistake"
        )
    _sound(leaf)
    _in_time(leaf, now, "the server's certificate", "make a new one at the server")
    if shown.application_uri not in leaf.application_uris:
        raise UntrustedError(
            f"the server calls itself {shown.application_uri!r}, its certificate ({leaf.subject}) stands for "
            f"{_listed(leaf.application_uris)}: make a new certificate at the server (most do when the old one is deleted)"
        )
    stands_for_host = any(same_host(shown.host, host) for host in leaf.hosts)
    if entry is not None and entry.state == "trusted":
        if stands_for_host or not entry.note.connections or shown.connection in entry.note.connections:
            return
        raise UnknownError(
            f"the certificate trusted for {_listed(entry.note.connections)} is shown at {shown.host!r}, "
            f"which it does not name (it names {_listed(leaf.hosts)})"
        )
    if _vouched_for(shown.chain, trust, now):
        _may_serve(leaf)
        if not stands_for_host:
            raise UnknownError(
                f"the server's certificate is signed by a trusted CA, but for {_listed(leaf.hosts)}, not for {shown.host!r}"
            )
        return
    before = _before(shown, trust)
    if before:
        raise UnknownError("the server's certificate has changed", replaces=before)
    raise UnknownError("the server's certificate is not known yet")


def _sound(leaf: Certificate) -> None:
    """Check the key's kind and size and the signature's hash, as every policy of ours demands them."""
    key, name = leaf.x509.public_key(), f"the server's certificate ({leaf.subject})"
    if not isinstance(key, rsa.RSAPublicKey) or not 2048 <= key.key_size <= 4096:
        size = f"an RSA key of {key.key_size} bits" if isinstance(key, rsa.RSAPublicKey) else "no RSA key"
        raise UntrustedError(f"{name} has {size}; the policy takes RSA of 2048 to 4096 bits: make a new one there")
    try:
        algorithm = leaf.x509.signature_hash_algorithm
    except ValueError:  # an algorithm the library does not know
        algorithm = None
    if algorithm is None or isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        made = "an unknown algorithm" if algorithm is None else algorithm.name.upper()
        raise UntrustedError(f"{name} is signed with {made}; make a new one there, signed with SHA-256")
    if leaf.x509.subject == leaf.x509.issuer and not _signed_by(leaf, leaf):
        raise UntrustedError(f"{name} is damaged or forged: its own signature does not fit it")


def _in_time(certificate: Certificate, now: datetime, what: str, then: str) -> None:
    if now < EARLIEST:
        return  # a box without a clock yet must not lock itself out: who is trusted stays trusted
    if now > certificate.ends:
        raise UntrustedError(
            f"{what} ({certificate.subject}) expired on {certificate.ends:%Y-%m-%d %H:%M} UTC: {then}, and check the gateway's clock"
        )
    if now + SKEW < certificate.begins:
        raise UntrustedError(
            f"{what} ({certificate.subject}) is not valid before {certificate.begins:%Y-%m-%d %H:%M} UTC, and the gateway's "
            f"clock says {now:%Y-%m-%d %H:%M}: check both clocks"
        )


def _vouched_for(chain: Sequence[Certificate], trust: TrustList, now: datetime) -> bool:
    """Tell whether a trusted CA signed the leaf, through what the server sent along or what is trusted here."""
    trusted = trust.authorities()
    anchors = {authority.thumbprint for authority in trusted}
    rejected = {entry.certificate.thumbprint for entry in trust.entries("rejected")}
    known = [*trusted, *(one for one in chain[1:] if one.authority and one.thumbprint not in rejected)]
    one, below = chain[0], 0
    for _ in range(LONGEST_CHAIN):
        issuer = next((a for a in known if a.thumbprint != one.thumbprint and _signed_by(one, a)), None)
        if issuer is None:
            return False
        _in_time(issuer, now, "the CA certificate", "ask who runs the CA for a new one")
        if not _may_sign(issuer, below):
            return False
        _not_revoked(one, issuer, trust)
        if issuer.thumbprint in anchors:
            return True
        one, below = issuer, below + 1
    return False


def _signed_by(one: Certificate, issuer: Certificate) -> bool:
    try:
        one.x509.verify_directly_issued_by(issuer.x509)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_sign(authority: Certificate, below: int) -> bool:
    """Tell whether a CA's own extensions allow it to have signed, with so many CAs below it."""
    extensions = authority.x509.extensions
    limit = extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if limit is not None and below > limit:
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _not_revoked(one: Certificate, issuer: Certificate, trust: TrustList) -> None:
    """Look into the issuer's revocation lists; without any nothing is revoked (Part 4 lets a site do without)."""
    try:
        lists = trust.revocations()
    except TrustError as error:
        raise UntrustedError(str(error)) from error
    key = issuer.x509.public_key()
    for revoked in lists:
        if revoked.issuer != issuer.x509.subject or not isinstance(key, rsa.RSAPublicKey):
            continue
        if not revoked.is_signature_valid(key):
            continue  # another CA of the same name
        if revoked.get_revoked_certificate_by_serial_number(one.x509.serial_number) is not None:
            raise UntrustedError(f"{one.subject} was revoked by {issuer.subject}: the server needs a new certificate")


def _may_serve(leaf: Certificate) -> None:
    """Check what a CA certified the key for, where it says so."""
    extensions = leaf.x509.extensions
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        allowed = usage.digital_signature and (usage.key_encipherment or usage.data_encipherment)
    except x509.ExtensionNotFound:
        allowed = True
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        allowed = allowed and ExtendedKeyUsageOID.SERVER_AUTH in purposes
    except x509.ExtensionNotFound:
        pass
    if not allowed:
        raise UntrustedError(f"{leaf.subject} was not certified for a server (key usage): ask the CA for one that is")


def _before(shown: Shown, trust: TrustList) -> str:
    """Give the thumbprint trusted so far for this connection, or for a server of this ApplicationUri."""
    leaves = [e for e in trust.entries("trusted") if e.note.connections or not e.certificate.authority]
    for entry in reversed(leaves):
        if shown.connection in entry.note.connections:
            return entry.certificate.thumbprint
    for entry in reversed(leaves):
        if shown.application_uri in entry.certificate.application_uris:
            return entry.certificate.thumbprint
    return ""


def same_host(one: str, other: str) -> bool:
    """Tell whether two names or addresses are written for the same host."""
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return one.rstrip(".").lower() == other.rstrip(".").lower()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) if names else "nothing"
