"""A log of 10,000 records, tampered with in every way: the verifier names the row that was touched."""

from __future__ import annotations

import dataclasses
import io
import random

import msgspec
import pytest

from sync.facts import Audited
from sync.testimony import Export, ExportError, Head
from sync.testimony import write as export
from sync.verification import Report, verify
from tests.sync.audit_log import ADDRESS, CLOUD, GATEWAY, Part, changed_chunk, countersign, log, record, stranger, write

WHOLE = log()
SIDES = ["edge", "cloud"]


def look(parts: list[Part], side: str, **more) -> Report:
    return verify((part.lane(side, **more) for part in parts), cloud_keys=[CLOUD.public_key], whole=True)


def copied() -> list[Part]:
    lists = ("chunks", "rows", "points", "losses")
    return [dataclasses.replace(part, **{name: list(getattr(part, name)) for name in lists}) for part in WHOLE]


def turned(value, places: random.Random):
    """Change one byte (of a number: one of its low bits) at a place that chance picks."""
    if isinstance(value, int):
        return value ^ (1 << places.randrange(3))
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    raw[places.randrange(len(raw))] ^= 1 << places.randrange(7)
    return raw.decode("utf-8", "replace") if isinstance(value, str) else bytes(raw)


@pytest.mark.parametrize("side", SIDES)
def test_an_honest_log_is_good_from_its_first_record_to_its_last(side):
    report = look(WHOLE, side)
    assert report.bad == []
    assert report.records == 10_000
    assert report.notes == report.holes == []
    assert report.countersigned == sum(len(part.points) for part in WHOLE) > 30
    assert report.signed == (report.chunks if side == "cloud" else 0)


@pytest.mark.parametrize("column", ["first", "count", "digest", "before", "link", "signature", "body"])
@pytest.mark.parametrize("side", SIDES)
def test_one_changed_byte_of_a_chunk_is_named(side, column):
    if side == "edge" and column in {"link", "signature"}:
        return  # the gateway keeps neither: the link follows, the signature is made when it is sent
    for seed in range(3):
        places, parts = random.Random(f"{column}{seed}"), copied()
        part = places.choice(parts)
        place = places.randrange(len(part.chunks))
        honest = part.chunks[place]
        part.chunks[place] = changed_chunk(honest, **{column: turned(getattr(honest, column), places)})
        (bad,) = look(parts, side).bad
        assert bad.lane == f"{ADDRESS}/{part.ord}/audit"
        touched = {honest.first, part.chunks[place].first, honest.end + 1, part.chunks[place].end + 1}
        assert bad.seq in (touched if column in {"first", "count"} else {honest.first}), f"{bad} {honest.first}"
        if column in {"digest", "body", "before", "link"}:
            assert bad.field == column, f"seed {seed}: {bad}"


@pytest.mark.parametrize("column", ["seq", "raw", "kind", "work_unit", "at", "tenant", "actor", "action", "target"])
def test_one_changed_byte_of_a_row_is_named(column):
    for seed in range(3):
        places, parts = random.Random(f"{column}{seed}"), copied()
        part = places.choice(parts)
        place = places.randrange(len(part.rows))
        honest = part.rows[place]
        if column in {"seq", "raw"}:
            changed = dataclasses.replace(honest, **{column: turned(getattr(honest, column), places)})
        else:
            value = turned(honest.columns[column] or "x", places)
            changed = dataclasses.replace(honest, columns={**honest.columns, column: value})
        part.rows[place] = changed
        part.rows.sort(key=lambda row: row.seq)
        (bad,) = look(parts, "cloud").bad
        assert bad.lane == f"{ADDRESS}/{part.ord}/audit"
        if column == "seq":
            assert bad.seq in {honest.seq, changed.seq}
        else:
            assert (bad.seq, bad.field) == (honest.seq, "body" if column == "raw" else column)


