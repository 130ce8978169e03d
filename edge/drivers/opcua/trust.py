"""Whom the gateway trusts: `<data>/pki/{trusted,quarantine,rejected,crl}`, files a person can look at and copy.

A certificate is a DER file named by subject and SHA-256 thumbprint, with a note (`.json`) beside it of where it was
seen and who decided. A server nobody knows goes to quarantine and waits for a person. CA certificates in `trusted`
vouch for what they signed, CRLs in `crl` take that back. Files put there by hand count too, DER or PEM, under any name.
Where a certificate is in several folders (a crash, two connections), rejected goes before trusted before quarantine.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography import x509

from edge import audit
from edge.drivers.opcua.certificates import Certificate, CertificateFaultError, read
from edge.durable import private_folder, put, sync_folder
from sync.facts import Audited

State = Literal["trusted", "quarantine", "rejected"]
STATES: Final[tuple[State, ...]] = ("rejected", "trusted", "quarantine")
MOST_WAITING: Final = 5
"""Quarantined certificates kept per connection, the newest: a server may make a new one at every start."""
_SUFFIXES: Final = {".der", ".pem", ".crt", ".cer"}


class TrustError(Exception):
    """What was asked of the trust list cannot be done. The message says why and what to do."""


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a certificate besides itself."""

    connections: list[str] = []
    """Connections of the site file that met it, or for which it was approved."""
    url: str = ""
    seen: int = 0
    """When it was met first, ns."""
    why: str = ""
    """Why it is in quarantine."""
    replaces: str = ""
    """Thumbprint of the certificate that the same server showed before."""
    by: str = ""
    """Who decided."""
    decided: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate in one folder."""

    certificate: Certificate
    state: State
    path: Path
    note: Note


class TrustList:
    """The trust list of one gateway; every call looks at the files, so that people and processes can share it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.pki = data / "pki"

    def entries(self, state: State) -> list[Entry]:
        """Give what is in a folder, oldest first. A file that is no certificate is left out: see `faults`."""
        return sorted(
            (found for found in self._files(state) if isinstance(found, Entry)), key=lambda entry: entry.note.seen
        )

    def faults(self) -> list[str]:
        """Give what is wrong with files in the folders, one sentence each."""
        said = [found for state in STATES for found in self._files(state) if isinstance(found, str)]
        return said + [str(found) for found in self._revocations() if isinstance(found, TrustError)]

    def state_of(self, thumbprint: str) -> Entry | None:
        """Give the entry that counts for a certificate, None for one nobody has met."""
        for state in STATES:
            for entry in self.entries(state):
                if entry.certificate.thumbprint == thumbprint:
                    return entry
        return None

    def authorities(self) -> list[Certificate]:
        """Give the CA certificates that were put here to vouch for others.

        A server's own certificate may call itself a CA, too; approved as a server, it vouches for nobody else.
        """
        return [e.certificate for e in self.entries("trusted") if e.certificate.authority and not e.note.connections]

    def revocations(self) -> list[x509.CertificateRevocationList]:
        """Give the CRLs. Raises TrustError for one that cannot be read: what it revokes must not pass."""
        found: list[x509.CertificateRevocationList] = []
        for one in self._revocations():
            if isinstance(one, TrustError):
                raise one
            found.append(one)
        return found

    def find(self, prefix: str) -> Entry:
        """Give the certificate whose thumbprint begins so (SHA-256 or SHA-1; spaces, colons and case do not matter).

        Raises TrustError when there is none, or several.
        """
        wanted = re.sub(r"[\s:]", "", prefix).lower()
        if len(wanted) < 4:
            raise TrustError(f"{prefix!r}: give at least 4 digits of the thumbprint")
        found: dict[str, Entry] = {}
        for state in STATES:
            for entry in self.entries(state):
                names = (entry.certificate.thumbprint, entry.certificate.sha1)
                if any(name.startswith(wanted) for name in names):
                    found.setdefault(names[0], entry)
        if not found:
            raise TrustError(f"no certificate {prefix!r} in {self.pki}; `triflow edge trust list` shows what there is")
        if len(found) > 1:
            names = ", ".join(f"{name[:16]}… ({entry.certificate.subject})" for name, entry in found.items())
            raise TrustError(f"{prefix!r} could be {names}; give more digits")
        return next(iter(found.values()))

    def quarantine(self, certificate: Certificate, note: Note) -> None:
        """Keep a certificate for a person to decide on; when it was seen first stays. Raises OSError."""
        known = next(
            (e for e in self.entries("quarantine") if e.certificate.thumbprint == certificate.thumbprint), None
        )
        if known is not None:
            merged = _merged([note, known.note])
            note = msgspec.structs.replace(merged, seen=known.note.seen)
            if note == known.note:
                return
        self._keep("quarantine", certificate, note)
        for connection in note.connections:
            mine = [entry for entry in self.entries("quarantine") if connection in entry.note.connections]
            for entry in mine[:-MOST_WAITING]:
                self._forget(entry)

    def remember(self, connection: str, certificate: Certificate) -> None:
        """Note which certificate passed on a connection, so that its end can be announced whoever vouched for it."""
        path = self.pki / "met" / f"{connection}.der"
        if not path.exists() or path.read_bytes() != certificate.der:
            put(private_folder(path.parent) / path.name, certificate.der)

    def met(self) -> dict[str, Certificate]:
        """Give the certificate that passed last, by connection."""
        found: dict[str, Certificate] = {}
        for path in sorted((self.pki / "met").glob("*.der")):
            with contextlib.suppress(CertificateFaultError, FileNotFoundError):
                found[path.stem] = read(path.read_bytes())[0]
        return found

    def approve(self, thumbprint: str, *, by: str, now: int) -> Entry:
        """Trust a certificate from now on, for the connections that met it. Raises TrustError, OSError."""
        return self._decide(thumbprint, "trusted", by, now)

    def reject(self, thumbprint: str, *, by: str, now: int) -> Entry:
        """Never trust a certificate again, even if a CA vouches for it. Raises TrustError, OSError."""
        return self._decide(thumbprint, "rejected", by, now)

    def remove(self, thumbprint: str, *, by: str, now: int) -> Entry:
        """Forget a certificate: a server that shows it is unknown again. Raises TrustError, OSError."""
        entry = self._entry(thumbprint)
        self._audit("removed", entry.certificate, entry.note, by, now)
        for one in self._of(thumbprint):
            self._forget(one)
        return entry

    def add(self, certificate: Certificate, *, by: str, now: int) -> Entry:
        """Trust a certificate from a file: a CA, or a server before it was met. Raises TrustError, OSError."""
        known = self.state_of(certificate.thumbprint)
        if known is not None and known.state == "rejected":
            raise TrustError(f"{certificate.subject} was rejected; approve it by its thumbprint if that was a mistake")
        note = Note(seen=now, by=by, decided=now)
        self._audit("approved", certificate, note, by, now)
        path = self._keep("trusted", certificate, note)
        return Entry(certificate, "trusted", path, note)

    def _decide(self, thumbprint: str, state: Literal["trusted", "rejected"], by: str, now: int) -> Entry:
        entry = self._entry(thumbprint)
        every = self._of(thumbprint)
        note = msgspec.structs.replace(_merged([one.note for one in every]), by=by, decided=now, why="")
        self._audit("approved" if state == "trusted" else "rejected", entry.certificate, note, by, now)
        path = self._keep(state, entry.certificate, note)
        for one in every:
            if one.path != path:
                self._forget(one)
        return Entry(entry.certificate, state, path, note)

    def _audit(self, what: str, certificate: Certificate, note: Note, by: str, now: int) -> None:
        """Leave the note before acting: what is on record and did not happen can be seen, the other way it cannot."""
        detail = {
            "subject": certificate.subject,
            "sha1": certificate.sha1,
            "application_uri": ", ".join(certificate.application_uris),
            "connections": ", ".join(note.connections),
            "url": note.url,
            "valid_to": f"{certificate.ends:%Y-%m-%d}",
        }
        fact = Audited(
            at=now,
            actor=by,
            action=f"certificate.{what}",
            target=certificate.thumbprint,
            detail={key: value for key, value in detail.items() if value},
        )
        audit.leave(self.data, fact)

    def _entry(self, thumbprint: str) -> Entry:
        entry = self.state_of(thumbprint)
        if entry is None:
            raise TrustError(f"no certificate {thumbprint[:16]}… is here any more; look at the list again")
        return entry

    def _of(self, thumbprint: str) -> list[Entry]:
        return [e for state in STATES for e in self.entries(state) if e.certificate.thumbprint == thumbprint]

    def _keep(self, state: State, certificate: Certificate, note: Note) -> Path:
        folder = private_folder(self.pki / state)
        known = (e.path for e in self.entries(state) if e.certificate.thumbprint == certificate.thumbprint)
        path = next(known, folder / _file_name(certificate))
        put(path.with_suffix(".json"), msgspec.json.encode(note))
        if not path.exists():
            put(path, certificate.der)
        return path

    def _forget(self, entry: Entry) -> None:
        entry.path.unlink(missing_ok=True)
        entry.path.with_suffix(".json").unlink(missing_ok=True)
        sync_folder(entry.path.parent)

    def _files(self, state: State) -> Iterator[Entry | str]:
        folder = self.pki / state
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
                continue
            try:
                certificates = read(path.read_bytes())
            except FileNotFoundError:
                continue  # moved by another process between the listing and the look
            except CertificateFaultError as error:
                yield f"{path}: {error}; take it away, or replace it by a DER or PEM certificate"
                continue
            if len(certificates) != 1:
                yield f"{path}: {len(certificates)} certificates in one file; put each into a file of its own"
                continue
            yield Entry(certificates[0], state, path, _note(path))

    def _revocations(self) -> Iterator[x509.CertificateRevocationList | TrustError]:
        folder = self.pki / "crl"
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            data = path.read_bytes()
            try:
                yield x509.load_pem_x509_crl(data) if data.startswith(b"-----") else x509.load_der_x509_crl(data)
            except ValueError as error:
                yield TrustError(f"{path} is no revocation list (CRL, DER or PEM): {error}; replace it or take it away")


def _file_name(certificate: Certificate) -> str:
    subject = re.sub(r"[^A-Za-z0-9.]+", "-", certificate.subject.removeprefix("CN=")).strip("-.")[:60]
    return f"{subject or 'certificate'}-{certificate.thumbprint}.der"


def _note(path: Path) -> Note:
    try:
        return msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Note)
    except FileNotFoundError:
        return Note(seen=path.stat().st_mtime_ns if path.exists() else 0)  # put there by hand
    except msgspec.DecodeError:
        return Note(why=f"{path.with_suffix('.json').name} cannot be read")


def _merged(notes: list[Note]) -> Note:
    """Give one note of what several say; the first one's words, everybody's connections."""
    connections = list(dict.fromkeys(connection for note in notes for connection in note.connections))
    seen = min((note.seen for note in notes if note.seen), default=0)
    return msgspec.structs.replace(notes[0], connections=connections, seen=seen)
