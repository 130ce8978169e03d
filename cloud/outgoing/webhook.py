"""Webhook: a letter as a signed POST, as docs of receivers know it from elsewhere.

`X-Signature: sha256=HMAC(secret, timestamp + "." + body)`, `X-Timestamp` (s), `X-Idempotency-Key` and `X-Delivery-Id`:
the key is the letter's name, so that a receiver may drop a repetition; the delivery is this attempt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass

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
    secret: str
    timeout_s: float


def hook_of(settings: Settings) -> Hook | None:
    """Give the configured hook; None where there is no [webhook]."""
    hook = settings.file.webhook
    if hook is None or settings.webhook_secret is None:
        return None
    return Hook(url=hook.url, secret=settings.webhook_secret, timeout_s=hook.timeout_s)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Give what X-Signature says."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


async def send(hook: Hook, taken: Taken) -> dict[str, Outcome]:
    """Post a letter; 2xx is sent, 408, 425, 429 and 5xx are tried again, anything else has failed. Raises ServerError."""
    letter, timestamp = taken.letter, str(int(time.time()))
    said = {
        "key": letter.name,
        "cause": letter.cause,
        "subject": letter.subject,
        "text": letter.body,
        "queued": iso(taken.queued_ms),
    }
    body = json.dumps(said, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json",
        "X-Timestamp": timestamp,
        "X-Signature": signature(hook.secret, timestamp, body),
        "X-Idempotency-Key": hashlib.sha256(letter.name.encode()).hexdigest(),
        "X-Delivery-Id": uuid.uuid4().hex,
    }
    try:
        async with httpx.AsyncClient(timeout=hook.timeout_s, follow_redirects=False) as client:
            answer = await client.post(hook.url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerError(
            f"the webhook cannot be reached ({str(error) or type(error).__name__}); check [webhook] url"
        ) from error
    words = f"HTTP {answer.status_code} {answer.reason_phrase}"
    if answer.is_success:
        return dict.fromkeys(letter.readers, Outcome("sent", words))
    later = answer.status_code in {408, 425, 429} or answer.status_code >= 500
    return dict.fromkeys(letter.readers, Outcome("queued" if later else "failed", words))
