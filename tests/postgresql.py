"""A real PostgreSQL server for whoever needs one: on loopback, with nothing in it, and it may be killed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

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


class PostgreSQL:
    """A server of our own; user `triflow` may do everything. Enter starts it, exit leaves nothing behind."""

    def __init__(self, **settings: str) -> None:
        """settings: as in postgresql.conf, beyond what a test server needs."""
        self._binaries = POSTGRESQL if POSTGRESQL.exists() else Path(shutil.which("initdb") or "initdb").parent
        assert (self._binaries / "initdb").exists(), (
            "PostgreSQL is not installed; `bash tests/install_parts.sh` installs it"
        )
        self._folder = Path(tempfile.mkdtemp(prefix="triflow-pg-"))
        self._data, self.port = self._folder / "data", free_port()
        self._settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self._folder, **settings,
        }  # fmt: skip
        self._server: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """The URL, without a database name."""
        return f"postgresql://triflow@127.0.0.1:{self.port}"

    def start(self) -> None:
        options = [text for name, value in self._settings.items() for text in ("-c", f"{name}={value}")]
        self._server = _as_postgres(
            str(self._binaries / "postgres"), "-D", str(self._data), *options, start_new_session=True
        )
        self._wait()

    def kill(self) -> None:
        """End the server and all its children with SIGKILL, as a crash of the machine's memory would."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait(10)
        self._server = None

    def stop(self) -> None:
        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._server = None

    def dump(self, name: str, file: Path) -> None:
        """Write a database as SQL."""
        with file.open("wb") as out:
            subprocess.run(
                [str(self._binaries / "pg_dump"), f"{self.url}/{name}"],
                stdout=out,
                stderr=subprocess.DEVNULL,
                check=False,
            )

    def __enter__(self) -> Self:
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres")
        made = _as_postgres(
            str(self._binaries / "initdb"), "-D", str(self._data), "-U", "triflow", "-A", "trust", "-E", "UTF8", "-N"
        )
        assert made.wait(50) == 0, "initdb failed"
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        for _ in range(600):
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(f"{self.url}/postgres", connect_timeout=2).close()
                return
            subprocess.run(["/bin/sleep", "0.05"], check=True)
        raise AssertionError("PostgreSQL did not start")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Give the URL of a PostgreSQL server of our own, without a database name; user `triflow` may do everything."""
    with PostgreSQL(fsync="off") as server:
        yield server.url
