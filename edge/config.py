"""The site file: one TOML, frozen types, checked whole before anything opens.

`load` gives a `Site` or raises `ConfigError` with every fault: path in the file, line, and what to check.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edge.connections import Connection
from edge.permits import Acting
from sync.equipment import equipment
from sync.secret import Credential
from sync.settings import Label, Log, Model, Name, Port

BOOKS = Path(__file__).parent / "drivers" / "books"


class Line(Model):
    """A work unit that is watched: its tags, its window, its rules."""

    work_unit: str
    """area/work-center/work-unit."""
    name: Label | None = None
    """What the people at the line call it; the path when left out."""
    connection: str
    book: str
    """Name of a shipped book, or a path (ending in .toml) relative to the site file."""
    fill: dict[str, str | int] = {}
    """What `{placeholders}` in the book's addresses stand for on this line."""
    unit: Annotated[int, Field(ge=0, le=255)] | None = None
    """Modbus unit of this line's device; the connection's when left out."""
    offset: int = 0
    """Added to every Modbus register address of the book."""
    window_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Length of the judged window."""
    report_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How often the counters' gains become a production fact; also at every change of state or context."""
    rules: str | None = None
    """Ruleset file relative to the site file."""
    model: str | None = None
    """Model package (.tfm) relative to the site file, for a ruleset that asks one. One that is refused stops no line."""

    @field_validator("work_unit")
    @classmethod
    def _path(cls, value: str) -> str:
        equipment(value)
        return value


class Limit(Model):
    """What a lane of which nothing is ever shed may hold before an alarm is raised."""

    mb: Annotated[int, Field(ge=1)] | None = None


class Share(Model):
    """What one lane may hold; beyond, its oldest records are declared lost. A key left out is no limit of its own."""

    mb: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[float, Field(gt=0)] | None = None
    """Counted in time the gateway ran, so that a clock that jumps makes nothing old."""


class Quota(Model):
    """Limits of single lanes, within `quota_mb` for all of them."""

    audit: Limit = Limit()
    event: Limit = Limit()
    fact: Share = Share()
    agg: Share = Share()
    diag: Share = Share()


class Gateway(Model):
    """The box itself."""

    id: Name
    tenant: Name
    site: Name
    data: str = "data"
    """Folder of edge.db, relative to the site file."""
    timezone: str = "Asia/Seoul"
    quota_mb: Annotated[int, Field(ge=8)] = 2048
    """What the outbox may take on disk."""
    quota: Quota = Quota()
    """Limits of single lanes within it."""
    ring_mb: Annotated[int, Field(ge=0)] = 256
    """How much of what the cloud has in a backup stays on the box, to be sent again or looked at; 0 for nothing."""
    group_ms: Annotated[int, Field(ge=1, le=5_000)] = 100
    """How long readings wait for others that share their write to the disk."""
    ballast_mb: Annotated[int, Field(ge=0)] = 16
    """Released when the disk is full, so that shedding can work at all."""
    language: Literal["ko", "en"] = "ko"


class Page(Model):
    """The gateway's own page and API."""

    host: str = "127.0.0.1"
    port: Port = 8090
    key: Credential | None = None
    """What people type on the page before they change anything, at least six characters. Without it only who comes over
    loopback may."""


Https = Annotated[
    str, Field(pattern=r"^(https://[A-Za-z0-9.\-\[\]:]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)/?$")
]
"""An address without a path; plain http for this machine's own tests only."""


class Uplink(Model):
    """The broker. Without this table the gateway keeps everything and sends nothing."""

    host: str
    port: Port = 8883
    tls: bool = True
    ca: str | None = None
    """File of the CA that signed the broker's certificate, relative to the site file; the machine's own CAs if left out."""
    certificate: str | None = None
    """The gateway's own certificate, for brokers that ask for one (common name: tenant/site/gateway)."""
    private_key: Credential | None = None
    """Its private key (PEM)."""
    key: Credential
    """The gateway's key, shared with the cloud at enrolment; seals every frame."""
    heartbeat_s: Annotated[float, Field(ge=0.2, le=60)] = 5.0
    packages: Https | None = None
    """The cloud's HTTPS, where offered packages are fetched (https://cloud.plant.example:8443); refused if left out.
    CA and certificate are the ones above."""
    backlog_kb_s: Annotated[int, Field(ge=1)] | None = None
    """Kilobytes (1,024) a second that readings of earlier starts may take after an outage; as fast as it goes if left out."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Uplink:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        return self


class Models(Model):
    """Whose model packages may run."""

    trusted: list[str] = []
    """Ed25519 public keys, 64 hex digits each, or files holding one, relative to the site file."""


class SiteFile(Model):
    """The file as it is written."""

    gateway: Gateway
    page: Page = Page()
    acting: Acting = Acting()
    models: Models = Models()
    uplink: Uplink | None = None
    log: Log = Log()
    connections: Annotated[list[Connection], Field(alias="connection", min_length=1)]
    lines: Annotated[list[Line], Field(alias="line")] = []
