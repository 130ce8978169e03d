"""Commands in the cloud: given once, signed for their gateway, said until they are answered or over."""

# ruff: noqa: F811 - fixtures come from next door

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from cloud.__main__ import main
from cloud.api.answers import Answers
from cloud.app import create_app
from cloud.bus import Bus
from cloud.config import Settings
from cloud.database import Database
from cloud.ingest import orders
from cloud.ingest.door import OFFER_S, Door, Say
from cloud.ingest.items import Committed, Item
from cloud.plant import Plants
from cloud.remote import commands
from cloud.remote.commands import AGAIN_MS, AT_ONCE, CommandError, Given
from sync.command import statement
from sync.facts import Stream
from sync.frames import Command, Hello, seal
from sync.judgment import CommandAnswered
from sync.signing import genuine
from sync.topics import Address
from tests.cloud.gateway import KEY, Start
from tests.cloud.ingest.conftest import Hall, answer, hall  # noqa: F401

MS = 1_000_000
GW_1, GW_2 = Address("demo", "seoul", "gw-1"), Address("demo", "seoul", "gw-2")


def now_ms(hall: Hall) -> int:
    return hall.clock.at // MS


async def given(hall: Hall, name: str = "c1", gateway: Address = GW_1, *, lasts_ms: int = 3_600_000, **said) -> None:
    order = Given(name, "mode", said or {"mode": "advise"}, "kim", now_ms(hall) + lasts_ms)
    await hall.database.write(lambda c: commands.give(c, gateway, order, now_ms(hall)))


async def resumed(hall: Hall, start: Start, protocol: int = 2) -> Committed:
    return await hall.do(Item(start.address, start.resume(), inc=start.inc, protocol=protocol))


async def beat(hall: Hall, start: Start, protocol: int = 2) -> Committed:
    return await hall.do(Item(start.address, start.heartbeat(), protocol=protocol))


def names(done: Committed) -> list[str]:
    return [one.command for one in answer(done).commands]


async def listed(hall: Hall) -> list[dict]:
    return (await hall.database.read(lambda c: commands.listed(c, now_ms(hall))))[0]


async def test_a_command_is_said_signed_for_its_gateway_until_it_is_answered(hall: Hall):
    start, other = Start(), Start(address=GW_2)
    await given(hall)
    (said,) = answer(await resumed(hall, start)).commands
    assert (said.kind, said.arguments, said.actor, said.issued) == (
        "mode",
        {"mode": "advise"},
        "kim",
        now_ms(hall) * MS,
    )
    key, signature = hall.signer.public_key, bytes.fromhex(said.signature)
    assert genuine(key, statement(GW_1, said), signature)
    assert not genuine(key, statement(GW_2, said), signature), "another gateway's it is not"
    assert not genuine(key, statement(GW_1, msgspec.structs.replace(said, arguments={"mode": "control"})), signature)
    assert names(await resumed(hall, other)) == []
    assert names(await beat(hall, start)) == [], "it was said a moment ago"
    hall.clock.at += AGAIN_MS * MS
    assert names(await beat(hall, start)) == ["c1"], "nobody answered"
    fact = CommandAnswered(at=hall.clock.at, command="c1", done=False, why="not now", actor="kim")
    await hall.store(start, start.facts(fact, stream=int(Stream.EVENT)))
    assert names(await resumed(hall, start)) == []
    (one,) = await listed(hall)
    assert (one["state"], one["why"], one["arguments"]) == ("refused", "not now", {"mode": "advise"})


async def test_an_answer_settles_the_command_of_its_own_gateway_only(hall: Hall):
    start, other = Start(), Start(address=GW_2)
    await given(hall)
    await given(hall, gateway=GW_2)
    await resumed(hall, start)
    await resumed(hall, other)
    await hall.store(other, other.facts(CommandAnswered(at=hall.clock.at, command="c1", done=True), stream=2))
    assert {one["gateway"]: one["state"] for one in await listed(hall)} == {"gw-1": "given", "gw-2": "done"}


async def test_what_is_over_or_for_an_older_gateway_is_not_said(hall: Hall):
    start = Start()
    await given(hall, lasts_ms=10)
    assert names(await resumed(hall, start, 1)) == [], "it would not know it"
    hall.clock.at += 10 * MS
    assert names(await resumed(hall, start)) == []
    assert [one["state"] for one in await listed(hall)] == ["expired"]


async def test_many_commands_go_out_in_parts_in_their_order(hall: Hall):
    start = Start()
    for number in range(AT_ONCE + 3):
        await given(hall, f"c{number:02}")
    assert names(await resumed(hall, start)) == [f"c{number:02}" for number in range(AT_ONCE)]
    assert names(await beat(hall, start)) == [f"c{number:02}" for number in range(AT_ONCE, AT_ONCE + 3)]


