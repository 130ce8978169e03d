"""What cloud.toml says about letters: `[mail]`, `[webhook]`, `[[escalation]]`, `[keep]`, `[[site.report]]`."""

from __future__ import annotations

import zoneinfo
from datetime import time
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sync.secret import Credential
from sync.settings import Model, Name, Port

Reader = Annotated[
    str, Field(max_length=254, pattern=r"^[^\s@<>(),;:\\\"\[\]\x00-\x1f\x7f]{1,64}@[A-Za-z0-9.\-]{1,253}$")
]
"""A mail address, without a name."""
Language = Literal["ko", "en"]
WEB = r"^https?://[^\s]+$"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Mail(Model):
    """The mail server that takes our letters (RFC 6409, submission), and whom alerts are written to."""

    host: str
    port: Port = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """starttls: the server must offer it; tls: from the first byte (port 465); none: to this machine only."""
    ca: str | None = None
    """The authority's certificate (PEM), relative to this file, for servers with one of the plant's own."""
    username: str | None = None
    password: Credential | None = None
    sender: Reader
    sender_name: Annotated[str, Field(max_length=100, pattern=r"^[^\r\n]*$")] = "Triflow"
    alerts: list[Reader] = []
    """Who is told of alerts that name nobody."""
    language: Language = "ko"
    """Of letters about alerts that name none."""
    page: Annotated[str, Field(pattern=WEB)] | None = None
    """Where people reach the cloud's pages, for links."""
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    give_up_h: Annotated[float, Field(gt=0, le=240)] = 48.0
    """A letter that no server took for so long has failed."""

    @model_validator(mode="after")
    def _safe(self) -> Mail:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.tls == "none" and self.host not in LOOPBACK:
            raise ValueError('tls = "none" is for a server on this machine (127.0.0.1); use starttls or tls')
        return self


class Webhook(Model):
    """Where alerts are posted to as JSON, signed: sha256=HMAC(secret, timestamp + "." + body)."""

    url: Annotated[str, Field(pattern=WEB)] | Credential
    """A credential where the address itself is the secret, as Slack's are."""
    secret: Credential | None = None
    format: Literal["letter", "slack"] = "letter"
    """letter: all of it, signed; slack: `text` alone, as Slack, Mattermost and their like read it."""
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0

    @model_validator(mode="after")
    def _signed(self) -> Webhook:
        if self.secret is None and self.format == "letter":
            raise ValueError("the receiver cannot tell that it is from us: give `secret` (a credential)")
        return self


class Escalation(Model):
    """Whom an alert is told to that stands, and that nobody has acknowledged, so long after it was raised."""

    after_min: Annotated[int, Field(ge=1, le=10_080)]
    severity: Annotated[list[Literal["critical", "warning"]], Field(min_length=1)] = ["critical"]
    readers: list[Reader] = []
    webhook: bool = False
    """It is posted to [webhook], too."""
    language: Language | None = None
    """That of [mail] where there is none."""


class Keep(Model):
    """How long reports stay, and how much room their files may take."""

    report_days: Annotated[int, Field(ge=1, le=36_500)] = 1_100
    file_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    """Files can be drawn again from the report's figures."""
    files_mb: Annotated[int, Field(ge=1)] = 1_000
    letter_days: Annotated[int, Field(ge=1, le=3_650)] = 90


class Report(Model):
    """A report that is made by itself and written to people: once for every shift, or for every week."""

    id: Name
    kind: Literal["shift", "week"]
    shifts: list[str] = []
    """Codes; none: every shift. For kind = "shift" only."""
    at: time | None = None
    """Local time: of a shift's report the first such time after the shift has ended, `after_min` where there is none; of
    a week's the time on `day`."""
    after_min: Annotated[int, Field(ge=0, le=1440)] = 15
    """How long after its end a shift's report is made: late records have this long to come."""
    day: Annotated[int, Field(ge=1, le=7)] = 1
    """ISO weekday on which the week before is reported: Monday is 1."""
    timezone: str | None = None
    """Of `at`; the site's where there is none."""
    readers: list[Reader] = []
    """Who gets it by mail; without any it is only kept."""
    language: Language = "ko"

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("no such time zone; write an IANA name such as Asia/Seoul") from error
        return value

    @model_validator(mode="after")
    def _fitting(self) -> Report:
        if self.kind == "week" and self.shifts:
            raise ValueError('`shifts` is for kind = "shift"; a week\'s report is about all of them')
        return self


def escalation_faults(steps: list[Escalation], *, mail: bool, webhook: bool) -> list[tuple[int, str, str]]:
    """Find what is wrong with the steps: (which, key, what)."""
    found: list[tuple[int, str, str]] = []
    for i, one in enumerate(steps):
        if one.readers and not mail:
            found.append((i, "readers", "there is no [mail] to write to them with; add it, or leave readers out"))
        if one.webhook and not webhook:
            found.append((i, "webhook", "there is no [webhook] to post to; add it, or leave webhook out"))
        if not one.readers and not one.webhook:
            found.append((i, "readers", "nobody is told at this step; name readers, or set webhook = true"))
    return found


def faults(shifts: list[str], reports: list[Report], *, mail: bool) -> list[tuple[int, str, str]]:
    """Find what is wrong with a site's reports: (which, key, what). shifts: the site's codes."""
    found: list[tuple[int, str, str]] = []
    for i, one in enumerate(reports):
        if any(one.id == other.id for other in reports[:i]):
            found.append((i, "id", f"report {one.id!r} stands here twice"))
        unknown = [code for code in one.shifts if code not in shifts]
        if unknown:
            found.append(
                (i, "shifts", f"the site has no shift {', '.join(unknown)}; it has {', '.join(shifts) or 'none'}")
            )
        if one.kind == "shift" and not shifts:
            found.append((i, "kind", "the site has no [[site.shift]]; add its shifts, or report weeks"))
        if one.readers and not mail:
            found.append((i, "readers", "there is no [mail] to write to them with; add it, or leave readers out"))
    return found
