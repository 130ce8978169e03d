"""Offers in the cloud: ordered once, said to sessions of protocol 2 only, settled by what gateways put on record."""

# ruff: noqa: F811 - fixtures come from next door

from __future__ import annotations

import dataclasses
import time
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
from cloud.ingest.presence import keep
from cloud.packages import offers
from cloud.packages.offers import AGAIN_MS, AT_ONCE, Package
from cloud.packages.store import Packages, beside_the_database
from cloud.plant import Plants
from sync.facts import Audited, Stream
from sync.frames import Hello, Offer, seal
from sync.topics import Address
from tests.cloud.gateway import KEY, Start
from tests.cloud.ingest.conftest import Hall, answer, hall  # noqa: F401

DIGEST = "d" * 64
MS = 1_000_000
GW_1, GW_2 = Address("demo", "seoul", "gw-1"), Address("demo", "seoul", "gw-2")


def now_ms(hall: Hall) -> int:
    return hall.clock.at // MS


async def offered(hall: Hall, *gateways: Address, digest: str = DIGEST, lasts_ms: int = 3_600_000) -> Package:
    package = Package(digest, 1000, now_ms(hall) + lasts_ms)
    who = gateways or (GW_1,)
    await hall.database.write(lambda c: offers.make(c, who, package, name="rules.bin", by="kim", now_ms=now_ms(hall)))
    return package


async def resumed(hall: Hall, start: Start, protocol: int = 2) -> Committed:
    return await hall.do(Item(start.address, start.resume(), inc=start.inc, protocol=protocol))


async def beat(hall: Hall, start: Start, protocol: int = 2) -> Committed:
    return await hall.do(Item(start.address, start.heartbeat(), protocol=protocol))


async def answered(hall: Hall, start: Start, action: str, expires_ms: int, digest: str = DIGEST, why: str = "") -> None:
    detail = {"size": 1000, "expires": expires_ms * MS} | ({"why": why} if why else {})
    fact = Audited(at=hall.clock.at, actor="gateway", action=action, target=digest, detail=detail)
    await hall.store(start, start.facts(fact, stream=int(Stream.AUDIT)))


async def states(hall: Hall) -> list[tuple]:
    return await hall.rows("select gateway, state, detail from offer order by gateway, digest")


async def test_an_open_offer_goes_out_at_the_welcome_and_when_it_appears(hall: Hall):
    start, other = Start(), Start(address=GW_2)
    first = await offered(hall)
    assert answer(await resumed(hall, start)).offers == [first]
    assert answer(await resumed(hall, other)).offers == [], "it is not the neighbour's"
    assert answer(await beat(hall, start)).offers == [], "it was said a moment ago"
    second = await offered(hall, digest="e" * 64)
    assert answer(await beat(hall, start)).offers == [second]
    hall.clock.at += AGAIN_MS * MS
    assert answer(await beat(hall, start)).offers == [first, second], "nobody answered"
    assert answer(await resumed(hall, start)).offers == [first, second], "a new session was told nothing"


async def test_a_gateway_of_protocol_1_is_never_offered_anything(hall: Hall):
    start = Start()
    await offered(hall)
    assert answer(await resumed(hall, start, 1)).offers == []
    assert answer(await beat(hall, start, 1)).offers == []
    assert await hall.rows("select sent_ms from offer") == [(None,)]


async def test_while_two_boxes_are_one_gateway_neither_is_offered_anything(hall: Hall):
    async def come(start: Start, *others: Start, box: str) -> Committed:
        item = Item(start.address, start.resume(*others), inc=start.inc, box=box, protocol=2)
        return await hall.do(item)

    original = Start()
    await come(original, box="a" * 32)
    copy = Start(ord=2, previous=original.inc)
    closed = Start(inc=original.inc, closed=True)
    await come(copy, closed, box="b" * 32)
    package = await offered(hall)
    assert answer(await come(original, box="a" * 32)).offers == []
    assert answer(await beat(hall, copy)).offers == []
    ((number,),) = await hall.rows("select id from gateway")
    await hall.database.write(lambda c: keep(c, number, "demo", original.inc, 1))
    assert answer(await come(copy, closed, box="b" * 32)).offers == []
    assert answer(await beat(hall, copy)).offers == [], "the box that was not kept is none"
    assert answer(await beat(hall, original)).offers == [package]


