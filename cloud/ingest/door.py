"""Who comes in, without I/O: a message in, replies and things to store out; after the commit, what to tell whom.

One session for each (gateway, incarnation): two boxes that carry one identity are heard side by side and never mixed
up, because every frame after the challenge carries the nonce of its own session. Sessions live in memory only: a new
process knows none and every gateway resumes.

Several processes may wrongly listen to one gateway. Both then challenge its hello, and it answers one of them: a
resume with a nonce that was never ours, while our own challenge is out, is the other one's, and so is all that
carries it. We stay silent about it, else the two would send the gateway back to its hello for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from cloud.ingest.fair import Quota
from cloud.ingest.items import Answer, Committed, Gone, Item
from cloud.packages.offers import Package
from sync.clock import Clock
from sync.farewell import whose_farewell
from sync.frames import (
    Batch,
    Challenge,
    Command,
    DownFrame,
    FrameError,
    Heartbeat,
    Hello,
    Offer,
    Range,
    Reincarnate,
    Resume,
    Stale,
    Wanted,
    Watermark,
    Welcome,
    open_up,
    seal,
)
from sync.receiver import HeaderError, Session, check_batch, check_incarnations
from sync.topics import Address, parse

WINDOW: Final = 16
"""Chunks a gateway may have on their way: 4 held it at 65,000 readings/s, 16 carries 100,000 with a commit every 20 ms."""
SESSIONS: Final = 8
"""Incarnations of one gateway that may speak at once; the longest silent one gives way."""
REMEMBERED: Final = 32
"""Nonces that are remembered for each gateway: ours that are void, and those of another process."""
ADMIT_AT_ONCE: Final = 20
"""Hellos that need not wait for each other."""
LONGEST_DELAY_MS: Final = 30_000
OFFER_S: Final = 60
"""So long a broker may keep an offer for a gateway; it is bound to the session and said again in the next one."""
SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Say:
    """Something to publish to a gateway."""

    address: Address
    what: str
    """ctl or ack."""
    frame: DownFrame
    expiry_s: int | None = None
    """Of no use to anybody after so long."""

    @property
    def topic(self) -> str:
        return self.address.down(self.what)


@dataclass(slots=True)
class _Guest:
    """One incarnation's session, and when it proved that it is alive."""

    inc: str
    session: Session = field(default_factory=Session)
    box: str = ""
    public_key: str = ""
    appeared: int = 0
    """Number of the resume with which it came in first; 0 before."""
    resumed: int = 0
    contested: dict[tuple[str, int], list[Range]] = field(default_factory=dict[tuple[str, int], list[Range]])
    """What it holds of lanes that have another history here, as far as it has not come yet."""


@dataclass(slots=True)
class _Gateway:
    """What is remembered of one gateway."""

    guests: OrderedDict[str, _Guest] = field(default_factory=OrderedDict[str, _Guest])
    """By incarnation, the longest silent first."""
    void: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    """Nonces we gave out that count no more."""
    elsewhere: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    """Nonces another process gave out and got an answer to."""
    resumes: int = 0


def _nothing(_kind: str, _what: str) -> None:
    pass


