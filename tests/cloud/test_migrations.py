from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cloud.config import Settings
from cloud.database import Database, DatabaseError, migrate
from cloud.tables import metadata
from tests.cloud.gateway import LINE


def test_migrations_and_tables_tell_the_same_schema(settings: Settings) -> None:
    engine = sa.create_engine(settings.database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrating_twice_changes_nothing(settings: Settings) -> None:
    def version() -> list[str]:
        engine = sa.create_engine(settings.database_url)
        with engine.connect() as connection:
            found = [row[0] for row in connection.execute(sa.text("select version_num from alembic_version"))]
        engine.dispose()
        return found

    migrate(settings.database_url)
    before = version()
    migrate(settings.database_url)
    assert len(before) == 1
    assert version() == before


def test_an_unreachable_database_is_said_with_what_to_check() -> None:
    with pytest.raises(DatabaseError, match="check that it runs"):
        migrate("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseError, match="check that the folder"):
        migrate("sqlite:////proc/nowhere/cloud.db")


async def test_several_defect_types_do_not_multiply_production(database: Database) -> None:
    """The day has three defect types and 1,000 pieces: still 1,000 pieces."""

    def fill(connection) -> None:
        place = ("demo", "seoul", LINE, 0)
        connection.execute(
            "insert into mart_shift(tenant, site, work_unit, start_ms, product, end_ms, business_date, shift, calendar_ms,"
            " scheduled_ms, apt_ms, setup_ms, delay_ms, down_ms, planned_down_ms, unknown_ms, produced, good, scrap, rework,"
            " unrated, ideal_us, ideal_good_us, energy_wh, judgments, warnings, criticals, unknowns)"
            " values(?,?,?,?,'P1',1000,'2026-03-04','A',1000,1000,800,0,0,100,100,0,1000,940,60,0,0,640000,600000,0,0,0,0,0)",
            place,
        )
        for defect, quantity in (("scratch", 30), ("label", 20), ("underfill", 10)):
            connection.execute("insert into mart_defect values(?,?,?,?,'P1',?,?)", (*place, defect, quantity))

    await database.write(fill)
    trend = await database.read(
        lambda c: c.execute("select produced, rejected, classified, defect_rate from mv_defect_trend")
    )
    assert [tuple(map(float, row)) for row in trend] == [(1000, 60, 60, 0.06)]
    oee = await database.read(
        lambda c: c.execute("select availability, effectiveness, quality_ratio, oee from mv_oee_daily")
    )
    assert oee == [(pytest.approx(800 / 900), pytest.approx(0.8), pytest.approx(0.9375), pytest.approx(600 / 900))]
    assert await database.read(lambda c: c.execute("select produced, products from mv_line_performance")) == [(1000, 1)]
