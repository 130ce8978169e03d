"""What passes between the listening end and the storing end of ingest."""

from __future__ import annotations

from dataclasses import dataclass, field

from cloud.bus import Value
from cloud.packages.offers import Package
from sync.frames import Batch, Command, Heartbeat, Range, Rejection, Resume, Watermark, Witness
from sync.topics import Address

Caller = tuple[Address, str]
"""One session: the gateway, and the nonce that its frames carry."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The broker says that the gateway's connection ended (its will), or the gateway says goodbye."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to store."""

    address: Address
    frame: Batch | Resume | Heartbeat | Gone
    body: bytes = b""
    software: str = ""
    """What the gateway runs, as its hello said; this and what follows is told along with a resume."""
    refused: str = ""
    """Why this chunk is set aside without another look: the database refused what it holds."""
    inc: str = ""
    """The incarnation that said hello."""
    box: str = ""
    protocol: int = 1
    """Of its session."""
    public_key: str = ""
    """The gateway's own Ed25519 key, hex; empty from older gateways."""

    @property
    def caller(self) -> Caller:
        return self.address, "" if isinstance(self.frame, Gone) else self.frame.nonce


@dataclass(frozen=True, slots=True)
class Want:
    """Records that somebody asked to be sent again."""

    inc: str
    stream: int
    first: int
    last: int


@dataclass(slots=True)
class Answer:
    """What to tell one session after the commit."""

    watermarks: dict[tuple[str, int], Watermark] = field(default_factory=dict[tuple[str, int], Watermark])
    rejected: list[Rejection] = field(default_factory=list[Rejection])
    witnessed: list[Witness] = field(default_factory=list[Witness])
    wanted: list[Want] = field(default_factory=list[Want])
    offers: list[Package] = field(default_factory=list[Package])
    commands: list[Command] = field(default_factory=list[Command])
    """Signed, without the session's nonce."""
    welcome: bool = False
    """A resume is to be answered with these watermarks."""
    receipt: bool = False
    identity: str = "ok"
    """ok or conflict, told with the welcome."""
    contested: dict[tuple[str, int], list[Range]] = field(default_factory=dict[tuple[str, int], list[Range]])
    """What a gateway holds of a lane that has another history here: not one of them is confirmed before it has come."""
    came: dict[tuple[str, int], list[Range]] = field(default_factory=dict[tuple[str, int], list[Range]])
    """Chunks that came and were stored, known, or kept apart."""
    reincarnate: tuple[str, str] | None = None
    """(incarnation, why) when another copy of the gateway uses its numbers."""


@dataclass(slots=True)
class Committed:
    """What one transaction did."""

    answers: dict[Caller, Answer] = field(default_factory=dict[Caller, Answer])
    newest: dict[str, dict[str, Value]] = field(default_factory=dict[str, dict[str, Value]])
    """Tenant → tag → newest value."""
    records: int = 0
    chunks: int = 0
    duplicates: int = 0
    early: int = 0
    corrected: int = 0
    """Records that came after they had been declared lost."""
    held: int = 0
    """Facts that are kept and count nowhere, because they cannot be true."""
    conflicts: list[str] = field(default_factory=list[str])
    dead_letters: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])
    findings: list[str] = field(default_factory=list[str])
    """Chains that do not hold."""
    events: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What happened to gateways: (kind, words), the kind as in `gateway_event`."""

    def answer(self, caller: Caller) -> Answer:
        """Give what is to be told to a session, to be added to."""
        return self.answers.setdefault(caller, Answer())