async def test_an_offer_that_expired_is_not_said(hall: Hall):
    start = Start()
    await offered(hall, lasts_ms=10)
    hall.clock.at += 10 * MS
    assert answer(await resumed(hall, start)).offers == []
    ((one,), total) = await hall.database.read(lambda c: offers.listed(c, now_ms(hall)))
    assert (one["state"], total) == ("expired", 1)


async def test_many_offers_go_out_in_parts(hall: Hall):
    start = Start()
    for number in range(AT_ONCE + 2):
        await offered(hall, digest=f"{number:064x}")
    assert len(answer(await resumed(hall, start)).offers) == AT_ONCE
    assert len(answer(await beat(hall, start)).offers) == 2


@pytest.mark.parametrize(
    ("action", "state", "why"), [("received", "received", ""), ("refused", "refused", "no room\0 on the disk")]
)
async def test_what_the_gateway_put_on_record_settles_its_offer(hall: Hall, action: str, state: str, why: str):
    start = Start()
    package = await offered(hall, GW_1, GW_2)
    await resumed(hall, start)
    await answered(hall, start, f"package.{action}", package.expires_ms, why=why)
    assert await states(hall) == [("gw-1", state, why.replace("\0", "\ufffd")), ("gw-2", "offered", "")]
    hall.clock.at += AGAIN_MS * MS
    assert answer(await beat(hall, start)).offers == []
    assert len(await hall.rows("select 1 from audit_entry")) == 1, "it is a record of the audit log like any other"


async def test_an_answer_to_an_earlier_offer_settles_no_later_one(hall: Hall):
    start = Start()
    early = await offered(hall)
    await resumed(hall, start)
    late = await offered(hall, lasts_ms=7_200_000)
    await answered(hall, start, "package.refused", early.expires_ms, why="expired")
    assert await states(hall) == [("gw-1", "offered", "")]
    await answered(hall, start, "package.received", late.expires_ms)
    assert await states(hall) == [("gw-1", "received", "")]
    await offered(hall, lasts_ms=7_200_000)  # the same order carried out once more after a crash
    assert await states(hall) == [("gw-1", "received", "")]


@pytest.mark.parametrize("expires", [None, "soon", -1, 2**63, 1.5, True, [1]])
async def test_an_answer_that_makes_no_sense_settles_nothing_and_is_kept(hall: Hall, expires):
    start = Start()
    await offered(hall)
    await resumed(hall, start)
    fact = Audited(at=2**62, actor="x", action="package.received", target=DIGEST, detail={"expires": expires})
    await hall.store(start, start.facts(fact, stream=int(Stream.AUDIT)))
    assert await states(hall) == [("gw-1", "offered", "")]
    assert len(await hall.rows("select 1 from audit_entry")) == 1


async def test_the_door_says_offers_to_protocol_2_with_an_end(hall: Hall):
    door = Door({GW_1: KEY}, clock=hall.clock, token=iter(f"{n:032x}" for n in range(9)).__next__)
    for protocols, count in (((1, 2), 1), ((1,), 0)):
        start = Start()
        hello = Hello(session="ab" * 8, inc=start.inc, protocols=protocols)
        (challenge,) = door.take(GW_1.up("ctl"), seal(hello, KEY))
        assert isinstance(challenge, Say)
        nonce = challenge.frame.nonce
        (item,) = door.take(GW_1.up("ctl"), seal(start.resume(nonce=nonce), KEY))
        assert isinstance(item, Item)
        assert item.protocol == max(protocols)
        done = Committed()
        told = done.answer(item.caller)
        told.welcome, told.offers = True, [Package(DIGEST, 1000, now_ms(hall) + 5_000)]
        said = [one for one in door.told(done) if isinstance(one.frame, Offer)]
        assert len(said) == count
        for one in said:
            assert (one.frame.nonce, one.frame.path, one.frame.size) == (nonce, f"/packages/{DIGEST}", 1000)
            assert one.expiry_s == 5
            done.answers[item.caller] = dataclasses.replace(told, offers=[Package(DIGEST, 1, now_ms(hall) * 2)])
            assert door.told(done)[-1].expiry_s == OFFER_S


