"""Letters in the database: queued with what caused them, taken by one process at a time, settled for every reader.

States of a letter for one reader: queued → sent, failed or suppressed; nothing leaves an end state.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cloud.bi.times import iso
from cloud.database import Connection

State = Literal["queued", "sent", "failed", "suppressed"]
Channel = Literal["mail", "webhook"]

FIRST_WAIT_MS: Final = 15_000
LONGEST_WAIT_MS: Final = 3_600_000
MAX_FILE_BYTES: Final = 20 * 1024 * 1024
"""Of all files of a letter; more is refused by most servers."""
MAX_SAID: Final = 500

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What goes with a letter."""

    name: str
    media: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What is to be sent to whom."""

    tenant: str
    name: str
    """What makes it this letter: a second one of this name is not queued."""
    cause: str
    language: str
    subject: str
    body: str
    html: str = ""
    readers: Sequence[str]
    channel: Channel = "mail"
    files: Sequence[File] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A letter that this process may send until its time is over."""

    number: int
    letter: Letter
    """Its readers: those who have not got it yet."""
    queued_ms: int
    attempts: int
    """This one included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a server said about one reader; queued means: try again."""

    state: State
    said: str


def put(connection: Connection, letter: Letter, now_ms: int, *, suppressed: str = "") -> int | None:
    """Queue a letter in the transaction of what caused it; gives its number, None where it was queued before.

    suppressed: why it is only recorded and never sent.
    """
    if not letter.readers:
        return None
    if sum(len(file.body) for file in letter.files) > MAX_FILE_BYTES:
        raise ValueError(f"the files of letter {letter.name!r} have more than {MAX_FILE_BYTES} bytes")
    ended = now_ms if suppressed else None
    rows = connection.execute(
        "insert into outgoing(tenant, name, channel, cause, language, subject, body, html, queued_ms, next_ms, attempts,"
        " holder, until_ms, ended_ms) values(?,?,?,?,?,?,?,?,?,?,0,'',0,?) on conflict(tenant, name) do nothing"
        " returning id",
        (
            *(letter.tenant, letter.name, letter.channel, letter.cause, letter.language),
            *(one_line(letter.subject), letter.body.replace("\0", "\ufffd"), letter.html.replace("\0", "\ufffd")),
            *(now_ms, now_ms, ended),
        ),
    )
    if not rows:
        return None
    number = int(rows[0][0])
    state: State = "suppressed" if suppressed else "queued"
    connection.many(
        "insert into outgoing_reader(letter, address, state, said, ended_ms) values(?,?,?,?,?)",
        [(number, address, state, suppressed, ended) for address in dict.fromkeys(letter.readers)],
    )
    if not suppressed:
        connection.many(
            "insert into outgoing_file(letter, name, media, body) values(?,?,?,?)",
            [(number, file.name, file.media, file.body) for file in letter.files],
        )
    return number


def due(connection: Connection, now_ms: int, channel: Channel) -> bool:
    """Tell whether a letter of the channel can be taken, without holding anybody up."""
    asked = "select 1 from outgoing where ended_ms is null and next_ms<=? and until_ms<=? and channel=? limit 1"
    return connection.one(asked, (now_ms, now_ms, channel)) is not None


def take(connection: Connection, holder: str, now_ms: int, lease_ms: int, channel: Channel = "mail") -> Taken | None:
    """Give the channel's letter that has waited longest, for this holder alone until the lease is over; None: none is due."""
    row = connection.one(
        "select id, tenant, name, cause, language, subject, body, html, queued_ms, attempts from outgoing"
        " where ended_ms is null and next_ms<=? and until_ms<=? and channel=? order by next_ms, id limit 1 for update",
        (now_ms, now_ms, channel),
    )
    if row is None:
        return None
    number, tenant, name, cause, language, subject, body, html, queued, attempts = row
    connection.execute(
        "update outgoing set holder=?, until_ms=?, attempts=attempts+1 where id=?", (holder, now_ms + lease_ms, number)
    )
    readers = connection.execute(
        "select address from outgoing_reader where letter=? and state='queued' order by address", (number,)
    )
    files = connection.execute("select name, media, body from outgoing_file where letter=? order by name", (number,))
    return Taken(
        number=number,
        letter=Letter(
            tenant=tenant,
            name=name,
            channel=channel,
            cause=cause,
            language=language,
            subject=subject,
            body=body,
            html=html,
            readers=[address for (address,) in readers],
            files=[File(name=a, media=b, body=bytes(c)) for a, b, c in files],
        ),
        queued_ms=queued,
        attempts=attempts + 1,
    )


