"""The cloud's file: one TOML, frozen types, checked whole before anything opens.

`load` gives a `Settings` or raises `ConfigError` with every fault: path in the file, line, and what to check.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cloud import aims
from cloud.aims import Material, Target
from cloud.outgoing.config import WEB, Escalation, Keep, Mail, Report, Webhook, escalation_faults
from cloud.outgoing.config import faults as report_faults
from sync.equipment import equipment
from sync.secret import Credential, SecretError
from sync.settings import ConfigError, Document, Fault, Label, Log, Model, Name, Port
from sync.topics import Address

KEY_BYTES = 32


class Database(Model):
    """Where everything is kept: `sqlite:///file.db` (relative to this file) or `postgresql://user:…@host/name`."""

    url: Annotated[str, Field(pattern=r"^(sqlite:///.+|postgresql://.+)$")] = "sqlite:///cloud.db"
    password: Credential | None = None
    """PostgreSQL password, when the server asks for one; never in the URL."""
    reader_role: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] | None = None
    """PostgreSQL role that questions of figures are asked as: one that may read marts and nothing else. SQLite needs
    none. docs/figures.md says how it is made."""


class Broker(Model):
    """The MQTT 5 broker that the gateways send to."""

    host: str
    port: Port = 8883
    tls: bool = True
    ca: str | None = None
    certificate: str | None = None
    """Our own certificate, relative to this file, for brokers that ask for one (common name: cloud)."""
    private_key: Credential | None = None
    """Its private key (PEM)."""
    username: str | None = None
    password: Credential | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Broker:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        return self


class Http(Model):
    """Where pages and API are served."""

    host: str = "127.0.0.1"
    port: Port = 8080


class Ingest(Model):
    """How much one gateway may send before what is too much is thrown away (it is sent again), harming no other."""

    messages_per_s: Annotated[float, Field(gt=0)] = 2_000.0
    bytes_per_s: Annotated[float, Field(gt=0)] = 20e6
    hellos_per_s: Annotated[float, Field(gt=0)] = 50.0
    """Gateways that come back at once are let in at this rate, all together."""


class Gateway(Model):
    """An enrolled gateway; one that is not listed is a stranger."""

    tenant: Name
    site: Name
    id: Name
    key: Credential
    """32 bytes as 64 hex digits, shared with the gateway."""
    page: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Where people reach the gateway's own page, for a link."""

    @property
    def address(self) -> Address:
        return Address(self.tenant, self.site, self.id)


class Shift(Model):
    """One shift of the site's calendar, in local time; an end at or before its start lies on the next day."""

    code: Annotated[str, Field(min_length=1, max_length=16)]
    start: time
    end: time
    breaks: list[tuple[time, time]] = []
    days: Annotated[list[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1)] = [1, 2, 3, 4, 5, 6, 7]
    """ISO weekdays of the date it starts on: Monday is 1."""


class WorkUnit(Model):
    """A line as people know it; the order in the file is the order on the page."""

    path: str
    """area/work-center/work-unit."""
    name: Label

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        equipment(value)
        return value


class Site(Model):
    """A plant: its names, its time zone, its shifts, its lines."""

    tenant: Name
    id: Name
    name: Label
    timezone: str
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    """ISO 3166-1 code, for its public holidays; without it no day is one."""
    shifts: Annotated[list[Shift], Field(alias="shift")] = []
    work_units: Annotated[list[WorkUnit], Field(alias="work_unit")] = []
    targets: Annotated[list[Target], Field(alias="target")] = []
    materials: Annotated[list[Material], Field(alias="material")] = []
    reports: Annotated[list[Report], Field(alias="report")] = []

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("no such time zone; write an IANA name such as Asia/Seoul") from error
        return value

    @field_validator("country")
    @classmethod
    def _country(cls, value: str | None) -> str | None:
        if value is not None:
            import holidays  # only where a site names a country

            if value not in holidays.list_supported_countries():
                raise ValueError("no holidays are known for it; write an ISO 3166-1 code such as KR, or leave it out")
        return value