@pytest.mark.parametrize("column", ["seq", "link", "at", "signature"])
@pytest.mark.parametrize("side", SIDES)
def test_one_changed_byte_of_a_countersignature_is_named(side, column):
    places, parts = random.Random(column), copied()
    part = places.choice(parts)
    place = places.randrange(len(part.points))
    honest = part.points[place]
    part.points[place] = dataclasses.replace(honest, **{column: turned(getattr(honest, column), places)})
    (bad,) = look(parts, side).bad
    assert (bad.field, bad.seq) == ("countersignature", part.points[place].seq)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("seed", range(3))
def test_a_deleted_chunk_is_named_as_missing(side, seed):
    parts, places = copied(), random.Random(seed)
    part = places.choice(parts)
    gone = part.chunks.pop(places.randrange(len(part.chunks) - 1))
    (bad,) = look(parts, side).bad
    assert (bad.field, bad.seq, bad.last) == ("missing", gone.first, gone.end)


@pytest.mark.parametrize("seed", range(3))
def test_a_deleted_row_is_named_as_missing(seed):
    parts, places = copied(), random.Random(seed)
    part = places.choice(parts)
    gone = part.rows.pop(places.randrange(len(part.rows)))
    (bad,) = look(parts, "cloud").bad
    assert (bad.field, bad.seq) == ("missing", gone.seq)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("seed", range(3))
def test_two_chunks_in_each_others_place_are_named(side, seed):
    """The contents change places, the numbers stay: what a database that is ordered by its key would show."""
    parts, places = copied(), random.Random(seed)
    part = places.choice(parts)
    a, b = sorted(places.sample(range(len(part.chunks)), 2))
    one, other = part.chunks[a], part.chunks[b]
    part.chunks[a], part.chunks[b] = changed_chunk(other, first=one.first), changed_chunk(one, first=other.first)
    (bad,) = look(parts, side).bad
    assert bad.seq == one.first


def test_two_rows_in_each_others_place_are_named():
    parts = copied()
    rows = parts[1].rows
    rows[70], rows[900] = dataclasses.replace(rows[900], seq=71), dataclasses.replace(rows[70], seq=901)
    (bad,) = look(parts, "cloud").bad
    assert (bad.seq, bad.field) == (71, "body")


@pytest.mark.parametrize("side", SIDES)
def test_an_inserted_chunk_is_named(side):
    parts = copied()
    part = parts[1]
    forged = Part(ord=part.ord, inc=part.inc, previous=part.previous)
    forged.last, forged.top = part.chunks[9].end, part.chunks[9].link or b""
    write(forged, [record(77)], "", sizes=random.Random(1))
    part.chunks.insert(10, forged.chunks[0])
    (bad,) = look(parts, side).bad
    assert bad.seq in {forged.chunks[0].first, forged.chunks[0].end + 1}


def test_an_inserted_row_is_named():
    parts = copied()
    forged = dataclasses.replace(parts[2].rows[-1], seq=parts[2].last + 1)
    parts[2].rows.append(forged)
    (bad,) = look(parts, "cloud").bad
    assert (bad.seq, bad.field) == (forged.seq, "seq")


@pytest.mark.parametrize("side", SIDES)
def test_a_log_cut_off_below_a_countersigned_point_is_named_though_its_counters_were_set_back(side):
    parts = copied()
    part = parts[-1]
    kept = len(part.chunks) // 2
    del part.chunks[kept:]
    part.last, part.top = part.chunks[-1].end, part.chunks[-1].link or b""
    part.rows = [row for row in part.rows if row.seq <= part.last]
    (bad,) = look(parts, side).bad
    assert (bad.seq, bad.field) == (part.last + 1, "missing")
    assert "countersigned" in bad.why


def test_a_log_cut_off_with_its_counters_left_is_named():
    parts = copied()
    gone = parts[0].chunks.pop()
    (bad,) = look(parts, "edge").bad
    assert (bad.seq, bad.field) == (gone.first, "missing")


