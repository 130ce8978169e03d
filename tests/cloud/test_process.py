"""The whole process, started as a person starts it: killed at the worst moment, stopped, misconfigured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cloud.config import load
from cloud.database import Database, open_database
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import S, Start, produced, state
from tests.cloud.peer import peer
from tests.servers import ROOT, Broker, free_port, listens, process, wait_until

NOW = 1_790_000_000 * S


def get(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10)


def ready(port: int) -> bool:
    try:
        return get(port, "/ready").json()["broker"] == "connected"
    except httpx.TransportError:
        return False


@pytest.fixture
def site(tmp_path: Path, database_url: str, broker: Broker) -> tuple[Path, int]:
    port = free_port()
    more = f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false'
    return write_cloud_toml(tmp_path, database_url, more, port), port


async def _rows(path: Path, sql: str):
    async with open_database(load(path).database_url) as database:
        assert isinstance(database, Database)
        return await database.read(lambda c: c.execute(sql))


async def test_killed_between_commit_and_receipt_everything_is_there_once(
    site: tuple[Path, int], broker: Broker, tmp_path: Path
) -> None:
    path, port = site
    start = Start()
    chunk = start.facts(state(NOW, "EXECUTE"), produced(NOW, NOW + S, 10, 9))
    env = {**os.environ, "TRIFLOW_FAILPOINT": "cloud.after_commit_before_receipt:1"}
    with process("triflow", "cloud", "run", str(path), log=tmp_path / "cloud.log", env=env) as child:
        wait_until(lambda: ready(port), "the cloud is ready")
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            await gateway.send(chunk)
            wait_until(lambda: child.poll() is not None, "the failpoint kills it")
    assert child.returncode == -signal.SIGKILL
    with process("triflow", "cloud", "run", str(path), log=tmp_path / "cloud.log") as child:
        wait_until(lambda: ready(port), "the cloud is ready again")
        async with peer(broker.port) as gateway:
            gateway.nonce = "0" * 32
            await gateway.send(chunk)
            await gateway.stale()
            welcome = await gateway.resume(start)
            assert welcome.watermarks[0].stored == 2
            await gateway.send(chunk)  # as a gateway does that has not heard yet
            assert (await gateway.receipt()).watermarks[0].stored == 2
        proof = get(port, "/api/v1/completeness?count=true").json()["gateways"][0]
        assert (proof["produced"], proof["stored"], proof["lost"]) == (2, 2, 0)
        assert [stream["counted"] for stream in proof["streams"]] == [2]
        assert "triflow_ingest_records_total" in get(port, "/metrics").text
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    assert not path.with_name("cloud.db-wal").exists(), "a cloud that ended in order leaves one file behind"
    assert await _rows(path, "select produced, good from production") == [(10, 9)]


async def test_without_a_broker_pages_and_api_are_served(
    site: tuple[Path, int], broker: Broker, tmp_path: Path
) -> None:
    path, port = site
    broker.stop()
    with process("triflow", "cloud", "run", str(path), log=tmp_path / "cloud.log") as child:
        wait_until(lambda: listens(port), "the cloud listens")
        wait_until(lambda: get(port, "/ready").status_code == 200, "it is ready")
        wait_until(lambda: "cannot connect" in get(port, "/ready").text, "it says why")
        assert get(port, "/api/v1/overview").status_code == 200
        broker.start()
        wait_until(lambda: ready(port), "the broker is found")
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    text = (tmp_path / "cloud.log").read_text()
    assert text.count("no broker") == 1
    assert "Traceback" not in text


def _cloud(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "triflow", "cloud", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_check_says_every_fault_with_its_line(tmp_path: Path) -> None:
    path = write_cloud_toml(tmp_path, "sqlite:///cloud.db")
    assert _cloud("check", str(path)).returncode == 0
    right = path.read_text()
    wrong = {
        "http.prot": ("port = 8080", "prot = 8080"),
        "timezone": ('timezone = "Asia/Seoul"', 'timezone = "Asia/Soul"'),
        "work_unit[1].path": ('path = "bottling/line-2/filler"', 'path = "x"'),
    }
    text = right
    for good, bad in wrong.values():
        text = text.replace(good, bad)
    path.write_text(text)
    answer = _cloud("check", str(path))
    assert answer.returncode == 78
    said = answer.stderr
    for what, (_, bad) in wrong.items():
        line = text[: text.index(bad)].count("\n") + 1
        assert any(f"cloud.toml:{line}:" in row and what in row for row in said.splitlines()), said
    path.write_text(right)
    (tmp_path / "credentials" / "gw-2.key").write_text("abc")
    (tmp_path / "credentials" / "gw-1.key").unlink()
    said = _cloud("check", str(path)).stderr
    assert "gateway[0].key" in said
    assert "gateway[1].key" in said


def test_shifts_that_overlap_are_a_fault(tmp_path: Path) -> None:
    path = write_cloud_toml(tmp_path, "sqlite:///cloud.db")
    path.write_text(path.read_text().replace("start = 22:00:00", "start = 21:00:00"))
    said = _cloud("check", str(path)).stderr
    assert "overlaps" in said


def test_a_database_written_by_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = write_cloud_toml(tmp_path, "sqlite:///cloud.db", port=free_port())
    assert _cloud("migrate", str(path)).returncode == 0
    with sqlite3.connect(tmp_path / "cloud.db") as raw:
        raw.execute("update alembic_version set version_num='9999'")
    raw.close()
    answer = _cloud("run", str(path))
    assert answer.returncode == 69
    assert "newer Triflow" in answer.stderr


def test_a_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        path = write_cloud_toml(tmp_path, "sqlite:///cloud.db", port=other.getsockname()[1])
        answer = _cloud("run", str(path))
    assert answer.returncode == 69
    assert "cannot listen" in answer.stderr
