"""Commands of the cloud: proven, in time, carried out once, always answered. Real store, real signatures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.remote import CommandRefusedError, Commands
from sync.chunk import decode
from sync.clock import WallClock
from sync.command import statement
from sync.facts import Stream
from sync.frames import Command
from sync.signing import Signer, make_key
from sync.topics import Address
from tests.edge.stores import store_in, until

ADDRESS = Address("demo", "seoul", "gw-1")
CLOUD = Signer(make_key())
MINUTE = 60 * 10**9


def command(
    name: str = "c1", *, kind: str = "mode", issued: int = 0, lasts: int = MINUTE, key: Signer = CLOUD, **said: Any
):
    now = WallClock().now() + issued
    plain = Command(
        nonce="n", command=name, kind=kind, arguments=said, actor="kim", issued=now, expires=now + lasts, signature=""
    )
    return msgspec.structs.replace(plain, signature=key.sign(statement(ADDRESS, plain)).hex())


class Gateway:
    """Commands over a real store, with one handler that says what it was given."""

    def __init__(self, store, *, ahead_ms: int | None = 0) -> None:
        self.alone, self.done = True, []
        self.store = store
        self.commands = Commands(
            store,
            WallClock(),
            ADDRESS,
            cloud_key=CLOUD.public_key.hex,
            ahead_ms=lambda: ahead_ms,
            alone=lambda: self.alone,
        )
        self.commands.serve("mode", self._mode)

    async def _mode(self, name: str, said: Mapping[str, Any], actor: str) -> str:
        if said.get("mode") == "nonsense":
            raise CommandRefusedError("there is no mode 'nonsense'; there are monitor, advise and control")
        if said.get("mode") == "bug":
            raise KeyError("a bug")
        self.done.append((name, dict(said), actor))
        return ""

    async def answers(self) -> dict[str, tuple[bool, str]]:
        return {fact.command: (fact.done, fact.why) for fact in await self.store.recent(["command_answer"], 50)}


@pytest.fixture
async def gateway(tmp_path: Path):
    async with store_in(tmp_path) as store:
        gateway = Gateway(store)
        running = asyncio.create_task(gateway.commands.run())
        yield gateway
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def answered(gateway: Gateway, *names: str) -> dict[str, tuple[bool, str]]:
    found: dict[str, tuple[bool, str]] = {}
    async with asyncio.timeout(10):
        while not set(names) <= set(found):
            found = await gateway.answers()
            await asyncio.sleep(0.01)
    return found


async def test_a_command_is_carried_out_once_answered_and_on_record(gateway):
    gateway.commands.received(command(mode="advise"))
    gateway.commands.received(command(mode="advise"))
    assert await answered(gateway, "c1") == {"c1": (True, "")}
    gateway.commands.received(command(mode="advise"))  # said again: the cloud has not heard the answer yet
    gateway.commands.received(command("c2", mode="control"))
    await answered(gateway, "c2")
    assert gateway.done == [("c1", {"mode": "advise"}, "kim"), ("c2", {"mode": "control"}, "kim")]
    chunks = await gateway.store.kept(gateway.store.incarnation, Stream.AUDIT, 1, 100)
    first, last = [fact for chunk in chunks for fact in decode(chunk.body, chunk.count)]
    assert (first.actor, first.action, first.target, first.detail["done"]) == ("kim", "command.mode", "c1", True)
    assert last.target == "c2"


async def test_after_a_restart_an_answered_command_is_not_carried_out_again(tmp_path: Path):
    async with store_in(tmp_path) as store:
        gateway = Gateway(store)
        running = asyncio.create_task(gateway.commands.run())
        gateway.commands.received(one := command(mode="advise"))
        await answered(gateway, "c1")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with store_in(tmp_path) as store:
        gateway = Gateway(store)
        running = asyncio.create_task(gateway.commands.run())
        gateway.commands.received(one)
        gateway.commands.received(command("c2", mode="control"))
        await until(lambda: gateway.done, "the second one is carried out")
        assert [name for name, *_ in gateway.done] == ["c2"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_cannot_be_done_is_refused_with_why(gateway):
    gateway.commands.received(command("late", issued=-2 * MINUTE, lasts=MINUTE, mode="advise"))
    gateway.commands.received(command("early", issued=10 * MINUTE, mode="advise"))
    gateway.commands.received(command("strange", kind="dance"))
    gateway.commands.received(command("wrong", mode="nonsense"))
    found = await answered(gateway, "late", "early", "strange", "wrong")
    assert not gateway.done
    assert not any(done for done, _ in found.values())
    assert "it was over 60 s before" in found["late"][1]
    assert "dated in the future" in found["early"][1]
    assert "knows no command 'dance'" in found["strange"][1]
    assert "there are monitor, advise and control" in found["wrong"][1]


async def test_a_bug_in_carrying_one_out_is_its_answer_and_ends_nothing(gateway, caplog):
    gateway.commands.received(command("broken", mode="bug"))
    gateway.commands.received(command("good", mode="advise"))
    found = await answered(gateway, "broken", "good")
    assert found["broken"] == (False, "fault of ours: KeyError('a bug')")
    assert found["good"] == (True, "")
    assert "could not be carried out" in caplog.text


async def test_while_the_clocks_were_never_compared_nothing_is_carried_out(tmp_path: Path):
    async with store_in(tmp_path) as store:
        gateway = Gateway(store, ahead_ms=None)
        running = asyncio.create_task(gateway.commands.run())
        gateway.commands.received(command(mode="advise"))
        assert "never compared" in (await answered(gateway, "c1"))["c1"][1]
        assert not gateway.done
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    "forged",
    [
        command(mode="control", key=Signer(make_key())),
        msgspec.structs.replace(command(mode="advise"), arguments={"mode": "control"}),
        msgspec.structs.replace(command(mode="advise"), expires=2**62),
        msgspec.structs.replace(command(mode="advise"), actor="root"),
        msgspec.structs.replace(command(mode="advise"), signature="zz"),
        msgspec.structs.replace(command(mode="advise"), signature=""),
        command(mode="x" * 20_000),
        command("", mode="advise"),
    ],
    ids=["another key", "changed", "prolonged", "another actor", "no hex", "unsigned", "20 KB", "no id"],
)
async def test_what_the_cloud_did_not_sign_is_not_even_answered(gateway, forged: Command):
    gateway.commands.received(forged)
    gateway.commands.received(command("good", mode="advise"))
    assert set(await answered(gateway, "good")) == {"good"}
    assert gateway.commands.refused == 1
    assert [name for name, *_ in gateway.done] == ["good"]


async def test_while_two_boxes_speak_with_our_identity_nothing_is_carried_out(gateway):
    gateway.alone = False
    gateway.commands.received(command(mode="control"))
    await asyncio.sleep(0.3)
    assert not gateway.done
    assert await gateway.answers() == {}
    gateway.alone = True
    assert await answered(gateway, "c1") == {"c1": (True, "")}
