"""The whole service: killed between the commit of a correction and the refresh of its buckets; asked from a terminal."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import httpx
import msgspec
import pytest

from cloud.__main__ import _parser
from cloud.commands import etl
from cloud.config import load
from cloud.ingest.orders import OrderError
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.etl.conftest import HOUR, MS, corrected, now_ms
from tests.cloud.gateway import Start, produced, state
from tests.cloud.peer import peer
from tests.servers import Broker, free_port, process, wait_until


@pytest.fixture
def site(tmp_path: Path, database_url: str, broker: Broker) -> tuple[Path, int]:
    port = free_port()
    more = f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false'
    return write_cloud_toml(tmp_path, database_url, more, port), port


def get(port: int, path: str) -> dict:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10).json()


def ready(port: int) -> bool:
    try:
        return get(port, "/ready")["broker"] == "connected"
    except httpx.TransportError:
        return False


def settled(port: int) -> bool:
    status = get(port, "/api/v1/etl/status")
    return status["pending"] == 0 and any(one["name"] == "mart_shift" and one["rows"] for one in status["marts"])


def terminal(path: Path, word: str, *more: str) -> tuple[int, str]:
    """What a person's words come to, as `triflow cloud` carries them out; the service runs meanwhile."""
    try:
        status, lines = etl.run(load(path), _parser().parse_args([word, str(path), *more]))
    except OrderError as error:
        return 69, str(error)
    return status, "\n".join(lines)


async def test_killed_between_commit_and_refresh_a_correction_is_in_the_marts_once(
    site: tuple[Path, int], broker: Broker, tmp_path: Path
) -> None:
    path, port = site
    at = (now_ms() - 30 * HOUR) * MS
    fact = produced(at, at + 60_000 * MS, 10, 10)
    start = Start()
    chunk = start.facts(fact, state(at, "EXECUTE"))
    correction = start.facts(corrected(start, 1, 1, msgspec.structs.replace(fact, good=7)))
    env = {**os.environ, "TRIFLOW_FAILPOINT": "cloud.after_commit_before_receipt:2"}
    with process("triflow", "cloud", "run", str(path), log=tmp_path / "cloud.log", env=env) as child:
        wait_until(lambda: ready(port), "the cloud is ready")
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            await gateway.send(chunk)
            await gateway.receipt()
            await gateway.send(correction)
            wait_until(lambda: child.poll() is not None, "the failpoint kills it")
    assert child.returncode == -signal.SIGKILL
    with process("triflow", "cloud", "run", str(path), log=tmp_path / "cloud.log") as child:
        wait_until(lambda: ready(port), "the cloud is ready again")
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            await gateway.send(correction)  # as a gateway does that has not heard yet
            await gateway.receipt()
        wait_until(lambda: settled(port), "the marts are refreshed")
        status, said = terminal(path, "audit-marts")
        assert (status, "no figures differ" in said) == (0, True), said
        told = get(port, f"/api/v1/facts/{start.inc}/2/1/revisions")["revisions"]
        assert [(one["rev"], one["state"]) for one in told] == [(0, "superseded"), (1, "standing")]
        # From a terminal, while the service runs.
        name, better = f"{start.inc}/2/1", tmp_path / "better.json"
        better.write_bytes(json.dumps(json.loads(msgspec.json.encode(fact)) | {"good": 9}).encode())
        status, said = terminal(path, "correct", name, "--with", str(better), "--reason", "counted again")
        assert (status, "revision 2" in said, "counts" in said) == (0, True, True), said
        status, said = terminal(path, "correct", name, "--retract", "--rev", "1", "--reason", "too late")
        assert (status, "the next one is 3" in said) == (69, True), said
        assert terminal(path, "dead-letters", "list") == (0, "nothing is held")
        period = ("--from", "2026-01-01T00:00:00+00:00", "--to", "2026-01-02T00:00:00+00:00")
        assert "job 1" in terminal(path, "restate", *period, "--dry-run", "--reason", "a try")[1]
        wait_until(lambda: get(port, "/api/v1/etl/jobs/1")["state"] == "done", "the service carries the job out")
        wait_until(lambda: settled(port), "the marts are refreshed")
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    status, said = terminal(path, "audit-marts")
    assert (status, "no figures differ" in said) == (0, True), said