class CloudFile(Model):
    """The file as it is written."""

    database: Database = Database()
    broker: Broker | None = None
    """Without this table pages and API are served and nothing is received."""
    http: Http = Http()
    safe: Literal["stored", "backup"]
    """What a gateway may forget. No default, so that nobody overlooks it: `backup` means what a verified backup holds
    (`triflow cloud backup`); `stored` that a committed record counts as safe although no backup holds it yet."""
    witness_key: Credential | None = None
    """The Ed25519 key that countersigns what gateways send (64 hex digits); without it `witness.key` beside this file,
    made at the first start."""
    ingest: Ingest = Ingest()
    offline_after_s: Annotated[float, Field(gt=0, le=3600)] = 15.0
    fiscal_year_starts: Annotated[int, Field(ge=1, le=12)] = 1
    """Month in which the fiscal year begins that dates are counted by."""
    link_control: Annotated[str, Field(pattern=r"^http://(127\.0\.0\.1|localhost|\[::1\]):\d+$")] | None = None
    """The demo's link switch; loopback only."""
    mail: Mail | None = None
    """Without this table nobody is written to."""
    webhook: Webhook | None = None
    escalations: Annotated[list[Escalation], Field(alias="escalation")] = []
    keep: Keep = Keep()
    log: Log = Log()
    gateways: Annotated[list[Gateway], Field(alias="gateway")] = []
    sites: Annotated[list[Site], Field(alias="site")] = []


@dataclass(frozen=True, slots=True)
class Settings:
    """The file with its secrets read and its paths made absolute."""

    file: CloudFile
    database_url: str
    """For SQLAlchemy: `sqlite:////abs/cloud.db` or `postgresql+psycopg://…`."""
    keys: dict[Address, bytes]
    broker_password: str | None
    broker_ca: Path | None
    broker_certificate: tuple[Path, Path] | None
    """Our certificate and its private key."""
    folder: Path
    """Where cloud.toml lies; what it names is relative to it."""
    witness_key: bytes | None = None
    mail_password: str | None = None
    mail_ca: Path | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = None

    def site(self, tenant: str, site: str) -> Site:
        """Give a site; raises KeyError for one that is not configured."""
        for one in self.file.sites:
            if (one.tenant, one.id) == (tenant, site):
                return one
        raise KeyError(f"{tenant}/{site}")


def load(path: Path) -> Settings:
    """Read and check the file; raises ConfigError with every fault."""
    document = Document(path)
    file = document.parse(CloudFile)
    faults: list[Fault] = []
    folder = path.resolve().parent
    sites = {(site.tenant, site.id) for site in file.sites}
    if len(sites) != len(file.sites):
        faults.append(document.fault(("site",), "a site stands here twice; each tenant and id once"))
    keys: dict[Address, bytes] = {}
    for i, gateway in enumerate(file.gateways):
        if (gateway.tenant, gateway.site) not in sites:
            what = f"there is no [[site]] {gateway.tenant}/{gateway.site}; add it or correct the name"
            faults.append(document.fault(("gateway", i, "site"), what))
        if gateway.address in keys:
            faults.append(document.fault(("gateway", i, "id"), f"gateway {gateway.address} stands here twice"))
        keys[gateway.address] = _key(document, ("gateway", i, "key"), gateway.key, folder, faults)
    for i, site in enumerate(file.sites):
        faults += [document.fault(("site", i, "shift", j), what) for j, what in _shift_faults(site.shifts)]
        told = report_faults([shift.code for shift in site.shifts], site.reports, mail=file.mail is not None)
        faults += [document.fault(("site", i, "report", j, key), what) for j, key, what in told]
        seen: set[str] = set()
        for j, unit in enumerate(site.work_units):
            if unit.path in seen:
                what = f"{unit.path} stands here twice"
                faults.append(document.fault(("site", i, "work_unit", j, "path"), what))
            seen.add(unit.path)
        told = aims.faults(seen, site.targets, site.materials)
        faults += [document.fault(("site", i, *path), what) for path, what in told]
    url, password = (
        file.database.url,
        _secret(document, ("database", "password"), file.database.password, folder, faults),
    )
    broker_password = _secret(
        document, ("broker", "password"), file.broker.password if file.broker else None, folder, faults
    )
    mail, hook = file.mail, file.webhook
    mail_password = _secret(document, ("mail", "password"), mail.password if mail else None, folder, faults)
    webhook_secret = _secret(document, ("webhook", "secret"), hook.secret if hook else None, folder, faults)
    webhook_url = hook.url if hook is not None and isinstance(hook.url, str) else None
    if hook is not None and isinstance(hook.url, Credential):
        webhook_url = _secret(document, ("webhook", "url"), hook.url, folder, faults)
        if webhook_url is not None and re.match(WEB, webhook_url) is None:
            faults.append(document.fault(("webhook", "url"), f"credential {hook.url.credential!r} is no http address"))
    told = escalation_faults(file.escalations, mail=mail is not None, webhook=hook is not None)
    faults += [document.fault(("escalation", i, key), what) for i, key, what in told]
    mail_ca = folder / mail.ca if mail is not None and mail.ca is not None else None
    if mail_ca is not None and not mail_ca.is_file():
        faults.append(document.fault(("mail", "ca"), f"there is no file {mail_ca}"))
    witness_key = None
    if file.witness_key is not None:
        witness_key = _key(document, ("witness_key",), file.witness_key, folder, faults)
    if faults:
        raise ConfigError(faults)
    if url.startswith("sqlite:///"):
        url = f"sqlite:///{folder / url.removeprefix('sqlite:///')}"
    else:
        url = _with_password(url.replace("postgresql://", "postgresql+psycopg://", 1), password)
    broker = file.broker
    ca = certificate = None
    if broker is not None:
        ca = None if broker.ca is None else folder / broker.ca
        if broker.certificate is not None and broker.private_key is not None:
            certificate = (folder / broker.certificate, broker.private_key.path(folder))
    return Settings(
        file,
        url,
        keys,
        broker_password,
        ca,
        certificate,
        folder,
        witness_key,
        mail_password,
        mail_ca,
        webhook_url,
        webhook_secret,
    )


