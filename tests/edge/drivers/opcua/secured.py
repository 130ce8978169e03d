"""Secured OPC UA servers of two makes on loopback, and a bare client that connects as the driver does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.client.client import Client
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography.hazmat.primitives import serialization

from edge.connections import OpcUa
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.opcua import security
from edge.drivers.opcua.trust import TrustList
from sync.clock import Clock
from tests.edge.drivers.machines import URI, OpcUaMachine, standard_nodes
from tests.edge.drivers.opcua.issuing import Issued, issue
from tests.servers import free_port, listens, node, process, wait_until

POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
MODES = ("sign", "sign_and_encrypt")
EVERY = [
    ua.SecurityPolicyType.Basic256Sha256_Sign,
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]


def box(folder: Path) -> Surroundings:
    """Give a gateway's folders: credentials `pass` (right) and `wrong` are there."""
    (folder / "data").mkdir(parents=True)
    (folder / "credentials").mkdir()
    (folder / "credentials" / "pass").write_text("s3cret")
    (folder / "credentials" / "wrong").write_text("guess")
    return Surroundings(folder=folder, data=folder / "data", gateway="gw-1")


def config(url: str, **more: Any) -> OpcUa:
    return OpcUa(
        **{"driver": "opcua", "name": "press", "url": url, "security": "Basic256Sha256", "publishing_ms": 50} | more
    )


def approve(around: Surroundings, issued: Issued) -> None:
    """Approve a certificate as a person does who saw it in quarantine, or trusts it beforehand."""
    trust = TrustList(around.data)
    if trust.state_of(issued.thumbprint) is None:
        trust.add(issued.described, by="kim", now=1)
    else:
        trust.approve(issued.thumbprint, by="kim", now=1)


@contextlib.asynccontextmanager
async def connected(
    wanted: OpcUa, around: Surroundings, clock: Clock | None = None, timeout_s: float = 4
) -> AsyncIterator[tuple[Client, str]]:
    """Connect as the driver does; give the client and what it says about security. Raises DriverError."""
    client = Client(wanted.url, timeout=timeout_s)
    try:
        async with asyncio.timeout(20):
            try:
                note = await security.secure(client, wanted, around, clock=clock)
                await security.connect(client)
            except (OSError, TimeoutError, ua.UaError) as error:
                why = security.explain(error, client, wanted, around)
                if why is None:
                    raise
                raise DriverError(why) from error
        yield client, note
    finally:
        await security.leave(client)


async def answer(client: Client) -> int:
    """Read the one value the servers have."""
    index = await client.get_namespace_index(URI)
    return await client.get_node(ua.NodeId("answer", index)).read_value()


async def read_once(wanted: OpcUa, around: Surroundings) -> str:
    """Connect, read 42, leave; give what was said about security."""
    async with connected(wanted, around) as (client, note):
        assert await answer(client) == 42
    return note


@dataclass
class Users:
    """A user manager that knows one user and some certificates, and remembers who asked."""

    certificates: list[bytes] = field(default_factory=list)
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)
    anonymous: bool = True

    def get_user(self, server: Any, username: Any = None, password: Any = None, certificate: Any = None) -> User | None:
        self.asked.append((username, password))
        known = (username, password) == ("operator", "s3cret")
        if username is None:
            known = self.anonymous or certificate in self.certificates
        return User(role=UserRole.User) if known else None


@contextlib.asynccontextmanager
async def asyncua_server(
    shown: Issued | None,
    *,
    port: int | None = None,
    uri: str = "urn:test:press",
    policies: list[ua.SecurityPolicyType] = EVERY,
    tokens: list[type] | None = None,
    users: Users | None = None,
    strict: bool = False,
    password_policy: str | None = None,
) -> AsyncIterator[str]:
    """Run an asyncua server that shows a certificate.

    strict: it checks the client's ApplicationUri; password_policy: what it says passwords are to be encrypted with.
    """
    server = Server(user_manager=users)
    await server.init(await asyncio.to_thread(standard_nodes))
    await server.set_application_uri(uri)
    url = f"opc.tcp://127.0.0.1:{port or free_port()}/secure"
    server.set_endpoint(url)
    server.set_security_policy(policies)
    if tokens is not None:
        server.set_identity_tokens(tokens)
    if shown is not None:
        await server.load_certificate(shown.der)
        await server.load_private_key(shown.key_pem, format="pem")
    if strict:
        server.set_certificate_validator(
            CertificateValidator(CertificateValidatorOptions.BASIC_VALIDATION | CertificateValidatorOptions.PEER_CLIENT)
        )
    index = await server.register_namespace(URI)
    await server.nodes.objects.add_variable(ua.NodeId("answer", index), "answer", 42, ua.VariantType.Int32)
    await server.start()
    if password_policy is not None:
        for endpoint in server.iserver.endpoints:
            for token in endpoint.UserIdentityTokens:
                if token.TokenType == ua.UserTokenType.UserName:
                    token.SecurityPolicyUri = password_policy
    machine = OpcUaMachine({}, [])
    machine.server = server
    try:
        yield url
    finally:
        await machine.stop()


@contextlib.contextmanager
def open62541_server(folder: Path, trusted: list[bytes], *extra: str) -> Iterator[tuple[str, Issued]]:
    """Run an open62541 server, which checks clients' certificates strictly; `untold`: it tells strangers nothing."""
    shown, port = issue("open62541 press", uri=URI), free_port()
    shown.write(folder)
    old_form = serialization.PrivateFormat.TraditionalOpenSSL
    key = shown.key.private_bytes(serialization.Encoding.DER, old_form, serialization.NoEncryption())
    (folder / "server.key.der").write_bytes(key)
    (folder / "trusted").mkdir()
    for i, der in enumerate(trusted):
        (folder / "trusted" / f"{i}.der").write_bytes(der)
    words = ("tests.edge.drivers.opcua.open62541_process", str(port), str(folder), *extra)
    with process(*words, log=folder / "server.log") as running:
        wait_until(lambda: running.poll() is not None or listens(port), "open62541 listens", 30)
        assert running.poll() is None, (folder / "server.log").read_text()
        yield f"opc.tcp://127.0.0.1:{port}", shown


@dataclass
class NodeServer:
    """A node-opcua server, and its folders."""

    url: str
    shown: Issued
    folder: Path

    def trust_all_seen(self) -> None:
        """Do what a person does at the server: move what was rejected, as far as it is written by now, to the trusted."""
        for path in (self.folder / "clients" / "rejected").glob("*.pem"):
            path.rename(self.folder / "clients" / "trusted" / "certs" / path.name)


@contextlib.contextmanager
def node_server(folder: Path, **more: Any) -> Iterator[NodeServer]:
    """Run `tests/node/secure.mjs` with a certificate made now."""
    shown = issue("Node press")
    port = free_port()
    certificate, private = shown.write(folder)
    given = {
        "port": port, "folder": str(folder), "certificate": str(certificate), "key": str(private), "uri": "urn:test:press",
    } | more  # fmt: skip
    with node("secure.mjs", json.dumps(given), log=folder / "node.log", ready=lambda: listens(port)):
        yield NodeServer(f"opc.tcp://127.0.0.1:{port}/secure", shown, folder)