def rewrite(parts: list[Part], start: int, key) -> Part:
    """Write the last part anew from a chunk on, with every hash as it should be, by whoever holds `key`."""
    part = parts[-1]
    honest = part.chunks[start:]
    facts = [msgspec.json.decode(row.raw, type=Audited) for row in part.rows[honest[0].first - 1 :]]
    facts[0] = msgspec.structs.replace(facts[0], actor="nobody")
    head = facts[0].previous
    part.last, part.top = honest[0].first - 1, honest[0].before or b""
    del part.chunks[start:], part.rows[part.last :]
    points, part.points = part.points, [dataclasses.replace(part.points[0], seq=10**9)]
    write(part, facts, head, sizes=random.Random(9), key=key)
    part.points = points
    return part


@pytest.mark.parametrize("start", [1, 40, 80])
def test_a_log_rewritten_from_a_row_on_is_named_at_that_row(start):
    parts = copied()
    first = parts[-1].chunks[start].first
    rewrite(parts, start, stranger())
    (bad,) = look(parts, "cloud").bad
    assert (bad.seq, bad.field) == (first, "signature")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("start", [1, 40, 80])
def test_even_with_the_gateways_own_key_a_rewriting_shows_against_the_clouds_countersignatures(side, start):
    parts = copied()
    first = parts[-1].chunks[start].first
    part = rewrite(parts, start, GATEWAY)
    (bad,) = look(parts, side).bad
    assert bad.field == "link"
    assert "countersigned" in bad.why
    below = max([0, *(point.seq for point in part.points if point.seq < first)])
    above = min(point.seq for point in part.points if point.seq >= first)
    assert below < bad.seq <= first <= bad.last <= above


@pytest.mark.parametrize("side", SIDES)
def test_declared_losses_are_holes_and_nothing_else_is(side):
    parts = copied()
    middle, end = parts[0].chunks.pop(20), parts[0].chunks.pop()
    for gone in (middle, end):
        parts[0].losses.append((gone.first, gone.end, "rollback"))
        parts[0].rows = [row for row in parts[0].rows if not gone.first <= row.seq <= gone.end]
    parts[0].points = [point for point in parts[0].points if point.seq != end.end]
    report = look(parts, side)
    assert report.bad == []
    assert len(report.holes) == 2
    assert f"/{middle.first}-{middle.end}: declared lost: rollback" in report.holes[0]
    first, last, why = parts[0].losses[0]
    parts[0].losses[0] = (first + 1, last, why)
    (bad,) = look(parts, side).bad
    assert (bad.seq, bad.last, bad.field) == (first, first, "missing")


def test_a_gateway_that_forgot_old_records_is_verified_from_where_it_begins():
    parts = copied()[1:]
    kept = 30
    floor = parts[0].chunks[kept].end
    del parts[0].chunks[:kept]
    lanes = [part.lane("edge", floor=floor if part is parts[0] else 0) for part in parts]
    report = verify(lanes, cloud_keys=[CLOUD.public_key], whole=False)
    assert report.bad == []
    assert report.notes == [f"{ADDRESS}/2/audit: kept from {parts[0].chunks[0].first} on"]
    del parts[0].chunks[2]
    (bad,) = verify([p.lane("edge", floor=9**9) for p in parts[:1]], cloud_keys=[], whole=False).bad
    assert bad.field == "missing"


def test_records_of_another_incarnation_do_not_fit():
    parts = copied()
    parts[1], parts[2] = (
        dataclasses.replace(parts[1], inc=parts[2].inc, previous=parts[1].inc),
        dataclasses.replace(parts[2], inc=parts[1].inc),
    )
    assert [bad.seq for bad in look(parts, "cloud").bad] == [1, 1]


def test_a_restored_store_continues_from_an_earlier_record():
    """The backup was taken after record 100; what came after it and was sent stays."""
    parts = copied()[:1]
    head = msgspec.json.decode(parts[0].rows[100].raw, type=Audited).previous
    restored = Part(ord=2, inc="ab" * 16, previous=parts[0].inc)
    write(restored, [record(i) for i in range(50)], head, sizes=random.Random(2))
    report = look([*parts, restored], "cloud")
    assert report.bad == []
    assert report.notes == [f"{ADDRESS}/2/audit: continues from an earlier record: the store was restored here"]
    forged = Part(ord=2, inc="ab" * 16, previous=parts[0].inc)
    write(forged, [record(i) for i in range(50)], "ab" * 32, sizes=random.Random(2))
    (bad,) = look([*parts, forged], "cloud").bad
    assert (bad.seq, bad.field) == (1, "previous")


