"""The way to a machine or system: its name, its port, its certificate. Steps that every protocol over a network shares."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from typing import Final

from edge.drivers.finding import Finding, fault, ok

RESOLVE_S: Final = 3.0
CONNECT_S: Final = 4.0
CLOSE_S: Final = 1.0

_VERIFY: Final[dict[int, str]] = {
    9: "reach.tls_not_yet",
    10: "reach.tls_expired",
    62: "reach.tls_other_name", 64: "reach.tls_other_name",
    2: "reach.tls_unknown_ca", 18: "reach.tls_unknown_ca", 19: "reach.tls_unknown_ca", 20: "reach.tls_unknown_ca",
    21: "reach.tls_unknown_ca",
}  # fmt: skip
"""OpenSSL's verify codes (X509_V_ERR_…): times; host name, IP address; no issuer, self-signed, unknown chain."""


async def reach(host: str, port: int) -> list[Finding]:
    """Look up a name and knock at a port; the last finding is a fault when there is no way through."""
    names = await resolve(host)
    if names.severity == "fault":
        return [names]
    return [names, await knock(host, port)]


async def resolve(host: str) -> Finding:
    """Tell whether a host name can be found. An address needs no looking up."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return ok("name", "reach.address", host=host)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        return fault("name", "reach.no_name_server", host=host, limit_s=RESOLVE_S)
    except (OSError, UnicodeError):  # socket.gaierror is an OSError; a name IDNA cannot take is a UnicodeError
        return fault("name", "reach.unknown", host=host)
    return ok("name", "reach.found", host=host, addresses=sorted({str(entry[4][0]) for entry in found}))


async def knock(host: str, port: int) -> Finding:
    """Tell whether a port takes a connection; it is closed again at once."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return fault("port", "reach.silent", host=host, port=port, limit_s=CONNECT_S)
    except ConnectionRefusedError:
        return fault("port", "reach.refused", host=host, port=port)
    except OSError as error:
        return fault("port", "reach.no_route", host=host, port=port, why=error.strerror or str(error))
    took = loop.time() - began
    await _close(writer)
    return ok("port", "reach.open", host=host, port=port, took_s=took)


async def greet(host: str, port: int, context: ssl.SSLContext, name: str | None = None) -> tuple[Finding, bytes | None]:
    """Shake hands under TLS; give the finding, and the peer's certificate (DER) where there is one.

    name: what the certificate must be made out to; the host when left out.
    """
    wanted = name or host
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=wanted)
    except ssl.SSLCertVerificationError as error:
        return _verdict(error, wanted), await _certificate(host, port)
    except ssl.SSLError as error:
        return fault("tls", "reach.tls_failed", host=host, port=port, why=_reason(error)), None
    except TimeoutError:
        return fault("tls", "reach.tls_silent", host=host, port=port, limit_s=CONNECT_S), None
    except OSError as error:  # closed on us in the middle of the handshake
        why = error.strerror or str(error) or type(error).__name__
        return fault("tls", "reach.tls_failed", host=host, port=port, why=why), None
    secured = writer.get_extra_info("ssl_object")
    raw = secured.getpeercert(binary_form=True)
    version = secured.version()
    await _close(writer)
    return ok("tls", "reach.tls", name=wanted, version=version), raw


def _verdict(error: ssl.SSLCertVerificationError, wanted: str) -> Finding:
    key = _VERIFY.get(error.verify_code)
    if key is None:
        return fault("tls", "reach.tls_unverified", name=wanted, why=error.verify_message)
    return fault("tls", key, name=wanted)


async def _certificate(host: str, port: int) -> bytes | None:
    """Fetch the certificate of a peer that could not be verified, to say more about it; nothing is sent to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return None
    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await _close(writer)
    return raw


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):  # ssl.SSLError is an OSError
        async with asyncio.timeout(CLOSE_S):
            await writer.wait_closed()