def _with_password(url: str, password: str | None) -> str:
    from sqlalchemy import make_url  # a gateway that imports nothing of this never loads it

    parsed = make_url(url)
    return (parsed if password is None else parsed.set(password=password)).render_as_string(hide_password=False)


def _secret(
    document: Document, path: tuple[str, ...], credential: Credential | None, folder: Path, faults: list[Fault]
) -> str | None:
    if credential is None:
        return None
    try:
        return credential.read(folder).get_secret_value()
    except SecretError as error:
        faults.append(document.fault(path, str(error)))
        return None


def _key(
    document: Document, path: tuple[str | int, ...], credential: Credential, folder: Path, faults: list[Fault]
) -> bytes:
    try:
        key = bytes.fromhex(credential.read(folder).get_secret_value())
    except SecretError as error:
        faults.append(document.fault(path, str(error)))
        return b""
    except ValueError:
        faults.append(document.fault(path, f"credential {credential.credential!r} is not hexadecimal text"))
        return b""
    if len(key) != KEY_BYTES:
        what = f"credential {credential.credential!r} holds {len(key)} bytes; a key is {2 * KEY_BYTES} hex digits"
        faults.append(document.fault(path, what))
    return key


def _minutes(at: time) -> float:
    return at.hour * 60 + at.minute + at.second / 60


def _shift_faults(shifts: list[Shift]) -> list[tuple[int, str]]:
    """Find shifts that overlap, repeat a code, or have a break outside themselves."""
    faults: list[tuple[int, str]] = []
    codes: set[str] = set()
    taken: list[tuple[float, float, str]] = []
    for j, shift in enumerate(shifts):
        if shift.code in codes:
            faults.append((j, f"shift {shift.code!r} stands here twice"))
        codes.add(shift.code)
        start, end = _minutes(shift.start), _minutes(shift.end)
        end += 1440 if end <= start else 0
        for first, last in shift.breaks:
            begin, stop = _minutes(first), _minutes(last)
            begin += 1440 if begin < start else 0
            stop += 1440 if stop < start else 0
            if not start <= begin < stop <= end:
                faults.append((j, f"break {first:%H:%M}-{last:%H:%M} does not lie within shift {shift.code!r}"))
        for day in shift.days:
            # Minutes of a week, the part beyond its end also at its begin.
            for turn in (0, -7 * 1440):
                here = (start + (day - 1) * 1440 + turn, end + (day - 1) * 1440 + turn)
                for begin, stop, code in taken:
                    if code != shift.code and here[0] < stop and begin < here[1]:
                        faults.append((j, f"shift {shift.code!r} overlaps shift {code!r}; shifts follow one another"))
                taken.append((*here, shift.code))
    return list(dict.fromkeys(faults))
