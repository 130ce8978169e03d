"""The site file: one TOML, frozen types, checked whole before anything opens.

`load` gives a `Site` or raises `ConfigError` with every fault: path in the file, line, and what to check.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sync.equipment import equipment
from sync.secret import Credential
from sync.settings import Label, Log, Model, Name, Port

BOOKS = Path(__file__).parent / "drivers" / "books"

WordOrder = Literal["ABCD", "BADC", "CDAB", "DCBA"]


class OpcUa(Model):
    """An OPC UA server, subscribed."""

    driver: Literal["opcua"]
    name: Name
    url: Annotated[str, Field(pattern=r"^opc\.tcp://")]
    security: Literal["none"]
    """No default: an unprotected connection is said aloud. Sign and encrypt come with the trust list."""
    publishing_ms: Annotated[float, Field(ge=20, le=60_000)] = 250.0
    sampling_ms: Annotated[float, Field(ge=0, le=60_000)] = 100.0
    queue_size: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Values the server keeps per tag between two publishes; 1 loses all but the newest."""


class Modbus(Model):
    """A Modbus TCP device, polled."""

    driver: Literal["modbus"]
    name: Name
    host: str
    port: Port = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    word_order: WordOrder = "ABCD"
    period_ms: Annotated[float, Field(ge=20, le=3_600_000)] = 1000.0
    timeout_s: Annotated[float, Field(gt=0, le=5)] = 1.0
    max_gap: Annotated[int, Field(ge=0, le=124)] = 16
    """Registers nobody asked for that may be read along to save a request."""
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125


class Simulated(Model):
    """A seeded machine inside the gateway: for trying out a book and for tests."""

    driver: Literal["simulated"]
    name: Name
    seed: int = 1
    period_ms: Annotated[float, Field(ge=1, le=60_000)] = 1000.0


class Mes(Model):
    """A manufacturing execution system over HTTP: job orders, products, shifts, inventory."""

    driver: Literal["mes"]
    name: Name
    url: Annotated[str, Field(pattern=r"^https?://")]
    period_s: Annotated[float, Field(ge=0.2, le=3600)] = 5.0
    token: Credential | None = None


Connection = Annotated[OpcUa | Modbus | Simulated | Mes, Field(discriminator="driver")]


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
    offset: int = 0
    """Added to every Modbus register address of the book."""
    window_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Length of the judged window."""
    report_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How often the counters' gains become a production fact; also at every change of state or context."""
    rules: str | None = None
    """Ruleset file relative to the site file."""

    @field_validator("work_unit")
    @classmethod
    def _path(cls, value: str) -> str:
        equipment(value)
        return value


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
    ballast_mb: Annotated[int, Field(ge=0)] = 16
    """Released when the disk is full, so that shedding can work at all."""
    language: Literal["ko", "en"] = "ko"


class Page(Model):
    """The gateway's own page and API."""

    host: str = "127.0.0.1"
    port: Port = 8090


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

    @model_validator(mode="after")
    def _both_or_neither(self) -> Uplink:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        return self


class SiteFile(Model):
    """The file as it is written."""

    gateway: Gateway
    page: Page = Page()
    uplink: Uplink | None = None
    log: Log = Log()
    connections: Annotated[list[Connection], Field(alias="connection", min_length=1)]
    lines: Annotated[list[Line], Field(alias="line")] = []
