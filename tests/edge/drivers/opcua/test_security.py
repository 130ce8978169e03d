"""Secured connections to servers of two makes: who is let in, who is not, and what people are told to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from asyncua import ua
from asyncua.client.client import Client
from cryptography.hazmat.primitives import serialization

from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.opcua import security
from edge.drivers.opcua.certificates import own, own_uri
from edge.drivers.opcua.trust import TrustList
from sync.clock import WallClock
from tests.edge.drivers.opcua.issuing import NOW, Issued, issue, key
from tests.edge.drivers.opcua.secured import (
    EVERY,
    MODES,
    POLICIES,
    NodeServer,
    Users,
    answer,
    approve,
    asyncua_server,
    box,
    config,
    connected,
    node_server,
    open62541_server,
    read_once,
)
from tests.servers import free_port

NONE = "http://opcfoundation.org/UA/SecurityPolicy#None"
BASIC = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
PASS, WRONG = {"credential": "pass"}, {"credential": "wrong"}


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return box(tmp_path / "box")


@pytest.fixture(scope="module")
def open_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeServer]:
    """A node-opcua server that takes every client, and knows users."""
    with node_server(tmp_path_factory.mktemp("node")) as server:
        yield server


# ── every policy, both makes ──


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
async def test_every_policy_and_mode_reads_from_node_opcua(policy, mode, open_node, around):
    approve(around, open_node.shown)
    note = await read_once(config(open_node.url, security=policy, message_mode=mode), around)
    assert note.startswith(
        f"{policy}, {mode.replace('_', ' ')}; anonymous; server certificate {open_node.shown.thumbprint[:16]}"
    )


async def test_every_policy_and_mode_reads_from_asyncua(around):
    shown = issue()
    approve(around, shown)
    async with asyncua_server(shown) as url:
        for policy in POLICIES:
            for mode in MODES:
                assert (await read_once(config(url, security=policy, message_mode=mode), around)).startswith(policy)


async def test_open62541_takes_our_certificate_as_strictly_as_it_checks(tmp_path, around):
    pki = around.data / "pki"
    ours = own(pki, own_uri(pki, None, "gw-1"), NOW)
    with open62541_server(tmp_path / "server", [ours.certificate.der]) as (url, shown):
        approve(around, shown)
        for policy in POLICIES:
            for mode in MODES:
                await read_once(config(url, security=policy, message_mode=mode), around)
        with pytest.raises(DriverError, match=r"does not trust the gateway's certificate \(BadSecurityChecksFailed\)"):
            await read_once(config(url, application_uri="urn:plant:stranger"), around)


async def test_a_server_that_tells_strangers_nothing_is_met_by_its_certificate_from_a_file(tmp_path, around):
    pki = around.data / "pki"
    ours = own(pki, own_uri(pki, None, "gw-1"), NOW)
    user = issue("Operator Kim", uri="urn:test:kim", with_key=key(1), server=False)
    with open62541_server(tmp_path / "server", [ours.certificate.der, user.der], "untold") as (url, shown):
        wanted = with_user_certificate(around, url, user)
        with pytest.raises(DriverError, match=r"tells nothing about itself .* trust add SITE"):
            await read_once(wanted, around)
        approve(around, shown)
        assert shown.thumbprint[:16] in await read_once(wanted, around)
        TrustList(around.data).reject(shown.thumbprint, by="lee", now=2)
        with pytest.raises(DriverError, match="tells nothing about itself"):
            await read_once(wanted, around)


async def test_none_is_used_only_where_it_is_said_and_says_what_it_is(around):
    async with asyncua_server(None, policies=[ua.SecurityPolicyType.NoSecurity]) as url:
        note = await read_once(config(url, security="none"), around)
    assert note.startswith("none: anybody between can read and change everything")
    assert not (around.data / "pki").exists()  # nothing to prove, nothing made


async def test_a_policy_that_is_not_offered_is_not_replaced_by_a_weaker_one(around):
    shown = issue()
    approve(around, shown)
    policies = [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_Sign]
    async with asyncua_server(shown, policies=policies) as url:
        with pytest.raises(DriverError, match="does not offer Aes256_Sha256_RsaPss sign_and_encrypt") as refusal:
            await read_once(config(url, security="Aes256_Sha256_RsaPss"), around)
        assert "it offers none (" in str(refusal.value)
        assert "Basic256Sha256 sign (" in str(refusal.value)
        with pytest.raises(DriverError, match="does not offer Basic256Sha256 sign_and_encrypt"):
            await read_once(config(url), around)


async def test_a_connection_outlives_the_keys_of_its_channel(open_node, around):
    approve(around, open_node.shown)
    client = Client(open_node.url, timeout=4)
    client.secure_channel_timeout = 4000  # renewed after three seconds
    try:
        await security.secure(client, config(open_node.url, security="Aes256_Sha256_RsaPss"), around)
        await security.connect(client)
        tokens: set[int] = set()
        async with asyncio.timeout(30):
            while len(tokens) < 2:
                assert await answer(client) == 42
                tokens.add(client.uaclient.protocol._connection.security_token.TokenId)
                await asyncio.sleep(0.05)
    finally:
        await security.leave(client)


# ── who the server is ──


async def test_an_unknown_server_waits_for_a_person_and_then_gets_in(open_node, around):
    wanted = config(open_node.url)
    with pytest.raises(DriverError) as refusal:
        await read_once(wanted, around)
    said, shown = str(refusal.value), open_node.shown
    assert said.startswith(f"press ({open_node.url}): the server's certificate is not known yet: CN=Node press")
    assert shown.thumbprint in said
    assert shown.described.sha1 in said
    assert f"triflow edge trust approve SITE.toml {shown.thumbprint[:16]}" in said
    (entry,) = TrustList(around.data).entries("quarantine")
    assert entry.certificate.thumbprint == shown.thumbprint
    assert entry.note.connections == ["press"]
    assert entry.note.url == open_node.url
    TrustList(around.data).approve(
        TrustList(around.data).find(shown.thumbprint[:16]).certificate.thumbprint, by="kim", now=1
    )
    await read_once(wanted, around)


async def test_a_changed_certificate_stops_the_connection_until_a_person_agrees(around):
    old, new, port = issue(), issue("Press", with_key=key(1)), free_port()
    async with asyncua_server(old, port=port) as url:
        with pytest.raises(DriverError, match="not known yet"):
            await read_once(config(url), around)
        approve(around, old)
        await read_once(config(url), around)
    async with asyncua_server(new, port=port) as url:
        with pytest.raises(DriverError, match="has changed") as refusal:
            await read_once(config(url), around)
        assert f"until now: {old.thumbprint[:16]}" in str(refusal.value)
        assert new.thumbprint in str(refusal.value)
        (entry,) = TrustList(around.data).entries("quarantine")
        assert entry.note.replaces == old.thumbprint
        approve(around, new)
        await read_once(config(url), around)


async def test_a_server_signed_by_a_trusted_ca_needs_nobody(around):
    ca = issue("Plant CA", ca=True, with_key=key(1))
    approve(around, ca)
    async with asyncua_server(issue(by=ca)) as url:
        await read_once(config(url), around)
    assert not TrustList(around.data).entries("quarantine")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"ends": NOW - timedelta(days=1), "begins": NOW - timedelta(days=9)}, "expired on"),
        (
            {"uri": "urn:test:another"},
            "calls itself 'urn:test:press', its certificate .* stands for 'urn:test:another'",
        ),
    ],
    ids=["expired", "wrong ApplicationUri"],
)
async def test_a_certificate_that_is_not_right_is_refused_even_when_approved(wrong, match, around):
    shown = issue(**wrong)
    approve(around, shown)
    async with asyncua_server(shown) as url:
        with pytest.raises(DriverError, match=match):
            await read_once(config(url), around)


async def test_a_rejected_server_stays_out(open_node, around):
    with pytest.raises(DriverError, match="not known yet"):
        await read_once(config(open_node.url), around)
    TrustList(around.data).reject(open_node.shown.thumbprint, by="lee", now=1)
    with pytest.raises(DriverError, match="was rejected by lee"):
        await read_once(config(open_node.url), around)
    assert not TrustList(around.data).entries("quarantine")


async def test_a_server_that_shows_a_certificate_it_has_no_key_for_gets_nowhere(around):
    shown = issue()
    approve(around, shown)
    thief = issue(with_key=key(1))
    async with asyncua_server(type(shown)(shown.x509, thief.key)) as url:
        with pytest.raises((DriverError, TimeoutError)):  # it cannot even read what it is asked
            async with connected(config(url), around, timeout_s=1):
                pass


async def test_the_end_of_certificates_is_said_in_time(around):
    shown = issue(ends=NOW + timedelta(days=20, hours=1))
    approve(around, shown)
    async with asyncua_server(shown) as url:
        note = await read_once(config(url), around)
    assert f"until {shown.described.ends:%Y-%m-%d} (20 days left)" in note


class BootClock(WallClock):
    def now(self) -> int:
        return 180 * 10**9  # three minutes after 1970


async def test_a_box_without_a_clock_still_reads_from_whom_it_trusts(around):
    shown = issue()
    approve(around, shown)
    async with asyncua_server(shown) as url, connected(config(url), around, BootClock()) as (client, note):
        assert await answer(client) == 42
    assert "the gateway's clock is not set" in note


# ── who we are ──


async def until_taken(wanted, around, trusting: NodeServer | None = None) -> str:
    """Connect until the server takes us, as the host does: a server looks at its folders, and writes them, when it likes.

    trusting: there a person trusts us meanwhile.
    """
    async with asyncio.timeout(40):
        while True:
            try:
                return await read_once(wanted, around)
            except DriverError:
                if trusting is not None:
                    trusting.trust_all_seen()
                await asyncio.sleep(0.3)


async def test_a_server_that_does_not_trust_us_says_so_and_what_to_do_and_lets_us_in_when_it_is_done(tmp_path, around):
    with node_server(tmp_path, trusting=False) as server:
        approve(around, server.shown)
        wanted = config(server.url)
        with pytest.raises(DriverError, match="does not trust the gateway's certificate") as refusal:
            await read_once(wanted, around)
        pki = around.data / "pki"
        ours = own(pki, own_uri(pki, None, "gw-1"), NOW)
        assert ours.certificate.sha1 in str(refusal.value)
        assert str(ours.file.parent) in str(refusal.value)
        await until_taken(wanted, around, trusting=server)


def aged(pki: Path, uri: str) -> Issued:
    """Give the gateway an own certificate that has less than a third of its life left."""
    old = issue(
        "Triflow gw-1", uri=uri, begins=NOW - timedelta(days=300), ends=NOW + timedelta(days=100), with_key=key(3)
    )
    pem = old.x509.public_bytes(serialization.Encoding.PEM) + old.key_pem
    own(pki, uri, NOW).file.with_suffix(".pem").write_bytes(pem)
    return old


async def test_a_renewed_certificate_does_not_stop_a_line_whose_server_does_not_trust_it_yet(tmp_path, around):
    pki = around.data / "pki"
    uri = own_uri(pki, None, "gw-1")
    old = aged(pki, uri)
    with node_server(tmp_path, trusting=False) as server:
        approve(around, server.shown)
        wanted = config(server.url)
        (tmp_path / "clients" / "trusted" / "certs" / "gateway.der").write_bytes(old.described.der)
        note = await until_taken(wanted, around)
        new = own(pki, uri, NOW)
        assert new.previous.certificate.thumbprint == old.described.thumbprint
        assert f"does not trust the gateway's new certificate yet ({new.certificate.thumbprint[:16]}" in note
        assert f"own certificate until {old.described.ends:%Y-%m-%d}" in note
        async with asyncio.timeout(40):
            while "new certificate yet" in note:
                server.trust_all_seen()
                note = await until_taken(wanted, around)
        assert f"own certificate until {new.certificate.ends:%Y-%m-%d}" in note


async def test_another_application_uri_than_our_certificates_is_explained(around):
    shown = issue()
    approve(around, shown)
    async with asyncua_server(shown, strict=True) as url:
        wanted = config(url, application_uri="urn:plant:gateway-1")
        await read_once(wanted, around)
        client = Client(url, timeout=4)
        try:
            await security.secure(client, wanted, around)
            client.application_uri = "urn:somebody:else"
            with pytest.raises(ua.uaerrors.BadCertificateUriInvalid) as refusal:
                await security.connect(client)
            said = security.explain(refusal.value, client, wanted, around)
        finally:
            await security.leave(client)
    assert "BadCertificateUriInvalid" in said
    assert "urn:plant:gateway-1" in said


# ── users ──


@pytest.mark.parametrize("mode", MODES)
async def test_user_and_password_are_taken_by_node_opcua(mode, open_node, around):
    approve(around, open_node.shown)
    for policy in POLICIES:
        wanted = config(open_node.url, security=policy, message_mode=mode, user="operator", password=PASS)
        assert "; user operator;" in await read_once(wanted, around)


async def test_a_wrong_password_is_named_by_its_credential(open_node, around):
    approve(around, open_node.shown)
    with pytest.raises(DriverError, match=r"refuses user 'operator' .*credential 'wrong'"):
        await read_once(config(open_node.url, user="operator", password=WRONG), around)
    shown, users = issue(), Users(anonymous=False)
    approve(around, shown)
    async with asyncua_server(shown, users=users) as url:
        await read_once(config(url, user="operator", password=PASS), around)
        with pytest.raises(DriverError, match="refuses user 'operator'"):
            await read_once(config(url, user="operator", password=WRONG), around)
        with pytest.raises(DriverError, match="refuses anonymous users"):
            await read_once(config(url), around)
    assert users.asked == [("operator", "s3cret"), ("operator", "guess"), (None, None)]


async def test_where_anonymous_is_not_offered_the_ways_in_are_named(around):
    shown = issue()
    approve(around, shown)
    async with asyncua_server(shown, tokens=[ua.UserNameIdentityToken]) as url:
        with pytest.raises(DriverError, match="no login as 'anonymous' here, only: user and password"):
            await read_once(config(url), around)


async def test_a_password_never_crosses_the_network_readable(around):
    users = Users()
    async with asyncua_server(None, policies=[ua.SecurityPolicyType.NoSecurity], users=users) as url:
        with pytest.raises(DriverError, match="would cross the network readable"):
            await read_once(config(url, security="none", user="operator", password=PASS), around)
    assert users.asked == []


async def test_a_password_is_told_only_to_a_server_we_know_even_without_a_secured_channel(around):
    """The server's token policy encrypts the password alone; only the check inside the session guards it."""
    shown, users = issue(), Users()
    policies = [ua.SecurityPolicyType.NoSecurity, *EVERY]
    async with asyncua_server(shown, policies=policies, users=users) as url:
        wanted = config(url, security="none", user="operator", password=PASS)
        with pytest.raises(DriverError, match="not known yet"):
            await read_once(wanted, around)
        assert users.asked == []
        approve(around, shown)
        assert "none: anybody between" in await read_once(wanted, around)
    assert users.asked == [("operator", "s3cret")]


