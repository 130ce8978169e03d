"""`triflow cloud report`: one report as a file; reads only, keeps nothing, and works while the service runs."""

from __future__ import annotations

import argparse
import time
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import make_url

from cloud.commands.report_words import FORMS
from cloud.config import Settings
from cloud.database import Connection, DatabaseError, Postgresql, Sqlite
from cloud.plant import Plants
from cloud.reports import documents, figures
from cloud.reports.press import FontError
from cloud.reports.subject import NoSuchShiftError, Subject
from cloud.running import file_of
from sync.settings import nearest


class RefusedError(Exception):
    """A report that cannot be made; says why."""


def run(settings: Settings, asked: argparse.Namespace) -> str:
    """Write the report; gives what was done. Raises RefusedError, DatabaseError, OSError."""
    plants = Plants(settings)
    sites = [plant.site for tenant in plants.tenants for plant in plants.of_tenant(tenant)]
    fitting = [one for one in sites if asked.tenant in {None, one.tenant} and asked.site in {None, one.id}]
    if len(fitting) != 1:
        known = nearest(asked.site or "", [f"{one.tenant}/{one.id}" for one in sites])
        raise RefusedError(f"say which site, with --tenant and --site; {known}")
    form = "pdf" if asked.out is None else asked.out.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise RefusedError(f"{asked.out} has no ending that says a form; write .pdf, .png, .xlsx or .csv")
    if asked.kind == "week" and asked.shift:
        raise RefusedError(f"a week has no shift {asked.shift!r}; leave it out, or ask for kind shift")
    day: date = asked.business_date
    monday = day - timedelta(days=day.isoweekday() - 1)
    subject = Subject(
        tenant=fitting[0].tenant,
        site=fitting[0].id,
        kind=asked.kind,
        business_date=(monday if asked.kind == "week" else day).isoformat(),
        shift=asked.shift,
    )
    connection = _open(settings)
    try:
        read = figures.read(connection, plants, subject, time.time_ns() // 1_000_000)
    except NoSuchShiftError as error:
        raise RefusedError(str(error)) from error
    finally:
        connection.close()
    report = read | {"version": 1, "language": asked.language, "restated": []}
    try:
        body = documents.draw(report, form)
    except FontError as error:
        raise RefusedError(str(error)) from error
    out: Path = asked.out or Path(documents.file_name(report, form))
    out.write_bytes(body)
    said = "complete" if read["lacks"]["complete"] and read["ended"] else "not complete"
    return f"{out}: {len(body)} bytes, {said}, figures {read['digest'][:16]}"


def _open(settings: Settings) -> Connection:
    path = file_of(settings)
    if path is None:
        return Postgresql(make_url(settings.database_url), writer=False)
    if not path.exists():
        raise DatabaseError(f"there is no database {path}")
    return Sqlite(str(path), writer=False)
