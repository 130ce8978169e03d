"""How the site file speaks of machines and systems: one frozen type per kind of connection."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import Field, StrictFloat, StrictInt, model_validator

from edge.statement import fault
from edge.tags import WordOrder
from sync.secret import Credential
from sync.settings import Model, Name, Port

SecurityPolicy = Literal["none", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]


class EventSource(Model):
    """Events and conditions of a node that notifies, and of all below it."""

    node: str = "i=2253"
    """Node address as in a tag book; the server's own object when left out, which notifies of everything."""
    work_unit: str = ""
    """Work unit whose facts the events become; the gateway's own when left out."""
    severity: Annotated[int, Field(ge=1, le=1000)] = 1
    """Least severity asked for (OPC UA: 1 to 1000)."""


class OpcUa(Model):
    """An OPC UA server."""

    driver: Literal["opcua"]
    name: Name
    url: Annotated[str, Field(pattern=r"^opc\.tcp://")]
    security: SecurityPolicy
    """No default: an unprotected connection ("none") is said aloud."""
    message_mode: Literal["sign", "sign_and_encrypt"] = "sign_and_encrypt"
    """What a security policy does to each message."""
    user: str | None = None
    """User name of a user token; anonymous when neither this nor `user_certificate` is given."""
    password: Credential | None = None
    user_certificate: str | None = None
    """File of a user's certificate (PEM or DER), relative to the site file, for a certificate token."""
    user_key: Credential | None = None
    """Its private key (PEM)."""
    application_uri: str | None = None
    """Of our own certificate; urn:<host name>:triflow:<gateway id> when left out."""
    acquire: Literal["auto", "subscribe", "poll"] = "auto"
    """auto: subscribe, and poll what the server cannot monitor or when it has no subscriptions."""
    publishing_ms: Annotated[float, Field(ge=20, le=60_000)] = 250.0
    sampling_ms: Annotated[float, Field(ge=-1, le=60_000)] = 100.0
    """-1: as often as the publishing interval; 0: as fast as the server can. A tag may say otherwise."""
    queue_size: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Values the server keeps per tag between two publishes; 1 loses all but the newest. A tag may say otherwise."""
    discard: Literal["oldest", "newest"] = "oldest"
    """What the server drops from a full queue; it sets the overflow bit either way."""
    poll_ms: Annotated[float, Field(ge=20, le=3_600_000)] = 1000.0
    """Period of tags that are polled. A tag may say otherwise."""
    in_flight: Annotated[int, Field(ge=1, le=10)] = 3
    """PublishRequests waiting at the server."""
    items_per_call: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Most nodes in one request; the server's own OperationLimits may be lower and are kept."""
    history: bool = False
    """Ask the server's history for what was missed while the connection was away."""
    history_max_h: Annotated[float, Field(gt=0, le=24 * 366)] = 72.0
    """Outages longer than this are filled from their end backwards this far; the rest is a gap."""
    events: list[EventSource] = []

    @model_validator(mode="after")
    def _tokens(self) -> OpcUa:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if (self.user_certificate is None) != (self.user_key is None):
            raise ValueError("user_certificate and user_key go together")
        if self.user is not None and self.user_certificate is not None:
            raise ValueError("one token only: user and password, or user_certificate and user_key")
        return self


class Serial(Model):
    """A serial line."""

    device: str
    """/dev/ttyS0, /dev/serial/by-id/…"""
    baudrate: Annotated[int, Field(ge=300, le=4_000_000)] = 19_200
    parity: Literal["none", "even", "odd"] = "even"
    stop_bits: Literal[1, 2] = 1


class Modbus(Model):
    """Modbus devices behind one address or on one serial line, polled."""

    driver: Literal["modbus"]
    name: Name
    transport: Literal["tcp", "rtu", "rtu_over_tcp", "tls"] = "tcp"
    host: str | None = None
    port: Port | None = None
    """502, or 802 with TLS, when left out."""
    serial: Serial | None = None
    ca: str | None = None
    """TLS: file of the CA that signed the device's certificate, relative to the site file."""
    certificate: str | None = None
    """TLS: our own certificate, for devices that ask for one (Modbus Security does)."""
    private_key: Credential | None = None
    server_name: str | None = None
    """TLS: the name in the device's certificate; `host` when left out."""
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    """Unit of lines that name none of their own."""
    address_base: Literal[0, 1] = 0
    """1: the device's manual counts registers from 1, and so do this connection's books."""
    word_order: WordOrder = "ABCD"
    period_ms: Annotated[float, Field(ge=20, le=3_600_000)] = 1000.0
    """How often a register is read. A tag may say otherwise."""
    timeout_s: Annotated[float, Field(gt=0, le=5)] = 1.0
    """How long one request may take."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """How often an unanswered request is sent again, before its tags are bad for this scan."""
    max_gap: Annotated[int, Field(ge=0, le=124)] | None = None
    """Registers nobody asked for that may be read along to save a request; learnt from round-trip times if left out."""
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    max_bits: Annotated[int, Field(ge=1, le=2000)] = 2000
    in_flight: Annotated[int, Field(ge=1, le=16)] = 1
    """Requests on their way at a time; only for devices known to take it, never on a serial line or a gateway to one."""
    pause_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Rest between an answer and the next request, for slow devices."""
    settle_ms: Annotated[float, Field(ge=0, le=60_000)] = 0.0
    """Rest after connecting."""
    breaker_fails: Annotated[int, Field(ge=1, le=100)] = 3
    """So many unanswered requests in a row, and a unit is left alone but for one probe now and then."""
    breaker_probe_s: Annotated[float, Field(gt=0, le=3600)] = 10.0

    @model_validator(mode="after")
    def _reachable(self) -> Modbus:
        if (self.transport == "rtu") != (self.serial is not None):
            raise ValueError('transport = "rtu" and a serial table go together')
        if self.transport != "rtu" and self.host is None:
            raise ValueError("host is missing: add the device's name or address")
        if self.transport == "rtu" and self.host is not None:
            raise ValueError("a serial line has serial.device and no host")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        if self.transport != "tls" and (self.ca is not None or self.certificate is not None):
            raise ValueError('ca and certificate need transport = "tls"')
        if self.in_flight > 1 and self.transport in {"rtu", "rtu_over_tcp"}:
            raise ValueError("a serial line carries one request at a time: in_flight must be 1")
        return self

    @property
    def tcp_port(self) -> int:
        return self.port or (802 if self.transport == "tls" else 502)

    @property
    def target(self) -> str:
        """Where the device is, for messages."""
        return self.serial.device if self.serial is not None else f"{self.host}:{self.tcp_port}"


