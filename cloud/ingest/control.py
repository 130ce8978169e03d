"""Resumes and heartbeats: what a gateway holds against what is known of it, and who speaks at all."""

from __future__ import annotations

import msgspec

from cloud.ingest import wanted, witness
from cloud.ingest.items import Item
from cloud.ingest.presence import Presence, Roll, note, owner_of
from cloud.ingest.transaction import Transaction
from cloud.packages import offers
from sync.frames import Heartbeat, Incarnation, Resume, StreamHoldings
from sync.receiver import rollback
from sync.topics import Address


def resume(tx: Transaction, item: Item, frame: Resume) -> None:
    """Take in what a gateway holds; its answer is a welcome with the watermarks of all it names."""
    address, connection = item.address, tx.connection
    gateway = tx.gateway(address)
    owner = owner_of(frame, item.inc)
    named = [tx.incarnation(address, one.inc) for one in frame.incarnations]
    for one, number in zip(frame.incarnations, named, strict=True):
        connection.execute(
            "update incarnation set ord=?, previous=?, closed=? where id=?",
            (one.ord, one.previous, one.closed, number),
        )
    roll = Roll(connection, gateway, address.tenant, tx.now_ms)
    presence = Presence("", "ok", conflict=False, events=[])
    if owner:
        number = tx.incarnation(address, owner)
        named.append(number)
        presence = roll.resumed(item, frame, owner, number)
    roll.heard(sorted(set(named)))
    answer = tx.done.answer(item.caller)
    for one in frame.incarnations:
        _reconcile(tx, item, one, roll_back=one.closed and not presence.conflict)
        if one.inc == owner and not one.closed and (why := _forked(tx, address, one)):
            answer.reincarnate = (one.inc, why)
            presence.events.append(("memory", f"incarnation {one.inc}: {why}"))
            note(connection, (gateway, address.tenant), "memory", f"incarnation {one.inc}: {why}", tx.now_ms)
    if frame.complete and not presence.conflict:
        roll.suspect(named)
    tx.done.events += [(kind, f"{address} {kind}: {words}") for kind, words in presence.events]
    connection.execute(
        "update gateway set holdings=?, holdings_ms=?, last_seen_ms=?, gone_ms=null, software=? where id=?",
        (
            _holdings(tx, gateway, frame.incarnations, merge=presence.conflict),
            tx.now_ms,
            tx.now_ms,
            item.software,
            gateway,
        ),
    )
    answer.welcome, answer.identity = True, presence.identity
    if item.protocol >= 2 and _one_box(tx, gateway, owner):
        answer.offers += offers.hand_out(connection, address, tx.now_ms, anew=True)
        tx.command(item, anew=True)


def gone(tx: Transaction, item: Item) -> None:
    """Note that the gateway's connection ended."""
    tx.connection.execute("update gateway set gone_ms=? where id=?", (tx.now_ms, tx.gateway(item.address)))


def heartbeat(tx: Transaction, item: Item, frame: Heartbeat) -> None:
    """Take in how a gateway is; it is answered only when there is something to tell."""
    address, connection = item.address, tx.connection
    gateway = tx.gateway(address)
    numbers = {one.inc: tx.incarnation(address, one.inc) for one in frame.holdings}
    for one in frame.holdings:
        number = numbers[one.inc]
        for name, holdings in one.streams.items():
            connection.execute(
                "update ingest_stream set last=? where inc=? and stream=? and last<?",
                (holdings.last, number, int(name), holdings.last),
            )
            if (known := tx.streams.known(number, int(name))) is not None:
                known.position.heard(holdings.last)
            elif holdings.last:
                connection.execute(
                    "insert into ingest_stream(inc, stream, tenant, last) values(?,?,?,?) on conflict do nothing",
                    (number, int(name), address.tenant, holdings.last),
                )
    row = connection.one("select identity from gateway where id=?", (gateway,))
    connection.execute(
        "update gateway set last_seen_ms=?, gone_ms=null, clock_offset_ms=?, waiting=?, waiting_bytes=?,"
        " oldest_at=?, disk_free_bytes=?, autonomy_hours=?, data_at=?, sources=?, holdings=?, holdings_ms=?"
        " where id=?",
        (
            tx.now_ms,
            (frame.wall - tx.now_ns) // 1_000_000,
            frame.waiting,
            frame.waiting_bytes,
            frame.oldest_at,
            frame.disk_free_bytes,
            frame.autonomy_hours,
            frame.data_at,
            msgspec.json.encode(frame.sources).decode(),
            _holdings(tx, gateway, frame.holdings, merge=row is not None and row[0] == "conflict"),
            tx.now_ms,
            gateway,
        ),
    )
    Roll(connection, gateway, address.tenant, tx.now_ms).heard(list(numbers.values()))
    _bring_up_to_date(tx, item, {number: inc for inc, number in numbers.items()})
    answer = tx.done.answer(item.caller)
    alone = _one_box(tx, gateway, frame.inc)
    answer.wanted += wanted.hand_out(connection, gateway, tx.now_ms, only=None if alone else numbers)
    if item.protocol >= 2 and alone:
        answer.offers += offers.hand_out(connection, address, tx.now_ms)
        tx.command(item)


