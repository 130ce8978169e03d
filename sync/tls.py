"""How we check whom we talk to: TLS 1.2 or newer, a chain to a known CA, the name in the certificate. No way around it."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path


class TlsError(Exception):
    """A certificate or key file cannot be used; the message names the file. Only a person mends that."""


def client_context(ca: str | Path | None, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    """Give the context of our own connections: `ca` or the machine's own CAs, our certificate and its key.

    Raises TlsError.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise TlsError(f"cannot use the CA file {ca}: {error}; check uplink.ca") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    if certificate is not None:
        try:
            # An encrypted key would have openssl ask on the terminal of a service.
            context.load_cert_chain(*certificate, password=b"")
        except OSError as error:
            raise TlsError(
                f"cannot use the certificate {certificate[0]} with its key: {error}; "
                "check uplink.certificate and uplink.private_key"
            ) from error
    return context


class Complaints(logging.Logger):
    """Keeps the last error that paho only writes to its log: a reset, or the TLS alert that says why we are not let in."""

    def __init__(self) -> None:
        super().__init__("sync.tls.complaints", logging.ERROR)
        self.last = ""

    @property
    def alert(self) -> bool:
        """Whether the other end refused us by a TLS alert."""
        return "alert" in self.last.lower()

    def handle(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage().rpartition(" on socket: ")[2]