class Simulated(Model):
    """A seeded machine inside the gateway: for trying out a book and for tests."""

    driver: Literal["simulated"]
    name: Name
    seed: int = 1
    period_ms: Annotated[float, Field(ge=1, le=60_000)] = 1000.0


Gives = Literal["job_orders", "lots", "products", "shifts", "inventory", "quality_results", "context"]
"""What a MES or ERP has to say."""


class Mes(Model):
    """A manufacturing execution system over HTTP."""

    driver: Literal["mes"]
    name: Name
    url: Annotated[str, Field(pattern=r"^https?://")]
    period_s: Annotated[float, Field(ge=0.2, le=3600)] = 5.0
    token: Credential | None = None
    """Bearer token."""
    user: str | None = None
    password: Credential | None = None
    """Basic authentication, where the MES knows no tokens."""
    ca: str | None = None
    """File of the CA that signed the MES's certificate, relative to the site file."""
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    """How often a failed GET is asked again at once (with growing waits) before the MES counts as lost."""
    responses: bool = False
    """Write job responses (ISA-95: what was made of an order) back."""
    without: list[Annotated[str, Field(pattern=rf"^({'|'.join(get_args(Gives))})\.[a-z_]+$")]] = []
    """Optional fields this MES has no more (`lots.quantity`): their absence is accepted and suspends nothing."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Mes:
        if self.ca is not None and not self.url.startswith("https://"):
            raise ValueError("ca needs an https:// url")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if self.token is not None and self.user is not None:
            raise ValueError("one way in only: token, or user and password")
        return self


class Query(Model):
    """One read-only question to a database."""

    gives: Gives
    """What a row is; its columns carry the names of the fact's fields (docs/drivers/erp-sql.md)."""
    name: Name | None = None
    """For messages and for the place where reading goes on; `gives` when left out."""
    sql: str
    """SELECT …; `:since` stands for the watermark, `:work_unit` for each line's path in turn."""
    watermark: str | None = None
    """Column that only grows (a change time or a number): only rows from the last one seen on are asked for."""
    begin: datetime | StrictInt | StrictFloat | str | None = None
    """Watermark to start from the very first time; a time (2026-01-01T00:00:00Z) or a number (0)."""
    overlap: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    """So far back (seconds, or the number itself) is asked again, for rows that were committed late; none counts twice."""
    period_s: Annotated[float, Field(ge=1, le=86_400)] | None = None

    @model_validator(mode="after")
    def _reads_only(self) -> Query:
        if why := fault(self.sql, watermark=self.watermark is not None):
            raise ValueError(f"sql: {why}")
        if (self.watermark is None) != (self.begin is None):
            raise ValueError("watermark and begin go together: the column that only grows, and where to start")
        if self.watermark is not None and self.gives in {"context", "products"}:
            raise ValueError(f"{self.gives} is asked whole each time: take out watermark and begin")
        return self

    @property
    def title(self) -> str:
        return self.name or self.gives


class Sql(Model):
    """An ERP or MES database, read by SQL. Needs the extra `sql` on the gateway."""

    driver: Literal["sql"]
    name: Name
    url: Annotated[str, Field(pattern=r"^[a-z0-9+]+://")]
    """SQLAlchemy URL without a password: postgresql+psycopg://reader@10.0.1.9/erp, sqlite:////var/lib/erp.db."""
    password: Credential | None = None
    timezone: str | None = None
    """Zone of times the database gives without one (Asia/Seoul); without it such a time is refused."""
    period_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 10.0
    rows: Annotated[int, Field(ge=1, le=100_000)] = 5000
    """Most rows taken at a time; with a watermark the rest comes with the next asking."""
    queries: Annotated[list[Query], Field(alias="query", min_length=1)]

    @model_validator(mode="after")
    def _readable(self) -> Sql:
        if re.match(r"[a-z0-9+]+://[^/@]*:[^/@]*@", self.url):
            raise ValueError("url holds a password: write password = { credential = … } instead")
        titles = [query.title for query in self.queries]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise ValueError(f"two queries are called {twice!r}: give each a name of its own")
        if self.timezone is not None:
            try:
                zoneinfo.ZoneInfo(self.timezone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
                raise ValueError(f"timezone: {self.timezone!r} is no time zone; write e.g. Asia/Seoul") from error
        return self


Readable = OpcUa | Modbus | Simulated
Factual = Mes | Sql
Connection = Annotated[OpcUa | Modbus | Simulated | Mes | Sql, Field(discriminator="driver")]