async def test_the_same_command_given_twice_is_one(hall: Hall):
    await given(hall)
    await given(hall, mode="control")
    assert [one["arguments"] for one in await listed(hall)] == [{"mode": "advise"}]


async def test_what_no_gateway_would_take_is_not_given(hall: Hall):
    with pytest.raises(CommandError, match="there is no command 'dance'; there are approve"):
        await hall.database.write(lambda c: commands.give(c, GW_1, Given("c", "dance", {}, "kim", 2**50), 1))
    with pytest.raises(CommandError, match="bytes of arguments"):
        await given(hall, text="x" * 20_000)
    for text in ({"n": 10**30}, {"half": "\ud800"}):  # stored, it could never be shown again
        with pytest.raises(CommandError, match="cannot be kept"):
            await given(hall, **text)
    with pytest.raises(CommandError, match="cannot be kept"):
        await hall.database.write(lambda c: commands.give(c, GW_1, Given("c", "mode", {}, "k\udfff", 2**50), 1))
    assert await listed(hall) == []


async def test_the_door_says_commands_on_their_own_topic_with_an_end(hall: Hall):
    door = Door({GW_1: KEY}, clock=hall.clock, token=iter(f"{n:032x}" for n in range(9)).__next__)
    start = Start()
    (challenge,) = door.take(GW_1.up("ctl"), seal(Hello(session="ab" * 8, inc=start.inc, protocols=(1, 2)), KEY))
    assert isinstance(challenge, Say)
    (item,) = door.take(GW_1.up("ctl"), seal(start.resume(nonce=challenge.frame.nonce), KEY))
    assert isinstance(item, Item)
    done = Committed()
    told = done.answer(item.caller)
    expires = hall.clock.at + 5 * 10**9
    told.commands = [
        Command(nonce="", command="c", kind="mode", actor="kim", issued=1, expires=expires, signature="aa")
    ]
    (said,) = [one for one in door.told(done) if isinstance(one.frame, Command)]
    assert (said.what, said.frame.nonce, said.expiry_s) == ("cmd", challenge.frame.nonce, 5)
    told.commands = [msgspec.structs.replace(told.commands[0], expires=2**62)]
    assert door.told(done)[-1].expiry_s == OFFER_S


# --- the command line and the API ---


def command(settings: Settings, *words: str) -> int:
    return main(["command", str(settings.folder / "cloud.toml"), *words])


def test_the_command_line_asks_and_lists(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert command(settings, "list") == 0
    assert "nothing was asked yet" in capsys.readouterr().out
    assert command(settings, "send", "mode", "mode=advise", "level=2", "--to", "all", "--expires", "12h") == 0
    assert "asked 2 gateways: mode" in capsys.readouterr().out
    assert command(settings, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all('mode {"level": 2, "mode": "advise"}' in line and line.endswith("given") for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mode", "mode=advise", "--to", "demo/seoul/gw-3"), "no gateway 'demo/seoul/gw-3' is enrolled"),
        (("mode", "advise", "--to", "all"), "write name=value"),
        (("dance", "--to", "all"), "there is no command 'dance'"),
    ],
)
def test_what_cannot_be_asked_is_said(settings: Settings, capfd: pytest.CaptureFixture[str], words, said):
    assert command(settings, "send", *words) == 69
    assert said in capfd.readouterr().err


async def test_the_api_gives_commands_and_shows_their_answers(hall: Hall, settings: Settings, database: Database):
    start = Start()
    await resumed(hall, start)
    app = create_app(Answers(database, Plants(settings), Bus()), CollectorRegistry())
    order = {"site": "seoul", "gateway": "gw-1", "kind": "mode", "arguments": {"mode": "advise"}, "actor": "kim"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cloud") as http:
        name = (await http.post("/api/v1/commands", json=order)).json()["command"]
        page = (await http.get("/api/v1/commands")).json()
        assert (page["total"], page["items"][0]["command"], page["items"][0]["state"]) == (1, name, "given")
        strange = await http.post("/api/v1/commands", json=order | {"kind": "dance"})
        assert (strange.status_code, strange.json()["error"]["code"]) == (400, "ERR_VALIDATION")
        assert "there is no command 'dance'" in strange.text
        assert (await http.post("/api/v1/commands", json=order | {"gateway": "gw-9"})).status_code == 404
        several = await http.post("/api/v1/commands", json={"kind": 1, "actor": "", "expires_s": 1})
        assert several.status_code == 400
        assert all(f"body.{name}" in several.text for name in ("site", "gateway", "kind", "actor", "expires_s"))


def test_an_order_reaches_a_service_that_holds_the_database(tmp_path: Path):
    order = orders.Commands([("demo", "seoul", "gw-1")], "c", "mode", {"mode": "advise"}, "kim", 2**52)
    assert msgspec.json.decode(msgspec.json.encode(order), type=orders.Order) == order
