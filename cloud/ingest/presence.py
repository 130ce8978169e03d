"""Who speaks under an identity: a restart, a restored disk, a replaced box, or two boxes at once.

Incarnations form a tree by `previous`. Each counts when it came in (`appeared`) and when it last proved that it is
alive (`resumed`, an answer to a fresh challenge), in the gateway's own count of resumes, never by a clock. Two of them
that both spoke after the other had appeared are two boxes with one identity: both are heard and kept apart until a
person keeps one. A fork whose old branch never speaks again is a restored disk or a new box.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from cloud.database import Connection
from cloud.ingest.items import Item
from sync.frames import Incarnation, Resume


@dataclass(frozen=True, slots=True)
class Presence:
    """What a resume came to."""

    owner: str
    """The incarnation that speaks."""
    identity: str
    """ok or conflict, to be told to it."""
    conflict: bool
    """Two boxes speak at present and nobody has decided yet."""
    events: list[tuple[str, str]]
    """(kind, words)."""


def owner_of(frame: Resume, hello: str) -> str:
    """Give the incarnation that speaks: the newest open one it names; the one of its hello when it names none."""
    return next((one.inc for one in reversed(frame.incarnations) if not one.closed), hello)


def note(connection: Connection, whose: tuple[int, str], kind: str, detail: str, now_ms: int) -> None:
    """Record what happened to a gateway. whose: its number and tenant."""
    gateway, tenant = whose
    connection.execute(
        "insert into gateway_event(tenant, gateway, at_ms, kind, detail) values(?,?,?,?,?)",
        (tenant, gateway, now_ms, kind, detail),
    )


class Roll:
    """The roll of one gateway's incarnations, within one transaction."""

    def __init__(self, connection: Connection, gateway: int, tenant: str, now_ms: int) -> None:
        self._connection = connection
        self._gateway = gateway
        self._tenant = tenant
        self._now_ms = now_ms
        self._events: list[tuple[str, str]] = []

    def resumed(self, item: Item, frame: Resume, owner: str, number: int) -> Presence:
        """Take in that an incarnation answered a fresh challenge. number: the owner's row."""
        connection = self._connection
        row = connection.one(
            "select identity, box, public_key, resumes, holdings from gateway where id=? for update", (self._gateway,)
        ) or ("ok", "", "", 0, "[]")
        identity, box, public_key, resumes, _ = row
        count = resumes + 1
        appeared, discarded = connection.one("select appeared, discarded from incarnation where id=?", (number,)) or (
            0,
            False,
        )
        previous = next((one.previous for one in frame.incarnations if one.inc == owner), "")
        if not appeared:
            discarded = self._inherits(previous)
            self._appeared(item, frame, owner, previous, discarded=discarded)
            if public_key and item.public_key and item.public_key != public_key and not discarded:
                self._event("key changed", f"incarnation {owner} signs with key {item.public_key}, not {public_key}")
        connection.execute(
            "update incarnation set appeared=?, resumed=?, box=?, public_key=?, software=?, discarded=? where id=?",
            (appeared or count, count, item.box, item.public_key, item.software, discarded, number),
        )
        rival = connection.one(
            "select inc, box, software, heard_ms from incarnation where gateway=? and id<>? and resumed>? and not discarded"
            " order by resumed desc",
            (self._gateway, number, appeared or count),
        )
        if rival is not None and not discarded and identity != "conflict":
            identity = "conflict"
            self._event("cloned", self._two_boxes(item, owner, rival))
        connection.execute(
            "update gateway set resumes=?, box=?, public_key=?, identity=? where id=?",
            (
                count,
                box if discarded else item.box or box,
                public_key if discarded else item.public_key or public_key,
                identity,
                self._gateway,
            ),
        )
        told = "conflict" if discarded or identity == "conflict" else "ok"
        return Presence(owner, told, identity == "conflict", self._events)

    def heard(self, numbers: list[int]) -> None:
        """Note that the gateway names these; whatever was suspected of them is over."""
        self._connection.many(
            "update incarnation set heard_ms=?, suspect_ms=null where id=?",
            [(self._now_ms, n) for n in sorted(numbers)],
        )

    def suspect(self, named: list[int]) -> None:
        """Suspect what this gateway does not name although it is not complete here.

        Another box that a person did not keep and that still speaks is cleared by its next heartbeat, and not news.
        """
        found = self._connection.execute(
            "select i.id, i.inc, i.discarded from incarnation i where i.gateway=? and i.suspect_ms is null and exists"
            " (select 1 from ingest_stream s where s.inc=i.id and s.stored<s.last) order by i.id",
            (self._gateway,),
        )
        for number, inc, discarded in found:
            if number in named:
                continue
            self._connection.execute("update incarnation set suspect_ms=? where id=?", (self._now_ms, number))
            if not discarded:
                self._event("orphaned", f"incarnation {inc} is not complete, and its gateway does not name it any more")

    # --- what kind of a start it is ---

    def _appeared(self, item: Item, frame: Resume, owner: str, previous: str, *, discarded: bool) -> None:
        last = self._connection.one(
            "select inc, ord, box from incarnation where gateway=? and appeared>0 and discarded=? order by resumed desc",
            (self._gateway, discarded),
        )
        if last is None:
            self._event("started", f"incarnation {owner}, {item.software}: the first one ever seen")
            return
        box = last[2]
        moved = bool(item.box and box and item.box != box)
        if not self._forks(frame, owner, previous, last):
            if moved:
                self._event("replaced", f"incarnation {owner} goes on with the disk of box {box} in box {item.box}")
            else:
                self._event("started", f"incarnation {owner}, {item.software}")
        elif moved:
            self._event("replaced", f"box {item.box} (incarnation {owner}) instead of box {box}")
        elif previous:
            self._event("restored", f"incarnation {owner} follows {previous} and knows nothing of {last[0]}")
        else:
            self._event("replaced", f"incarnation {owner} begins with an empty store; the last one was {last[0]}")

    def _forks(self, frame: Resume, owner: str, previous: str, last: tuple[str, int, str]) -> bool:
        """Tell whether a new start does not stem from the one that spoke last."""
        name, order, _ = last
        named = {one.inc: one for one in frame.incarnations}
        if name in named:
            return False
        at, seen = previous, {owner}
        while at and at not in seen:
            if at == name:
                return False
            seen.add(at)
            at = self._previous(at, named.get(at))
        reached = self._connection.one("select 1 from incarnation where gateway=? and inc=?", (self._gateway, previous))
        mine = named[owner].ord if owner in named else 0
        # A predecessor that never spoke is no fork by itself: it may have come and gone while the link was down.
        return reached is not None or mine <= order

    def _previous(self, inc: str, named: Incarnation | None) -> str:
        if named is not None:
            return named.previous
        row = self._connection.one("select previous from incarnation where gateway=? and inc=?", (self._gateway, inc))
        return "" if row is None else str(row[0])

    def _inherits(self, previous: str) -> bool:
        """Tell whether a person has discarded the branch this one stems from."""
        row = self._connection.one(
            "select discarded from incarnation where gateway=? and inc=?", (self._gateway, previous)
        )
        return row is not None and bool(row[0])

    def _two_boxes(self, item: Item, owner: str, rival: tuple[str, str, str, int | None]) -> str:
        other, box, software, heard_ms = rival
        when = "" if heard_ms is None else time.strftime(" heard %Y-%m-%d %H:%M:%S UTC", time.gmtime(heard_ms / 1000))
        return (
            f"two boxes speak with one identity: incarnation {owner} (box {item.box or 'unknown'}, {item.software}) and"
            f" {other} (box {box or 'unknown'}, {software}{when}); both are kept apart, choose one with"
            f" `triflow cloud gateway cloud.toml {item.address} --keep {owner}`"
        )

    def _event(self, kind: str, detail: str) -> None:
        note(self._connection, (self._gateway, self._tenant), kind, detail, self._now_ms)
        self._events.append((kind, detail))