def settle(
    connection: Connection,
    taken: Taken,
    holder: str,
    outcomes: Mapping[str, Outcome],
    *,
    now_ms: int,
    give_up_ms: int,
) -> bool:
    """Record what became of it; False where another process holds it by now (and may have sent it a second time)."""
    held = connection.execute(
        "select id from outgoing where id=? and holder=? and ended_ms is null for update", (taken.number, holder)
    )
    if not held:
        return False
    over = now_ms - taken.queued_ms >= give_up_ms
    for address, outcome in outcomes.items():
        state: State = "failed" if outcome.state == "queued" and over else outcome.state
        connection.execute(
            "update outgoing_reader set state=?, said=?, ended_ms=? where letter=? and address=? and state='queued'",
            (state, said(outcome.said), None if state == "queued" else now_ms, taken.number, address),
        )
    left = connection.one("select 1 from outgoing_reader where letter=? and state='queued' limit 1", (taken.number,))
    if left is None:
        connection.execute("update outgoing set ended_ms=?, until_ms=0 where id=?", (now_ms, taken.number))
        connection.execute("delete from outgoing_file where letter=?", (taken.number,))  # the report keeps its own
    else:
        connection.execute(
            "update outgoing set next_ms=?, until_ms=0 where id=?", (now_ms + wait_ms(taken.attempts), taken.number)
        )
    return True


def wait_ms(attempts: int) -> int:
    """Give how long a letter waits after so many attempts: 15 s, 30 s, 1 min … 1 h."""
    return min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** min(attempts - 1, 20))


def one_line(text: str) -> str:
    """Give a text without line breaks, as heads of letters need it."""
    return _CONTROL.sub(" ", text).strip()


def said(text: str) -> str:
    """Give a server's words in one line of bounded length."""
    return one_line(text.replace("\0", "\ufffd"))[:MAX_SAID]


def message_id(name: str, sender: str) -> str:
    """Give the Message-ID of a letter: the same for every attempt. sender: a mail address."""
    plain = re.sub(r"[^A-Za-z0-9.\-]+", "-", name).strip("-.")[:80] or "letter"
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
    return f"<{plain}.{digest}@{sender.rpartition('@')[2]}>"


def forget(connection: Connection, before_ms: int) -> int:
    """Delete letters that ended before; gives how many."""
    old = connection.execute(
        "select id from outgoing where ended_ms is not null and ended_ms<? order by id limit 500", (before_ms,)
    )
    for table, key in (("outgoing_file", "letter"), ("outgoing_reader", "letter"), ("outgoing", "id")):
        connection.many(f"delete from {table} where {key}=?", old)  # noqa: S608 - names above
    return len(old)


def listed(
    connection: Connection, tenant: str, *, cause: str | None = None, page: int, page_size: int
) -> dict[str, Any]:
    """Give one page of letters, newest first, with what became of them and the exact total."""
    where, values = "tenant=?", [tenant]
    if cause is not None:
        where, values = f"{where} and cause=?", [tenant, cause]
    (total,) = connection.execute(f"select count(*) from outgoing where {where}", values)[0]  # noqa: S608 - ours
    items: list[dict[str, Any]] = []
    for number, name, channel, what, subject, queued, attempts, following, ended in connection.execute(
        f"select id, name, channel, cause, subject, queued_ms, attempts, next_ms, ended_ms from outgoing where {where}"  # noqa: S608 - ours
        " order by queued_ms desc, id desc limit ? offset ?",
        (*values, page_size, (page - 1) * page_size),
    ):
        readers = connection.execute(
            "select address, state, said, ended_ms from outgoing_reader where letter=? order by address", (number,)
        )
        items.append(
            {
                "id": number,
                "name": name,
                "channel": channel,
                "cause": what,
                "subject": subject,
                "queued": iso(queued),
                "attempts": attempts,
                "next": None if ended is not None else iso(following),
                "ended": None if ended is None else iso(ended),
                "readers": [
                    {"address": address, "state": state, "said": text, "ended": None if end is None else iso(end)}
                    for address, state, text, end in readers
                ],
            }
        )
    return {"items": items, "page": page, "page_size": page_size, "total": int(total)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How much has not been sent."""

    letters: int
    oldest_ms: int | None
    states: Mapping[str, int] = field(default_factory=dict[str, int])
    """By state, of readers."""


def waiting(connection: Connection, tenant: str) -> Waiting:
    """Give what has not been sent, and all states."""
    count, oldest = connection.execute(
        "select count(*), min(queued_ms) from outgoing where tenant=? and ended_ms is null", (tenant,)
    )[0]
    states = connection.execute(
        "select r.state, count(*) from outgoing_reader r join outgoing o on o.id=r.letter where o.tenant=? group by r.state",
        (tenant,),
    )
    return Waiting(letters=int(count), oldest_ms=oldest, states={state: int(n) for state, n in states})
