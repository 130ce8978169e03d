"""Packages in the cloud: stored whole, given in ranges, to those who prove who they are."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from cloud.api.answers import Answers
from cloud.app import create_app
from cloud.bus import Bus
from cloud.packages.admission import FAILURES, REFILL_S, SLACK_S, Admission, Denied
from cloud.packages.routes import install
from cloud.packages.store import Packages
from sync.ticket import NOW_HEADER, Ticket, read_ticket
from sync.topics import Address
from tests.cloud.gateway import KEY as CLOUD_KEY

GATEWAY, NEIGHBOUR, STRANGER = (
    Address("demo", "seoul", "gw-1"),
    Address("acme", "seoul", "gw-1"),
    Address("x", "y", "z"),
)
KEY = bytes(range(32))
CONTENT = random.Random(1).randbytes(200_000)


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    return Packages(tmp_path / "packages")


@pytest.fixture
def digest(packages: Packages, tmp_path: Path) -> str:
    (tmp_path / "file").write_bytes(CONTENT)
    return packages.put("demo", tmp_path / "file")


@pytest.fixture
async def http(packages: Packages):
    app = FastAPI()
    install(app, packages, {GATEWAY: KEY, NEIGHBOUR: bytes(32)})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cloud") as client:
        yield client


def ticket(
    method: str, path: str, *, who: Address = GATEWAY, key: bytes = KEY, at: float | None = None, nonce: str = ""
):
    made = Ticket(str(who), int(time.time() if at is None else at), nonce or os.urandom(16).hex())
    return {"Authorization": made.signed(key, method, path)}


# --- the folder ---


def test_a_package_is_named_by_its_content_and_stored_once(packages: Packages, digest: str, tmp_path: Path):
    assert digest == hashlib.sha256(CONTENT).hexdigest()
    assert packages.put("demo", tmp_path / "file") == digest
    assert [p.name for p in (tmp_path / "packages" / "demo").iterdir()] == [digest]
    found = packages.find("demo", digest)
    assert found is not None
    assert found.read_bytes() == CONTENT


def test_a_source_that_cannot_be_read_leaves_nothing(packages: Packages, tmp_path: Path):
    with pytest.raises(OSError):
        packages.put("demo", tmp_path / "missing")
    assert list((tmp_path / "packages" / "demo").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["..", "../x", "", "a" * 64, "A" * 63 + "/", ".", "0" * 63, "0" * 64 + "\n", "packages"]
)
def test_no_name_leads_out_of_the_folder(packages: Packages, digest: str, name: str):
    assert packages.find("demo", name) is None
    assert packages.find("../demo", digest) is None
    assert packages.find("acme", digest) is None


def test_a_tenant_that_is_no_name_is_refused(packages: Packages, tmp_path: Path):
    with pytest.raises(ValueError, match="no tenant's name"):
        packages.put("../x", tmp_path / "file")


# --- ranges ---


@pytest.mark.parametrize(
    ("headers", "status", "first", "last"),
    [
        ({}, 200, 0, 199_999),
        ({"Range": "bytes=0-"}, 206, 0, 199_999),
        ({"Range": "bytes=150000-"}, 206, 150_000, 199_999),
        ({"Range": "bytes=199999-"}, 206, 199_999, 199_999),
        ({"Range": "bytes=10-19"}, 206, 10, 19),
        ({"Range": "bytes=-5"}, 206, 199_995, 199_999),
        ({"Range": "bytes=10-9999999"}, 206, 10, 199_999),
        ({"Range": "bytes=10-", "If-Range": "DIGEST"}, 206, 10, 199_999),
        ({"Range": "bytes=10-", "If-Range": '"other"'}, 200, 0, 199_999),
        ({"Range": "bytes=0-1,5-9"}, 200, 0, 199_999),
    ],
    ids=str,
)
async def test_ranges(
    http: httpx.AsyncClient, digest: str, headers: dict[str, str], status: int, first: int, last: int
):
    path = f"/packages/{digest}"
    asked = {name: value.replace("DIGEST", f'"{digest}"') for name, value in headers.items()}
    for method in ("GET", "HEAD"):
        got = await http.request(method, path, headers=ticket(method, path) | asked)
        assert got.status_code == status
        assert got.headers["etag"] == f'"{digest}"'
        assert got.headers["accept-ranges"] == "bytes"
        assert got.headers["content-length"] == str(last - first + 1)
        assert got.headers.get("content-range") == (f"bytes {first}-{last}/200000" if status == 206 else None)
        assert got.content == (CONTENT[first : last + 1] if method == "GET" else b"")


@pytest.mark.parametrize("asked", ["bytes=200000-", "bytes=999999-1000000"])
async def test_a_range_behind_the_end_is_416(http: httpx.AsyncClient, digest: str, asked: str):
    path = f"/packages/{digest}"
    got = await http.get(path, headers=ticket("GET", path) | {"Range": asked})
    assert (got.status_code, got.headers["content-range"]) == (416, "bytes */200000")


async def test_what_is_not_there_is_404_also_for_another_tenants(http: httpx.AsyncClient, digest: str):
    for path in ("/packages/" + "0" * 64, "/packages/x", "/packages/..%2fdemo"):
        asked = httpx.URL(f"http://cloud{path}").path
        assert (await http.get(path, headers=ticket("GET", asked))).status_code == 404
    path = f"/packages/{digest}"
    assert (await http.get(path, headers=ticket("GET", path, who=NEIGHBOUR, key=bytes(32)))).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nobody_writes(http: httpx.AsyncClient, digest: str, method: str):
    path = f"/packages/{digest}"
    assert (await http.request(method, path, headers=ticket(method, path))).status_code == 405


# --- who may ask ---


async def test_nothing_is_given_without_proof(http: httpx.AsyncClient, digest: str):
    path = f"/packages/{digest}"
    good = ticket("GET", path)["Authorization"]
    for header in (
        {},
        {"Authorization": ""},
        {"Authorization": "Basic Zm9vOmJhcg=="},
        {"Authorization": good[:-2] + '0"'} if good[-2] != "0" else {"Authorization": good[:-2] + '1"'},
        {"Authorization": good.replace("gw-1", "gw-2")},
        {"Authorization": good + "x" * 10_000},
        ticket("HEAD", path),
        ticket("GET", "/packages/other"),
        ticket("GET", path, key=bytes(32)),
        ticket("GET", path, who=STRANGER, key=bytes(32)),
        ticket("GET", path, at=time.time() - SLACK_S - 60),
        ticket("GET", path, at=time.time() + SLACK_S + 60),
        ticket("GET", path, at=0),
    ):
        got = await http.get(path, headers=header)
        assert (got.status_code, got.content) == (401, b""), header
        assert abs(int(got.headers[NOW_HEADER]) - time.time()) < 60
    assert (await http.get(path, headers={"Authorization": good})).status_code == 200
    assert (await http.get(path, headers={"Authorization": good})).status_code == 401, "each ticket once"


def test_a_ticket_is_read_as_it_was_written():
    made = Ticket("demo/seoul/gw-1", 1_700_000_000, "0" * 32)
    read = read_ticket(made.signed(KEY, "GET", "/x"))
    assert read is not None
    assert read.genuine(KEY, "GET", "/x")
    assert not read.genuine(KEY, "GET", "/y")
    assert not Ticket(read.gateway, read.at + 1, read.nonce, read.mac).genuine(KEY, "GET", "/x")
    assert read_ticket("Triflow gateway=") is None


def test_whoever_guesses_is_slowed_and_whoever_knows_is_not():
    admission = Admission({GATEWAY: KEY})
    now = 1_700_000_000.0
    waits: list[int] = []

    def ask(header: str, peer: str = "10.0.0.9") -> int:
        try:
            admission.admit(header, "GET", "/p", peer, now)
        except Denied as denied:
            waits.append(denied.retry_after_s)
            return denied.status
        return 200

    assert [ask("x") for _ in range(FAILURES + 5)] == [401] * FAILURES + [429] * 5
    assert waits == [0] * FAILURES + [3] * 5
    assert ask(Ticket(str(GATEWAY), int(now), "1" * 32).signed(KEY, "GET", "/p")) == 200, "behind the same address"
    assert ask("x", peer="10.0.0.10") == 401
    now += REFILL_S * 2
    assert [ask("x") for _ in range(4)] == [401, 401, 429, 429]


def test_the_memory_of_guesses_and_of_tickets_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cloud.packages.admission.PEERS", 100)
    monkeypatch.setattr("cloud.packages.admission.NONCES", 100)
    admission = Admission({GATEWAY: KEY})
    for i in range(500):
        with pytest.raises(Denied):
            admission.admit("x", "GET", "/p", f"peer {i}", 1000.0)
        admission.admit(Ticket(str(GATEWAY), 1000, f"{i:032x}").signed(KEY, "GET", "/p"), "GET", "/p", "", 1000.0)
    assert len(admission._failures) <= 100
    assert len(admission._used) <= 100


async def test_the_cloud_serves_them_from_beside_its_database(database, plants, settings, tmp_path: Path):
    (tmp_path / "file").write_bytes(CONTENT)
    digest = Packages(tmp_path / "packages").put("demo", tmp_path / "file")
    app = create_app(Answers(database, plants, Bus()), CollectorRegistry())
    path = f"/packages/{digest}"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cloud") as client:
        assert (await client.get(path)).status_code == 401
        got = await client.get(path, headers=ticket("GET", path, key=CLOUD_KEY))
        assert (got.status_code, got.content) == (200, CONTENT)
        assert got.headers["x-content-type-options"] == "nosniff"
