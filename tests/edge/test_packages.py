"""Packages arrive whole or not at all: over real TLS, from the cloud's own routes, whatever is done on the way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from cloud.packages.routes import install
from cloud.packages.store import Packages
from edge.packages import PackageError, PackageFolder, Patience
from sync.clock import WallClock
from sync.tls import client_context
from sync.topics import Address
from tests.deploy.broker import authority, certificates
from tests.servers import ROOT, free_port

GATEWAY, OTHER = Address("demo", "seoul", "gw-1"), Address("acme", "seoul", "gw-1")
KEY = bytes(range(32))
QUICK = Patience(attempts=3, first_wait_s=0.001, longest_wait_s=0.01, reserve_bytes=0, silence_s=5.0)

# Connections end in the middle here, on purpose; what an event loop thinks of a half-closed TLS is not the subject.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class Cloud:
    """The cloud's routes on a real port, over TLS with client certificates as a plant would run them."""

    def __init__(self, folder: Path, ca: Path) -> None:
        self.ca, self.port, self.packages = ca, free_port(), Packages(folder / "packages")
        self.requests: list[tuple[str, int]] = []
        """(Range header, status) of every request."""
        app = FastAPI()
        install(app, self.packages, {GATEWAY: KEY, OTHER: bytes(32)})

        async def noted(scope, receive, send):
            async def note(message):
                if message["type"] == "http.response.start":
                    wanted = dict(scope["headers"]).get(b"range", b"").decode()
                    self.requests.append((wanted, message["status"]))
                await send(message)

            await app(scope, receive, note if scope["type"] == "http" else send)

        self._server = uvicorn.Server(
            uvicorn.Config(
                noted,
                port=self.port,
                log_config=None,
                lifespan="off",
                ssl_certfile=ca / "web.crt",
                ssl_keyfile=ca / "web.key",
                ssl_ca_certs=str(ca / "ca.crt"),
                ssl_cert_reqs=ssl.CERT_REQUIRED,
                timeout_graceful_shutdown=1,
            )
        )

    def url(self, digest: str, port: int | None = None) -> str:
        return f"https://localhost:{port or self.port}/packages/{digest}"

    @property
    def tls(self) -> ssl.SSLContext:
        return client_context(self.ca / "ca.crt", (self.ca / "demo_seoul_gw-1.crt", self.ca / "demo_seoul_gw-1.key"))

    async def __aenter__(self):
        self._task = asyncio.create_task(self._server.serve(), name="cloud")
        while not self._server.started:
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object):
        self._server.should_exit = True
        self._server.force_exit = True
        await self._task


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = authority(tmp_path_factory.mktemp("ca") / "plant", "demo/seoul/gw-1")
    certificates(folder, "server", "web", "--host", "localhost")
    return folder


@pytest.fixture
async def cloud(tmp_path: Path, ca: Path) -> AsyncIterator[Cloud]:
    async with Cloud(tmp_path / "cloud", ca) as running:
        yield running


class Rationed:
    """A TCP way to the cloud that carries so many bytes down per connection, and then cuts it or keeps still."""

    def __init__(self, to: int, ration: int, *, cuts: bool = True) -> None:
        self.to, self.ration, self.cuts = to, ration, cuts
        self.connections = self.carried = 0
        self.still = asyncio.Event()
        self._carrying: set[asyncio.Task[None]] = set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carrying.add(asyncio.create_task(self._carry(reader, writer), name="way"))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        back, there = await asyncio.open_connection("127.0.0.1", self.to)

        async def up() -> None:
            while data := await reader.read(65_536):
                there.write(data)

        upwards = asyncio.create_task(up(), name="up")
        left = self.ration
        try:
            while left > 0 and (data := await back.read(min(left, 65_536))):
                writer.write(data)
                await writer.drain()
                left -= len(data)
                self.carried += len(data)
            if left <= 0 and not self.cuts:
                self.still.set()
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
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object):
        self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


def package(cloud: Cloud, folder: Path, size: int, tenant: str = "demo") -> tuple[str, bytes]:
    content = random.randbytes(size)
    folder.mkdir(exist_ok=True)
    (folder / "source").write_bytes(content)
    return cloud.packages.put(tenant, folder / "source"), content


