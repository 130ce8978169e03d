"""What is no name stays a value, and what is no value stays outside: hostile texts in every field of a plan (fault F9)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cloud.bi.semantic.compile import route, statement
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.plan import Filter, Period, Plan
from cloud.bi.semantic.scope import Scope
from cloud.bi.semantic.stars import MARTS
from tests.cloud.bi.semantic.conftest import Truth, looked

HOSTILE = [
    "oee; drop table mart_shift",
    "oee' or '1'='1",
    'oee" --',
    "1) union select body from fact --",
    "oee/**/",
    "sum(produced)",
    "mart_shift.produced",
    "../../etc/passwd",
    "\u202eoee",
    "oe\u0000e",
    "ｏｅｅ",
    "OEE",
    "%s",
    "?",
    "{rows}",
    "$1",
    "",
    "x" * 65,
]
VALUES = [one for one in HOSTILE if one] + [
    "'",
    "';",
    "\\",
    "%",
    "_",
    "P1' or tenant<>'demo",
    "greatest(1,2)",
    " for update",
]


def plan(**more: Any) -> dict[str, Any]:
    return {"analysis": "TREND", "metrics": ["oee"], **more}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_hostile_text_is_a_name(text: str) -> None:
    for bad in (
        plan(metrics=[text]),
        plan(dimensions=[text]),
        plan(filters=[{"dimension": text, "values": ["x"]}]),
        plan(filters=[{"dimension": "line", "op": text, "values": ["x"]}]),
        plan(grain=text),
        plan(order=text),
        plan(limit=text),
        plan(horizon=text),
        plan(against=text),
        plan(period={"relative": text}),
        plan(period={"first": text, "last": text}),
        plan(analysis=text),
        plan(**{text or "unheard_of": 1}),
        plan(edits=[{"what": text, "percent": 1}]),
    ):
        with pytest.raises(ValidationError):
            Plan.model_validate(bad)


@pytest.mark.parametrize("name", ["fact", "body", "tenant", "mart_shift", "select", "sum", "start_ms", "work_unit"])
async def test_well_formed_names_of_the_database_are_none_of_the_catalogue(database, two, name: str) -> None:
    def ask(look: Any) -> None:
        for wanted in (
            lambda: look.table((name,), period=Period(relative="today")),
            lambda: look.table(("oee",), period=Period(relative="today"), dimensions=(name,)),
            lambda: look.table(
                ("oee",), period=Period(relative="today"), filters=(Filter(dimension=name, values=("x",)),)
            ),
        ):
            with pytest.raises(PlanError, match="there is no"):
                wanted()

    await looked(database, two, ask)


async def test_hostile_values_are_bound_and_mean_nothing(database, two, truth: Truth) -> None:
    def ask(look: Any) -> None:
        for value in VALUES:
            for dimension in ("site", "line", "area", "product", "lot", "order", "defect", "shift", "weekday", "date", "month", "ruleset", "material"):  # fmt: skip
                metric = {"defect": "defects", "ruleset": "judgments", "material": "inventory"}.get(
                    dimension, "produced"
                )
                filters = (Filter(dimension=dimension, values=(value,)),)
                with pytest.raises(PlanError):
                    look.table((metric,), period=Period(relative="last_30_days"), filters=filters)
        everything = look.table(("produced",), period=Period(relative="last_30_days")).rows[0].cells[0].value
        assert everything == sum(row["produced"] for row in truth.marts["shift"])

    await looked(database, two, ask)


async def test_codes_that_look_like_sql_are_codes(database, two) -> None:
    """A product may be called anything; what facts brought is found by its name, and only that."""
    odd = "P'; drop table mart_day; --"
    values = ("demo", "seoul", "bottling/line-1/filler", "2026-03-30", odd, 0)
    names = "tenant, site, work_unit, business_date, product, start_ms"
    from cloud.tables import MEASURES

    sql = f"insert into mart_day({names}, {', '.join(MEASURES)}) values({','.join('?' * (6 + len(MEASURES)))})"
    await database.write(lambda c: c.execute(sql, (*values, *([7] * len(MEASURES)))))

    def ask(look: Any) -> None:
        filters = (Filter(dimension="product", values=(odd,)),)
        (row,) = look.table(
            ("produced",), period=Period(relative="last_30_days"), dimensions=("product",), filters=filters
        ).rows
        assert (row.keys, row.cells[0].value) == ((odd,), 7)

    await looked(database, two, ask)


async def test_sql_holds_nothing_of_the_asker(database, two, truth: Truth) -> None:
    """Whatever is asked, a statement is made of words of the catalogue, and the tenant is always bound."""
    words = {word for mart in MARTS for word in (mart.table, *mart.keys, *mart.measures.values())}
    words |= {
        "select",
        "count",
        "sum",
        "cast",
        "as",
        "bigint",
        "from",
        "where",
        "tenant",
        "and",
        "or",
        "not",
        "in",
        "group",
        "by",
        "coalesce",
        "order",
    }

    def ask(look: Any) -> None:
        for dimension, value in (("product", "P1"), ("line", "Line 2"), ("shift", "A"), ("weekday", "1")):
            filters = (Filter(dimension=dimension, op="not_in", values=(value,)),)
            query = look.query(
                ("oee", "defects"), period=Period(relative="last_7_days"), dimensions=("line",), filters=filters
            )
            for part in route(query):
                made = statement(query, part)
                said = made.sql.replace("(", " ").replace(")", " ").replace(",", " ").replace("*", " ")
                said = said.replace("=", " ").replace("<", " ").replace(">", " ").replace("?", " ")
                assert set(said.split()) <= words, made.sql
                assert made.sql.count("?") == len(made.values)
                assert "tenant=?" in made.sql
                assert made.values[0] == "demo"

    await looked(database, two, ask)


async def test_what_is_out_of_scope_answers_as_what_is_not_there(database, two, truth: Truth) -> None:
    scope = Scope("demo", lines=frozenset({("seoul", "bottling/line-1/filler")}))

    def said(look: Any, dimension: str, value: str) -> str:
        with pytest.raises(PlanError) as caught:
            look.table(
                ("oee",), period=Period(relative="last_7_days"), filters=(Filter(dimension=dimension, values=(value,)),)
            )
        return f"{caught.value} {caught.value.near}".replace(repr(value), "X").replace(value, "X")

    def ask(look: Any) -> None:
        for dimension, there, nowhere in (
            ("line", "bottling/line-2/filler", "bottling/line-7/filler"),
            ("line", "2호기", "7호기"),
            ("line", "hidden/line-0/machine", "hidden/line-5/machine"),
            ("site", "berlin", "rimini"),
            ("site", "secret", "sacred"),
            ("area", "press", "prass"),
        ):
            text = said(look, dimension, there)
            assert text.partition(";")[0] == said(look, dimension, nowhere).partition(";")[0]
            for name in ("line-2", "2호기", "berlin", "Berlin", "press", "secret", "hidden", "프레스"):
                assert name not in text, (dimension, there, text)
        rows = look.table(("oee",), period=Period(relative="last_30_days"), dimensions=("line",)).rows
        assert {row.keys for row in rows} == {("bottling/line-1/filler",)}
        assert look.values("line") == ["bottling/line-1/filler"]

    await looked(database, two, ask, scope=scope)


async def test_a_line_that_nobody_configured_is_out_of_scope_too(database, two) -> None:
    sql = "insert into work_unit(tenant, site, work_unit, gateway) values('demo', 'seoul', 'attic/line-x/robot', 1)"
    await database.write(lambda c: c.execute(sql))
    narrow = Scope("demo", lines=frozenset({("seoul", "bottling/line-1/filler")}))
    assert "attic/line-x/robot" in await looked(database, two, lambda look: look.values("line"))
    assert await looked(database, two, lambda look: look.values("line"), scope=narrow) == ["bottling/line-1/filler"]
