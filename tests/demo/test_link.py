"""Cut means cut, on real TCP: what stood is reset, what comes is refused, and healing lets both through again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from demo.link import Link, link_app
from tests.servers import free_port


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: bytes) -> bytes:
    writer.write(what)
    await writer.drain()
    return await asyncio.wait_for(reader.readexactly(len(what)), 5)


async def test_a_cut_resets_what_stands_and_refuses_what_comes_until_healed():
    async with echo() as broker, Link(free_port(), broker) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        assert await say(reader, writer, b"before") == b"before"
        await link.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", link.port)
        assert link.connections == 0
        await link.heal()
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        assert await say(reader, writer, b"after") == b"after"
        assert (link.bytes_up, link.bytes_down) == (11, 11)
        writer.close()
        await writer.wait_closed()


async def test_cutting_twice_and_healing_twice_is_harmless():
    async with echo() as broker, Link(free_port(), broker) as link:
        await link.cut()
        await link.cut()
        assert link.cut_times == 1
        await link.heal()
        await link.heal()
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        assert await say(reader, writer, b"still here") == b"still here"
        writer.close()
        await writer.wait_closed()


async def test_without_a_broker_behind_it_a_connection_breaks_at_once():
    async with Link(free_port(), free_port()) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()


async def test_the_switch_answers_over_http():
    async with echo() as broker, Link(free_port(), broker) as link:
        transport = httpx.ASGITransport(link_app(link))
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
            assert (await http.get("/link")).json()["cut"] is False
            assert (await http.post("/link", json={"cut": True})).json()["cut"] is True
            assert link.is_cut
            assert (await http.post("/link", json={"cut": False})).json()["cut"] is False
            for wrong in (b"", b"[]", b'{"cut": "yes"}', b"{"):
                answer = await http.post("/link", content=wrong)
                assert answer.status_code == 400
                assert "cut" in answer.json()["error"]
            assert not link.is_cut
