"""The OPC UA driver over secured connections: the whole driver contract, and what becomes of those it must not make."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua

from edge.connections import OpcUa
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.opcua.driver import OpcUaDriver
from edge.drivers.opcua.trust import TrustList
from sync.clock import WallClock
from tests.contracts.driver_contract import CONTRACT, until, until_all, until_lost
from tests.edge.drivers.machines import URI, OpcUaMachine, tag
from tests.edge.drivers.opcua.issuing import NOW, Issued, issue, key
from tests.edge.drivers.opcua.secured import EVERY, Users, approve, box, node_server
from tests.link import Link
from tests.servers import free_port


class SecuredMachine(OpcUaMachine):
    """An asyncua server that shows a certificate, and a gateway's box that may trust it."""

    def __init__(self, folder: Path, **config: Any) -> None:
        tags = [tag(0, f"nsu={URI};s=level", type="float64"), tag(1, f"nsu={URI};s=count", type="uint32")]
        nodes = {"level": ua.Variant(1.5, ua.VariantType.Double), "count": ua.Variant(7, ua.VariantType.UInt32)}
        super().__init__(nodes, tags)
        self.shown: Issued = issue()
        self.users: Users | None = None
        self.more = config
        self.around: Surroundings = box(folder)

    async def protect(self, server: Server) -> None:
        await server.set_application_uri("urn:test:press")
        server.iserver.user_manager = self.users or server.iserver.user_manager
        server.set_security_policy(EVERY)
        await server.load_certificate(self.shown.der)
        await server.load_private_key(self.shown.key_pem, format="pem")

    def config(self, **more: Any) -> OpcUa:
        return super().config(**{"security": "Basic256Sha256"} | self.more | more)

    def driver(self, *, retry_s: float = 30.0, **config: Any) -> OpcUaDriver:
        return OpcUaDriver(self.config(**config), self.tags, WallClock(), self.around, retry_s=retry_s)

    def absent(self) -> OpcUaDriver:
        return self.driver(url=f"opc.tcp://127.0.0.1:{free_port()}")


async def refused(driver: OpcUaDriver) -> str:
    """Give what a driver says that must not connect."""
    with pytest.raises(DriverError) as refusal:
        async with driver:
            pass
    return str(refusal.value)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_opcua_keeps_the_driver_contract_behind_the_strongest_policy(promise, tmp_path) -> None:
    machine = SecuredMachine(tmp_path / "box", security="Aes256_Sha256_RsaPss")
    approve(machine.around, machine.shown)
    await promise(machine)


async def test_an_unknown_server_is_read_at_the_next_attempt_after_its_approval(tmp_path) -> None:
    machine = SecuredMachine(tmp_path / "box")
    await machine.start()
    try:
        said = await refused(machine.driver())
        assert said.startswith(f"machine ({machine.url}): the server's certificate is not known yet")
        await until(lambda: machine.connections() == 0, "nothing stays open")
        approve(machine.around, machine.shown)
        async with machine.driver() as driver:
            await until_all(driver, machine.tags)
            assert driver.health.notes["security"].startswith(
                "Basic256Sha256, sign and encrypt; anonymous; server certificate"
            )
    finally:
        await machine.stop()


async def test_a_server_that_comes_back_with_another_certificate_is_not_read(tmp_path) -> None:
    machine = SecuredMachine(tmp_path / "box")
    await refused(machine.driver())  # nobody there yet
    await machine.start()
    try:
        await refused(machine.driver())
        approve(machine.around, machine.shown)
        driver = machine.driver()
        async with driver:
            await until_all(driver, machine.tags)
            await machine.stop()
            with pytest.raises(DriverError):
                await until_lost(driver)
        old = machine.shown
        machine.shown = issue(with_key=key(1))
        await machine.start()
        said = await refused(machine.driver())
        assert "the server's certificate has changed" in said
        assert old.thumbprint[:16] in said
        (entry,) = TrustList(machine.around.data).entries("quarantine")
        assert entry.certificate.thumbprint == machine.shown.thumbprint
    finally:
        await machine.stop()


