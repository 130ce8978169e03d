"""What may stand in a site file as SQL."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from edge.connections import Query, Sql
from edge.statement import bare, escaped, fault, parameters, tables


@pytest.mark.parametrize(
    "sql",
    [
        "select lot, product from lots",
        "  WITH recent AS (SELECT * FROM lots) SELECT * FROM recent  ; ",
        "(select 1) union (select 2)",
        "select ':since; delete' as state -- ; drop table lots\nfrom lots",
        'select "update" from "insert" /* ; */',
        "select $$ ; delete $$ as a, $x$ insert $x$ as b",
        "select replace(lot, ' ', '') as lot, truncate(q, 0) as quantity from lots",
        "select at::timestamptz from t where at > '12:30:15'",
    ],
)
def test_one_reading_statement_is_accepted(sql):
    assert fault(sql, watermark=False) is None


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("delete from lots", "only a SELECT"),
        ("", "only a SELECT"),
        ("explain select 1", "only a SELECT"),
        ("select 1; select 2", "only one statement"),
        ("select 1; drop table lots", "only one statement"),
        ("with gone as (delete from lots returning *) select * from gone", "'delete' has no place"),
        ("select * into copy_of from lots", "'into' has no place"),
        ("select * from lots for  update", "'for update' has no place"),
        ("select * from lots where line = :line", "no parameter :line"),
        ("select * from lots where at >= :since", "needs `watermark`"),
    ],
)
def test_anything_else_is_a_fault_that_says_why(sql, said):
    assert said in fault(sql, watermark=False)


def test_a_watermark_is_asked_for_with_its_equals():
    assert "a condition on it" in fault("select * from lots", watermark=True)
    for after in ("at > :since", "at>:since", ":since < at"):
        assert "write >= :since" in fault(f"select * from lots where {after}", watermark=True)
    for good in ("at >= :since", ":since <= at", "at >= :since::timestamptz", "at >= cast(:since as timestamp)"):
        assert fault(f"select * from lots where {good}", watermark=True) is None


def test_quiet_parts_are_blanked_in_place():
    sql = "select ':a', \"b:c\" -- :d\n, x /* :e */ from t where u = :work_unit"
    assert len(bare(sql)) == len(sql)
    assert bare(sql).count("\n") == 1
    assert parameters(sql) == {"work_unit"}
    assert tables("with a as (select * from x) select * from a join plant.lots l on true, 'from y'") == [
        "x",
        "plant.lots",
    ]


def test_colons_that_are_no_parameters_reach_the_database_as_they_are():
    sql = "select ' :since', '12:30', 5::text, :work_unit"
    text = sa.text(escaped(sql))
    assert set(text._bindparams) == {"work_unit"}
    assert str(text.compile(compile_kwargs={"literal_binds": False})).startswith("select ' :since', '12:30', 5::text")


def config(**more):
    query = {"gives": "lots", "sql": "select * from lots", **more}
    return Sql(driver="sql", name="erp", url="sqlite:///erp.db", query=[query])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"sql": "delete from lots"}, "sql: only a SELECT"),
        ({"sql": "select * from lots where at >= :since"}, ":since needs `watermark`"),
        ({"sql": "select * from lots where at >= :since", "watermark": "at"}, "watermark and begin go together"),
        ({"begin": 0}, "watermark and begin go together"),
        ({"gives": "products", "sql": "select 1 where x >= :since", "watermark": "x", "begin": 0}, "asked whole"),
        ({"sql": "select 1 where x >= :since", "watermark": "x", "begin": True}, "begin"),
        ({"gives": "people"}, "gives"),
    ],
)
def test_faults_of_a_query_are_found_before_anything_opens(more, said):
    with pytest.raises(ValidationError, match=said):
        config(**more)


def test_faults_of_the_connection_too():
    good = {"gives": "lots", "sql": "select 1"}
    for more, said in (
        ({"url": "postgresql://reader:hunter2@db/erp"}, "holds a password"),
        ({"timezone": "Asia/Soul"}, "no time zone"),
        ({"query": [good, good]}, "two queries are called 'lots'"),
        ({"query": []}, "at least 1"),
    ):
        with pytest.raises(ValidationError, match=said):
            Sql(**{"driver": "sql", "name": "erp", "url": "sqlite:///erp.db", "query": [good], **more})
    assert isinstance(Query(**good).title, str)