async def test_a_password_is_not_encrypted_for_a_server_that_shows_no_certificate(around):
    users, none = Users(), [ua.SecurityPolicyType.NoSecurity]
    async with asyncua_server(None, policies=none, users=users, password_policy=BASIC) as url:
        with pytest.raises(DriverError, match="shows no certificate, so nobody knows who would read the password"):
            await read_once(config(url, security="none", user="operator", password=PASS), around)
    assert users.asked == []


async def test_a_password_the_server_wants_plain_is_sent_only_where_the_channel_encrypts(around):
    shown, users = issue(), Users()
    approve(around, shown)
    async with asyncua_server(shown, users=users, password_policy=NONE) as url:
        wanted = {"user": "operator", "password": PASS}
        with pytest.raises(DriverError, match="would cross the network readable"):
            await read_once(config(url, message_mode="sign", **wanted), around)
        assert users.asked == []
        await read_once(config(url, message_mode="sign_and_encrypt", **wanted), around)
    assert users.asked == [("operator", "s3cret")]


def with_user_certificate(around: Surroundings, url: str, user, **more):
    user.write(around.folder, "user")
    (around.folder / "credentials" / "user.key").write_bytes(user.key_pem)
    return config(url, user_certificate="user.der", user_key={"credential": "user.key"}, **more)


