"""What every table is built from: the one list of tables, the columns they share, the key of a record."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits; SQLite's INTEGER has them, and only under that name can it be the row's own number."""


def tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.Text, nullable=False)


def whole(name: str, default: int | None = None) -> sa.Column[int]:
    if default is None:
        return sa.Column(name, Big, nullable=False)
    return sa.Column(name, Big, nullable=False, server_default=str(default))


def maybe(name: str) -> sa.Column[int]:
    return sa.Column(name, Big)


def text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def words(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text)


def record() -> list[sa.Column[int]]:
    """Give the key of a record: what makes a fact that fact."""
    return [
        sa.Column("inc", Big, primary_key=True, autoincrement=False),
        sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", Big, primary_key=True, autoincrement=False),
    ]


def place(*, key: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False, primary_key=key) for name in ("tenant", "site", "work_unit")]


def made() -> list[sa.Column[str]]:
    """Give what was being made: job order, product, lot."""
    return [words(name) for name in ("job_order", "product", "lot")]