def gateway(folder: Path, cloud: Cloud | None = None, *, key: bytes = KEY, clock=None, patience: Patience = QUICK):
    return PackageFolder(
        folder, GATEWAY, key, clock or WallClock(), tls=None if cloud is None else cloud.tls, patience=patience
    )


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
async def test_a_package_arrives_whole_and_is_asked_for_once(cloud: Cloud, tmp_path: Path, size: int):
    digest, content = package(cloud, tmp_path, size)
    folder = gateway(tmp_path / "edge", cloud)
    path = await folder.fetch(cloud.url(digest), digest, size)
    assert path.read_bytes() == content
    assert await folder.fetch(cloud.url(digest), digest, size) == path
    assert cloud.requests == [("", 200)]
    assert left_in(tmp_path / "edge") == [digest]


async def test_a_link_that_is_cut_twenty_times_costs_no_byte_twice(cloud: Cloud, tmp_path: Path):
    size = 8_000_000
    digest, content = package(cloud, tmp_path, size)
    async with Rationed(cloud.port, 400_000) as way:
        path = await gateway(tmp_path / "edge", cloud).fetch(cloud.url(digest, way.port), digest, size)
        assert path.read_bytes() == content
        assert way.connections > 20
        assert way.carried < size + way.connections * 30_000, "handshakes, heads and half a TLS record each"
    assert [status for _, status in cloud.requests].count(206) >= 20


async def test_kill_9_at_any_point_costs_at_most_what_was_not_on_disk_yet(cloud: Cloud, tmp_path: Path):
    size = 12_000_000
    digest, content = package(cloud, tmp_path, size)
    edge = tmp_path / "edge"
    identity = [str(cloud.ca / name) for name in ("ca.crt", "demo_seoul_gw-1.crt", "demo_seoul_gw-1.key")]

    async def fetcher(port: int) -> asyncio.subprocess.Process:
        words = ("-m", "tests.edge.package_fetcher", str(edge), cloud.url(digest, port), digest, str(size), KEY.hex())
        return await asyncio.create_subprocess_exec(sys.executable, *words, *identity, cwd=ROOT)

    seen = 0
    for _ in range(4):
        async with Rationed(cloud.port, random.randrange(1_500_000, 3_000_000), cuts=False) as way:
            child = await fetcher(way.port)
            await way.still.wait()
            part = edge / f"{digest}.part"
            async with asyncio.timeout(30):
                while not part.exists() or part.stat().st_size <= seen:
                    await asyncio.sleep(0.02)
            child.kill()
            await child.wait()
            assert not (edge / digest).exists()
            assert part.stat().st_size > seen
            seen = part.stat().st_size
    child = await fetcher(cloud.port)
    assert await child.wait() == 0
    assert (edge / digest).read_bytes() == content
    assert left_in(edge) == [digest]


async def test_what_a_power_cut_left_in_a_part_is_found_and_brought_again(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 300_000)
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / f"{digest}.part").write_bytes(content[:100_000] + bytes(50_000))
    path = await gateway(tmp_path / "edge", cloud).fetch(cloud.url(digest), digest, len(content))
    assert path.read_bytes() == content
    assert cloud.requests == [("bytes=150000-", 206), ("", 200)]


async def test_a_part_that_is_complete_or_too_long(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 300_000)
    (tmp_path / "edge").mkdir()
    part = tmp_path / "edge" / f"{digest}.part"
    part.write_bytes(content)
    folder = gateway(tmp_path / "edge", cloud)
    path = await folder.fetch(cloud.url(digest), digest, len(content))
    assert cloud.requests == []
    path.unlink()
    part.write_bytes(content + b"more")
    assert (await folder.fetch(cloud.url(digest), digest, len(content))).read_bytes() == content


async def test_a_whole_one_that_was_damaged_is_brought_again(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 300_000)
    folder = gateway(tmp_path / "edge", cloud)
    path = await folder.fetch(cloud.url(digest), digest, len(content))
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert (await folder.fetch(cloud.url(digest), digest, len(content))).read_bytes() == content


async def test_two_who_want_the_same_wait_for_one_download(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 3_000_000)
    folder = gateway(tmp_path / "edge", cloud)
    paths = await asyncio.gather(*(folder.fetch(cloud.url(digest), digest, len(content)) for _ in range(4)))
    assert len(set(paths)) == len(cloud.requests) == 1