def keep(connection: Connection, gateway: int, tenant: str, inc: str, now_ms: int) -> list[str]:
    """Let a person decide which box is the gateway: the branch of `inc` stays, every other that speaks is discarded.

    Gives the incarnations that are discarded. Raises KeyError when no such incarnation ever spoke.
    """
    rows = connection.execute(
        "select inc, previous, id, appeared, resumed from incarnation where gateway=? order by id", (gateway,)
    )
    by_name = {row[0]: row for row in rows}
    if inc not in by_name or not by_name[inc][3]:
        raise KeyError(inc)
    # An ancestor belongs to the kept box unless it spoke after its descendant had appeared: then it is the other one.
    mine: set[str] = {inc}
    newest, at = by_name[inc][3], by_name[inc][1]
    while at in by_name and at not in mine:
        if by_name[at][4] < newest:
            mine.add(at)
        newest = min(newest, by_name[at][3] or newest)
        at = by_name[at][1]
    discarded = [row[0] for row in rows if row[3] and row[0] not in mine]
    for name in discarded:
        # Its box may be scrapped now: what it has not sent is waited for like that of any other orphan.
        connection.execute(
            "update incarnation set discarded=?, suspect_ms=coalesce(suspect_ms, ?) where id=?",
            (True, now_ms, by_name[name][2]),
        )
    for name in mine:
        connection.execute("update incarnation set discarded=? where id=?", (False, by_name[name][2]))
    connection.execute("update gateway set identity='ok' where id=?", (gateway,))
    note(
        connection, (gateway, tenant), "kept", f"incarnation {inc}; discarded: {', '.join(discarded) or 'none'}", now_ms
    )
    return discarded
