"""Letters posted to a real HTTP receiver: signed, tried again, never in the way of mail, and no secret in any log."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from pathlib import Path

import pytest

from cloud.config import Settings, load
from cloud.database import Database
from cloud.outgoing import queue
from cloud.outgoing.queue import Letter
from cloud.outgoing.sending import Sender, run_sending
from cloud.outgoing.webhook import READER
from sync.settings import ConfigError
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.outgoing.conftest import PostOffice
from tests.cloud.outgoing.receiver import Receiver

NOW = 1_790_000_000_000
SECRET = "s3cret-of-the-hook"
HOOK = """
[webhook]
url = {url}
timeout_s = {timeout}
{more}
"""
SIGNED = 'secret = { credential = "webhook" }'
MAIL = """
[mail]
host = "127.0.0.1"
port = {port}
tls = "none"
sender = "triflow@plant.example"
"""


def configured(folder: Path, url: str, *parts: str) -> Settings:
    path = write_cloud_toml(folder, url, "".join(parts))
    (folder / "credentials" / "webhook").write_text(SECRET)
    return load(path)


def hook(receiver: Receiver, *, timeout: float = 5.0, more: str = SIGNED) -> str:
    return HOOK.format(url=f'"{receiver.url}"', timeout=timeout, more=more)


@pytest.fixture
def hooked(tmp_path: Path, database_url: str, receiver: Receiver) -> Settings:
    return configured(tmp_path, database_url, hook(receiver))


def letter(name: str = "alerts.1.webhook") -> Letter:
    return Letter(
        tenant="demo",
        name=name,
        cause="alert",
        language="ko",
        subject="[위험] 1호기 & 2호기 <정지>",
        body="가동률 40 %\n",
        readers=(READER,),
        channel="webhook",
    )


async def put(database: Database, *letters: Letter) -> None:
    for one in letters:
        await database.write(lambda c, one=one: queue.put(c, one, NOW))


async def state(database: Database) -> tuple[str, str]:
    page = await database.read(lambda c: queue.listed(c, "demo", page=1, page_size=1))
    (reader,) = page["items"][0]["readers"]
    return reader["state"], reader["said"]


async def test_what_is_posted_is_signed_and_tried_again_as_the_same_letter_until_it_is_taken(
    hooked: Settings, database: Database, receiver: Receiver
) -> None:
    await put(database, letter())
    sender, at = Sender(database, hooked, channel="webhook"), NOW
    assert await Sender(database, hooked).once(at) is None  # mail's loop leaves it alone
    for status, expected in (("500 Broken", "queued"), ("429 Slow down", "queued"), ("200 OK", "sent")):
        receiver.status = status
        assert await sender.once(at) is True
        assert await sender.once(at) is None
        assert await state(database) == (expected, f"HTTP {status}")
        at += queue.wait_ms(3) * 2
    assert len(receiver.posts) == 3
    for headers, body in receiver.posts:
        signed = hmac.new(SECRET.encode(), headers["x-timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert headers["x-signature"] == f"sha256={signed}"
    assert len({headers["x-idempotency-key"] for headers, _ in receiver.posts}) == 1
    assert len({headers["x-delivery-id"] for headers, _ in receiver.posts}) == 3
    assert receiver.said[0] == {
        "key": "alerts.1.webhook",
        "cause": "alert",
        "subject": "[위험] 1호기 & 2호기 <정지>",
        "text": "가동률 40 %\n",
        "queued": "2026-09-21T14:13:20.000Z",
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_refusal_and_a_redirection_are_ends(
    hooked: Settings, database: Database, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Receiver()
    await elsewhere.open()
    receiver.status, receiver.more = "307 Go there", f"Location: {elsewhere.url}\r\n"
    await put(database, letter("a"))
    sender = Sender(database, hooked, channel="webhook")
    assert await sender.once(NOW) is True
    assert await state(database) == ("failed", "HTTP 307 Go there")
    receiver.status, receiver.more = "404 Not Found", ""
    await put(database, letter("b"))
    assert await sender.once(NOW) is True
    assert await state(database) == ("failed", "HTTP 404 Not Found")
    assert await sender.once(NOW + 10**9) is None
    assert elsewhere.posts == []
    assert caplog.text.count("refused for good") == 2
    await elsewhere.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_no_log_line_and_no_answer_holds_the_secret_or_the_address(
    hooked: Settings, database: Database, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "cloud")
    await put(database, letter())
    sender = Sender(database, hooked, channel="webhook")
    receiver.status = "503 Away"
    await sender.once(NOW)
    await receiver.close()
    assert await sender.once(NOW + 10**6) is False
    said = (await state(database))[1]
    assert "cannot be reached" in said
    assert "check [webhook] url" in said
    assert "letters wait" in caplog.text
    for hidden in (SECRET, "T0KEN"):
        assert hidden not in caplog.text + said
    assert SECRET not in repr(receiver.posts)


async def test_mail_does_not_wait_for_a_receiver_that_does_not_answer(
    tmp_path: Path, database_url: str, database: Database, receiver: Receiver, office: PostOffice
) -> None:
    settings = configured(tmp_path, database_url, hook(receiver, timeout=30.0), MAIL.format(port=office.port))
    receiver.hold = asyncio.Event()
    await put(database, letter())
    sending = asyncio.create_task(run_sending(database, settings))
    while not receiver.posts:
        await asyncio.sleep(0.01)
    taken = asyncio.Event()

    async def arrived() -> None:
        taken.set()

    office.after = arrived
    mail = Letter(
        tenant="demo", name="m", cause="alert", language="ko", subject="s", body="b", readers=("a@plant.example",)
    )
    await put(database, mail)
    await taken.wait()  # while the receiver still says nothing
    assert len(receiver.posts) == 1
    sending.cancel()
    await asyncio.wait([sending])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_receiver_that_does_not_answer_is_given_up_for_now(
    tmp_path: Path, database_url: str, database: Database, receiver: Receiver
) -> None:
    settings = configured(tmp_path, database_url, hook(receiver, timeout=0.1))
    receiver.hold = asyncio.Event()
    await put(database, letter())
    assert await Sender(database, settings, channel="webhook").once(NOW) is False
    assert await state(database) == (
        "queued",
        "the webhook does not answer in time; check [webhook] url, and that its receiver runs",
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_slack_gets_text_alone_at_an_address_that_is_a_credential(
    tmp_path: Path, database_url: str, database: Database, receiver: Receiver
) -> None:
    part = HOOK.format(url='{ credential = "slack" }', timeout=5.0, more='format = "slack"')
    (tmp_path / "credentials").mkdir(exist_ok=True)
    (tmp_path / "credentials" / "slack").write_text(receiver.url + "\n")
    settings = configured(tmp_path, database_url, part)
    await put(database, letter())
    assert await Sender(database, settings, channel="webhook").once(NOW) is True
    assert receiver.said == [{"text": "[위험] 1호기 &amp; 2호기 &lt;정지&gt;\n가동률 40 %"}]
    assert "x-signature" not in receiver.posts[0][0]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_wrong_with_webhook_and_escalation_is_said_with_its_line(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(ConfigError, match="give `secret`"):
        configured(tmp_path, database_url, HOOK.format(url='"http://127.0.0.1/x"', timeout=5, more=""))
    (tmp_path / "credentials" / "slack").write_text("hooks.example/T0KEN")
    steps = """
[[escalation]]
after_min = 30
[[escalation]]
after_min = 60
readers = ["boss@plant.example"]
"""
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, database_url, HOOK.format(url='{ credential = "slack" }', timeout=5, more=SIGNED), steps)
    said = str(caught.value)
    for words in ("'slack' is no http address", "nobody is told at this step", "there is no [mail]"):
        assert words in said
    assert "T0KEN" not in said