class Since1970(WallClock):
    """A gateway that boots without a clock."""

    def now(self) -> int:
        return self.monotonic() % 10**12


async def test_a_gateway_without_a_clock_learns_the_clouds(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000)
    folder = gateway(tmp_path / "edge", cloud, clock=Since1970())
    assert (await folder.fetch(cloud.url(digest), digest, len(content))).read_bytes() == content
    assert [status for _, status in cloud.requests] == [401, 200]


async def test_a_wrong_key_is_said_and_not_tried_again(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000)
    with pytest.raises(PackageError, match="does not know us; check that the cloud has this gateway's key"):
        await gateway(tmp_path / "edge", cloud, key=bytes(32)).fetch(cloud.url(digest), digest, len(content))
    assert len(cloud.requests) == 1


async def test_another_tenants_package_is_not_there(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000, tenant="acme")
    with pytest.raises(PackageError, match="no such package for this gateway"):
        await gateway(tmp_path / "edge", cloud).fetch(cloud.url(digest), digest, len(content))


async def test_without_room_nothing_is_begun(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000)
    folder = gateway(tmp_path / "edge", cloud, patience=Patience(reserve_bytes=1 << 60))
    with pytest.raises(PackageError, match="make room on the disk"):
        await folder.fetch(cloud.url(digest), digest, len(content))
    assert cloud.requests == []
    assert left_in(tmp_path / "edge") == []


async def test_a_server_that_is_not_ours_gets_no_request(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000)
    foreign = authority(tmp_path / "foreign")
    folder = PackageFolder(tmp_path / "edge", GATEWAY, KEY, WallClock(), tls=client_context(foreign / "ca.crt", None), patience=QUICK)  # fmt: skip
    with pytest.raises(PackageError, match=r"TLS failed: .*check the CA"):
        await folder.fetch(cloud.url(digest), digest, len(content))
    with pytest.raises(PackageError, match="TLS failed"):  # right authority, wrong name
        await gateway(tmp_path / "edge", cloud).fetch(
            cloud.url(digest).replace("localhost", "127.0.0.1"), digest, len(content)
        )
    assert cloud.requests == []


async def test_without_our_certificate_the_cloud_lets_nobody_in(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000)
    bare = PackageFolder(tmp_path / "edge", GATEWAY, KEY, WallClock(), tls=client_context(cloud.ca / "ca.crt", None), patience=QUICK)  # fmt: skip
    with pytest.raises(PackageError, match="given up at 0 of 1000 bytes"):
        await bare.fetch(cloud.url(digest), digest, len(content))
    assert cloud.requests == []


@pytest.mark.parametrize("url", ["http://cloud.example/packages/x", "ftp://x/", "file:///etc/passwd", "", "https:/x"])
async def test_only_https_is_taken(tmp_path: Path, url: str):
    with pytest.raises(PackageError, match="packages come over https"):
        await gateway(tmp_path / "edge").fetch(url, "0" * 64, 10)


@pytest.mark.parametrize(
    ("digest", "size"), [("x", 1), ("A" * 64, 1), ("0" * 64, -1), ("0" * 64, 1 << 40), ("../" * 20, 1)]
)
async def test_an_offer_that_cannot_be_is_refused(tmp_path: Path, digest: str, size: int):
    with pytest.raises(PackageError, match="no package can be"):
        await gateway(tmp_path / "edge").fetch("https://x/", digest, size)


