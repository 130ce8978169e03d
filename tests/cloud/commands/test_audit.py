"""`triflow audit` on the cloud's database, both kinds, against someone who may do everything in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from cloud.config import load
from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.ingest.witness import load_key
from cloud.plant import Plants
from sync import facts as f
from sync.chain import statement
from sync.signing import Signer
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import Start
from triflow import audit

GATEWAY = Signer(bytes(range(32)))
ADDRESS = "demo/seoul/gw-1"


def chained(count: int, head: str, begin: int = 0) -> tuple[list[f.Audited], str]:
    made = []
    for number in range(begin, begin + count):
        fact = f.Audited(
            at=10**18 + number, actor="kim", action="setpoint.changed", target="t", detail={"n": number}, previous=head
        )
        head = hashlib.sha256(msgspec.json.encode(fact)).hexdigest()
        made.append(fact)
    return made, head


@pytest.fixture
async def starts(database: Database, plants: Plants, cloud_toml: Path) -> list[Start]:
    """Two starts of a gateway, 300 audit records each and some events, signed and countersigned."""
    key = Signer(load_key(load(cloud_toml))[0])
    head, made = "", list[Start]()
    for order in (1, 2):
        start = Start(ord=order, signer=GATEWAY, previous=made[-1].inc if made else "")
        items = [Item(start.address, start.resume(*made))]
        for part in range(0, 300, 20):
            facts, head = chained(20, head, order * 1000 + part)
            items.append(Item(start.address, *start.facts(*facts, stream=1)))
        items.append(Item(start.address, *start.facts(f.Faulted(at=10**18, why="no"), f.Faulted(at=10**18, why="yes"))))
        await database.write(lambda c, items=items: Ingest(plants).store(c, items))
        (number,) = (
            await database.read(lambda c, i=start.inc: c.execute("select id from incarnation where inc=?", (i,)))
        )[0]

        def know(connection, number=number, start=start) -> None:
            connection.execute(
                "update incarnation set public_key=?, ord=? where id=?", (GATEWAY.public_key.hex(), start.ord, number)
            )
            connection.execute("update incarnation set previous=? where id=?", (start.previous, number))
            connection.execute("delete from witness where inc=?", (number,))
            for seq in (140, 280):
                (link,) = connection.execute(
                    "select link from ingest_chunk where inc=? and stream=1 and first=?", (number, seq - 19)
                )[0]
                said = statement(ADDRESS, (start.inc, 1), seq, bytes(link), 7)
                connection.execute(
                    "insert into witness(inc, stream, seq, tenant, link, at, signature) values(?,1,?,'demo',?,7,?)",
                    (number, seq, bytes(link), key.sign(said)),
                )

        await database.write(know)
        made.append(start)
    return made


def run(capsys, cloud_toml: Path, *words: str) -> tuple[int, dict]:
    status = audit(["verify", "--json", "--cloud", str(cloud_toml), *words])
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out else {"error": said.err}


async def test_an_honest_log_is_valid(starts: list[Start], cloud_toml: Path, capsys) -> None:
    for words in ((), ("--gateway", ADDRESS), ("--streams", "audit")):
        status, said = run(capsys, cloud_toml, *words)
        assert (status, said["bad"], said["countersigned"]) == (0, [], 4), said
        assert said["signed"] == said["chunks"]
        assert said["records"] == (600 if "audit" in words else 604)
        assert said["unchained"] == 0


async def tamper(database: Database, statement: str) -> None:
    """Do what a database's owner can: take the triggers away first."""

    def work(connection) -> None:
        if database.postgresql:
            connection.execute("drop function if exists refuse_audit_change cascade")
        else:
            for (name,) in connection.execute("select name from sqlite_master where type='trigger'"):
                connection.execute(f"drop trigger {name}")
        connection.execute(statement)

    await database.write(work)


LATER = "inc=(select id from incarnation where ord=2) and stream=1"