async def test_a_server_that_a_person_rejects_is_left_while_it_is_read(tmp_path) -> None:
    machine = SecuredMachine(tmp_path / "box")
    approve(machine.around, machine.shown)
    await machine.start()
    try:
        async with machine.driver(retry_s=0.1) as driver:
            await until_all(driver, machine.tags)
            TrustList(machine.around.data).reject(machine.shown.thumbprint, by="lee", now=1)
            with pytest.raises(DriverError, match="was rejected by lee"):
                async with asyncio.timeout(20):
                    await until_lost(driver)
        assert "was rejected by lee" in await refused(machine.driver())
        await until(lambda: machine.connections() == 0, "nothing stays open")
    finally:
        await machine.stop()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"begins": NOW - timedelta(days=9), "ends": NOW - timedelta(days=1)}, "expired on"),
        ({"uri": "urn:test:other"}, "calls itself 'urn:test:press'"),
    ],
    ids=["expired", "other ApplicationUri"],
)
async def test_a_wrong_certificate_is_no_connection(wrong, said, tmp_path) -> None:
    machine = SecuredMachine(tmp_path / "box")
    machine.shown = issue(**wrong)
    approve(machine.around, machine.shown)
    await machine.start()
    try:
        assert said in await refused(machine.driver())
        await until(lambda: machine.connections() == 0, "nothing stays open")
    finally:
        await machine.stop()


async def test_users_are_let_in_and_kept_out_by_the_server(tmp_path) -> None:
    machine = SecuredMachine(tmp_path / "box")
    machine.users = Users(anonymous=False)
    approve(machine.around, machine.shown)
    await machine.start()
    try:
        async with machine.driver(user="operator", password={"credential": "pass"}) as driver:
            await until_all(driver, machine.tags)
            assert "; user operator;" in driver.health.notes["security"]
        said = await refused(machine.driver(user="operator", password={"credential": "wrong"}))
        assert said.startswith(f"machine ({machine.url}): the server refuses user 'operator' (BadUserAccessDenied)")
        await until(lambda: machine.connections() == 0, "nothing stays open")
        said = await refused(machine.driver(user="operator", password={"credential": "absent"}))
        assert "credential 'absent': cannot read" in said
    finally:
        await machine.stop()


async def test_a_broken_link_is_taken_up_again_with_the_same_user_behind_a_policy(tmp_path) -> None:
    machine = SecuredMachine(tmp_path / "box", security="Aes128_Sha256_RsaOaep", queue_size=2000)
    machine.users = Users(anonymous=False)
    approve(machine.around, machine.shown)
    await machine.start()
    try:
        async with Link(machine.port) as link:
            wanted = {
                "url": f"opc.tcp://127.0.0.1:{link.port}/machine", "user": "operator", "password": {"credential": "pass"},
            }  # fmt: skip
            async with machine.driver(**wanted) as first:
                await until_all(first, machine.tags)
                await link.cut()
                with pytest.raises(DriverError):
                    await until_lost(first)
            await link.mend()
            async with machine.driver(**wanted) as second:
                await until_all(second, machine.tags)
                assert second.health.resumed
    finally:
        await machine.stop()
    assert machine.users.asked == [("operator", "s3cret")] * 2


async def test_a_node_opcua_server_is_read_once_it_trusts_the_gateway(tmp_path) -> None:
    around = box(tmp_path / "box")
    tags = [tag(0, f"nsu={URI};s=answer", type="int32")]
    with node_server(tmp_path / "node", trusting=False) as server:
        approve(around, server.shown)
        wanted = OpcUa(
            driver="opcua", name="machine", url=server.url, security="Aes128_Sha256_RsaOaep", publishing_ms=50
        )

        def driver() -> OpcUaDriver:
            return OpcUaDriver(wanted, tags, WallClock(), around)

        said = await refused(driver())
        assert "most often it does not trust the gateway's certificate" in said
        async with asyncio.timeout(40):
            while True:
                server.trust_all_seen()
                try:
                    async with driver() as connected:
                        batches = await until_all(connected, tags)
                    break
                except DriverError:  # it has not written or not looked into its folder yet
                    await asyncio.sleep(0.3)
    assert batches[-1].value[-1] == 42


async def test_what_listens_and_says_nothing_is_left_in_time(tmp_path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        said = await refused(SecuredMachine(tmp_path / "box").driver(url=url))
    assert "no answer" in said


async def test_cancelling_while_it_is_being_secured_leaves_nothing_open(tmp_path) -> None:
    machine = SecuredMachine(tmp_path / "box")
    approve(machine.around, machine.shown)
    await machine.start()
    try:
        for turns in range(0, 60, 3):

            async def attempt() -> None:
                async with machine.driver() as driver, aclosing(driver.readings()) as readings:
                    await anext(readings)

            task = asyncio.create_task(attempt())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await until(lambda: machine.connections() == 0, "nothing stays open")
    finally:
        await machine.stop()
