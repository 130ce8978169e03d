"""A real SMTP server of whom one can ask to be slow, to refuse, to go away and to come back."""

from __future__ import annotations

import asyncio
import email
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.cloud.outgoing.receiver import Receiver
from tests.servers import free_port


@dataclass
class PostOffice:
    """Takes letters on `port`, and answers as it was told to."""

    port: int = field(default_factory=free_port)
    tls: ssl.SSLContext | None = None
    password: str | None = None
    letters: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    """Address → reply to RCPT."""
    reply: str | None = None
    """Instead of taking the data."""
    slow_s: float = 0.0
    after: Any = None
    """Called when a letter was taken and before the server says so."""
    _server: asyncio.Server | None = None

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        await asyncio.sleep(self.slow_s)
        if self.reply is not None:
            return self.reply
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        self.letters.append((list(envelope.rcpt_tos), message))
        if self.after is not None:
            await self.after()
        return f"250 2.0.0 taken as {len(self.letters)}"

    def _check(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password.decode() == self.password, handled=False)

    async def open(self) -> None:
        options: dict[str, Any] = {"hostname": "mail.test", "enable_SMTPUTF8": True}
        if self.tls is not None:
            options |= {"tls_context": self.tls, "require_starttls": True}
        if self.password is not None:
            options |= {"authenticator": self._check, "auth_required": True}
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop, **options), "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    made = PostOffice()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.open()
    yield made
    await made.close()
