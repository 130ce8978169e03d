"""Certificates on the gateway's page: a real gateway, a real OPC UA server, a browser; and requests that must not count."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page, expect
from starlette.requests import Request

from edge.drivers.opcua.trust import Note, TrustList
from edge.page.certificates import _not_from_here
from edge.page.protect import at_the_gateway
from tests.edge.drivers.opcua.issuing import issue, key
from tests.edge.drivers.opcua.secured import asyncua_server
from tests.edge.page.test_page import browser  # noqa: F401 - the same browser
from tests.servers import free_port, listens, process, wait_until

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
ballast_mb = 0
[page]
host = "{host}"
port = {page}
[[connection]]
name = "press-plc"
driver = "opcua"
url = "opc.tcp://127.0.0.1:{port}/secure"
security = "{security}"
[[line]]
work_unit = "forming/line-1/press"
connection = "press-plc"
book = "press.toml"
"""
BOOK = """
title = "Press"
[[tag]]
name = "answer"
address = "nsu=urn:triflow:test:machine;s=answer"
type = "int32"
"""
PAGE = {"X-Triflow": "page"}


class Gateway:
    def __init__(self, folder: Path, host: str, security: str, port: int) -> None:
        self.folder, self.page, self.port = folder, free_port(), port
        self.home = f"http://127.0.0.1:{self.page}"
        (folder / "site.toml").write_text(SITE.format(host=host, page=self.page, port=self.port, security=security))
        (folder / "press.toml").write_text(BOOK)

    @property
    def trust(self) -> TrustList:
        return TrustList(self.folder / "data")


@contextlib.contextmanager
def gateway(
    folder: Path, host: str = "127.0.0.1", security: str = "Basic256Sha256", port: int = 0
) -> Iterator[Gateway]:
    """Run a gateway with one OPC UA connection, whose server may or may not be there."""
    made, log = Gateway(folder, host, security, port or free_port()), folder / "gateway.log"
    with process("triflow", "edge", "run", str(folder / "site.toml"), log=log) as running:

        def up() -> bool:
            assert running.poll() is None, log.read_text()
            return listens(made.page)

        wait_until(up, "the gateway's page answers", 30)
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30) as http:
        yield http


async def live(page: Page, address: str) -> None:
    await page.goto(address)
    await page.wait_for_selector("body[data-stream=live]")
    await page.wait_for_selector("#certificates:not([hidden])")


async def test_approving_on_the_page_brings_the_connection_up_and_is_on_record(tmp_path, browser: Browser, client):  # noqa: F811
    shown, port = issue(), free_port()
    async with asyncua_server(shown, port=port):
        with gateway(tmp_path, port=port) as gw:
            context = await browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
            page = await context.new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await live(page, f"{gw.home}/?lang=en")
            waiting = page.locator("#quarantine .certificate")
            await expect(waiting).to_have_count(1, timeout=30_000)
            await expect(waiting.locator("h4")).to_have_text("CN=Press")
            await expect(waiting.locator(".source dd")).to_contain_text("press-plc")
            assert (await waiting.locator(".sha256 dd").inner_text()).replace(" ", "") == shown.thumbprint
            sizes = await waiting.locator("button:visible").evaluate_all(
                "(all) => all.map((b) => b.getBoundingClientRect().height)"
            )
            assert len(sizes) == 2
            assert min(sizes) >= 48  # touched with gloves
            assert await page.evaluate("document.documentElement.scrollWidth") == 390
            await waiting.locator(".approve").click()
            await expect(waiting.locator(".sure p")).to_contain_text("the same thumbprint?")
            assert not gw.trust.entries("trusted")  # asked, not done
            await page.locator("#language").click()
            await expect(waiting.locator(".sure p")).to_contain_text("지문과 같습니까")
            await waiting.locator(".no").click()
            await expect(waiting.locator(".approve")).to_be_focused()
            await waiting.locator(".approve").click()
            await waiting.locator(".yes").click()
            await expect(waiting).to_have_count(0, timeout=30_000)
            await expect(page.locator("#sources li")).to_have_attribute("data-state", "connected", timeout=30_000)
            await page.locator("#known summary").click()
            await expect(page.locator("#trusted .certificate h4")).to_have_text("CN=Press", timeout=30_000)
            await expect(page.locator("#own .certificate .uri dd")).to_contain_text(":triflow:gw-1", timeout=30_000)
            link = await page.locator("#own .download").get_attribute("href")
            own = next((tmp_path / "data" / "pki" / "own").glob("*.der"))
            assert (await client.get(gw.home + link)).content == own.read_bytes()
            await context.close()
            assert complaints == []
            async with asyncio.timeout(30):
                while list((tmp_path / "data" / "audit").glob("*.json")):  # the gateway takes the note in
                    await asyncio.sleep(0.05)
    (entry,) = gw.trust.entries("trusted")
    assert entry.note.by == "page at 127.0.0.1"


