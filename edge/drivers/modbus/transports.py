"""Ways to a Modbus device: TCP, TLS (verified, always), a serial line. Each becomes a transport, or a sentence why not."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Final

from edge.connections import Modbus
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.modbus.serial_line import open_line

CONNECT_S: Final = 4.0
_SENTENCES: Final[dict[int, str]] = {
    errno.ECONNREFUSED: "nobody listens there; check that the device is on, and its port",
    errno.EHOSTUNREACH: "no way to that address; check the network and the address",
    errno.ENETUNREACH: "no way to that network; check the gateway's own address and routes",
    errno.ENOENT: "there is no such line; check serial.device and that the adapter is plugged in",
    errno.ENODEV: "there is no such line; check serial.device and that the adapter is plugged in",
    errno.ENXIO: "there is no such line; check serial.device and that the adapter is plugged in",
    errno.EACCES: "not allowed; check that the gateway's user may use the line (group dialout)",
    errno.EBUSY: "the line is in use; check which other program reads it",
    errno.EAGAIN: "the line is in use; check which other program reads it",
}


async def connect(config: Modbus, around: Surroundings, protocol: asyncio.Protocol) -> asyncio.Transport:
    """Connect `protocol` to the device within 4 s. Raises DriverError."""
    try:
        if config.serial is not None:
            return open_line(config.serial, protocol)
        loop = asyncio.get_running_loop()
        context = tls_context(config, around) if config.transport == "tls" else None
        async with asyncio.timeout(CONNECT_S):
            transport, _ = await loop.create_connection(
                lambda: protocol,
                config.host or "",
                config.tcp_port,
                ssl=context,
                server_hostname=None if context is None else config.server_name or config.host,
            )
    except TimeoutError:
        why = "no connection within 4 s; check that the device is on, its address and port, and the firewall"
    except ssl.SSLCertVerificationError as error:
        why = f"the device's certificate is not trusted ({error.verify_message}); check ca and server_name"
    except ssl.SSLError as error:
        why = f"no TLS with the device ({error.reason or error}); check its port, and certificate and private_key"
    except socket.gaierror as error:
        why = f"the name is not known ({error.strerror}); check host and the name server"
    except OSError as error:
        why = _SENTENCES.get(
            error.errno or 0,
            f"no connection ({error.strerror or error}); check that the device is on, its address and port",
        )
    except ValueError as error:
        why = str(error)
    else:
        return transport
    raise DriverError(f"{config.name} (modbus {config.target}): {why}")


def tls_context(config: Modbus, around: Surroundings) -> ssl.SSLContext:
    """Give what verifies the device: its chain up to `ca` (the system's own CAs when left out) and its name.

    Raises ValueError with what to check.
    """
    ca = None if config.ca is None else around.folder / config.ca
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"no CA certificate in {ca} ({error.strerror or error}); check ca") from error
    if config.certificate is not None and config.private_key is not None:
        certificate, key = around.folder / config.certificate, config.private_key.path(around.folder)
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(
                f"our certificate {certificate} and key {key} do not work ({error.strerror or error}); "
                "check certificate and private_key"
            ) from error
    return context
