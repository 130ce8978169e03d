"""The MES source against a real HTTP server on loopback: what is new, what is refused, what it says when it fails."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from edge.drivers import open_source
from edge.drivers.driver import DriverError, RefusedError, Surroundings
from edge.drivers.mes import paging
from edge.drivers.mes.paging import UnauthorizedError
from edge.drivers.mes.rest import MesSource
from sync.clock import WallClock
from sync.facts import (
    Context,
    Fact,
    InventoryCounted,
    JobOrderPlanned,
    JobResponded,
    LotDefined,
    ProductDefined,
    QualityMeasured,
    SchemaDrifted,
    ShiftPlanned,
)
from sync.secret import Credential, SecretError
from tests.contracts.driver_contract import until
from tests.edge.drivers.mes.mes_server import FILLER, PACKER, MesServer
from tests.servers import listens, node

SIX = 1_767_333_600 * 10**9
"""2026-01-02 06:00 UTC."""
HOUR = 3600 * 10**9
EVERYTHING = 8
"""Facts of a first poll."""


def kinds(news: list[Fact]) -> list[str]:
    return [type(fact).__name__ for fact in news]


async def test_the_first_poll_gives_all_there_is() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        news = (await anext(facts)).facts
        at = news[0].at
    common = {"product": "cola-330", "lot": "L1", "quantity": 1200, "start": SIX, "end": SIX, "state": "running"}
    shift = {"shift": "day", "start": SIX - 9 * HOUR, "end": SIX - HOUR, "team": "blue"}
    assert news == [
        ProductDefined(at=at, product="cola-330", name={"ko": "콜라", "en": "Cola"}, ideal_cycle_ms={FILLER: 600.0}),
        InventoryCounted(at=at, material="caps", location="W1", quantity=1000.0, unit="C62", daily_usage=250.5),
        LotDefined(at=at, lot="L1", product="cola-330", quantity=1200.0, unit="C62", state="released"),
        QualityMeasured(
            at=SIX + HOUR // 6, work_unit=FILLER, characteristic="brix", value=10.6, unit="brix", low=10.2, high=11.0,
            passed=True, sample="S1", order="A-1",
        ),
        ShiftPlanned(at=at, work_unit=FILLER, **shift),
        JobOrderPlanned(at=at, work_unit=FILLER, order="A-1", ideal_cycle_ms=600.0, **common),
        ShiftPlanned(at=at, work_unit=PACKER, **shift),
        JobOrderPlanned(at=at, work_unit=PACKER, order="B-1", ideal_cycle_ms=600.0, **common),
    ]  # fmt: skip
    assert source.contexts == {
        FILLER: Context(order="A-1", product="cola-330", lot="L1", shift="day"),
        PACKER: Context(shift="day"),
    }
    assert source.cycles == {"cola-330": {FILLER: 600.0}}


async def test_afterwards_only_what_is_new_or_changed_is_given() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        mes.answered.clear()
        assert await anext(facts) == (learned := await anext(facts))
        assert (learned.facts, learned.cursor) == ([], b"")
        assert set(mes.answered) == {304}
        mes.rows["job-orders"][0] = mes.order("A-1", FILLER, state="completed")
        mes.rows["job-orders"].append(mes.order("A-2", FILLER))
        mes.contexts[FILLER] = {"order": "A-2", "product": "cola-330", "lot": "L2", "shift": "day"}
        news = (await anext(facts)).facts
        assert [(fact.order, fact.state) for fact in news] == [("A-1", "completed"), ("A-2", "running")]
        assert source.contexts[FILLER] == Context(order="A-2", product="cola-330", lot="L2", shift="day")


async def test_a_restart_repeats_nothing_and_still_knows_what_is_being_made() -> None:
    async with MesServer().running() as mes:
        async with mes.source() as source, aclosing(source.facts()) as facts:
            cursor = (await anext(facts)).cursor
        mes.rows["lots"].append({"lot": "L2", "product": "cola-330"})
        async with mes.source(cursor=cursor) as source, aclosing(source.facts()) as facts:
            assert [fact.lot for fact in (await anext(facts)).facts] == ["L2"]
            assert source.contexts[FILLER].order == "A-1"
            assert source.cycles["cola-330"] == {FILLER: 600.0}


async def test_a_cursor_that_is_none_of_ours_means_asking_anew() -> None:
    async with MesServer().running() as mes:
        for cursor in (b"\x00\x01", b"{}", b'{"order": 1}'):
            async with mes.source(cursor=cursor) as source, aclosing(source.facts()) as facts:
                assert len((await anext(facts)).facts) == EVERYTHING


async def test_what_goes_and_comes_back_is_said_again_and_marks_stay_bounded() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        first = (await anext(facts)).cursor
        stock = mes.rows["inventory"]
        for i in range(6):
            mes.rows["inventory"] = [{**stock[0], "quantity": i}]
            await anext(facts)
        mes.rows["inventory"] = stock
        learned = await anext(facts)
        assert kinds(learned.facts) == ["InventoryCounted"]
        assert len(learned.cursor) <= len(first) + 8, "one mark a row of the last answer"


@pytest.mark.parametrize("links", [True, False])
async def test_all_pages_are_read_and_a_change_on_any_is_found(links: bool) -> None:
    mes = MesServer()
    mes.links, mes.page = links, {"lots": 3}
    mes.rows["lots"] = [{"lot": f"L{i}", "product": "cola-330"} for i in range(8)]
    async with mes.running(), mes.source() as source, aclosing(source.facts()) as facts:
        news = (await anext(facts)).facts
        assert [fact.lot for fact in news if isinstance(fact, LotDefined)] == [f"L{i}" for i in range(8)]
        mes.asked.clear()
        mes.answered.clear()
        assert (await anext(facts)).facts == []
        assert mes.asked.count("lots") == 3
        assert set(mes.answered) == {304}
        mes.rows["lots"][7] = {"lot": "L7", "product": "lemon-500"}
        assert [(fact.lot, fact.product) for fact in (await anext(facts)).facts] == [("L7", "lemon-500")]


async def test_a_long_answer_is_taken_whole() -> None:
    """So long that it is decoded and taken in beside the event loop."""
    mes = MesServer()
    mes.rows["lots"] = [{"lot": f"L{i}", "product": "cola-330", "state": "x" * 200} for i in range(2000)]
    async with mes.running(), mes.source() as source, aclosing(source.facts()) as facts:
        lots = [fact.lot for fact in (await anext(facts)).facts if isinstance(fact, LotDefined)]
        assert lots == [f"L{i}" for i in range(2000)]
        assert (await anext(facts)).facts == []


async def test_paging_that_leads_in_a_circle_or_away_or_on_for_ever_is_named(monkeypatch) -> None:
    mes = MesServer()
    mes.page = {"products": 1}
    mes.rows["products"] *= 9
    url = f"http://127.0.0.1:{mes.port}/api/products"
    async with mes.running():
        for leads, said in (
            ({f"{url}?from=1": url}, "page 2 leads back"),
            ({f"{url}?from=1": "http://elsewhere.example/api/products"}, "another server"),
        ):
            mes.leads = leads
            with pytest.raises(DriverError, match=said):
                async with mes.source():
                    pass
        mes.leads = {}
        monkeypatch.setattr(paging, "MOST_PAGES", 5)
        with pytest.raises(DriverError, match="more than 5 pages"):
            async with mes.source():
                pass


async def test_an_answer_without_end_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(paging, "MOST_BYTES", 1 << 20)
    mes = MesServer()
    mes.rows["products"] = [{"product": "x" * 1000}] * 1100
    async with mes.running():
        with pytest.raises(DriverError, match="more than 1 MiB"):
            async with mes.source():
                pass
        mes.page = {"products": 600}
        with pytest.raises(DriverError, match="more than 1 MiB"):
            async with mes.source():
                pass


async def test_a_failed_question_is_asked_again_and_a_refused_one_is_not() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        mes.failing = {"products": [(503, {}), (429, {"retry-after": "0"})]}
        mes.asked.clear()
        await anext(facts)
        assert mes.asked.count("products") == 3
        mes.failing = {"products": [(400, {}), (400, {})]}
        mes.asked.clear()
        with pytest.raises(DriverError, match="400"):
            await anext(facts)
        assert mes.asked.count("products") == 1


async def test_a_wait_that_the_mes_asks_for_is_kept() -> None:
    async with MesServer().running() as mes, mes.source(period_s=3600) as source, aclosing(source.facts()) as facts:
        mes.failing = {"products": [(503, {"retry-after": "1"})]}
        began = asyncio.get_running_loop().time()
        await anext(facts)
        assert asyncio.get_running_loop().time() - began >= 1
    async with mes.running(), mes.source() as source, aclosing(source.facts()) as facts:
        later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
        mes.failing = {"products": [(503, {"retry-after": later})]}
        with pytest.raises(DriverError, match=r"503 and asks us to wait 3[56]\d\d s"):
            await anext(facts)


@pytest.mark.parametrize(
    ("status", "raw", "said"),
    [
        (401, None, "token"),
        (500, None, "MES's own log"),
        (302, None, "has moved"),
        (404, None, "url"),
        (200, b"<html>", "agreed JSON"),
        (200, b"\xff\xfe", "agreed JSON"),
    ],
)
async def test_an_answer_that_is_of_no_use_is_an_error_that_says_what_to_check(status, raw, said) -> None:
    async with MesServer().running() as mes:
        mes.status = status
        if raw is not None:
            mes.raw["products"] = raw
        with pytest.raises(DriverError, match=said):
            async with mes.source():
                pass


async def test_a_mes_that_is_not_there_or_says_nothing_is_an_error_that_says_so(monkeypatch) -> None:
    mes = MesServer()
    with pytest.raises(DriverError, match="check the url and that the MES runs"):
        async with mes.source():
            pass
    heard = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()

    monkeypatch.setattr(paging, "REQUEST_S", 0.3)
    async with await asyncio.start_server(say_nothing, "127.0.0.1", mes.port):
        with pytest.raises(DriverError, match="no answer within"):
            async with mes.source():
                pass
        assert heard.is_set()


async def test_resources_a_mes_has_not_got_are_noted_once_and_left_alone() -> None:
    mes = MesServer()
    mes.lacks = {"lots", "shifts", "quality-results"}
    async with mes.running(), mes.source() as source, aclosing(source.facts()) as facts:
        assert kinds((await anext(facts)).facts) == [
            "ProductDefined", "InventoryCounted", "JobOrderPlanned", "JobOrderPlanned",
        ]  # fmt: skip
        assert source.health.notes["/api/lots"].startswith("not offered")
        mes.asked.clear()
        await anext(facts)
        assert not {"lots", "shifts", "quality-results"} & set(mes.asked)
        mes.lacks = {"job-orders"}
        with pytest.raises(DriverError, match="404"):
            await anext(facts)


async def test_a_work_unit_where_nothing_runs_has_an_empty_context() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        running = mes.contexts.pop(FILLER)
        await anext(facts)
        assert source.contexts[FILLER] == Context()
        mes.contexts[FILLER] = running
        await anext(facts)
        assert source.contexts[FILLER].order == "A-1"


async def test_rows_of_other_work_units_are_not_ours() -> None:
    mes = MesServer()
    mes.rows["quality-results"].append({**mes.rows["quality-results"][0], "work_unit": "bottling/line-9/filler"})
    async with mes.running(), mes.source() as source, aclosing(source.facts()) as facts:
        news = (await anext(facts)).facts
        assert [fact.work_unit for fact in news if isinstance(fact, QualityMeasured)] == [FILLER]


async def test_a_mes_that_gives_everything_to_everybody_is_heard_once() -> None:
    mes = MesServer()
    mes.filters = False
    async with mes.running(), mes.source() as source, aclosing(source.facts()) as facts:
        news = (await anext(facts)).facts
        assert len(news) == EVERYTHING
        assert [fact.order for fact in news if isinstance(fact, JobOrderPlanned)] == ["A-1", "B-1"]


# --- rows that do not fit, and drift -------------------------------------------------------------------------------


def drifts(news: list[Fact]) -> list[tuple[str, list[str]]]:
    return [(fact.severity, fact.changes) for fact in news if isinstance(fact, SchemaDrifted)]


async def test_a_row_that_does_not_fit_is_left_out_and_said_once() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        mes.rows["job-orders"] += [mes.order("A-2", FILLER, start="2026-01-02T06:00:00"), mes.order("A-3", FILLER)]
        news = (await anext(facts)).facts
        assert [fact.order for fact in news if isinstance(fact, JobOrderPlanned)] == ["A-3"]
        why = "1 of 3 rows left out: [1].start: a time without zone; the source must send Z or an offset"
        assert drifts(news) == [("warning", [f"job_orders {FILLER}: {why}"])]
        assert source.health.notes[f"job_orders {FILLER}"] == why
        mes.rows["job-orders"].append(mes.order("A-4", FILLER))
        assert drifts((await anext(facts)).facts) == []
        del mes.rows["job-orders"][2]
        assert drifts((await anext(facts)).facts) == [("info", [f"job_orders {FILLER}: fits again"])]
        assert f"job_orders {FILLER}" not in source.health.notes


async def test_a_resource_that_fits_no_more_is_suspended_and_the_others_go_on() -> None:
    async with MesServer().running() as mes:
        async with mes.source() as source, aclosing(source.facts()) as facts:
            await anext(facts)
            good = mes.rows["products"]
            mes.rows["products"] = [{"product": 7, "name": {"ko": "물", "en": "Water"}}]
            mes.rows["inventory"][0] = {**mes.rows["inventory"][0], "quantity": 990}
            learned = await anext(facts)
            assert kinds(learned.facts) == ["SchemaDrifted", "InventoryCounted"]
            (drift,) = drifts(learned.facts)
            assert drift == (
                "critical",
                [
                    "products: product was text and now is number",
                    "products: 1 of 1 rows left out: [0].product: expected `str`, got `int`",
                ],
            )
            assert source.health.notes["products"].startswith("suspended until it fits again")
            assert source.cycles["cola-330"] == {FILLER: 600.0}, "the last known stays"
        async with mes.source(cursor=learned.cursor) as source, aclosing(source.facts()) as facts:
            assert (await anext(facts)).facts == [], "said once, through a restart"
            mes.rows["products"] = good
            news = (await anext(facts)).facts
            assert drifts(news) == [("info", ["products: fits again"])]
            assert len(news) == 1, "and what it says it had said before"


async def test_an_unknown_field_is_told_and_used_for_nothing() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        assert drifts((await anext(facts)).facts) == []
        mes.rows["lots"][0]["colour"] = "red"
        assert drifts((await anext(facts)).facts) == [("info", ["lots: colour is new (not used)"])]
        mes.rows["lots"][0]["colour"] = 7
        assert drifts((await anext(facts)).facts) == [("info", ["lots: colour was text and now is number (not used)"])]
        assert "lots" not in source.health.notes


async def test_an_optional_field_is_missed_only_when_it_was_always_there() -> None:
    mes = MesServer()
    async with mes.running():
        async with mes.source() as source, aclosing(source.facts()) as facts:
            await anext(facts)
            mes.rows["lots"] = [{"lot": "L2", "product": "cola-330"}]
            news = (await anext(facts)).facts
            assert kinds(news) == ["LotDefined"], "one lot without a quantity is no drift"
            mes.rows["lots"] = [{"lot": f"M{i}", "product": "cola-330", "order": "A-1"} for i in range(20)]
            await anext(facts)
            mes.rows["lots"] = [{"lot": f"N{i}", "product": "cola-330"} for i in range(3)]
            learned = await anext(facts)
            assert kinds(learned.facts) == ["LotDefined"] * 3, "the first lots had none"
        mes.rows["lots"] = [{"lot": f"P{i}", "product": "cola-330", "quantity": i} for i in range(20)]
        async with mes.source() as source, aclosing(source.facts()) as facts:
            await anext(facts)
            mes.rows["lots"] = [{"lot": "Q1", "product": "cola-330"}]
            learned = await anext(facts)
            assert drifts(learned.facts) == [("critical", ["lots: quantity is gone"])]
            assert kinds(learned.facts) == ["SchemaDrifted"], "suspended"
        accepted = mes.source(cursor=learned.cursor, without=["lots.quantity"])
        async with accepted, aclosing(accepted.facts()) as facts:
            assert "Q1" in [fact.lot for fact in (await anext(facts)).facts if isinstance(fact, LotDefined)]


async def test_a_line_keeps_its_orders_when_a_field_goes_it_can_do_without() -> None:
    mes = MesServer()
    mes.rows["job-orders"] = [mes.order(f"A-{i}", FILLER) for i in range(12)]
    async with mes.running(), mes.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        mes.rows["job-orders"] = [mes.order("A-20", FILLER)]
        del mes.rows["job-orders"][0]["ideal_cycle_ms"]
        news = (await anext(facts)).facts
        assert kinds(news) == ["JobOrderPlanned", "SchemaDrifted"]
        assert drifts(news) == [("critical", [f"job_orders {FILLER}: ideal_cycle_ms is gone"])]


async def test_what_is_being_made_is_stale_when_its_answer_fits_no_more() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        mes.contexts[FILLER] = {"order": 17, "product": "cola-330", "lot": "L1", "shift": "day"}
        await anext(facts)
        assert source.contexts[FILLER] == Context(order="A-1", product="cola-330", lot="L1", shift="day", stale=True)
        assert source.contexts[PACKER] == Context(shift="day")


# --- coming and going ----------------------------------------------------------------------------------------------


async def test_a_lost_mes_makes_the_context_stale_and_a_new_source_reads_again() -> None:
    server = MesServer()
    async with server.running(), server.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        server.status = 503
        with pytest.raises(DriverError, match="503"):
            await anext(facts)
        assert source.contexts[FILLER] == Context(order="A-1", product="cola-330", lot="L1", shift="day", stale=True)
    with pytest.raises(DriverError, match="check"):
        async with asyncio.timeout(5), server.source():
            pass
    server.status = 200
    async with server.running(), server.source() as source, aclosing(source.facts()) as facts:
        assert len((await anext(facts)).facts) == EVERYTHING


async def test_cancelling_leaves_nothing_open() -> None:
    async with MesServer().running() as mes:

        async def watch() -> None:
            async with mes.source() as source, aclosing(source.facts()) as facts:
                async for _ in facts:
                    pass

        mes.polled.clear()
        watcher = asyncio.create_task(watch())
        await mes.polled.wait()
        watcher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watcher
        await until(lambda: mes.connections() == 0, "the connection is closed")


# --- who we are ----------------------------------------------------------------------------------------------------


def credential(folder: Path, name: str, secret: str) -> Credential:
    (folder / "credentials").mkdir(exist_ok=True)
    (folder / "credentials" / name).write_text(secret + "\n")
    return Credential(credential=name)


async def test_the_token_is_read_from_its_credential_file(tmp_path: Path) -> None:
    around = Surroundings(folder=tmp_path, data=tmp_path, gateway="gw")
    async with MesServer().running() as mes:
        mes.token = "open-sesame"
        config = mes.config(token=Credential(credential="mes.token"))
        with pytest.raises(SecretError, match=r"mes\.token"):
            open_source(config, [FILLER], WallClock(), around)
        credential(tmp_path, "mes.token", "open-sesame")
        source = open_source(config, [FILLER], WallClock(), around)
        async with source, aclosing(source.facts()) as facts:
            assert len((await anext(facts)).facts) == 6
        assert "unprotected" in source.health.notes["security"]
        mes.token = "another"
        with pytest.raises(UnauthorizedError, match="token or password"):
            async with open_source(config, [FILLER], WallClock(), around):
                pass


async def test_user_and_password_where_a_mes_knows_no_tokens(tmp_path: Path) -> None:
    async with MesServer().running() as mes:
        mes.basic = "gw:비밀"
        password = credential(tmp_path, "mes.password", "비밀")
        async with mes.source(tmp_path, user="gw", password=password) as source, aclosing(source.facts()) as facts:
            assert len((await anext(facts)).facts) == EVERYTHING


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mes"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_tls_trusts_the_named_authority_and_nobody_else(tmp_path: Path, certificate) -> None:
    cert, key = certificate
    mes = MesServer()
    url = f"https://127.0.0.1:{mes.port}"
    (tmp_path / "ca.pem").write_bytes(cert.read_bytes())
    async with mes.running(ssl_certfile=str(cert), ssl_keyfile=str(key), ssl_version=ssl.PROTOCOL_TLS_SERVER):
        async with mes.source(tmp_path, url=url, ca="ca.pem") as source, aclosing(source.facts()) as facts:
            assert len((await anext(facts)).facts) == EVERYTHING
            assert source.health.notes["security"] == "TLS"
        with pytest.raises(DriverError, match="not trusted"):
            async with mes.source(tmp_path, url=url):
                pass
        with pytest.raises(DriverError, match="cannot read the CA certificate"):
            async with mes.source(tmp_path, url=url, ca="no.pem"):
                pass


def test_settings_that_contradict_are_faults() -> None:
    mes = MesServer()
    with pytest.raises(ValidationError, match="one way in"):
        mes.config(token={"credential": "t"}, user="u", password={"credential": "p"})
    with pytest.raises(ValidationError, match="https"):
        mes.config(ca="ca.pem")
    with pytest.raises(ValidationError, match="without"):
        mes.config(without=["colours.red"])


# --- what was made -------------------------------------------------------------------------------------------------


def response(**more) -> JobResponded:
    return JobResponded(
        at=SIX + 1_500_000_000, work_unit=FILLER, response="r1", order="A-1", product="cola-330", start=SIX,
        produced=10, good=9, scrap=1, **more,
    )  # fmt: skip


async def test_a_job_response_is_put_under_its_id() -> None:
    async with MesServer().running() as mes, mes.source() as source:
        await source.respond(response(complete=True))
        assert mes.put == [
            (
                "r1",
                {
                    "response": "r1", "order": "A-1", "work_unit": FILLER, "product": "cola-330", "lot": None,
                    "start": "2026-01-02T06:00:00.000Z", "end": "2026-01-02T06:00:01.500Z",
                    "produced": 10, "good": 9, "scrap": 1, "rework": 0, "complete": True,
                },
            )
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (409, RefusedError, "409 the order is closed"),
        (404, RefusedError, "404"),
        (401, UnauthorizedError, "may not write"),
        (503, DriverError, "503"),
        (429, DriverError, "429"),
    ],
)
async def test_a_response_that_is_not_taken_says_whether_to_come_again(status, error, said) -> None:
    async with MesServer().running() as mes, mes.source() as source:
        mes.put_status = status
        with pytest.raises(error, match=said) as caught:
            await source.respond(response())
        assert isinstance(caught.value, RefusedError) == (status in {404, 409})


async def test_a_mes_of_another_make_is_read_and_answered_the_same(tmp_path: Path) -> None:
    """Node's HTTP server: gzip, weak ETags, relative addresses of the next page, a connection for each answer, 501."""
    mes = MesServer()
    with node("mes.mjs", str(mes.port), log=tmp_path / "log", ready=lambda: listens(mes.port)):
        async with mes.source() as source, aclosing(source.facts()) as facts:
            news = (await anext(facts)).facts
            assert [fact.lot for fact in news if isinstance(fact, LotDefined)] == [f"L{i}" for i in range(25)]
            assert [fact.order for fact in news if isinstance(fact, JobOrderPlanned)] == ["A-1"]
            assert source.contexts[FILLER] == Context(order="A-1", product="cola-330")
            assert {name for name in source.health.notes if name != "security"} == {
                "/api/quality-results",
                "/api/shifts",
            }
            assert (await anext(facts)).facts == []
            await source.respond(response())
            await source.respond(response(complete=True))
        async with httpx.AsyncClient(trust_env=False) as http:
            (told,) = (await http.get(f"http://127.0.0.1:{mes.port}/api/job-responses")).json()
            assert (told["order"], told["complete"]) == ("A-1", True)


async def test_each_resource_can_be_asked_once_for_the_doctor() -> None:
    mes = MesServer()
    mes.lacks = {"lots"}
    mes.rows["inventory"] = [{"material": 3}]
    async with mes.running(), mes.source() as source:
        found = {name: said async for name, said in source.ask_each()}
        assert found["products"] == 1
        assert "404" in found["lots"]
        assert "left out" in found["inventory"]
        assert source.server_time is not None


async def test_the_source_type_is_what_open_source_gives(tmp_path: Path) -> None:
    around = Surroundings(folder=tmp_path, data=tmp_path, gateway="gw")
    source = open_source(MesServer().config(), [FILLER], WallClock(), around)
    assert isinstance(source, MesSource)