async def test_a_trusted_certificate_can_be_rejected_and_a_rejected_one_forgotten(tmp_path, browser: Browser):  # noqa: F811
    with gateway(tmp_path) as gw:
        made = [issue(name, with_key=key(i)).described for i, name in enumerate(("Press", "Oven"))]
        for one in made:
            gw.trust.quarantine(one, Note(connections=["press-plc"], seen=1))
            gw.trust.approve(one.thumbprint, by="kim", now=1)
        page = await browser.new_page()
        await live(page, f"{gw.home}/?lang=en")
        await expect(page.locator("#certificates-sum")).to_have_text(
            "No certificate waits for approval.", timeout=30_000
        )
        await page.locator("#known summary").click()
        press = page.locator(f'#trusted [data-key="{made[0].thumbprint}"]')
        await press.locator(".reject").click()
        await press.locator(".yes").click()
        press = page.locator(f'#rejected [data-key="{made[0].thumbprint}"]')
        await press.locator(".remove").click()
        await press.locator(".yes").click()
        await expect(press).to_have_count(0, timeout=30_000)
        await expect(page.locator("#trusted .certificate h4")).to_have_text("CN=Oven")
        await page.close()
        assert gw.trust.state_of(made[0].thumbprint) is None
        assert gw.trust.state_of(made[1].thumbprint).state == "trusted"


async def test_a_decision_made_elsewhere_does_not_count(tmp_path, client):
    with gateway(tmp_path) as gw:
        made = issue().described
        gw.trust.quarantine(made, Note(connections=["press-plc"], seen=1))
        path = f"{gw.home}/api/certificates/{made.thumbprint}/approve"
        for headers in (
            {},  # a form of another site
            PAGE | {"Origin": "http://evil.example"},
            PAGE | {"Origin": "null"},
            PAGE | {"Sec-Fetch-Site": "cross-site"},
            PAGE | {"Sec-Fetch-Site": "same-site"},
            PAGE | {"Host": "evil.example", "Origin": "http://evil.example"},  # a name somebody pointed here
        ):
            answer = await client.post(path, headers=headers)
            assert answer.status_code == 403, headers
            assert answer.json()["error"]["message"]
        assert (await client.get(path, headers=PAGE)).status_code == 405
        assert gw.trust.state_of(made.thumbprint).state == "quarantine"
        assert (await client.post(f"{gw.home}/api/certificates/{'0' * 64}/approve", headers=PAGE)).status_code == 404
        assert (await client.post(path.replace("approve", "applaud"), headers=PAGE)).status_code == 404
        assert (await client.get(f"{gw.home}/api/certificates/own/{'0' * 64}.der")).status_code == 404
        assert (
            await client.post(path, headers=PAGE | {"Origin": gw.home, "Sec-Fetch-Site": "same-origin"})
        ).status_code == 200
        assert gw.trust.state_of(made.thumbprint).state == "trusted"


def address_of_this_box() -> str:
    """Give the address others would reach this box at; empty when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        address = str(probe.getsockname()[0])
        return "" if address.startswith("127.") else address


NETWORK = address_of_this_box()


def asked(client: str | None) -> Request:
    """Give a request as it comes to the page from that address."""
    headers = [(name.lower().encode(), value.encode()) for name, value in ({"Host": "127.0.0.1:8090"} | PAGE).items()]
    return Request({"type": "http", "client": client and (client, 50_000), "headers": headers})


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.0.9", "::1", "::ffff:127.0.0.1"])
def test_at_the_gateway_a_person_may_decide(client):
    assert at_the_gateway(asked(client))
    assert _not_from_here(asked(client), "0.0.0.0") is None


@pytest.mark.parametrize("client", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "not an address", None])
def test_from_anywhere_else_nobody_may(client):
    assert not at_the_gateway(asked(client))
    assert "at the gateway itself" in (_not_from_here(asked(client), "0.0.0.0") or "")


@pytest.mark.skipif(not NETWORK, reason="this box has no address beside loopback; the rule itself is tested above")
async def test_from_the_network_one_may_look_but_not_decide(tmp_path, client):
    with gateway(tmp_path, host="0.0.0.0") as gw:
        made = issue().described
        gw.trust.quarantine(made, Note(connections=["press-plc"], seen=1))
        home = f"http://{NETWORK}:{gw.page}"
        listing = (await client.get(f"{home}/api/certificates")).json()
        assert [one["thumbprint"] for one in listing["quarantine"]] == [made.thumbprint]
        assert listing["may_decide"] is False
        answer = await client.post(f"{home}/api/certificates/{made.thumbprint}/approve", headers=PAGE)
        assert answer.status_code == 403
        assert "at the gateway itself" in answer.json()["error"]["message"]
        assert gw.trust.state_of(made.thumbprint).state == "quarantine"


async def test_a_gateway_without_certificates_to_decide_on_shows_none(tmp_path, client):
    with gateway(tmp_path, security="none") as gw:
        assert (await client.get(f"{gw.home}/api/certificates")).json() == {"needed": False}
