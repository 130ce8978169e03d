"""`triflow edge trust …`: whose certificates the gateway trusts, and its own to hand to servers.

Works while the gateway runs and while it does not: the trust list is files, and every decision leaves a note that the
gateway puts on record (`edge.audit`).
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from edge.config import SiteFile
from edge.connections import OpcUa
from edge.drivers.opcua.certificates import Certificate, CertificateFaultError, at, own, own_uri, read
from edge.drivers.opcua.trust import STATES, Entry, TrustError, TrustList
from sync.settings import ConfigError, Document

EX_DATAERR: Final = 65
EX_CONFIG: Final = 78


def main(argv: list[str]) -> int:
    """Parse the words after `trust`, do what they say, print it; give the exit status."""
    arguments = _parser().parse_args(argv)
    site: Path = arguments.site
    try:
        file = Document(site).parse(SiteFile)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    trust = TrustList(site.resolve().parent / file.gateway.data)
    if not trust.data.is_dir() and arguments.what != "own":
        print(f"no gateway has run here yet: {trust.data} is not there; check gateway.data in {site}", file=sys.stderr)
        return EX_CONFIG
    try:
        match arguments.what:
            case "list":
                _list(trust)
            case "show":
                _show(trust.find(arguments.thumbprint))
            case "add":
                _add(trust, arguments.file)
            case "own":
                _own(trust, file, arguments.export)
            case what:
                _decide(trust, what, arguments.thumbprint, site)
    except (TrustError, CertificateFaultError) as error:
        print(error, file=sys.stderr)
        return EX_DATAERR
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; run this as the gateway's user or with sudo", file=sys.stderr)
        return EX_CONFIG
    return 0


def _parser() -> argparse.ArgumentParser:
    what = "Approve or reject the certificates of OPC UA servers; show the gateway's own."
    parser = argparse.ArgumentParser(prog="triflow edge trust", description=what)
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, said, more in (
        ("list", "all certificates, those that wait first", ""),
        ("approve", "trust a certificate that waits (or was rejected)", "thumbprint"),
        ("reject", "never trust a certificate again", "thumbprint"),
        ("remove", "forget a certificate: its server is unknown again", "thumbprint"),
        ("show", "everything about one certificate", "thumbprint"),
        ("add", "trust a certificate from a file: a CA, or a server before it is met", "file"),
        ("own", "the gateway's own certificates, made if need be", ""),
    ):
        command = commands.add_parser(name, help=said, description=said)
        command.add_argument("site", type=Path, help="the site file, e.g. site.toml")
        if more == "thumbprint":
            command.add_argument("thumbprint", help="its beginning is enough; SHA-256 or SHA-1")
        elif more == "file":
            command.add_argument("file", type=Path, help="DER or PEM")
        if name == "own":
            command.add_argument(
                "--export", type=Path, metavar="PATH", help="copy them there, a file or a folder (DER)"
            )
    return parser


def _list(trust: TrustList) -> None:
    for state in reversed(STATES):  # those that wait first
        entries = trust.entries(state)
        print(f"{state} ({len(entries)})")
        for entry in entries:
            certificate, note = entry.certificate, entry.note
            where = ", ".join(note.connections) or (
                "vouches for what it signed" if certificate.authority else "any connection"
            )
            print(f"  {certificate.thumbprint[:16]}  {certificate.subject}")
            print(f"      {where}{f' at {note.url}' if note.url else ''} · valid to {_until(certificate)}")
            if state == "quarantine" and note.why:
                print(f"      {note.why}; seen first {_time(note.seen)}")
    for fault in trust.faults():
        print(f"! {fault}")


def _show(entry: Entry) -> None:
    certificate, note = entry.certificate, entry.note
    rows = {
        "state": entry.state,
        "subject": certificate.subject,
        "issuer": "itself" if certificate.subject == certificate.issuer else certificate.issuer,
        "SHA-256": _spaced(certificate.thumbprint),
        "SHA-1": _spaced(certificate.sha1),
        "ApplicationUri": ", ".join(certificate.application_uris),
        "hosts": ", ".join(certificate.hosts),
        "valid": f"{certificate.begins:%Y-%m-%d} to {_until(certificate)}",
        "is a CA": "yes" if certificate.authority else "",
        "connections": ", ".join(note.connections),
        "url": note.url,
        "seen first": _time(note.seen) if note.seen else "",
        "why it waits": note.why,
        "replaces": note.replaces,
        "decided": f"{_time(note.decided)} by {note.by}" if note.decided else "",
        "file": str(entry.path),
    }
    for name, value in rows.items():
        if value:
            print(f"{name:15} {value}")


def _decide(trust: TrustList, what: str, thumbprint: str, site: Path) -> None:
    act: dict[str, Callable[..., Entry]] = {"approve": trust.approve, "reject": trust.reject, "remove": trust.remove}
    entry = act[what](trust.find(thumbprint).certificate.thumbprint, by=_who(), now=time.time_ns())
    done = {"approve": "trusted", "reject": "rejected", "remove": "forgotten"}[what]
    print(f"{done}: {entry.certificate.subject} ({entry.certificate.thumbprint[:16]}…)")
    if what == "approve" and entry.note.connections:
        print(f"{', '.join(entry.note.connections)} of {site} comes up by itself at the next attempt, within 10 s")
    elif what == "reject":
        print("a connection that is up stays up until it is made anew")


def _add(trust: TrustList, path: Path) -> None:
    for certificate in read(path.read_bytes()):
        trust.add(certificate, by=_who(), now=time.time_ns())
        what = "CA, vouches for what it signed" if certificate.authority else "server"
        print(f"trusted: {certificate.subject} ({certificate.thumbprint[:16]}…), {what}")


def _own(trust: TrustList, file: SiteFile, export: Path | None) -> None:
    secured = [c for c in file.connections if isinstance(c, OpcUa) and c.security != "none"]
    uris = dict.fromkeys(own_uri(trust.pki, c.application_uri, file.gateway.id) for c in secured)
    if not uris:
        raise TrustError("no OPC UA connection of this site has a security policy, so there is no certificate to show")
    into_folder = export is not None and (export.is_dir() or len(uris) > 1)
    for uri in uris:
        ours = own(trust.pki, uri, at(time.time_ns()))
        certificate = ours.certificate
        print(f"ApplicationUri  {uri}")
        print(f"SHA-256         {_spaced(certificate.thumbprint)}")
        print(f"SHA-1           {_spaced(certificate.sha1)}")
        print(f"valid           {certificate.begins:%Y-%m-%d} to {_until(certificate)}")
        print(f"file            {ours.file}")
        if ours.previous is not None:
            print(
                f"before          {ours.previous.certificate.thumbprint[:16]}…, used where the new one is not trusted yet"
            )
        if export is not None:
            target = export / ours.file.name if into_folder else export
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(certificate.der)
            print(f"copied to       {target}")


def _who() -> str:
    """Give who decides: the person, also behind sudo."""
    try:
        return f"{os.environ.get('SUDO_USER') or getpass.getuser()} (command)"
    except (KeyError, OSError):  # a user without a name
        return f"user {os.getuid()} (command)"


def _until(certificate: Certificate) -> str:
    now = at(time.time_ns())
    level = certificate.level(now)
    if level == "expired":
        return f"{certificate.ends:%Y-%m-%d}, EXPIRED"
    return f"{certificate.ends:%Y-%m-%d}" + ("" if level == "ok" else f", {certificate.days_left(now):.0f} days left")


def _time(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9).astimezone():%Y-%m-%d %H:%M}"


def _spaced(thumbprint: str) -> str:
    return " ".join(thumbprint[i : i + 4] for i in range(0, len(thumbprint), 4))
