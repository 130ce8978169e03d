"""Parts start in waves, come back where systemd would bring them back, and leave nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from demo.processes import Crew, Part, PartError
from tests.servers import free_port

SERVER = "http.server"


def server(name: str, port: int, **more) -> Part:
    return Part(
        name=name, arguments=(SERVER, str(port), "--bind", "127.0.0.1", "--directory", "/"), wave=1, port=port, **more
    )


async def test_parts_are_ready_when_entered_and_gone_when_left(tmp_path: Path):
    first, second = server("first", free_port()), server("second", free_port())
    async with Crew([first, second], tmp_path, print) as crew:
        pids = crew.pids()
        assert set(pids) == {"first", "second"}
        for part in (first, second):
            _, writer = await asyncio.open_connection("127.0.0.1", part.port)
            writer.close()
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


async def test_a_part_that_systemd_would_restart_comes_back_and_it_is_said(tmp_path: Path):
    said: list[str] = []
    async with Crew([server("gateway", free_port(), again=True)], tmp_path, said.append) as crew:
        before = crew.pid("gateway")
        crew.kill("gateway")
        while crew.pid("gateway") == before:
            await asyncio.sleep(0.02)
        await crew.ready("gateway")
        assert crew.lives["gateway"].starts == 2
    assert ["SIGKILL" in line for line in said] == [True]


async def test_the_end_of_any_other_part_is_an_error_with_its_last_words(tmp_path: Path):
    port = free_port()
    async with Crew([server("plant", port)], tmp_path, print) as crew:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /nowhere HTTP/1.0\r\n\r\n")
        assert b"404" in await reader.read()
        writer.close()
        while "nowhere" not in crew.last_words("plant"):
            await asyncio.sleep(0.02)
        crew.kill("plant")
        with pytest.raises(PartError, match=r"(?s)plant ended .SIGKILL.*nowhere"):
            await crew.failed


async def test_a_part_that_cannot_start_is_an_error_at_once_and_the_others_are_stopped(tmp_path: Path):
    good = server("broker", free_port())
    bad = Part(name="plant", arguments=("demo.there_is_no_such_part",), wave=2, port=free_port())
    crew = Crew([good, bad], tmp_path, print)
    with pytest.raises(PartError, match=r"(?s)plant ended .exit status 1.*there_is_no_such_part"):
        async with crew:
            pass
    assert not any(psutil.pid_exists(pid) for pid in crew.pids().values())


async def test_one_part_can_be_stopped_for_good(tmp_path: Path):
    async with Crew([server("cloud", free_port(), again=True)], tmp_path, print) as crew:
        pid = crew.pid("cloud")
        await crew.end("cloud")
        assert not psutil.pid_exists(pid)
        assert not crew.failed.done()
