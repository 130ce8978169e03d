"""SMTP: one letter to its readers, and what the server said about each of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime, formataddr
from pathlib import Path

import aiosmtplib

from cloud.config import Settings
from cloud.outgoing.queue import Outcome, Taken, message_id, one_line


class ServerError(Exception):
    """The server cannot be used now: away, slow, wants other credentials. Nothing of the letter is known to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where and as whom letters are handed in."""

    host: str
    port: int
    tls: str
    ca: Path | None
    username: str | None
    password: str | None
    sender: str
    sender_name: str
    timeout_s: float


def server_of(settings: Settings) -> Server | None:
    """Give the configured server; None where there is no [mail]."""
    mail = settings.file.mail
    if mail is None:
        return None
    return Server(
        host=mail.host,
        port=mail.port,
        tls=mail.tls,
        ca=settings.mail_ca,
        username=mail.username,
        password=settings.mail_password,
        sender=mail.sender,
        sender_name=mail.sender_name,
        timeout_s=mail.timeout_s,
    )


def compose(taken: Taken, server: Server, readers: Sequence[str]) -> EmailMessage:
    """Give the letter as a message: text, HTML, files; the same at every attempt but for its readers."""
    letter = taken.letter
    message = EmailMessage(policy=POLICY)
    message["From"] = formataddr((one_line(server.sender_name), server.sender))
    message["To"] = ", ".join(readers)
    message["Subject"] = one_line(letter.subject)
    message["Date"] = format_datetime(datetime.fromtimestamp(taken.queued_ms / 1000, UTC))
    message["Message-ID"] = message_id(letter.name, server.sender)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message["Content-Language"] = letter.language
    message.set_content(letter.body)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    for file in letter.files:
        main, _, sub = file.media.partition("/")
        message.add_attachment(file.body, maintype=main, subtype=sub or "octet-stream", filename=file.name)
    return message


async def send(server: Server, taken: Taken) -> dict[str, Outcome]:
    """Hand a letter in; gives for each reader sent (the server took it), failed (it never will) or queued (not now).

    Raises ServerError.
    """
    readers = list(taken.letter.readers)
    message = compose(taken, server, readers)
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        timeout=server.timeout_s,
        use_tls=server.tls == "tls",
        start_tls=server.tls == "starttls",
        tls_context=None if server.tls == "none" else _context(server),
        username=server.username,
        password=server.password,
    )
    try:
        # The library bounds each step; a server that says a little now and then is bounded here.
        async with asyncio.timeout(4 * server.timeout_s), client:
            refused, words = await client.send_message(message, sender=server.sender, recipients=readers)
    except aiosmtplib.SMTPRecipientsRefused as error:
        return {one.recipient: _refusal(one.code, one.message) for one in error.recipients}
    except aiosmtplib.SMTPSenderRefused as error:
        return dict.fromkeys(readers, _refusal(error.code, f"sender {error.sender}: {error.message}"))
    except aiosmtplib.SMTPDataError as error:
        return dict.fromkeys(readers, _refusal(error.code, error.message))
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        raise ServerError(explain(server, error)) from error
    answers = {address: _refusal(answer.code, answer.message) for address, answer in refused.items()}
    return {address: answers.get(address) or Outcome("sent", words) for address in readers}


def _refusal(code: int, words: str) -> Outcome:
    """Read a reply (RFC 5321 §4.2.1): 5yz never, 4yz not now."""
    return Outcome("failed" if 500 <= code < 600 else "queued", f"{code} {words}")


def _context(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if server.ca is None else str(server.ca))


def explain(server: Server, error: BaseException) -> str:
    """Say what is wrong with the server and what to check."""
    where, text = f"{server.host}:{server.port}", str(error).strip() or type(error).__name__
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return f"{where} refuses our sign-in ({text}); check [mail] username and its password credential"
        case _ if server.tls == "starttls" and "starttls" in text.lower():
            return f"{where} offers no STARTTLS ({text}); check [mail] port and tls"
        case aiosmtplib.SMTPTimeoutError() | TimeoutError():
            return f"{where} does not answer in time ({text}); check that it runs and is not overloaded"
        case aiosmtplib.SMTPServerDisconnected():
            return f"{where} hung up ({text}); letters are tried again"
        case aiosmtplib.SMTPConnectError() | OSError():
            if "certificate" in text.lower():
                return f"{where} shows a certificate that is not trusted ({text}); check [mail] host and ca"
            return f"{where} cannot be reached ({text}); check [mail] host and port, and that the server runs"
        case _:
            return f"{where}: {text}"
