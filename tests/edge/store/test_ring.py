"""The ring: what left the outbox is there until its room is used; no crash makes a record half, or lets it be two."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from edge.store.file import StoreError
from edge.store.ring import AUDIT_NS, Ring, records
from edge.store.rows import StoredChunk
from sync.chunk import digest
from sync.facts import Stream
from tests.edge.stores import MB
from tests.servers import ROOT

INC = "0123456789abcdef" * 2


def chunk(first: int, size: int = 3_000, stream: Stream = Stream.FACT, inc: str = INC, count: int = 10) -> StoredChunk:
    body = random.Random(first).randbytes(size)
    return StoredChunk(
        inc=inc, stream=stream, first=first, count=count, digest=digest(body), body=body, before=digest(b"%d" % first)
    )


def put(ring: Ring, *chunks: StoredChunk, kind: str = "data", lived: int = 0) -> bool:
    return ring.append(kind, [(one, lived) for one in chunks])


def all_kept(ring: Ring, stream: Stream = Stream.FACT) -> list[StoredChunk]:
    return sorted(ring.kept(INC, stream, 1, 10**9), key=lambda one: one.first)


def test_what_was_put_in_is_found_by_any_number_it_holds(tmp_path: Path):
    ring = Ring(tmp_path / "ring", MB)
    mine = [chunk(1 + 10 * i) for i in range(20)]
    put(ring, *mine[:7], chunk(1, inc="f" * 32))
    put(ring, *mine[7:], chunk(5, stream=Stream.DIAG))
    for reader in (ring, Ring(tmp_path / "ring", MB)):
        assert all_kept(reader) == mine
        assert [one.first for one in reader.kept(INC, Stream.FACT, 15, 31)] == [11, 21, 31]
        assert list(reader.kept(INC, Stream.FACT, 201, 300)) == []
        assert list(reader.kept("a" * 32, Stream.FACT, 1, 300)) == []


def test_without_a_link_it_comes_back_without_one(tmp_path: Path):
    ring = Ring(tmp_path / "ring", MB)
    old = StoredChunk(inc=INC, stream=Stream.FACT, first=1, count=1, digest=digest(b"x"), body=b"x")
    put(ring, old)
    assert all_kept(ring) == [old]
    assert all_kept(ring)[0].link == b""


def test_it_stays_within_its_room_and_the_oldest_go(tmp_path: Path):
    ring = Ring(tmp_path / "ring", 2 * MB)
    for i in range(1500):
        put(ring, chunk(1 + 10 * i))
    on_disk = sum(path.stat().st_size for path in (tmp_path / "ring").iterdir())
    assert ring.size == on_disk <= 2 * MB + 256 * 1024
    kept = all_kept(ring)
    assert kept[-1].first == 14_991
    assert [one.first for one in kept] == list(range(kept[0].first, 14_992, 10))


def test_a_full_disk_gets_it_back_at_once(tmp_path: Path):
    ring = Ring(tmp_path / "ring", 4 * MB)
    for i in range(600):
        put(ring, chunk(1 + 10 * i))
    put(ring, chunk(1, stream=Stream.AUDIT), kind="audit")
    before = ring.size
    assert ring.release(MB) >= MB
    assert ring.size <= before - MB
    ring.release(1 << 60)
    assert list((tmp_path / "ring").glob("data-*")) == []
    assert len(all_kept(ring, Stream.AUDIT)) == 1  # apart, and not ours to give away
    put(ring, chunk(7))
    assert all_kept(ring) == [chunk(7)]


def test_audit_stays_ninety_days_of_running(tmp_path: Path):
    ring = Ring(tmp_path / "ring", 256 * 1024)
    for day in range(120):
        put(ring, chunk(1 + 10 * day, 30_000, Stream.AUDIT), kind="audit", lived=day * 86_400 * 10**9)
    ring.age(120 * 86_400 * 10**9)
    kept = all_kept(ring, Stream.AUDIT)
    assert kept[0].first <= 1 + 10 * 30  # nothing younger than 90 days has gone
    assert len(kept) < 120
    again = Ring(tmp_path / "ring", 256 * 1024)  # ages are in the records
    again.age(119 * 86_400 * 10**9 + AUDIT_NS + 1)
    assert len(all_kept(again, Stream.AUDIT)) < len(kept)


@pytest.mark.parametrize("cut", [1, 5, 116, 117, 120, 1_000, 3_110])
def test_a_record_cut_off_by_a_crash_is_cut_away_and_the_next_one_stands(tmp_path: Path, cut: int):
    ring = Ring(tmp_path / "ring", MB)
    put(ring, chunk(1), chunk(11))
    (segment,) = (tmp_path / "ring").iterdir()
    os.truncate(segment, segment.stat().st_size - cut)
    ring = Ring(tmp_path / "ring", MB)
    assert all_kept(ring) == [chunk(1)]
    put(ring, chunk(11), chunk(21))
    assert [one.first for one in all_kept(Ring(tmp_path / "ring", MB))] == [1, 11, 21]


def test_damage_anywhere_costs_no_more_than_the_records_it_hits(tmp_path: Path):
    dice = random.Random(3)
    ring = Ring(tmp_path / "ring", MB)
    mine = [chunk(1 + 10 * i, 500) for i in range(60)]
    put(ring, *mine)
    (segment,) = (tmp_path / "ring").iterdir()
    sound = segment.read_bytes()
    for _ in range(60):
        raw = bytearray(sound)
        at = dice.randrange(len(raw))
        width = dice.choice([1, 1, 4, 700])
        raw[at : at + width] = dice.randbytes(len(raw[at : at + width]))
        segment.write_bytes(raw)
        kept = all_kept(Ring(tmp_path / "ring", MB))
        assert len(kept) >= 60 - (1 if width < 5 else 3)
        assert all(one in mine for one in kept)


def test_garbage_of_any_kind_is_no_reason_not_to_start(tmp_path: Path):
    folder = tmp_path / "ring"
    folder.mkdir()
    (folder / "data-00000001.seg").write_bytes(b"")
    (folder / "data-00000002.seg").write_bytes(os.urandom(5_000))
    (folder / "audit-00000001.seg").write_bytes(b"TFRING1\n" + b"TFRC" * 400)
    (folder / "notes.txt").write_text("hands off")
    ring = Ring(folder, MB)
    put(ring, chunk(1))
    assert all_kept(Ring(folder, MB)) == [chunk(1)]
    assert (folder / "notes.txt").exists()


def test_a_reader_beside_it_sees_whole_records_only(tmp_path: Path):
    ring = Ring(tmp_path / "ring", MB)
    put(ring, chunk(1), chunk(11), lived=5)
    (segment,) = (tmp_path / "ring").glob("data-*")
    assert [(one.first, lived) for _, one, lived in records(segment)] == [(1, 5), (11, 5)]


def test_no_room_is_said_and_what_did_not_fit_is_not_there(tmp_path: Path, caplog):
    child = """
import resource, signal, sys
from pathlib import Path
from tests.edge.store.test_ring import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ring = Ring(Path(sys.argv[1]) / "ring", MB)
put(ring, chunk(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
print(put(ring, chunk(11), chunk(21), chunk(31)), ring.skipped)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(put(ring, chunk(41)))
"""
    said = subprocess.run(
        [sys.executable, "-c", child, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["False", "1", "True"], said.stdout
    kept = [one.first for one in all_kept(Ring(tmp_path / "ring", MB))]
    assert kept[0] == 1
    assert kept[-1] == 41
    assert resource.RLIM_INFINITY


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "ring").write_text("a file")
    with pytest.raises(StoreError, match="check the disk and the folder's owner"):
        Ring(tmp_path / "ring", MB)
