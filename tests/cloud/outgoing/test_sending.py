"""Letters through a real SMTP server: taken once, tried again, given up, and never promised to be more than they are."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import logging
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.config import Settings, load
from cloud.database import Database
from cloud.outgoing import queue
from cloud.outgoing.queue import File, Letter
from cloud.outgoing.sending import Sender
from sync.settings import ConfigError
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.outgoing.conftest import PostOffice

NOW = 1_790_000_000_000
MIN = 60_000
MAIL = """
[mail]
host = "127.0.0.1"
port = {port}
tls = "{tls}"
sender = "triflow@plant.example"
timeout_s = {timeout}
{more}
"""


def configured(
    folder: Path, url: str, office: PostOffice, *, tls: str = "none", timeout: float = 5.0, more: str = ""
) -> Settings:
    return load(write_cloud_toml(folder, url, MAIL.format(port=office.port, tls=tls, timeout=timeout, more=more)))


@pytest.fixture
def mailing(tmp_path: Path, database_url: str, office: PostOffice) -> Settings:
    return configured(tmp_path, database_url, office)


def letter(name: str = "report.1", *readers: str) -> Letter:
    return Letter(
        tenant="demo",
        name=name,
        cause="report",
        language="ko",
        subject="교대 보고서 A\r\nBcc: evil@example.com",
        body="가동률 78.4 %\n",
        html="<p>가동률 <b>78.4 %</b></p>",
        readers=readers or ("a@plant.example", "b@plant.example"),
        files=[File(name="보고서.pdf", media="application/pdf", body=b"%PDF-1.7 \x00\xff")],
    )


async def put(database: Database, one: Letter, at: int = NOW) -> int | None:
    return await database.write(lambda c: queue.put(c, one, at))


async def states(database: Database) -> dict[str, tuple[str, str]]:
    page = await database.read(lambda c: queue.listed(c, "demo", page=1, page_size=100))
    return {one["address"]: (one["state"], one["said"]) for item in page["items"] for one in item["readers"]}


async def test_a_letter_arrives_whole_and_once_however_often_it_is_queued(
    mailing: Settings, database: Database, office: PostOffice
) -> None:
    assert await put(database, letter()) is not None
    assert await put(database, letter(), NOW + 5) is None
    sender = Sender(database, mailing)
    assert await sender.once(NOW) is True
    assert await sender.once(NOW) is None
    ((readers, message),) = office.letters
    assert readers == ["a@plant.example", "b@plant.example"]
    assert message["Subject"] == "교대 보고서 A Bcc: evil@example.com"
    assert message["Bcc"] is None
    assert message["Message-ID"] == queue.message_id("report.1", "triflow@plant.example")
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().strip() == "가동률 78.4 %"
    assert "<b>78.4 %</b>" in html.get_content()
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("보고서.pdf", b"%PDF-1.7 \x00\xff")
    told = await states(database)
    assert {state for state, _ in told.values()} == {"sent"}
    assert all("taken as 1" in words for _, words in told.values())
    assert await database.read(lambda c: c.execute("select count(*) from outgoing_file")) == [(0,)]


async def test_a_server_that_is_down_is_said_once_and_waited_for(
    mailing: Settings, database: Database, office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cloud.outgoing")
    await office.close()
    await put(database, letter())
    sender, at = Sender(database, mailing), NOW
    for attempt in range(1, 5):
        assert await sender.once(at) is False
        assert await sender.once(at) is None  # it waits, and longer every time
        (row,) = await database.read(lambda c: c.execute("select attempts, next_ms from outgoing"))
        assert row[0] == attempt
        assert row[1] >= at + queue.wait_ms(attempt)
        at = row[1]
    await office.open()
    assert await sender.once(at) is True
    assert len(office.letters) == 1
    said = [one.getMessage() for one in caplog.records]
    assert len(said) == 2
    assert "cannot be reached" in said[0]
    assert "check [mail] host and port" in said[0]
    assert "taken again" in said[1]


async def test_one_refused_reader_does_not_cost_the_others_theirs(
    mailing: Settings, database: Database, office: PostOffice
) -> None:
    office.refuse = {"gone@plant.example": "550 5.1.1 no such person", "full@plant.example": "452 4.2.2 mailbox full"}
    await put(database, letter("r", "a@plant.example", "full@plant.example", "gone@plant.example"))
    sender = Sender(database, mailing)
    assert await sender.once(NOW) is True
    told = await states(database)
    assert told["a@plant.example"][0] == "sent"
    assert told["gone@plant.example"] == ("failed", "550 5.1.1 no such person")
    assert told["full@plant.example"] == ("queued", "452 4.2.2 mailbox full")
    office.refuse = {}
    assert await sender.once(NOW + MIN) is True
    assert [readers for readers, _ in office.letters] == [["a@plant.example"], ["full@plant.example"]]
    assert (await states(database))["full@plant.example"][0] == "sent"


async def test_everybody_refused_and_a_letter_refused_are_ends(
    mailing: Settings, database: Database, office: PostOffice
) -> None:
    office.refuse = {"a@plant.example": "550 no"}
    await put(database, letter("r1", "a@plant.example"))
    office.reply = "554 5.7.1 looks like spam"
    await put(database, letter("r2", "b@plant.example"))
    sender = Sender(database, mailing)
    assert [await sender.once(NOW), await sender.once(NOW), await sender.once(NOW + 10 * MIN)] == [True, True, None]
    assert await states(database) == {
        "a@plant.example": ("failed", "550 no"),
        "b@plant.example": ("failed", "554 5.7.1 looks like spam"),
    }


async def test_a_letter_nobody_took_for_two_days_has_failed_with_the_servers_words(
    mailing: Settings, database: Database, office: PostOffice
) -> None:
    office.reply = "451 4.3.0 try later"
    await put(database, letter("r", "a@plant.example"))
    sender, at, tries = Sender(database, mailing), NOW, 0
    while (await states(database))["a@plant.example"][0] == "queued":
        await sender.once(at)
        tries += 1
        at += queue.wait_ms(tries)
    assert (await states(database))["a@plant.example"] == ("failed", "451 4.3.0 try later")
    assert 50 <= tries <= 60  # 15 s, 30 s, … then hourly


async def test_a_slow_server_is_given_up_for_now(
    tmp_path: Path, database_url: str, office: PostOffice, database: Database
) -> None:
    settings = configured(tmp_path, database_url, office, timeout=0.2)
    office.slow_s = 1.0
    await put(database, letter("r", "a@plant.example"))
    assert await Sender(database, settings).once(NOW) is False
    state, words = (await states(database))["a@plant.example"]
    assert state == "queued"
    assert "does not answer in time" in words


async def test_killed_between_the_servers_yes_and_our_commit_it_is_sent_again_as_the_same_letter(
    mailing: Settings, database: Database, office: PostOffice
) -> None:
    """At least once, said honestly: the second is known by its Message-ID."""
    await put(database, letter("r", "a@plant.example"))
    first = Sender(database, mailing, lease_ms=1_000)
    holding = asyncio.Event()

    async def taken() -> None:
        holding.set()
        await asyncio.sleep(0.05)

    office.after = taken
    sending = asyncio.create_task(first.once(NOW))
    await holding.wait()
    sending.cancel()
    await asyncio.wait([sending])
    second = Sender(database, mailing, lease_ms=1_000)
    assert await second.once(NOW + 500) is None  # still the first's
    assert await second.once(NOW + 1_001) is True
    one, two = (message for _, message in office.letters)
    assert one["Message-ID"] == two["Message-ID"]
    assert one["Date"] == two["Date"]
    assert (await states(database))["a@plant.example"][0] == "sent"


async def test_two_processes_send_each_letter_once(mailing: Settings, database: Database, office: PostOffice) -> None:
    for number in range(6):
        await put(database, letter(f"r{number}", "a@plant.example"))
    one, two = Sender(database, mailing), Sender(database, mailing)
    while True in await asyncio.gather(one.once(NOW), two.once(NOW)):
        pass
    assert len({message["Message-ID"] for _, message in office.letters}) == len(office.letters) == 6


async def test_one_whose_lease_ran_out_changes_nothing_any_more(
    mailing: Settings, database: Database, office: PostOffice
) -> None:
    await put(database, letter("r", "a@plant.example"))
    old = await database.write(lambda c: queue.take(c, "old", NOW, 1_000))
    assert old is not None
    assert await Sender(database, mailing).once(NOW + 1_001) is True
    failed = {"a@plant.example": queue.Outcome("failed", "late")}
    assert not await database.write(lambda c: queue.settle(c, old, "old", failed, now_ms=NOW, give_up_ms=MIN))
    assert (await states(database))["a@plant.example"][0] == "sent"


async def test_what_is_only_recorded_is_never_sent(mailing: Settings, database: Database, office: PostOffice) -> None:
    await database.write(lambda c: queue.put(c, letter("r", "a@plant.example"), NOW, suppressed="silenced until noon"))
    assert await Sender(database, mailing).once(NOW) is None
    assert await states(database) == {"a@plant.example": ("suppressed", "silenced until noon")}
    assert office.letters == []


async def test_letters_are_forgotten_when_they_are_old_and_ended(
    mailing: Settings, database: Database, office: PostOffice
) -> None:
    await put(database, letter("old", "a@plant.example"))
    await Sender(database, mailing).once(NOW)
    await put(database, letter("waits", "b@plant.example"))
    assert await database.write(lambda c: queue.forget(c, NOW + MIN)) == 1
    assert list(await states(database)) == ["b@plant.example"]


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    began = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(began - dt.timedelta(days=1))
        .not_valid_after(began + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "mail.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "mail.key").write_bytes(secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mail.pem", folder / "mail.key")
    return folder / "mail.pem", context


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_starttls_with_a_sign_in_and_an_authority_of_the_plants_own(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    authority, context = _certificate(tmp_path)
    office = PostOffice(tls=context, password="s3cret-of-the-plant")
    await office.open()
    (tmp_path / "credentials" / "smtp").write_text("s3cret-of-the-plant")
    (tmp_path / "credentials" / "wrong").write_text("guessed-wrong")
    signed = 'username = "triflow"\npassword = {credential = "%s"}\n'
    trusting = f'ca = "{authority.name}"\n'
    for more, expected in (
        ((signed % "smtp"), "not trusted"),
        ((signed % "wrong") + trusting, "refuses our sign-in"),
        ((signed % "smtp") + trusting, "taken as 1"),
    ):
        settings = configured(tmp_path, database_url, office, tls="starttls", more=more)
        await put(database, letter("r", "a@plant.example"))
        await database.write(lambda c: c.execute("update outgoing set next_ms=0"))
        await Sender(database, settings).once(NOW)
        words = (await states(database))["a@plant.example"][1]
        assert expected in words
        assert "wrong" not in words
        assert "s3cret" not in words
    assert office.letters[0][1]["From"] == "Triflow <triflow@plant.example>"
    await office.close()
    plain = PostOffice()
    await plain.open()
    await put(database, letter("r2", "b@plant.example"))
    await Sender(database, configured(tmp_path, database_url, plain, tls="starttls")).once(NOW)
    assert "offers no STARTTLS" in (await states(database))["b@plant.example"][1]
    assert plain.letters == []
    await plain.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_wrong_with_mail_and_reports_is_said_with_its_line(tmp_path: Path, database_url: str) -> None:
    wrong = """
[mail]
host = "mail.example"
tls = "none"
sender = "nobody"
[[site.report]]
"""
    with pytest.raises(ConfigError) as caught:
        load(write_cloud_toml(tmp_path, database_url, wrong.replace("[[site.report]]", "")))
    assert "mail" in str(caught.value)
    path = write_cloud_toml(tmp_path, database_url)
    more = '[[site.report]]\nid = "s"\nkind = "shift"\nshifts = ["X"]\nreaders = ["a@b.example"]\n[[site.report]]\nid = "s"\nkind = "week"\n'
    path.write_text(path.read_text() + more)
    with pytest.raises(ConfigError) as caught:
        load(path)
    said = str(caught.value)
    assert "the site has no shift X; it has A, B, C" in said
    assert "there is no [mail]" in said
    assert "stands here twice" in said


def test_no_files_of_a_size_that_servers_refuse(tmp_path: Path) -> None:
    big = replace(letter(), files=[File(name="a", media="a/b", body=b"x" * (queue.MAX_FILE_BYTES + 1))])
    with pytest.raises(ValueError, match="more than"):
        queue.put(None, big, NOW)  # type: ignore[arg-type]
