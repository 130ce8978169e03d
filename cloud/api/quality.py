"""Quality as API and pages give it: the period asked for, the line looked up, one read for each answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Any, Final

from cloud.api.errors import invalid, not_found
from cloud.api.lines import filtered, one_line
from cloud.api.oversight import Oversight
from cloud.bi import lots, times
from cloud.bi import quality as figures
from cloud.bi.lines import lines
from cloud.bi.quality import Dates, Subject
from cloud.bi.spc import RuleSet
from cloud.bi.times import iso
from cloud.database import Connection, Database
from cloud.plant import Place, Plant, Plants
from sync.settings import nearest

MAX_DAYS: Final = 366
USUAL_DAYS: Final = 7
MOST_ASKED: Final = 5
"""Lines of a lot whose completeness is asked for; a lot is made on one or two."""
MAX_SEARCH: Final = 100

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A period in business dates (both included; the last seven without) and a line, or all of them."""

    first: date | None = None
    last: date | None = None
    work_unit: str | None = None


class Quality:
    """Reads about quality; every method names its tenant first."""

    def __init__(self, database: Database, plants: Plants, oversight: Oversight) -> None:
        self._database = database
        self._plants = plants
        self._oversight = oversight

    async def summary(self, tenant: str, asked: Asked) -> Json:
        """Give GET /quality."""
        plant, place = await self._where(tenant, asked.work_unit)
        now_ms = times.now_ms()
        dates = dates_of(plant, asked, now_ms)
        found = await self._database.read(lambda c: figures.summary(c, tenant, dates, place, now_ms))
        return found | {"site": place and place[1], "work_unit": place and place[2]}

    async def chart(self, tenant: str, asked: Asked, subject: Subject, rules: RuleSet) -> Json:
        """Give GET /quality/charts. Raises 404 where nothing of the kind was ever measured on the line."""
        plant, place = await self._line(tenant, asked.work_unit)
        dates = dates_of(plant, asked, times.now_ms())

        def read(connection: Connection) -> tuple[Json | None, list[str]]:
            known = [
                str(name)
                for (name,) in connection.execute(
                    "select distinct characteristic from quality_measurement where tenant=? and site=? and work_unit=?"
                    " order by 1 limit 200",
                    place,
                )
            ]
            if subject.characteristic not in known:
                return None, known
            return figures.control_chart(connection, place, subject, dates, rules), known

        found, known = await self._database.read(read)
        if found is None:
            raise not_found(
                f"{place[2]} has no characteristic {subject.characteristic!r}", nearest(subject.characteristic, known)
            )
        return found | _told(dates) | {
            "site": place[1],
            "work_unit": place[2],
            "characteristic": subject.characteristic,
            "product": subject.product,
            "rule_set": rules,
        }  # fmt: skip

    async def defect_chart(self, tenant: str, asked: Asked, rules: RuleSet) -> Json:
        """Give GET /quality/defect-chart: the p chart of a line's scrap by shift."""
        plant, place = await self._line(tenant, asked.work_unit)
        dates = dates_of(plant, asked, times.now_ms())
        found = await self._database.read(lambda c: figures.defect_chart(c, place, dates, rules))
        return found | _told(dates) | {"site": place[1], "work_unit": place[2], "rule_set": rules}

    async def lots(self, tenant: str, search: str, work_unit: str | None, *, page: int, page_size: int) -> Json:
        """Give GET /quality/lots, with the exact total."""
        _plain(search, "search")

        def read(connection: Connection) -> tuple[list[Json], int]:
            line = filtered(lines(connection, self._plants, tenant), work_unit)
            return lots.lot_list(
                connection, tenant, search.strip(), line, limit=page_size, offset=(page - 1) * page_size
            )

        items, total = await self._database.read(read)
        return {"items": items, "page": page, "page_size": page_size, "total": total}

    async def lot(self, tenant: str, lot: str) -> Json:
        """Give GET /quality/lots/{lot}: the whole trace, and whether the records of its hours are complete."""
        _plain(lot, "lot")
        now_ms = times.now_ms()
        found = await self._database.read(lambda c: lots.trace(c, self._plants, tenant, lot, now_ms))
        if found is None:
            near, _ = await self._database.read(
                lambda c: lots.lot_list(c, tenant, lot[:6], (None, None), limit=50, offset=0)
            )
            raise not_found(f"there is no lot {lot!r}", nearest(lot, [one["lot"] for one in near]))
        answers = [
            await self._oversight.answer(
                tenant, f"{one['site']}:{one['work_unit']}", _time(one["start"]), _time(one["end"])
            )
            for one in found["made"][:MOST_ASKED]
        ]
        return found | {"completeness": answers}

    async def _where(self, tenant: str, work_unit: str | None) -> tuple[Plant, Place | None]:
        if work_unit is not None:
            return await self._line(tenant, work_unit)
        plants = self._plants.of_tenant(tenant)
        if not plants:
            raise invalid("no site is configured", "add a [[site]] to cloud.toml")
        return plants[0], None

    async def _line(self, tenant: str, work_unit: str | None) -> tuple[Plant, Place]:
        if work_unit is None:
            raise invalid("`work_unit` is missing", "say which line, e.g. work_unit=bottling/line-1/filler")
        site, unit = one_line(await self._database.read(lambda c: lines(c, self._plants, tenant)), work_unit)
        return self._plants[tenant, site], (tenant, site, unit)


def dates_of(plant: Plant, asked: Asked, now_ms: int) -> Dates:
    """Give the period as business dates and as the instants it spans. Raises 400 for one that cannot be."""
    today = date.fromisoformat(plant.calendar.at(now_ms).business_date)
    last = asked.last or (today if asked.first is None else max(today, asked.first))
    first = asked.first or last - timedelta(days=USUAL_DAYS - 1)
    if first > last:
        raise invalid("`first` is after `last`", "give both as dates, `first` the earlier one")
    if (last - first).days >= MAX_DAYS or not 2000 <= first.year <= last.year < 2100:
        raise invalid(f"the period {first} to {last} is too long", f"ask for at most {MAX_DAYS} days, of this century")
    calendar = plant.calendar
    begin, end = (datetime.combine(day, clock_time(), calendar.zone) for day in (first, last + timedelta(days=2)))
    spanned = [
        instance
        for instance in calendar.between(int(begin.timestamp()) * 1000, int(end.timestamp()) * 1000)
        if first.isoformat() <= instance.business_date <= last.isoformat()
    ]
    start_ms = min(instance.start_ms for instance in spanned)
    end_ms = max(instance.end_ms for instance in spanned)
    return Dates(first=first.isoformat(), last=last.isoformat(), start_ms=start_ms, end_ms=end_ms)


def _told(dates: Dates) -> Json:
    return {
        "as_of": iso(times.now_ms()),
        "start": iso(dates.start_ms),
        "end": iso(dates.end_ms),
        "first": dates.first,
        "last": dates.last,
    }


def _plain(text: str, name: str) -> None:
    if "\0" in text or len(text) > MAX_SEARCH:
        raise invalid(f"`{name}` cannot be", f"give a name of at most {MAX_SEARCH} characters")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