class Door:
    """The listening end of one process.

    keys: enrolled gateways and their keys. clock: wall time for challenges, monotonic for pacing. token: gives 32 hex
    digits nobody can guess. note: told of everything that stores nothing: (kind, words), kind one of topic, stranger,
    state, frame, header, stale, quota. public_key: hex Ed25519 key of the cloud, told with every challenge. hellos_per_s: how many
    gateways are let in, all together; the others are told how long to wait. quota: what one gateway may send.
    """

    def __init__(
        self,
        keys: Mapping[Address, bytes],
        *,
        clock: Clock,
        token: Callable[[], str],
        note: Callable[[str, str], None] = _nothing,
        public_key: str = "",
        hellos_per_s: float = 50.0,
        quota: Quota | None = None,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._token = token
        self._note = note
        self._public_key = public_key
        self._gateways: dict[Address, _Gateway] = {}
        self._admit_every = int(SECOND / hellos_per_s)
        self._next_in = 0
        self._quota = quota
        self.window = WINDOW
        """Chunks in flight that are told with welcomes and receipts; 0 stops everybody."""

    # --- in ---

    def take(self, topic: str, payload: bytes) -> list[Say | Item]:
        """Take one message; gives replies to send at once and things to store."""
        where = parse(topic)
        if where is None or where[1] != "up":
            return self._foreign("topic", f"a message on {topic!r}, which is no topic of a gateway")
        address, _, what = where
        key = self._keys.get(address)
        if key is None:
            return self._foreign(
                "stranger", f"gateway {address} is not enrolled; add [[gateway]] to cloud.toml if it is yours"
            )
        if self._quota is not None and not self._quota.allows(address, len(payload), self._clock.monotonic()):
            return self._foreign("quota", f"gateway {address} sends more than [ingest] in cloud.toml allows it")
        if what == "state":
            return self._state(address, payload, key)
        try:
            header, body = open_up(payload, key)
            return self._frame(address, header, body)
        except FrameError as error:
            return self._foreign("frame", f"gateway {address}: {error}; check that both sides have the same key")
        except HeaderError as error:
            return self._foreign("header", f"gateway {address}: impossible numbers: {error}; update its software")

    def seal(self, say: Say) -> bytes:
        """Give the message that carries what is to be said."""
        return seal(say.frame, self._keys[say.address])

    def _frame(self, address: Address, header: Hello | Resume | Batch | Heartbeat, body: bytes) -> list[Say | Item]:
        gateway = self._gateways.setdefault(address, _Gateway())
        match header:
            case Hello():
                return [self._hello(address, gateway, header)]
            case Resume():
                check_incarnations(header.incarnations)
                return [one] if (one := self._resume(address, gateway, header)) is not None else []
            case Batch():
                guest = self._guest(gateway, header.nonce)
                if guest is None:
                    return self._stale(address, gateway, header.nonce)
                check_batch(header)
                return [Item(address, header, body)]
            case Heartbeat():
                guest = self._guest(gateway, header.nonce)
                if guest is None:
                    return self._stale(address, gateway, header.nonce)
                check_incarnations(header.holdings)
                return [Item(address, header, protocol=guest.session.protocol)]

    def _hello(self, address: Address, gateway: _Gateway, header: Hello) -> Say:
        _check_hello(header)
        guest = gateway.guests.get(header.inc)
        if guest is None:
            while len(gateway.guests) >= SESSIONS:
                gateway.guests.popitem(last=False)
            guest = gateway.guests[header.inc] = _Guest(header.inc)
        gateway.guests.move_to_end(header.inc)
        nonce = self._token()
        answer = guest.session.hello(
            header, nonce=nonce, wall=self._clock.now(), delay_ms=self._delay_ms(), public_key=self._public_key
        )
        if isinstance(answer, Challenge):
            _remember(gateway.void, nonce)
            guest.box, guest.public_key = header.box, header.public_key
        return Say(address, "ctl", answer)

    def _delay_ms(self) -> int:
        """Give how long a hello has to wait: a hall of gateways that comes back at once is let in one after another."""
        now = self._clock.monotonic()
        self._next_in = max(now - ADMIT_AT_ONCE * self._admit_every, self._next_in) + self._admit_every
        return min(LONGEST_DELAY_MS, max(0, self._next_in - now) // 1_000_000)

    def _resume(self, address: Address, gateway: _Gateway, header: Resume) -> Say | Item | None:
        for guest in gateway.guests.values():
            if guest.session.resume(header):
                break
        else:
            waiting = any(guest.session.resuming for guest in gateway.guests.values())
            if waiting and header.nonce not in gateway.void:
                _remember(gateway.elsewhere, header.nonce)
                return None
            return Say(address, "ctl", Stale(why="that is not the newest challenge", nonce=header.nonce))
        gateway.guests.move_to_end(guest.inc)
        gateway.resumes += 1
        guest.appeared = guest.appeared or gateway.resumes
        guest.resumed = gateway.resumes
        self._make_others_answer(gateway, guest, header)
        return Item(
            address,
            header,
            software=guest.session.software,
            inc=guest.inc,
            protocol=guest.session.protocol,
            box=guest.box,
            public_key=guest.public_key,
        )

    def _make_others_answer(self, gateway: _Gateway, guest: _Guest, header: Resume) -> None:
        """End the sessions of incarnations that this one calls closed, or that were not heard since it came.

        Whoever is really there says hello again, and by that proves to be a second box; nobody has to twice.
        """
        closed = {one.inc for one in header.incarnations if one.closed}
        for other in gateway.guests.values():
            if other is guest or not other.resumed:
                continue
            if (other.inc in closed and guest.resumed == guest.appeared) or other.resumed < guest.appeared:
                other.session = Session()

    def _guest(self, gateway: _Gateway, nonce: str) -> _Guest | None:
        for guest in gateway.guests.values():
            if guest.session.takes(nonce):
                return guest
        return None

    def _stale(self, address: Address, gateway: _Gateway, nonce: str) -> list[Say | Item]:
        self._note("stale", f"gateway {address}: a frame of an earlier session")
        if nonce in gateway.elsewhere:
            return []
        if any(guest.session.resuming for guest in gateway.guests.values()):  # it is saying hello already
            return []
        return [Say(address, "ctl", Stale(why="the cloud has no such session; say hello again", nonce=nonce))]

    def _state(self, address: Address, payload: bytes, key: bytes) -> list[Say | Item]:
        """Read a will; it is a hint, the heartbeat is what counts. One of an earlier start means nothing any more."""
        inc = whose_farewell(payload, key, address)
        if inc is None:
            return self._foreign("state", f"gateway {address}: its state message is not its own")
        gateway = self._gateways.get(address)
        return [Item(address, Gone())] if gateway is not None and inc in gateway.guests else []

    def throttle(self, window: int) -> list[Say]:
        """Set the window and tell it to every session at once: 0 stops the flow, any other starts it again."""
        self.window = window
        return [
            Say(address, "ack", receipt)
            for address, gateway in self._gateways.items()
            for guest in gateway.guests.values()
            if (receipt := guest.session.receipt([], [], window=window)) is not None
        ]

    def _foreign(self, kind: str, what: str) -> list[Say | Item]:
        self._note(kind, what)
        return []

    # --- out ---

    def told(self, committed: Committed) -> list[Say]:
        """Give what a commit lets us say: welcomes, receipts, and what we want of gateways."""
        says: list[Say] = []
        for (address, nonce), answer in committed.answers.items():
            gateway = self._gateways.get(address)
            guest = None if gateway is None else self._guest(gateway, nonce)
            if guest is None:  # its session ended meanwhile
                continue
            marks = _confirmed(guest, answer)
            if answer.welcome:
                welcome = Welcome(nonce=nonce, watermarks=marks, window=self.window, identity=answer.identity)
                says.append(Say(address, "ctl", welcome))
            receipt = None
            if answer.receipt:
                receipt = guest.session.receipt(marks, answer.rejected, window=self.window, witnessed=answer.witnessed)
            if receipt is not None:
                says.append(Say(address, "ack", receipt))
            if guest.session.protocol < 2:  # it does not know what follows
                continue
            if answer.reincarnate is not None:
                inc, why = answer.reincarnate
                says.append(Say(address, "ctl", Reincarnate(nonce=nonce, inc=inc, why=why)))
            says += [
                Say(address, "ctl", Wanted(nonce=nonce, inc=one.inc, stream=one.stream, first=one.first, last=one.last))
                for one in answer.wanted
            ]
            says += [self._offer(address, nonce, one) for one in answer.offers]
            says += [self._command(address, nonce, one) for one in answer.commands]
        return says

    def _offer(self, address: Address, nonce: str, one: Package) -> Say:
        expires = one.expires_ms * 1_000_000
        offer = Offer(nonce=nonce, digest=one.digest, size=one.size, path=f"/packages/{one.digest}", expires=expires)
        left_s = (expires - self._clock.now()) // SECOND
        return Say(address, "ctl", offer, expiry_s=max(1, min(OFFER_S, left_s)))

    def _command(self, address: Address, nonce: str, command: Command) -> Say:
        left_s = (command.expires - self._clock.now()) // SECOND
        frame = msgspec.structs.replace(command, nonce=nonce)
        return Say(address, "cmd", frame, expiry_s=max(1, min(OFFER_S, left_s)))


def _confirmed(guest: _Guest, answer: Answer) -> list[Watermark]:
    """Give the watermarks, held back where a resumed copy of the gateway holds other records under these numbers.

    Each of them has to come and be kept apart before it may be forgotten there.
    """
    if answer.welcome:
        guest.contested = dict(answer.contested)
    if not guest.contested:
        return list(answer.watermarks.values())
    for lane, spans in answer.came.items():
        if lane in guest.contested:
            left = guest.contested[lane]
            for span in spans:
                left = [part for held in left for part in _without(held, span)]
            guest.contested[lane] = left
    marks: list[Watermark] = []
    for lane, mark in answer.watermarks.items():
        left = guest.contested.get(lane)
        if left and (least := min(first for first, _ in left) - 1) < mark.stored:
            mark = msgspec.structs.replace(mark, stored=least, safe=min(mark.safe, least), link="")  # noqa: PLW2901
        marks.append(mark)
    return marks


def _without(held: Range, span: Range) -> list[Range]:
    """Give what is left of a range without another."""
    (first, last), (begin, end) = held, span
    parts = [(first, min(last, begin - 1)), (max(first, end + 1), last)]
    return list(dict.fromkeys((a, b) for a, b in parts if a <= b))


def _remember(these: OrderedDict[str, None], nonce: str) -> None:
    these[nonce] = None
    while len(these) > REMEMBERED:
        these.popitem(last=False)


def _check_hello(header: Hello) -> None:
    """Refuse names that cannot be; raises HeaderError."""
    if not _is_hex(header.inc, 32):
        raise HeaderError(f"incarnation {header.inc!r}")
    if header.box and not _is_hex(header.box, 32):
        raise HeaderError(f"box {header.box!r}")
    if header.public_key and not _is_hex(header.public_key, 64):
        raise HeaderError(f"public key {header.public_key!r}")


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and all(c in "0123456789abcdef" for c in text)