def _one_box(tx: Transaction, gateway: int, inc: str) -> bool:
    """Tell whether this start speaks for its gateway alone: of two boxes with one identity nothing is ordered."""
    return bool(
        tx.one(
            "select 1 from incarnation i join gateway g on g.id=i.gateway"
            " where g.id=? and i.inc=? and g.identity='ok' and not i.discarded",
            gateway,
            inc,
        )
    )


def _reconcile(tx: Transaction, item: Item, one: Incarnation, *, roll_back: bool) -> None:
    """Bring together what a gateway says of an incarnation and what is known of it."""
    number = tx.incarnation(item.address, one.inc)
    known = tx.connection.execute("select stream from ingest_stream where inc=?", (number,))
    for lane in sorted({int(name) for name in one.streams} | {row[0] for row in known}):
        stream = tx.streams.get(item.address, one.inc, lane)
        tx.tell(item.caller, stream)
        holdings = one.streams.get(str(lane))
        if holdings is not None:
            tx.streams.reopen(stream, holdings.held)
            stream.position.heard(holdings.last)
            tx.streams.lose(stream, holdings.losses, "gateway")
            if one.closed and holdings.held and witness.another_history(tx.connection, stream, holdings):
                tx.done.answer(item.caller).contested[one.inc, lane] = list(holdings.held)
        if roll_back:
            tx.streams.lose(stream, rollback(one, lane, stream.position), "cloud")
        stream.changed = True


def _forked(tx: Transaction, address: Address, one: Incarnation) -> str:
    """Say how an open incarnation contradicts what is known of it; empty when it does not.

    A process only ever adds to its numbers: one that knows of fewer than were announced under its name, or of
    another chain, was resumed from an image of its memory.
    """
    number = tx.incarnation(address, one.inc)
    known = {str(row[0]) for row in tx.connection.execute("select stream from ingest_stream where inc=?", (number,))}
    for name in sorted(known | set(one.streams)):
        holdings = one.streams.get(name) or StreamHoldings(last=0)
        stream = tx.streams.get(address, one.inc, int(name))
        if stream.position.last > holdings.last:
            return f"stream {name} ends at {holdings.last}, and {stream.position.last} was announced before"
        here = stream.link.hex() if stream.link is not None and stream.link_seq == holdings.last else ""
        if here and holdings.link and here != holdings.link:
            return f"stream {name} has another chain at {holdings.last}"
    return ""


def _holdings(tx: Transaction, gateway: int, said: list[Incarnation], *, merge: bool) -> str:
    """Give the holdings to keep; while two boxes speak, what the other one said stays beside."""
    if merge:
        row = tx.connection.one("select holdings from gateway where id=?", (gateway,))
        mine = {one.inc for one in said}
        before = msgspec.json.decode(row[0] if row else "[]", type=list[Incarnation])
        said = [*(one for one in before if one.inc not in mine), *said]
    return msgspec.json.encode(said).decode()


def _bring_up_to_date(tx: Transaction, item: Item, named: dict[int, str]) -> None:
    """Tell what has changed without a chunk coming in: a backup made more safe, a countersignature is due."""
    for number, inc in sorted(named.items()):
        for lane, safe, link_seq, witness_seq in tx.connection.execute(
            "select stream, safe, link_seq, witness_seq from ingest_stream where inc=? order by stream", (number,)
        ):
            told = tx.told_safe(number, lane, safe)
            if told and link_seq <= witness_seq:
                continue
            stream = tx.streams.get(item.address, inc, lane)
            if not told:
                tx.done.answer(item.caller).receipt = True
                tx.tell(item.caller, stream)
            tx.countersign(item, stream)
