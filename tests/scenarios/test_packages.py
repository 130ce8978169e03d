"""A package's whole way: the command, the cloud, the broker with certificates, HTTPS with certificates, two gateways.

The link is cut in the middle, the gateway killed in the middle; what arrives is whole, and everybody says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.cloud.conftest import write_cloud_toml
from tests.deploy.broker import Production, authority, certificates, production
from tests.edge.stores import until
from tests.servers import ROOT, free_port, process

pytestmark = [
    pytest.mark.timeout(180),
    # Connections end in the middle here, on purpose; what an event loop thinks of a half-closed TLS is not the subject.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
SIZE, RATION = 12_000_000, 2_500_000
PIECE = 65_536


class Front:
    """TLS in front of the cloud's HTTP port, for clients with a certificate; carries as much as the test allows."""

    def __init__(self, to: int, ca: Path) -> None:
        self._to = to
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca / "ca.crt")
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._tls.load_cert_chain(ca / "web.crt", ca / "web.key")
        self._carrying: set[asyncio.Task[None]] = set()
        self.ration = 0
        """Bytes a connection carries down; then it is cut, or held if `holds`."""
        self.holds = False
        self.held = asyncio.Event()
        self.carried = self.cuts = 0

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carrying.add(asyncio.create_task(self._carry(reader, writer), name="front"))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection("127.0.0.1", self._to)

        async def up() -> None:
            while data := await reader.read(PIECE):
                there.write(data)

        upwards = asyncio.create_task(up(), name="up")
        left = self.ration
        try:
            while left > 0 and (data := await back.read(min(left, PIECE))):
                writer.write(data)
                await writer.drain()
                left -= len(data)
                self.carried += len(data)
            if left <= 0:
                self.cuts += 1
                if self.holds:
                    self.held.set()
                    await upwards
        except OSError:
            pass
        finally:
            upwards.cancel()
            for end in (writer, there):
                end.transport.abort()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await upwards

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object):
        self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


SITE = """
[gateway]
id = "{id}"
tenant = "demo"
site = "seoul"
data = "{id}"
[page]
port = {page}
[uplink]
host = "localhost"
port = {broker}
ca = "plant/ca.crt"
certificate = "plant/demo_seoul_{id}.crt"
private_key = {{ credential = "{id}.tls" }}
key = {{ credential = "{id}.key" }}
heartbeat_s = 0.3
{more}
[[connection]]
name = "machine"
driver = "simulated"
"""


class Plant:
    """A folder with everything in it: one authority, cloud.toml, a site file for each gateway."""

    def __init__(self, folder: Path, ca: Path, broker: Production) -> None:
        self.folder, self.ca, self.http, self._broker = folder, ca, free_port(), broker
        more = (
            f'[broker]\nhost = "localhost"\nport = {broker.port}\nca = "plant/ca.crt"\n'
            'certificate = "plant/cloud.crt"\nprivate_key = { credential = "cloud.tls" }'
        )
        self.cloud_toml = write_cloud_toml(folder, "sqlite:///cloud.db", more, self.http)
        for name, file in (("cloud", "cloud"), ("gw-1", "demo_seoul_gw-1"), ("gw-2", "demo_seoul_gw-2")):
            (folder / "credentials" / f"{name}.tls").write_text((ca / f"{file}.key").read_text())

    def cloud(self):
        return process("triflow", "cloud", "run", str(self.cloud_toml), log=self.folder / "cloud.log")

    def gateway(self, name: str, more: str = ""):
        site = self.folder / f"{name}.toml"
        site.write_text(SITE.format(id=name, page=free_port(), broker=self._broker.port, more=more))
        return process("triflow", "edge", "run", str(site), log=self.folder / f"{name}.log")

    async def package(self, *words: str) -> str:
        command = [sys.executable, "-m", "triflow", "cloud", "package", str(self.cloud_toml), *words]
        done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def states(self) -> dict[str, tuple[str, str]]:
        """Give gateway → (state, why), as the API says."""
        page = await self._get("/api/v1/packages/offers")
        return {one["gateway"]: (one["state"], one["why"]) for one in page.get("items", [])}

    async def audited(self, action: str) -> list[tuple[str, str]]:
        """Give (gateway, target) of what is on record with this action."""
        page = await self._get(f"/api/v1/audit?action={action}")
        return [(one["gateway"], one["target"]) for one in page.get("items", [])]

    async def ready(self) -> bool:
        return (await self._get("/ready")).get("broker") == "connected"

    async def _get(self, path: str) -> dict:
        async with httpx.AsyncClient(timeout=10) as http:
            try:
                return (await http.get(f"http://127.0.0.1:{self.http}{path}")).json()
            except httpx.TransportError:
                return {}

    def logs(self) -> str:
        return "\n".join(path.read_text()[-1500:] for path in sorted(self.folder.glob("*.log")))


