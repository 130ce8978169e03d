"""Webhook: a letter as a signed POST, as docs of receivers know it from elsewhere.

`X-Signature: sha256=HMAC(secret, timestamp + "." + body)`, `X-Timestamp` (s), `X-Idempotency-Key` and `X-Delivery-Id`:
the key is the letter's name, so that a receiver may drop a repetition; the delivery is this attempt.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass
from html import escape

import httpx

from cloud.bi.times import iso
from cloud.config import Settings
from cloud.outgoing.mail import ServerError
from cloud.outgoing.queue import Outcome, Taken

READER = "webhook"
"""The one reader of a letter to the webhook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Where letters are posted to."""

    url: str
    secret: str | None
    """None: what is posted is not signed."""
    format: str
    timeout_s: float


def hook_of(settings: Settings) -> Hook | None:
    """Give the configured hook; None where there is no [webhook]."""
    hook = settings.file.webhook
    if hook is None or settings.webhook_url is None:
        return None
    return Hook(url=settings.webhook_url, secret=settings.webhook_secret, format=hook.format, timeout_s=hook.timeout_s)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Give what X-Signature says."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def said(hook: Hook, taken: Taken) -> dict[str, str]:
    """Give what is posted."""
    letter = taken.letter
    if hook.format == "slack":  # its three control characters are written as entities
        return {"text": escape(f"{letter.subject}\n{letter.body}".strip(), quote=False)}
    return {
        "key": letter.name,
        "cause": letter.cause,
        "subject": letter.subject,
        "text": letter.body,
        "queued": iso(taken.queued_ms),
    }


async def send(hook: Hook, taken: Taken) -> dict[str, Outcome]:
    """Post a letter; 2xx is sent, 408, 425, 429 and 5xx are tried again, anything else has failed. Raises ServerError."""
    letter, timestamp = taken.letter, str(int(time.time()))
    body = json.dumps(said(hook, taken), ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json",
        "X-Timestamp": timestamp,
        "X-Idempotency-Key": hashlib.sha256(letter.name.encode()).hexdigest(),
        "X-Delivery-Id": uuid.uuid4().hex,
    }
    if hook.secret is not None:
        headers["X-Signature"] = signature(hook.secret, timestamp, body)
    try:
        # The library bounds each step; a receiver that says a little now and then is bounded here. Its page is not read.
        async with (
            asyncio.timeout(2 * hook.timeout_s),
            httpx.AsyncClient(timeout=hook.timeout_s, follow_redirects=False) as client,
            client.stream("POST", hook.url, content=body, headers=headers) as answer,
        ):
            status, reason = answer.status_code, answer.reason_phrase
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        slow = isinstance(error, (httpx.TimeoutException, TimeoutError))
        # The library's own words may quote the address, which may be a secret.
        why = "does not answer in time" if slow else f"cannot be reached ({type(error).__name__})"
        raise ServerError(f"the webhook {why}; check [webhook] url, and that its receiver runs") from error
    words = f"HTTP {status} {reason}".strip()
    if 200 <= status < 300:
        return dict.fromkeys(letter.readers, Outcome("sent", words))
    later = status in {408, 425, 429} or status >= 500
    return dict.fromkeys(letter.readers, Outcome("queued" if later else "failed", words))
