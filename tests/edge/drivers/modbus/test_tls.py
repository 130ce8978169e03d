"""Modbus over TLS: the device is verified, always; a device that wants to know us gets our certificate."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import aclosing
from pathlib import Path
from typing import Self

import pytest
from pymodbus.server import ModbusTlsServer
from pymodbus.simulator import DataType as Sim
from pymodbus.simulator import SimData, SimDevice

from edge.connections import Modbus
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.modbus.driver import ModbusDriver
from sync.clock import WallClock
from tests.edge.drivers.machines import tag
from tests.edge.drivers.modbus.test_desync import right
from tests.modbus_servers import word
from tests.servers import free_port

TAGS = [tag(i, f"holding:{i}", type="uint16", device=1) for i in range(20)]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a CA, a device's and a gateway's certificate and keys."""
    folder = tmp_path_factory.mktemp("modbus-pki")
    (folder / "credentials").mkdir()

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")
    for ca in ("ca", "other-ca"):
        openssl("req", "-x509", *key, "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}")
    for name, where in (("device", "device.key"), ("gateway", "credentials/gateway.key")):
        openssl("req", *key[:-2], "-keyout", where, "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}.plant\n")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


def driver_to(port: int, folder: Path, **more: object) -> ModbusDriver:
    config = Modbus(**{
        "driver": "modbus", "name": "machine", "transport": "tls", "host": "127.0.0.1", "port": port, "ca": "ca.pem",
        "server_name": "device.plant", "certificate": "gateway.pem", "private_key": {"credential": "gateway.key"},
        "timeout_s": 2.0, "period_ms": 50, **more,
    })  # fmt: skip
    return ModbusDriver(config, TAGS, WallClock(), Surroundings(folder=folder, data=folder, gateway="gw"))


class TlsMachine:
    """A pymodbus server that asks for the gateway's certificate."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "device.pem", folder / "device.key")
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        device = SimDevice(1, simdata=[SimData(0, values=[word(at) for at in range(50)], datatype=Sim.REGISTERS)])
        self._make = lambda: ModbusTlsServer(device, sslctx=context, address=("127.0.0.1", self.port))

    async def __aenter__(self) -> Self:
        self._server = self._make()
        await self._server.serve_forever(background=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.shutdown()
        await asyncio.sleep(0)


async def test_a_device_that_is_who_it_says_is_read(pki) -> None:
    async with TlsMachine(pki) as machine:
        driver = driver_to(machine.port, pki)
        async with asyncio.timeout(20), driver, aclosing(driver.readings()) as readings:
            for _ in range(2):
                assert right(TAGS, await anext(readings)) == len(TAGS)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"ca": "other-ca.pem"}, "not trusted"),
        ({"ca": None}, "not trusted"),
        ({"server_name": "somebody.else"}, "not trusted"),
        ({"server_name": None}, "not trusted"),
        ({"ca": "missing.pem"}, "check ca"),
        ({"certificate": "missing.pem"}, "check certificate and private_key"),
        ({"private_key": {"credential": "missing"}}, "check certificate and private_key"),
    ],
)
async def test_a_device_that_cannot_be_verified_is_never_read(pki, wrong, why) -> None:
    async with TlsMachine(pki) as machine:
        with pytest.raises(DriverError, match=why):
            async with asyncio.timeout(5), driver_to(machine.port, pki, **wrong):
                pass


async def test_a_device_that_does_not_know_us_or_speaks_no_tls_is_lost_with_a_sentence(pki) -> None:
    async with TlsMachine(pki) as machine:
        driver = driver_to(machine.port, pki, certificate=None, private_key=None)
        with pytest.raises(DriverError, match="check"):
            async with asyncio.timeout(10), driver, aclosing(driver.readings()) as readings:
                await anext(readings)

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\0\1\0\0\0\3\1\x83\2")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        with pytest.raises(DriverError, match="no TLS"):
            async with asyncio.timeout(5), driver_to(server.sockets[0].getsockname()[1], pki):
                pass