def test_records_put_aside_for_a_copy_of_the_box_are_no_fault():
    """A resumed memory image used the numbers of the start before: what it had of its own is in no log any more."""
    parts = copied()[:1]
    turned_ = Part(ord=2, inc="ab" * 16, previous=parts[0].inc)
    detail = {"why": "copy", "aside": {"audit": [3300, 3340]}}
    first = msgspec.structs.replace(record(1), action="store.turned", detail=detail)
    write(turned_, [first, record(2)], "ab" * 32, sizes=random.Random(2))
    report = look([*parts, turned_], "cloud")
    assert report.bad == []
    assert "put aside" in report.notes[0]


def test_chunks_of_older_gateways_have_the_records_chain_alone():
    parts = copied()
    for part in parts:
        part.chunks = [changed_chunk(chunk, before=None, link=None, signature=None) for chunk in part.chunks]
        part.points = []
    report = look(parts, "cloud")
    assert (report.bad, report.unchained) == ([], report.chunks)
    honest = parts[1].rows[500]
    parts[1].chunks = [changed_chunk(chunk, body=None) for chunk in parts[1].chunks]
    parts[1].rows[500] = dataclasses.replace(honest, raw=honest.raw.replace("조정".encode(), "정상".encode()))
    (bad,) = look(parts, "cloud").bad
    assert (bad.seq, bad.field) == (honest.seq + 1, "previous")


@pytest.mark.parametrize("side", SIDES)
def test_an_export_is_verified_like_the_rows_it_was_made_of(side):
    parts = copied()
    part, place = parts[1], 33
    part.chunks[place] = changed_chunk(part.chunks[place], body=turned(part.chunks[place].body, random.Random(1)))
    for subject, bad in ((WHOLE, 0), (parts, 1)):
        file = io.BytesIO()
        head = Head(side=side, whole=True, made=1, cloud_keys=[CLOUD.public_key.hex()])
        export(file, head, (p.lane(side) for p in subject))
        file.seek(0)
        testimony = Export(file)
        report = verify(testimony.lanes(), cloud_keys=testimony.cloud_keys, whole=testimony.head.whole)
        assert len(report.bad) == bad
        assert report == look(subject, side)


def exported() -> list[bytes]:
    file = io.BytesIO()
    export(file, Head(side="cloud", whole=True, made=1), [part.lane("cloud") for part in log(records=60, parts=2)])
    return file.getvalue().splitlines(keepends=True)


def read(lines: list[bytes]) -> Report:
    testimony = Export(io.BytesIO(b"".join(lines)))
    return verify(testimony.lanes(), cloud_keys=testimony.cloud_keys, whole=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "cut off"),
        (lambda lines: lines[:-3], "cut off"),
        (lambda lines: [b"{}\n", *lines], "line 1"),
        (lambda lines: [], "line 1"),
        (lambda lines: [*lines[:5], lines[5][:20] + b"\n", *lines[6:]], "line 6"),
        (lambda lines: [*lines, b"\n"], "behind the end"),
        (lambda lines: [lines[0].replace(b'"version":1', b'"version":9'), *lines[1:]], "newer Triflow"),
    ],
)
def test_an_export_that_cannot_be_read_to_its_end_says_where(change, said):
    with pytest.raises(ExportError, match=said):
        read(change(exported()))


def test_lines_of_an_export_that_changed_places_are_named():
    lines = exported()
    chunks = [i for i, line in enumerate(lines) if b'"is":"chunk"' in line]
    a, b = chunks[0], chunks[1]
    lines[a], lines[b] = lines[b], lines[a]
    assert [bad.seq for bad in read(lines).bad][0] == 1


def test_a_countersignature_by_somebody_else_is_none():
    parts = copied()
    parts[0].points.append(countersign(parts[0], stranger()))
    assert [bad.field for bad in look(parts, "edge").bad] == ["countersignature"]