# --- servers that are up to something: real sockets, their own words ---

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@contextlib.asynccontextmanager
async def saying(*answers: bytes, drip: bytes = b"", every_s: float = 0.0):
    """A server that gives these answers, one a connection (the last for ever), then drips without end."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answers[min(len(heads), len(answers)) - 1])
            await writer.drain()
            while drip:
                writer.write(drip)
                await writer.drain()
                await asyncio.sleep(every_s)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/packages/{DIGEST}", heads


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "Connection: close", "", "")).encode() + body


async def fetch(tmp_path: Path, url: str, patience: Patience = QUICK) -> Path:
    return await gateway(tmp_path / "edge", patience=patience).fetch(url, DIGEST, len(CONTENT))


async def test_data_without_end_is_refused_at_the_announced_size(tmp_path: Path):
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    async with saying(answer("200 OK", "Transfer-Encoding: chunked"), drip=chunk) as (url, _):
        with pytest.raises(PackageError, match="sends more than the 10240 bytes announced"):
            await fetch(tmp_path, url)
    assert sum(path.stat().st_size for path in (tmp_path / "edge").iterdir()) <= len(CONTENT)


async def test_a_drip_is_no_download(tmp_path: Path):
    patience = Patience(attempts=2, first_wait_s=0.001, longest_wait_s=0.002, floor_bytes_s=1_000_000, floor_over_s=0.05,
                        reserve_bytes=0, total=3)  # fmt: skip
    head = answer("200 OK", f"Content-Length: {len(CONTENT)}")
    async with saying(head, drip=b"x", every_s=0.005) as (url, _):
        with pytest.raises(PackageError, match=r"only \d+ bytes in"):
            await fetch(tmp_path, url, patience)


async def test_a_server_that_falls_silent_is_left(tmp_path: Path):
    patience = Patience(attempts=2, first_wait_s=0.001, silence_s=0.5, reserve_bytes=0)
    head = answer("200 OK", f"Content-Length: {len(CONTENT)}", body=CONTENT[:100])

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(head)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/packages/{DIGEST}"
        with pytest.raises(PackageError, match="given up at 100 of 10240 bytes"):
            await fetch(tmp_path, url, patience)


async def test_other_content_of_the_same_size_is_never_kept(tmp_path: Path):
    other = answer("200 OK", f"Content-Length: {len(CONTENT)}", body=CONTENT[::-1])
    async with saying(other) as (url, heads):
        with pytest.raises(PackageError, match="its content is not what was announced"):
            await fetch(tmp_path, url)
        assert len(heads) == 2
    assert left_in(tmp_path / "edge") == []


async def test_a_server_that_knows_no_ranges_is_taken_from_the_start(tmp_path: Path):
    half = answer("200 OK", f"Content-Length: {len(CONTENT)}", body=CONTENT[:5000])
    full = answer("200 OK", f"Content-Length: {len(CONTENT)}", body=CONTENT)
    async with saying(half, full) as (url, heads):
        assert (await fetch(tmp_path, url)).read_bytes() == CONTENT
        assert b"range: bytes=5000-" in heads[1].lower()
        assert f'if-range: "{DIGEST}"'.encode() in heads[1].lower()


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (answer("200 OK", "Content-Length: 17", body=b"<html>log in</htm"), "is 17 bytes; 10240 were announced"),
        (answer("200 OK", "Content-Encoding: gzip", "Content-Length: 10240"), "answers packed"),
        (answer("302 Found", "Location: http://elsewhere/"), "answers 302"),
        (answer("403 Forbidden"), "answers 403"),
        (answer("404 Not Found"), "no such package"),
        (answer("206 Partial Content", "Content-Range: bytes 5-10239/10240"), "not bytes 0-10239/10240"),
        (answer("206 Partial Content", "Content-Range: bytes 0-99/100"), "not bytes 0-10239/10240"),
        (answer("206 Partial Content"), "not bytes 0-10239"),
        (answer("401 Unauthorized"), "does not know us"),
        (answer("503 Service Unavailable", "Retry-After: 0"), "the server answers 503"),
        (b"SSH-2.0-OpenSSH\r\n", "given up at 0"),
        (b"", "given up at 0"),
    ],
    ids=["portal", "packed", "redirect", "forbidden", "unknown", "shifted", "short", "no range", "stranger", "busy", "ssh", "mute"],
)  # fmt: skip
async def test_an_answer_that_is_no_package_is_said(tmp_path: Path, first: bytes, why: str):
    async with saying(first) as (url, _):
        with pytest.raises(PackageError, match=why):
            await fetch(tmp_path, url)


async def test_a_busy_server_is_asked_again(tmp_path: Path):
    full = answer("200 OK", f"Content-Length: {len(CONTENT)}", body=CONTENT)
    busy = [answer("503 Service Unavailable"), answer("429 Too Many Requests", "Retry-After: 99999999")]
    async with saying(*busy, full) as (url, heads):
        assert (await fetch(tmp_path, url)).read_bytes() == CONTENT
        assert len(heads) == 3