async def test_a_user_certificate_opens_both_makes(open_node, around):
    user = issue("Operator Kim", uri=None, hosts=(), with_key=key(1))
    (open_node.folder / "users" / "trusted" / "certs").mkdir(parents=True, exist_ok=True)
    (open_node.folder / "users" / "trusted" / "certs" / "kim.der").write_bytes(user.der)
    approve(around, open_node.shown)
    note = await until_taken(with_user_certificate(around, open_node.url, user), around)
    assert "; user certificate CN=Operator Kim;" in note
    shown, users = issue(), Users(anonymous=False, certificates=[user.der])
    approve(around, shown)
    async with asyncua_server(shown, users=users) as url:
        for policy in POLICIES:
            await read_once(with_user_certificate(around, url, user, security=policy), around)


async def test_an_unknown_user_certificate_is_explained(open_node, around):
    approve(around, open_node.shown)
    stranger = issue("Stranger", uri=None, hosts=(), with_key=key(2))
    with pytest.raises(DriverError, match=r"refuses the user certificate user\.der .*under user certificates"):
        await read_once(with_user_certificate(around, open_node.url, stranger), around)


async def test_faults_in_our_own_files_are_named(open_node, around):
    approve(around, open_node.shown)
    user = issue("Operator Kim", uri=None, hosts=())
    wanted = with_user_certificate(around, open_node.url, user)
    secret = around.folder / "credentials" / "user.key"
    secret.write_bytes(issue("Other", with_key=key(1)).key_pem)
    with pytest.raises(DriverError, match="user_key does not belong to the user certificate"):
        await read_once(wanted, around)
    secret.write_text("no key at all")
    with pytest.raises(DriverError, match=r"user_key 'user\.key' is no private key"):
        await read_once(wanted, around)
    secret.write_bytes(
        user.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    with pytest.raises(DriverError, match="without a password"):
        await read_once(wanted, around)
    secret.unlink()
    with pytest.raises(DriverError, match=r"credential 'user\.key': cannot read"):
        await read_once(wanted, around)
    (around.folder / "user.der").unlink()
    with pytest.raises(DriverError, match=r"user\.der"):
        await read_once(wanted, around)


# ── what is not security's ──


async def test_an_absent_server_is_the_networks_trouble(around):
    url = f"opc.tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionRefusedError) as refusal:
        await read_once(config(url), around)
    client = Client(url)
    assert security.explain(refusal.value, client, config(url), around) is None
    assert security.explain(ua.uaerrors.BadTooManySessions(), client, config(url), around) is None
