"""A chart's answer beside Apache Superset 6.1 on the same PostgreSQL rollup, one worker each, the same Python client.

Superset does more: a query builder for any table, many chart types, permissions on every query. This compares one
thing only: how long a browser waits for the figures of a chart.

It runs where TRIFLOW_SUPERSET names a virtual environment that has it, for example
    python -m venv superset && superset/bin/pip install apache-superset==6.1.0 'flask-caching<2.4' 'cachelib<0.14' \
        rich 'cachetools<7' psycopg2-binary
(the plain install does not start: the bounds are what it needs), else it says that it did not.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import statistics
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

from bench import bi_http
from bench.bi_http import p95
from bench.bi_plant import LINES, TENANT, fill, settings_of, today
from bench.table import Row
from cloud.database import open_database
from cloud.plant import Plants
from tests.postgresql import PostgreSQL
from tests.servers import free_port, listens, wait_until

FACTS, DAYS = 100_000, 60
TIMES = 60
USER = "admin"
MEASURE = "bi: a chart's figures (scrap by day of a line, 30 d) on the same PostgreSQL rollup, nothing cached"
GOAL = "≥ 20 × faster than Superset 6.1"


def run() -> list[Row]:
    named = os.environ.get("TRIFLOW_SUPERSET", "")
    binary = Path(named, "bin", "superset")
    if not named or not binary.exists():
        why = "not measured: TRIFLOW_SUPERSET names no virtual environment with apache-superset"
        return [Row(measure=MEASURE, goal=GOAL, figure=why, ok=True)]
    with tempfile.TemporaryDirectory(prefix="triflow-bench-") as name, PostgreSQL() as server:
        with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
            connection.execute("create database triflow")
        return asyncio.run(_measure(Path(name), f"{server.url}/triflow", binary))


async def _measure(folder: Path, url: str, binary: Path) -> list[Row]:
    port = free_port()
    settings = settings_of(folder, url, port)
    plants = Plants(settings)
    async with open_database(settings.database_url) as database:
        await fill(database, plants, FACTS, DAYS)
    windows = [today(plants).date() - timedelta(days=1 + number % 25) for number in range(TIMES)]
    lines = [LINES[number // 25 % len(LINES)] for number in range(TIMES)]
    ours = bi_http._start(folder)  # noqa: SLF001 - the same process as the other measures
    try:
        await asyncio.to_thread(wait_until, lambda: listens(port), "the cloud listens", 60)
        await asyncio.sleep(bi_http.WARM_S)  # Superset's start is not in its figure either
        own = _ask(port, [("GET", _question(*asked), None) for asked in zip(lines, windows, strict=True)], {})
    finally:
        ours.terminate()
        ours.wait(15)
    with _Superset(binary, folder, url) as superset:
        orders = [("POST", "/api/v1/chart/data", superset.chart(*asked)) for asked in zip(lines, windows, strict=True)]
        other = _ask(superset.port, orders, superset.headers)
    ratio = statistics.median(other) / statistics.median(own)
    return [
        Row(
            measure=MEASURE,
            goal=GOAL,
            figure=f"p50 {statistics.median(own):.1f} ms, p95 {p95(own):.1f} ms",
            alternative=f"Superset p50 {statistics.median(other):.0f} ms, p95 {p95(other):.0f} ms (it does more)",
            ratio=f"{ratio:.0f} ×",
            ok=ratio >= 20,
        )
    ]


def _question(line: str, last: Any) -> str:
    plan = {
        "analysis": "TREND",
        "metrics": ["defect_rate"],
        "filters": [{"dimension": "line", "values": [line]}],
        "period": {"first": str(last - timedelta(days=29)), "last": str(last)},
        "grain": "day",
    }
    return str(httpx.URL("/api/v1/bi/ask", params={"plan": json.dumps(plan)}))


def _ask(port: int, asked: list[tuple[str, str, bytes | None]], headers: dict[str, str]) -> list[float]:
    """Ask one after another; gives ms. The plainest client there is, so that the servers are compared."""
    spent: list[float] = []
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for method, address, body in asked:
        began = time.perf_counter()
        client.request(method, address, body, headers)
        answer = client.getresponse()
        said = answer.read()
        spent.append((time.perf_counter() - began) * 1e3)
        if answer.status != 200:
            raise RuntimeError(f"{address}: {answer.status} {said[:400]!r}")
    client.close()
    return spent[5:]


class _Superset:
    """A Superset of our own, with one worker and no cache, that knows the day's rollup as a dataset."""

    def __init__(self, binary: Path, folder: Path, url: str) -> None:
        self._binary, self._url, self.port = binary, url, free_port()
        self._home = folder / "superset"
        self._home.mkdir()
        self._word = secrets.token_hex(16)
        config = self._home / "superset_config.py"
        config.write_text(
            f"SECRET_KEY = {secrets.token_hex(32)!r}\nSQLALCHEMY_DATABASE_URI = 'sqlite:///{self._home}/superset.db'\n"
            "WTF_CSRF_ENABLED = False\nTALISMAN_ENABLED = False\nPREVENT_UNSAFE_DB_CONNECTIONS = False\n"
            "CACHE_CONFIG = {'CACHE_TYPE': 'NullCache'}\nDATA_CACHE_CONFIG = {'CACHE_TYPE': 'NullCache'}\n"
        )
        self._environment = os.environ | {
            "SUPERSET_CONFIG_PATH": str(config),
            "SUPERSET_HOME": str(self._home),
            "FLASK_APP": "superset.app:create_app()",
        }
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", timeout=60)

    def _do(self, *words: str) -> None:
        ended = subprocess.run(
            [self._binary, *words], env=self._environment, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise RuntimeError(f"superset {' '.join(words[:2])} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")

    def __enter__(self) -> Self:
        self._do("db", "upgrade")
        names = ("--username", USER, "--firstname", "a", "--lastname", "b", "--email", "a@example.com")
        self._do("fab", "create-admin", *names, "--password", self._word)
        self._do("init")
        log = (self._home / "superset.log").open("wb")
        self._child = subprocess.Popen(
            [self._binary, "run", "-p", str(self.port)], env=self._environment, stdout=log, stderr=log
        )
        wait_until(lambda: listens(self.port) or self._child.poll() is not None, "superset listens", 120)
        who = {"username": USER, "password": self._word, "provider": "db", "refresh": False}
        token = self._post("security/login", who)["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        uri = self._url.replace("postgresql://", "postgresql+psycopg2://")
        base = self._post("database/", {"database_name": "triflow", "sqlalchemy_uri": uri})["id"]
        made = self._post("dataset/", {"database": base, "schema": "public", "table_name": "mart_day"})
        self._dataset = made["id"]
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._child.terminate()
        self._child.wait(20)

    def _post(self, what: str, body: dict[str, Any]) -> Any:
        answer = self._http.post(what, json=body)
        if not answer.is_success:
            raise RuntimeError(f"superset: {what}: {answer.status_code} {answer.text[:1000]}")
        return answer.json()

    def chart(self, line: str, last: Any) -> bytes:
        share = {
            "expressionType": "SQL",
            "sqlExpression": "1.0*sum(produced-good)/nullif(sum(produced),0)",
            "label": "defect_rate",
        }
        where = [
            {"col": "tenant", "op": "==", "val": TENANT},
            {"col": "work_unit", "op": "==", "val": line},
            {"col": "business_date", "op": ">=", "val": str(last - timedelta(days=29))},
            {"col": "business_date", "op": "<=", "val": str(last)},
        ]
        query = {"columns": ["business_date"], "metrics": [share], "filters": where, "row_limit": 1_000}
        order = {
            "datasource": {"id": self._dataset, "type": "table"},
            "force": True,
            "queries": [query],
            "result_format": "json",
            "result_type": "full",
        }
        return json.dumps(order).encode()