@pytest.mark.parametrize(
    ("statement", "seq", "fields"),
    [
        (f"update fact set body=replace(body, 'kim', 'kin') where {LATER} and seq=77", 77, {"body"}),
        (f"update fact set at=at+1 where {LATER} and seq=77", 77, {"at"}),
        (f"update fact set work_unit='x' where {LATER} and seq=77", 77, {"work_unit"}),
        (f"update fact set kind='audio' where {LATER} and seq=77", 77, {"kind"}),
        (f"update fact set tenant='dem' where {LATER} and seq=77", 77, {"tenant"}),
        (f"update fact set seq=1077 where {LATER} and seq=77", 77, {"missing"}),
        (f"delete from fact where {LATER} and seq=77", 77, {"missing"}),
        (f"update audit_entry set actor='lee' where {LATER} and seq=77", 77, {"actor"}),
        (f"update audit_entry set action='x' where {LATER} and seq=77", 77, {"action"}),
        (f"update audit_entry set target='x' where {LATER} and seq=77", 77, {"target"}),
        (f"update audit_entry set words='x' where {LATER} and seq=77", 77, {"words"}),
        (f"update audit_entry set gateway='gw-2' where {LATER} and seq=77", 77, {"gateway"}),
        (f"update audit_entry set at=at+1 where {LATER} and seq=77", 77, {"at"}),
        (f"delete from audit_entry where {LATER} and seq=77", 77, {"tenant", "site", "at"}),
        (f"delete from ingest_chunk where {LATER} and first=61", 61, {"missing"}),
        (f"update ingest_chunk set count=19 where {LATER} and first=61", 61, {"count", "signature"}),
        (f"update ingest_chunk set digest=link where {LATER} and first=61", 61, {"body", "digest"}),
        (f"update ingest_chunk set before=link where {LATER} and first=61", 61, {"before"}),
        (f"update ingest_chunk set link=before where {LATER} and first=61", 61, {"link"}),
        (f"update ingest_chunk set signature=link where {LATER} and first=61", 61, {"signature"}),
        (f"update ingest_chunk set signature=null where {LATER} and first=61", 61, {"signature"}),
        (f"update ingest_chunk set body=link where {LATER} and first=61", 61, {"body"}),
        (f"update witness set at=8 where {LATER} and seq=140", 140, {"countersignature"}),
        (f"update witness set seq=141 where {LATER} and seq=140", 141, {"countersignature"}),
        (f"update ingest_stream set stored=250 where {LATER}", 241, {"first"}),
    ],
)  # fmt: skip
async def test_what_the_databases_owner_changes_is_named(
    starts: list[Start], database: Database, cloud_toml: Path, capsys, statement: str, seq: int, fields: set[str]
) -> None:
    await tamper(database, statement)
    status, said = run(capsys, cloud_toml, "--streams", "audit")
    (bad,) = said["bad"]
    assert status == 1
    assert (bad["lane"], bad["seq"]) == (f"{ADDRESS}/2/audit", seq), bad
    assert bad["field"] in fields, bad


async def test_a_log_cut_off_below_a_countersigned_point_is_named(
    starts: list[Start], database: Database, cloud_toml: Path, capsys
) -> None:
    for table, column in (("fact", "seq"), ("audit_entry", "seq"), ("ingest_chunk", "first")):
        await tamper(database, f"delete from {table} where {LATER} and {column}>200")
    await tamper(database, f"update ingest_stream set stored=200, last=200 where {LATER}")
    status, said = run(capsys, cloud_toml)
    (bad,) = said["bad"]
    assert (status, bad["seq"], bad["field"]) == (1, 201, "missing")
    assert "countersigned" in bad["why"]


async def test_an_export_of_the_cloud_needs_no_cloud(
    starts: list[Start], database: Database, cloud_toml: Path, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "log.jsonl"
    assert audit(["export", "--cloud", str(cloud_toml), "--to", str(file)]) == 0
    capsys.readouterr()
    assert audit(["verify", str(file)]) == 0
    assert "VALID" in capsys.readouterr().out
    lines = file.read_bytes().splitlines(keepends=True)
    row = next(i for i, line in enumerate(lines) if b'"is":"row"' in line and b'"seq":33,' in line)
    lines[row] = lines[row].replace(b"kim", b"lee", 1)
    file.write_bytes(b"".join(lines))
    assert audit(["verify", str(file)]) == 1
    assert f"first bad row: {ADDRESS}/1/audit/33: body" in capsys.readouterr().out


async def test_what_cannot_be_read_is_no_verdict(starts: list[Start], cloud_toml: Path, capsys, tmp_path: Path) -> None:
    status, said = run(capsys, cloud_toml, "--gateway", "demo/seoul/gw-7")
    assert status == 2
    assert f"known are: {ADDRESS}" in said["error"]
    assert run(capsys, tmp_path / "none.toml")[0] == 2


def test_a_database_that_is_not_there_is_no_verdict(tmp_path: Path, capsys) -> None:
    for url, said in (
        (f"sqlite:///{tmp_path}/nowhere.db", "there is no database"),
        ("postgresql://x@127.0.0.1:1/x", "127.0.0.1"),
    ):
        status, found = run(capsys, write_cloud_toml(tmp_path, url))
        assert status == 2
        assert said in found["error"]
    assert not (tmp_path / "nowhere.db").exists()
