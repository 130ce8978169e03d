"""A bug behind the pages is counted and begins again; ingest, pages and everything else behind them go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cloud.config import load
from cloud.lasting import Lasting
from cloud.service import serve
from tests.cloud.conftest import write_cloud_toml
from tests.servers import free_port


async def test_work_that_fails_begins_again_is_counted_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    registry, begun, going = CollectorRegistry(), [0], asyncio.Event()
    lasting = Lasting(registry, waits_s=(0.001, 0.002))

    async def faulty() -> None:
        begun[0] += 1
        if begun[0] < 4:
            raise KeyError("a bug")

    async def steady() -> None:
        await going.wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        other = tasks.create_task(lasting.keep("other", steady))
        await lasting.keep("faulty", faulty)
        assert not other.done()
        other.cancel()
    assert begun == [4]
    assert registry.get_sample_value("triflow_background_faults_total", {"work": "faulty"}) == 3
    assert registry.get_sample_value("triflow_background_faults_total", {"work": "other"}) == 0
    assert caplog.text.count("failed and begins again: faulty") == 3
    assert "a bug" in caplog.text


async def test_a_row_that_nobody_can_read_ends_neither_the_service_nor_what_it_does_beside(
    tmp_path: Path, sqlite_template: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "cloud.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "cloud.db")) as raw, raw:
        raw.execute(
            "insert into etl_job(tenant, kind, state, dry_run, asked, actor, reason, asked_ms, buckets)"
            " values('demo', 'restate', 'queued', 0, 'no JSON at all', 'x', 'x', 1, 0)"
        )
    port = free_port()
    settings = load(write_cloud_toml(tmp_path, f"sqlite:///{tmp_path / 'cloud.db'}", "", port))
    serving = asyncio.create_task(serve(settings))
    async with asyncio.timeout(50), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        while 'triflow_background_faults_total{work="jobs"} 0.0' in (said := await metrics(client)) or not said:
            assert not serving.done()
            await asyncio.sleep(0.1)
        assert (await client.get("/ready")).json()["ready"]
    for work in ("marts", "reports", "sending", "telling"):
        assert f'triflow_background_faults_total{{work="{work}"}} 0.0' in said
    os.kill(os.getpid(), signal.SIGTERM)
    await serving


async def metrics(client: httpx.AsyncClient) -> str:
    """Give what the service says about itself; nothing while it does not listen yet."""
    try:
        return (await client.get("/metrics")).text
    except httpx.TransportError:
        return ""
