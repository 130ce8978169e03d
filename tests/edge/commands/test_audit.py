"""`triflow audit` on a gateway's own data folder: a real store, stopped or running, and everything a hand can do to it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.cloud_key import CHECKPOINT
from edge.store.ring import FOLDER
from sync.chain import follow, statement
from sync.chunk import decode, digest, encode_facts
from sync.facts import Audited, Stream
from sync.frames import Watermark, Witness
from sync.signing import Signer
from tests.edge.stores import store_in
from triflow import audit

ADDRESS = "demo/seoul/gw-1"
CLOUD = Signer(bytes(range(32)))
RECORDS = 400


def audited(number: int) -> Audited:
    return Audited(at=time.time_ns(), actor="kim", action="setpoint.changed", target=f"t{number}", detail={"n": number})


async def write(folder: Path, *, starts: int = 2, safe: bool = False) -> list[tuple[str, int]]:
    """Let a gateway live a few times; the cloud countersigns in between. Gives (incarnation, records) of each start."""
    lives = []
    for life in range(starts):
        async with store_in(folder, ring_bytes=8 << 20 if safe else 0) as store:
            key = json.dumps({"kept": CLOUD.public_key.hex()}).encode()
            for part in range(0, RECORDS // starts, 20):
                facts = [audited(life * 1000 + part + i) for i in range(20)]
                await store.commit(facts=facts, checkpoints={CHECKPOINT: key})
                if part % 100 == 40:
                    await countersign(store, part + 20, safe=part + 20 if safe else 0)
            lives.append((store.incarnation, RECORDS // starts))
    return lives


async def countersign(store, seq: int, safe: int) -> None:
    """Confirm and countersign the audit lane up to a record, as the cloud does."""
    inc, at = store.incarnation, time.time_ns()
    (chunk,) = await store.kept(inc, Stream.AUDIT, seq, seq)
    said = statement(ADDRESS, (inc, 1), seq, chunk.link, at)
    witness = Witness(inc=inc, stream=1, seq=seq, link=chunk.link.hex(), at=at, signature=CLOUD.sign(said).hex())
    mark = Watermark(inc=inc, stream=1, stored=seq, safe=safe)
    await store.apply([mark], witnessed=[witness])


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    await write(tmp_path / "data")
    return tmp_path / "data"


def file_of(folder: Path) -> bytes:
    return (folder / "edge.db").read_bytes()


def run(capsys, *words: str) -> tuple[int, dict]:
    status = audit(["verify", "--json", "--gateway", ADDRESS, *words])
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out else {"error": said.err}


def tamper(folder: Path, *statements: str, values: tuple = ()) -> None:
    with sqlite3.connect(folder / "edge.db") as connection:
        for sql in statements:
            connection.execute(sql, values if "?" in sql else ())
    connection.close()


async def test_a_log_of_two_lives_is_valid(folder: Path, capsys) -> None:
    status, said = run(capsys, "--edge", str(folder))
    assert (status, said["valid"], said["bad"]) == (0, True, [])
    assert said["records"] >= RECORDS
    assert said["countersigned"] == 4
    assert audit(["verify", "--edge", str(folder), "--gateway", ADDRESS]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("VALID")
    assert CLOUD.public_key.hex()[:16] in shown


async def test_a_running_gateway_can_be_verified(tmp_path: Path, capsys) -> None:
    async with store_in(tmp_path) as store:
        await store.commit(facts=[audited(1)])
        before = digest(file_of(tmp_path))
        status, said = run(capsys, "--edge", str(tmp_path))
        assert (status, said["records"]) == (0, 1)
        assert digest(file_of(tmp_path)) == before
        await store.commit(facts=[audited(2)])
    assert run(capsys, "--edge", str(tmp_path))[1]["records"] >= 2


PLACE = "where ord=1 and stream=1 and first=61"


@pytest.mark.parametrize(
    ("statement", "seqs", "fields"),
    [
        (f"update chunk set digest=zeroblob(32) {PLACE}", {61}, {"digest", "body"}),
        (f"update chunk set before=zeroblob(32) {PLACE}", {61}, {"before"}),
        (f"update chunk set body=zeroblob(40) {PLACE}", {61}, {"body"}),
        (f"update chunk set count=19 {PLACE}", {61, 80}, {"count", "missing"}),
        (f"update chunk set first=63 {PLACE}", {61}, {"missing"}),
        (f"update chunk set stream=2 {PLACE}", {61}, {"missing"}),
        (f"update chunk set ord=2 {PLACE}", {61}, {"missing"}),
        (f"delete from chunk {PLACE}", {61}, {"missing"}),
        ("delete from chunk where ord=1 and stream=1 and first>140", {141}, {"missing"}),
        ("update lane set last=180 where ord=1 and stream=1", {181}, {"first"}),
        ("update lane set link=zeroblob(32) where ord=1 and stream=1", {181}, {"digest"}),
        ("update witness set at=at+1 where seq=60", {60}, {"countersignature"}),
        ("update witness set link='00' || substr(link, 3) where seq=60", {60}, {"countersignature"}),
        ("update witness set signature='zz' where seq=160", {160}, {"countersignature"}),
    ],
)
async def test_what_a_hand_changes_in_the_file_is_named(folder: Path, capsys, statement, seqs, fields) -> None:
    tamper(folder, statement)
    status, said = run(capsys, "--edge", str(folder), "--streams", "audit")
    assert status == 1
    bad = said["bad"][0]
    assert bad["seq"] in seqs, bad
    assert bad["field"] in fields, bad
    assert bad["lane"].startswith(f"{ADDRESS}/")
    assert audit(["verify", "--edge", str(folder), "--gateway", ADDRESS]) == 1
    assert f"first bad row: {bad['lane']}/{bad['seq']}" in capsys.readouterr().out


async def test_two_bodies_that_changed_places_are_named(folder: Path, capsys) -> None:
    with sqlite3.connect(folder / "edge.db") as connection:
        rows = dict(connection.execute("select first, body from chunk where ord=1 and stream=1 and first in (41, 121)"))
        for first, other in ((41, 121), (121, 41)):
            sql = "update chunk set body=?, digest=? where ord=1 and stream=1 and first=?"
            connection.execute(sql, (rows[other], digest(rows[other]), first))
    connection.close()
    status, said = run(capsys, "--edge", str(folder))
    assert (status, said["bad"][0]["seq"]) == (1, 41)


async def test_a_log_rewritten_with_every_hash_made_anew_shows_against_the_clouds_signature(
    folder: Path, capsys
) -> None:
    """Records 101 on of the last life say something else, all hashes, links and counters fit again."""
    with sqlite3.connect(folder / "edge.db") as connection:
        chunks = connection.execute(
            "select first, body, before from chunk where ord=2 and stream=1 order by first"
        ).fetchall()
        link, head = chunks[5][2], None
        for first, body, _ in chunks[5:]:
            count = connection.execute(
                "select count from chunk where ord=2 and stream=1 and first=?", (first,)
            ).fetchone()[0]
            made = []
            for fact in decode(body, count):
                changed = msgspec.structs.replace(
                    fact, actor="nobody", previous=fact.previous if head is None else head
                )
                made.append(changed)
                head = hashlib.sha256(msgspec.json.encode(changed)).hexdigest()
            new = encode_facts(made)
            sql = "update chunk set body=?, digest=?, before=?, bytes=? where ord=2 and stream=1 and first=?"
            connection.execute(sql, (new, digest(new), link, len(new), first))
            link = follow(link, digest(new))
        connection.execute("update lane set link=? where ord=2 and stream=1", (link,))
        connection.execute("update meta set value=? where key='audit_head'", (head,))
    connection.close()
    status, said = run(capsys, "--edge", str(folder))
    (bad,) = said["bad"]
    assert (status, bad["field"]) == (1, "link")
    assert bad["seq"] <= 101 <= bad["last"] == 160
    assert "countersigned" in bad["why"]


async def test_the_ring_is_part_of_the_log(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "data"
    await write(folder, safe=True)
    assert list((folder / FOLDER).glob("audit-*.seg"))
    status, said = run(capsys, "--edge", str(folder))
    assert (status, said["bad"]) == (0, [])
    assert said["records"] >= RECORDS
    segment = next((folder / FOLDER).glob("audit-*.seg"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    status, said = run(capsys, "--edge", str(folder))
    assert (status, said["bad"][0]["field"]) == (1, "missing")


async def test_an_export_is_verified_without_its_gateway(folder: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "log.jsonl"
    assert audit(["export", "--edge", str(folder), "--gateway", ADDRESS, "--to", str(file)]) == 0
    shutil.rmtree(folder)
    capsys.readouterr()
    status, said = run(capsys, str(file))
    assert (status, said["side"], said["records"]) == (0, "edge", RECORDS)
    lines = file.read_bytes().splitlines(keepends=True)
    chunk = next(i for i, line in enumerate(lines) if b'"first":61' in line)
    file.write_bytes(b"".join(lines[:chunk] + lines[chunk + 1 :]))
    status, said = run(capsys, str(file))
    assert status == 2  # the end says one line more
    del lines[chunk]
    lines[-1] = lines[-1].replace(str(len(lines)).encode(), str(len(lines) - 1).encode())
    file.write_bytes(b"".join(lines))
    status, said = run(capsys, str(file))
    assert (status, said["bad"][0]["seq"], said["bad"][0]["field"]) == (1, 61, "missing")
    file.write_bytes(b"".join(lines)[:-30])
    assert run(capsys, str(file))[0] == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no edge.db"),
        (lambda path: (path / "edge.db").write_bytes(b"no database at all" * 100), ""),
        (lambda path: (path / "site.toml").write_text("["), ""),
    ],
)
def test_what_cannot_be_read_is_said_and_is_no_verdict(tmp_path: Path, capsys, make: Callable, said: str) -> None:
    make(tmp_path)
    place = tmp_path / "site.toml" if (tmp_path / "site.toml").exists() else tmp_path
    status, found = run(capsys, "--edge", str(place))
    assert status == 2
    assert said in found["error"]
    assert found["error"].startswith("cannot be read: ")


async def test_whose_log_it_is_must_be_known(folder: Path, capsys) -> None:
    assert audit(["verify", "--edge", str(folder)]) == 2
    assert "--gateway" in capsys.readouterr().err


async def test_a_key_known_from_elsewhere_counts_instead(folder: Path, capsys) -> None:
    status, said = run(capsys, "--edge", str(folder), "--cloud-key", Signer(b"\1" * 32).public_key.hex())
    assert (status, said["bad"][0]["field"]) == (1, "countersignature")
    assert run(capsys, "--edge", str(folder), "--cloud-key", "nothing")[0] == 2