async def eventually(true: Callable[[], Awaitable[object]], what: Callable[[], str], seconds: float = 60) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await true():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(what()) from None


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    ca = authority(tmp_path / "plant", "demo/seoul/gw-1", "demo/seoul/gw-2")
    certificates(ca, "server", "web", "--host", "localhost")
    with production(tmp_path / "broker", ca) as broker:
        yield Plant(tmp_path, ca, broker)


@pytest.fixture
async def front(plant: Plant) -> AsyncIterator[Front]:
    async with Front(plant.http, plant.ca) as running:
        yield running


async def test_a_package_reaches_the_gateway_through_a_cut_and_a_kill(plant: Plant, front: Front, tmp_path: Path):
    content = random.randbytes(SIZE)
    (tmp_path / "model.bin").write_bytes(content)
    address = f'packages = "https://localhost:{front.port}"'
    front.ration = RATION
    with plant.cloud(), plant.gateway("gw-2"):
        with plant.gateway("gw-1", address) as gateway:
            await eventually(plant.ready, plant.logs)
            said = await plant.package("put", str(tmp_path / "model.bin"), "--to", "all", "--expires", "1d")  # fmt: skip
            assert "to 2 gateways" in said
            await until(lambda: front.cuts >= 2, f"the link is cut in the middle\n{plant.logs()}", 60)
            front.holds = True
            await asyncio.wait_for(front.held.wait(), 60)
            gateway.send_signal(signal.SIGKILL)
            await asyncio.to_thread(gateway.wait, 20)
        (part,) = (tmp_path / "gw-1" / "packages").iterdir()
        assert part.suffix == ".part"
        assert 0 < part.stat().st_size < SIZE
        front.holds, front.ration = False, 10 * SIZE
        with plant.gateway("gw-1", address):

            async def settled() -> bool:
                states = await plant.states()
                return len(states) == 2 and all(state != "offered" for state, _ in states.values())

            await eventually(settled, plant.logs)
            states = await plant.states()
            listed = await plant.package("list")
            received, refused = await plant.audited("package.received"), await plant.audited("package.refused")
    assert states["gw-1"] == ("received", ""), plant.logs()
    assert states["gw-2"][0] == "refused"
    assert "no address to fetch from" in states["gw-2"][1]
    (whole,) = (tmp_path / "gw-1" / "packages").iterdir()
    assert whole.name == part.stem
    assert whole.read_bytes() == content
    assert front.carried < SIZE + front.cuts * RATION, (
        "what was there before the cuts and the kill was not fetched again"
    )
    assert (received, refused) == ([("gw-1", whole.name)], [("gw-2", whole.name)])
    lines = {line.split()[4]: line for line in listed.splitlines()}
    assert "received" in lines["demo/seoul/gw-1"]
    assert "refused" in lines["demo/seoul/gw-2"]
    assert "no address to fetch from" in lines["demo/seoul/gw-2"]
