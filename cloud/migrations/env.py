"""Runs the migrations on the database that `cloud.database.migrate` names."""

from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
from alembic import context
from sqlalchemy.pool import NullPool

from cloud.tables import metadata


def run() -> None:
    """Apply what is missing, all in one transaction: a crash in between leaves the old schema whole."""
    engine = sa.create_engine(context.config.attributes["url"], poolclass=NullPool)
    if engine.dialect.name == "sqlite":

        @sqlalchemy.event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction] - SQLAlchemy calls it
            connection.isolation_level = None
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=full")

        @sqlalchemy.event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction] - SQLAlchemy calls it
            connection.exec_driver_sql("begin immediate")

    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
        with context.begin_transaction():
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text("select pg_advisory_xact_lock(7474)"))  # two starts at once: one waits
            context.run_migrations()
    engine.dispose()


run()