# --- the command and the API ---


def put(settings: Settings, *words: str) -> int:
    return main(["package", str(settings.folder / "cloud.toml"), *words])


def test_put_stores_offers_and_lists(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "rules.bin").write_bytes(b"rules" * 100)
    assert put(settings, "list") == 0
    assert "nothing was offered yet" in capsys.readouterr().out
    assert put(settings, "put", str(tmp_path / "rules.bin"), "--to", "all", "--expires", "12h") == 0
    assert "500 bytes) to 2 gateways" in capsys.readouterr().out
    assert put(settings, "put", str(tmp_path / "rules.bin"), "--to", "demo/seoul/gw-2") == 0
    capsys.readouterr()
    (stored,) = (beside_the_database(settings) / "demo").iterdir()
    assert Packages(beside_the_database(settings)).find("demo", stored.name) == stored
    assert put(settings, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:5] for line in lines] == [
        ["rules.bin", "500", "bytes", "demo/seoul/gw-2"],
        ["rules.bin", "500", "bytes", "demo/seoul/gw-1"],
    ]
    assert all("offered" in line and "never sent yet" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("FILE", "--to", "demo/seoul/gw-3"), "no gateway 'demo/seoul/gw-3' is enrolled"),
        (("nowhere.bin", "--to", "all"), "nowhere.bin"),
    ],
)
def test_what_cannot_be_offered_is_said(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str], words, said
):
    (tmp_path / "rules.bin").write_bytes(b"x")
    words = [str(tmp_path / "rules.bin") if word == "FILE" else word for word in words]
    assert put(settings, "put", *words) == 69
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "0h", "1w", "99999d", "1.5h"])
def test_a_duration_that_is_none_is_refused(settings: Settings, tmp_path: Path, text: str):
    with pytest.raises(SystemExit):
        put(settings, "put", str(tmp_path), "--to", "all", f"--expires={text}")


async def test_the_api_shows_what_became_of_offers(hall: Hall, settings: Settings, database: Database):
    start = Start()
    package = await offered(hall, GW_1, GW_2, lasts_ms=10**12)
    await resumed(hall, start)
    await answered(hall, start, "package.refused", package.expires_ms, why="no room")
    app = create_app(Answers(database, Plants(settings), Bus()), CollectorRegistry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cloud") as http:
        page = (await http.get("/api/v1/packages/offers")).json()
        assert page["total"] == 2
        found = {one["gateway"]: one for one in page["items"]}
        assert (found["gw-1"]["state"], found["gw-1"]["why"]) == ("refused", "no room")
        assert (found["gw-2"]["state"], found["gw-2"]["sent"], found["gw-2"]["answered"]) == ("offered", None, None)
        second = (await http.get("/api/v1/packages/offers?page=2&page_size=1")).json()
        assert [one["gateway"] for one in second["items"]] == ["gw-2"]


def test_an_order_reaches_a_service_that_holds_the_database(settings: Settings):
    """As a file it survives being written and read."""
    order = orders.Offers([("demo", "seoul", "gw-1")], DIGEST, 5, "x", "kim", time.time_ns() // MS, 2**52)
    assert msgspec.json.decode(msgspec.json.encode(order), type=orders.Order) == order
