"""How a connection is secured before it is made: endpoint, policy, certificates, user token, and who the server is.

What the site file names is what is used, or nothing: there is no weaker policy to fall back to. The library checks no
server certificate unless told; here every one is checked twice, as the server shows it unasked (to choose the
endpoint) and in the session itself, where nobody between can have changed it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlparse

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from edge.connections import OpcUa
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.opcua.certificates import EARLIEST, Certificate, CertificateFaultError, Own, at, own, own_uri, read
from edge.drivers.opcua.refusals import ChannelRefusedError, UnprovenError, WithdrawnError, refused_us
from edge.drivers.opcua.trust import Note, TrustList
from edge.drivers.opcua.validation import Shown, UnknownError, UntrustedError, judge, same_host
from sync.clock import Clock, WallClock
from sync.secret import SecretError

POLICIES: Final[dict[str, type[security_policies.SecurityPolicy]]] = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_STRONG: Final = {policy.URI for policy in POLICIES.values()}
_NONE: Final = security_policies.SecurityPolicyNone.URI
_MODES: Final = {
    "sign": ua.MessageSecurityMode.Sign,
    "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt,
}
_SAID: Final = {"sign": "sign", "sign_and_encrypt": "sign and encrypt"}
_TOKENS: Final = {
    ua.UserTokenType.Anonymous: "anonymous",
    ua.UserTokenType.UserName: "user and password",
    ua.UserTokenType.Certificate: "user certificate",
    ua.UserTokenType.IssuedToken: "issued token",
}
_UNTOLD: Final = {
    StatusCodes.BadSecurityPolicyRejected,
    StatusCodes.BadSecurityModeRejected,
    StatusCodes.BadSecurityModeInsufficient,
}
"""What a server answers that lets nobody ask for its endpoints over an unsecured channel, as Part 4 §5.4.4 wants."""
PROBE_S: Final = 1.5


async def secure(client: Client, config: OpcUa, around: Surroundings, *, clock: Clock | None = None) -> str:
    """Prepare a client that is not connected yet, and say in a sentence how it is protected.

    Asks the server for its endpoints over a channel of its own, so it must stand under the caller's time limit. Raises
    DriverError when the server cannot be trusted or does not offer what the site file names; what the network does
    wrong comes as the library's errors (OSError, TimeoutError, UaError). Errors of the connect that follows are put
    into words by `explain`.
    """
    guard = _Guard(client, config, around, clock or WallClock())
    try:
        return await guard.prepare()
    except (CertificateFaultError, SecretError, UntrustedError, OSError) as error:
        if isinstance(error, OSError) and error.filename is None:
            raise  # the network's, not a file's
        raise guard.failed(str(error)) from error


async def connect(client: Client) -> None:
    """Connect a client that `secure` prepared. Raises OSError, TimeoutError, UaError and, for the server, DriverError."""
    try:
        await client.connect()
    except AssertionError as error:  # the library's answer to a fault where it expects the channel
        raise ChannelRefusedError("it refused the channel") from error
    except InvalidSignature as error:
        raise UnprovenError from error
    except ConnectionError as error:
        if client.security_policy.Mode == ua.MessageSecurityMode.None_:
            raise
        raise ChannelRefusedError(f"it closed the connection while that was being secured ({error})") from error


async def recheck(client: Client, around: Surroundings) -> None:
    """Raise UaError when the certificate of a connected server has been rejected since; to be asked now and then.

    Only a person's decision ends a running connection: one that would be refused for its time alone reads on.
    """
    shown = client.security_policy.peer_certificate
    if not shown:
        return
    try:
        entry = await asyncio.to_thread(TrustList(around.data).state_of, read(shown)[0].thumbprint)
    except OSError:
        return  # a folder that cannot be read just now is no decision; the next connect will say it
    if entry is not None and entry.state == "rejected":
        raise WithdrawnError(
            f"the server's certificate ({entry.certificate.subject}) was rejected by {entry.note.by or 'hand'}"
        )


def explain(error: BaseException, client: Client, config: OpcUa, around: Surroundings) -> str | None:
    """Give what to do about a connect that failed over security or the user, None if it was something else."""
    certificate = client.security_policy.host_certificate
    ours = read(certificate)[0] if certificate else None
    return refused_us(error, config, ours, around.data / "pki" / "own")


async def endpoints(client: Client) -> list[ua.EndpointDescription]:
    """Give what a server offers. Raises OSError, TimeoutError, UaError."""
    return await client.connect_and_get_server_endpoints()


def offered(found: Sequence[ua.EndpointDescription]) -> str:
    """Give what a server offers, for people."""
    ways: dict[str, list[str]] = {}
    for one in found:
        policy = (one.SecurityPolicyUri or _NONE).rpartition("#")[2]
        mode = {
            ua.MessageSecurityMode.Sign: " sign",
            ua.MessageSecurityMode.SignAndEncrypt: " sign_and_encrypt",
        }.get(one.SecurityMode, "")
        tokens = dict.fromkeys(_TOKENS.get(token.TokenType, "?") for token in one.UserIdentityTokens or [])
        ways.setdefault("none" if policy == "None" else f"{policy}{mode}", []).extend(tokens)
    return "; ".join(f"{way} ({', '.join(dict.fromkeys(tokens)) or 'no login'})" for way, tokens in ways.items())


class _Guard:
    """One connect: what is wanted, and whether what is met is that."""

    def __init__(self, client: Client, config: OpcUa, around: Surroundings, clock: Clock) -> None:
        self._client, self._config, self._around = client, config, around
        self._clock = clock
        self._trust = TrustList(around.data)
        self._host = urlparse(config.url).hostname or ""
        self._chain: list[Certificate] = []
        self._vouched = False
        """Whether the certificate that a password would be encrypted for was judged."""
        if config.user is not None:
            self._token = ua.UserTokenType.UserName
        elif config.user_certificate is not None:
            self._token = ua.UserTokenType.Certificate
        else:
            self._token = ua.UserTokenType.Anonymous

    def failed(self, why: str) -> DriverError:
        return DriverError(f"{self._config.name} ({self._config.url}): {why}")

    @property
    def _now(self) -> int:
        return self._clock.now()

    async def prepare(self) -> str:
        client, config = self._client, self._config
        client.application_uri = own_uri(self._trust.pki, config.application_uri, self._around.gateway)
        who = self._introduce_user()
        client.server_policy = self._token_policy
        if config.security == "none":
            if self._token != ua.UserTokenType.Anonymous:
                client.certificate_validator = self._validate  # a secret is only told to whom we know
            return f"none: anybody between can read and change everything; {who}"
        self._chain = await self._shown()
        self._vouched = True  # whoever answers on this channel has that certificate's key
        ours = await asyncio.to_thread(own, self._trust.pki, client.application_uri, at(self._now))
        note = self._use(client, ours)
        if ours.previous is not None and not await self._taken(ours):
            note = self._use(client, ours.previous) + (
                f"; the server does not trust the gateway's new certificate yet ({ours.certificate.thumbprint[:16]}…, "
                f"file {ours.file}): trust it there"
            )
        client.certificate_validator = self._validate
        return f"{config.security}, {_SAID[config.message_mode]}; {who}; {self._until()}; {note}"

    async def _shown(self) -> list[Certificate]:
        """Give the certificate of the endpoint that is wanted, judged."""
        try:
            found = await endpoints(self._client)
        except ua.UaStatusCodeError as error:
            if error.code not in _UNTOLD:
                raise
            known = await asyncio.to_thread(self._known)
            if known is None:
                raise UntrustedError(
                    "the server tells nothing about itself before it is secured: fetch its certificate there and run "
                    "`triflow edge trust add SITE.toml FILE`"
                ) from error
            return [known]  # judged like any other in the session
        endpoint = self._choose(found)
        chain = read(endpoint.ServerCertificate or b"")
        if not chain:
            raise UntrustedError(
                f"the server shows no certificate for {self._config.security}; check its security settings"
            )
        await self._judge(chain, endpoint.Server)
        return chain

    def _known(self) -> Certificate | None:
        """Give the newest certificate trusted for this connection, or else for the host of its url."""
        leaves = [entry for entry in self._trust.entries("trusted") if not entry.certificate.authority]
        mine = [one for one in leaves if self._config.name in one.note.connections]
        here = [one for one in leaves if any(same_host(self._host, host) for host in one.certificate.hosts)]
        return next((one.certificate for one in reversed(mine or here)), None)

    def _choose(self, found: Sequence[ua.EndpointDescription]) -> ua.EndpointDescription:
        """Give the endpoint of the policy and mode wanted; one that takes our token, if there are several."""
        policy, mode = POLICIES[self._config.security], _MODES[self._config.message_mode]
        fitting = [one for one in found if one.SecurityPolicyUri == policy.URI and one.SecurityMode == mode]
        if not fitting:
            raise UntrustedError(
                f"the server does not offer {self._config.security} {self._config.message_mode}; it offers "
                f"{offered(found) or 'nothing'}: set security and message_mode to one of these, or switch it on at the server"
            )
        return next((one for one in fitting if self._takes_token(one)), fitting[0])

    def _takes_token(self, endpoint: ua.EndpointDescription) -> bool:
        return any(token.TokenType == self._token for token in endpoint.UserIdentityTokens or [])

    def _use(self, client: Client, ours: Own) -> str:
        """Set policy and certificate; say when ours ends if that is soon."""
        policy = POLICIES[self._config.security](
            self._chain[0].x509, ours.certificate.x509, ours.key, _MODES[self._config.message_mode]
        )
        client.security_policy = policy
        client.uaclient.set_security(policy)
        return f"own certificate until {_date(ours.certificate, self._now)}"

    def _until(self) -> str:
        if at(self._now) < EARLIEST:
            return "the gateway's clock is not set: no certificate's time was checked"
        leaf = self._chain[0]
        return f"server certificate {leaf.thumbprint[:16]}… until {_date(leaf, self._now)}"

    async def _taken(self, ours: Own) -> bool:
        """Tell whether the server takes a renewed certificate: asked with a session that is never activated."""
        probe = Client(self._config.url, timeout=PROBE_S)
        probe.application_uri = self._client.application_uri
        self._use(probe, ours)
        try:
            async with asyncio.timeout(PROBE_S):
                await probe.connect_sessionless()
                await probe.create_session()
                return True
        except (OSError, TimeoutError, ua.UaError, AssertionError, InvalidSignature):  # see `connect`
            return False  # whatever the reason, the certificate used so far is no worse
        finally:
            await leave(probe)

    async def _judge(self, chain: Sequence[Certificate], server: ua.ApplicationDescription) -> None:
        shown = Shown(
            chain=chain,
            application_uri=server.ApplicationUri or "",
            connection=self._config.name,
            host=self._host,
        )
        try:
            await asyncio.to_thread(judge, shown, self._trust, at(self._now))
        except UnknownError as unknown:
            await asyncio.to_thread(self._keep_waiting, chain[0], unknown)
            raise UntrustedError(_to_decide(chain[0], unknown)) from unknown
        await asyncio.to_thread(self._trust.remember, self._config.name, chain[0])

    def _keep_waiting(self, leaf: Certificate, unknown: UnknownError) -> None:
        note = Note(
            connections=[self._config.name],
            url=self._config.url,
            seen=self._now,
            why=str(unknown),
            replaces=unknown.replaces,
        )
        self._trust.quarantine(leaf, note)

    async def _validate(self, certificate: x509.Certificate, server: ua.ApplicationDescription) -> None:
        """Judge the server by what it says inside the session. The library calls this before any user token is sent."""
        der = certificate.public_bytes(serialization.Encoding.DER)
        chain = self._chain if self._chain and self._chain[0].der == der else read(der)
        try:
            await self._judge(chain, server)
        except UntrustedError as error:
            raise self.failed(str(error)) from error
        self._vouched = True

    def _introduce_user(self) -> str:
        """Give the client its user token; say who that is."""
        config, client = self._config, self._client
        if config.user is not None and config.password is not None:
            client.set_user(config.user)
            client.set_password(config.password.read(self._around.folder).get_secret_value())
            return f"user {config.user}"
        if config.user_certificate is not None and config.user_key is not None:
            path = self._around.folder / config.user_certificate
            certificate = read(path.read_bytes())[0]
            text = config.user_key.read(self._around.folder).get_secret_value()
            try:
                key = serialization.load_pem_private_key(text.encode(), None)
            except (ValueError, TypeError) as error:
                raise CertificateFaultError(
                    f"user_key {config.user_key.credential!r} is no private key that can be used ({error}): "
                    "give it as PEM, without a password"
                ) from error
            if key.public_key() != certificate.x509.public_key():
                raise CertificateFaultError(f"user_key does not belong to the user certificate {path}: name the pair")
            client.user_certificate, client.user_private_key = certificate.x509, key
            return f"user certificate {certificate.subject}"
        return "anonymous"

    def _token_policy(self, token_type: ua.UserTokenType) -> ua.UserTokenPolicy:
        """Give the server's policy for our user token; refuse any that would show a password or take a forged one.

        Stands in for the library's own choice, which takes the first and sends a password in clear if that says so.
        """
        client = self._client
        offers: list[ua.UserTokenPolicy] = list(client._policy_ids)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        named = [
            one if one.SecurityPolicyUri else dataclasses.replace(one, SecurityPolicyUri=client.security_policy.URI)
            for one in offers
            if one.TokenType == token_type
        ]
        if not named:
            takes = ", ".join(dict.fromkeys(_TOKENS.get(one.TokenType, "?") for one in offers)) or "nothing"
            raise self.failed(
                f"the server takes no login as {_TOKENS[token_type]!r} here, only: {takes}; "
                "set user and password, or user_certificate and user_key, or allow it at the server"
            )
        if token_type == ua.UserTokenType.Anonymous:
            return named[0]
        strong = [one for one in named if one.SecurityPolicyUri in _STRONG]
        if strong and not self._vouched:
            raise self.failed(
                "the server shows no certificate, so nobody knows who would read the password: use a security policy"
            )
        if strong:
            return strong[0]
        if token_type == ua.UserTokenType.UserName and client.security_policy.Mode == _MODES["sign_and_encrypt"]:
            plain = [one for one in named if one.SecurityPolicyUri == _NONE]
            if plain:
                return plain[0]  # the channel hides it
        what = "the password would cross the network readable" if self._config.user else "the login could be forged"
        raise self.failed(
            f'{what}: the server asks for it without encryption; set message_mode = "sign_and_encrypt" with a security '
            "policy, or a token policy (Basic256Sha256) at the server"
        )


def _to_decide(leaf: Certificate, unknown: UnknownError) -> str:
    before = f" (until now: {unknown.replaces[:16]}…)" if unknown.replaces else ""
    return (
        f"{unknown}{before}: {leaf.subject}, thumbprint SHA-256 {leaf.thumbprint}, SHA-1 {leaf.sha1}. Compare it with "
        f"what the server shows; if it is the same, run `triflow edge trust approve SITE.toml {leaf.thumbprint[:16]}` or "
        "approve it on the gateway's page under Certificates; the connection then comes up by itself"
    )


def _date(certificate: Certificate, now: int) -> str:
    level = certificate.level(at(now))
    soon = "" if level == "ok" else f" ({max(0, round(certificate.days_left(at(now))))} days left)"
    return f"{certificate.ends:%Y-%m-%d}{soon}"


async def leave(client: Client) -> None:
    """Close a client that may be in any state, within a second; nothing stays open."""
    protocol = client.uaclient.protocol
    try:
        async with asyncio.timeout(1.0):
            await client.disconnect()
    except TimeoutError:
        pass
    finally:
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abort()
            await asyncio.sleep(0)
