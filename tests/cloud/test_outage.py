"""The database hangs, is none of ours, or is not there: whoever asks is told so within seconds, in a line."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from cloud import database as our_database
from cloud import patience
from cloud.__main__ import main
from cloud.api.answers import Answers
from cloud.app import create_app
from cloud.bus import Bus
from cloud.config import Settings
from cloud.database import Database, DatabaseError
from cloud.plant import Plants
from cloud.walled import Walled
from tests.cloud.conftest import write_cloud_toml
from tests.servers import free_port


@contextmanager
def frozen(server: str) -> Generator[None]:
    """Stop every process of a PostgreSQL server, as a machine that swaps does; they go on at the end."""
    with psycopg.connect(f"{server}/postgres") as link:
        (own,) = link.execute("select pg_backend_pid()").fetchone() or (0,)
        parent = int(Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[1])
    stopped: list[int] = []
    try:
        os.kill(parent, signal.SIGSTOP)
        stopped.append(parent)
        for one in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            os.kill(int(one), signal.SIGSTOP)  # nobody reaps one that ends now: its parent stands still
            stopped.append(int(one))
        yield
    finally:
        for one in stopped:
            os.kill(one, signal.SIGCONT)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_server_that_hangs_holds_nobody_and_is_used_again(
    database: Database, settings: Settings, cluster: str, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(patience, "PROBE_S", 0.1)
    monkeypatch.setattr(our_database, "CONNECT_S", 2)
    answers = Answers(database, Plants(settings), Bus())
    app = create_app(answers, CollectorRegistry())
    walled = Walled(settings.database_url, {"mart_version": None})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as client:
        assert (await client.get("/ready")).status_code == 200
        with frozen(cluster):
            asked = [client.get("/api/v1/overview") for _ in range(6)]  # more than there are readers
            figures = walled.read(lambda c: c.execute("select 1 from mart_version"))
            *told, figure = await asyncio.wait_for(asyncio.gather(*asked, figures, return_exceptions=True), 20)
            page = await client.get("/", headers={"Accept": "text/html"})
        assert [one.status_code for one in told] == [503] * 6
        assert "check that it runs" in told[0].json()["error"]["message"]
        assert isinstance(figure, DatabaseError)
        assert (page.status_code, "text/html" in page.headers["content-type"]) == (503, True)
        assert sum("cannot answer" in one.message for one in caplog.records) == 1, "it is said once, not for each"
        await asyncio.sleep(patience.SILENT_S)
        assert [(await client.get("/api/v1/overview")).status_code for _ in range(4)] == [200] * 4
        assert await walled.read(lambda c: c.execute("select 1 from mart_version")) == []
    walled.close()


WORDS = (
    ["audit-marts"],
    ["dead-letters", "list"],
    ["correct", f"{'ab' * 16}/2/1", "--retract", "--reason", "x"],
    ["report", "shift", "2026-11-20", "A"],
    ["verify"],
    ["gateway", "demo/seoul/gw-1"],
    ["command", "list"],
    ["package", "list"],
    ["seed", "--check"],
)


def file_of(folder: Path, kind: str) -> Path:
    if kind == "nobody listens":
        return write_cloud_toml(folder, f"postgresql://triflow@127.0.0.1:{free_port()}/triflow", port=free_port())
    if kind != "not there":
        (folder / "cloud.db").write_bytes(b"" if kind == "empty" else b"no database at all " * 500)
    return write_cloud_toml(folder, "sqlite:///cloud.db", port=free_port())


@pytest.mark.parametrize("kind", ["not there", "none of ours", "empty", "nobody listens"])
def test_a_command_that_meets_no_database_says_so_in_a_line(kind: str, tmp_path: Path, capfd) -> None:
    for number, (word, *more) in enumerate(WORDS):
        if kind in {"not there", "empty"} and word in {"seed", "report"}:
            continue  # they make the schema, or find a plant of which nothing is known
        folder = tmp_path / str(number)
        folder.mkdir()
        path = file_of(folder, kind)
        before = sorted(folder.iterdir())
        assert main([word, str(path), *more]) == 69, word
        said = capfd.readouterr().err.strip().splitlines()
        assert len(said) == 1, f"{word}: {said}"
        assert "database: " in said[0], said
        left = {one.name for one in folder.iterdir()} - {one.name for one in before}
        assert left <= {"cloud.db", "cloud.db.lock", "cloud.db-wal", "cloud.db-shm"}, left
        if kind == "none of ours":
            assert (folder / "cloud.db").read_bytes().startswith(b"no database at all")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["seed", "CLOUD", "--days", "99999999999"], 2, "too many"),
        (["seed", "CLOUD", "--end", "0001-01-01"], 2, "between 2000 and 2100"),
        (["seed", "--init", "CLOUD"], 78, "Not a directory"),
        (["report", "CLOUD", "shift", "9999-12-31", "A"], 2, "between 2000 and 2100"),
        (["report", "CLOUD", "shift", "yesterday", "A"], 2, "no date"),
        (["report", "CLOUD", "week", "2026-11-20", "A"], 1, "no shift"),
        (["correct", "CLOUD", f"{'ab' * 16}/2/1", "--with", "DEEP", "--reason", "x"], 69, "holds no fact"),
        (["correct", "CLOUD", f"{'ab' * 16}/\u0663/1", "--retract", "--reason", "x"], 69, "is no fact"),
        (["correct", "CLOUD", f"{'ab' * 16}/2/1", "--retract", "--reason", "\udcff"], 69, "does not take this"),
    ],
)
def test_nonsense_is_refused_in_words(words: list[str], status: int, what: str, cloud_toml: Path, capfd) -> None:
    deep = cloud_toml.with_name("deep.json")
    deep.write_text("[" * 100_000)
    said = [{"CLOUD": str(cloud_toml), "DEEP": str(deep)}.get(word, word) for word in words]
    try:
        ended = main(said)
    except SystemExit as refused:  # argparse
        ended = refused.code
    assert ended == status
    told = capfd.readouterr().err
    assert what in told
    assert "Traceback" not in told
