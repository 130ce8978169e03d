"""A real PostgreSQL server for whoever needs one: started once a session, on loopback, with nothing in it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.servers import free_port

POSTGRESQL = Path("/usr/lib/postgresql/15/bin")


def _as_postgres(*command: str, **options) -> subprocess.Popen:
    """Run a program of PostgreSQL; root may not, so root becomes `postgres` for it."""
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Give the URL of a PostgreSQL server of our own, without a database name; user `triflow` may do everything."""
    binaries = POSTGRESQL if POSTGRESQL.exists() else Path(shutil.which("initdb") or "initdb").parent
    assert (binaries / "initdb").exists(), "PostgreSQL is not installed; `bash tests/install_parts.sh` installs it"
    folder = Path(tempfile.mkdtemp(prefix="triflow-pg-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    data, port = folder / "data", free_port()
    made = _as_postgres(str(binaries / "initdb"), "-D", str(data), "-U", "triflow", "-A", "trust", "-E", "UTF8", "-N")
    assert made.wait(50) == 0, "initdb failed"
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
    options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
    server = _as_postgres(str(binaries / "postgres"), "-D", str(data), *options)
    url = f"postgresql://triflow@127.0.0.1:{port}"
    try:
        _wait_for(url)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
            return
        subprocess.run(["/bin/sleep", "0.05"], check=True)
    raise AssertionError("PostgreSQL did not start")
