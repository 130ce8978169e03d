from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sync import facts as f
from sync.chunk import (
    MAX_BODY_BYTES,
    MAX_DECODED_BYTES,
    MAX_RECORDS,
    ChunkError,
    UnknownFact,
    decode,
    encode_facts,
    encode_readings,
)
from sync.reading import Readings, concatenate

FACTS: list[f.Fact] = [
    f.StateChanged(at=1, work_unit="a/b/c", state="HELD", reason="jam", context=f.Context(order="o", stale=True)),
    f.Produced(at=2, work_unit="a/b/c", start=1, produced=10, good=9, scrap=1, defects={"cap": 1}, ideal_cycle_ms=1.5),
    f.Judged(
        at=3, verdict_id="v", start=1, ruleset="r", ruleset_version="1", ruleset_hash="h", decision="warning",
        severity="warning", confidence=0.75, policy="rule_only", source="rule", summary={"ko": "온도가 높다", "en": "hot"},
        matched=["hot"], checks=[f.Check(name="hot", status="warning", value=91.5, threshold=90.0, unit="CEL")],
        inputs={"t": 91.5, "ok": True, "s": "x", "none": None}, components={"match": 1.0}, actions=[{"action_type": "call"}],
    ),
    f.FeedbackGiven(at=4, work_unit="a/b/c", feedback="f1", target="v", type="correction", corrected="normal", offline=True),
    f.ActionDecided(at=4, action="x", action_type="parameter_adjust", target="a/b/c/speed", value=68.0, trust=2, score=0.9,
                    risk="LOW", mode="control", decision="auto_execute", reasons=["trust 2, risk LOW"]),
    f.ApprovalAnswered(at=4, action="x", approved=True, actor="kim"),
    f.ActionEnded(at=4, action="x", status="EXECUTED", before=70.0, written=68.0, read_back=68.0),
    f.TrustChanged(at=4, ruleset="r", previous=1, level=2, reason="earned", triggered_by="auto", metrics={"accuracy": None}),
    f.ModeChanged(at=4, mode="advise", actor="kim"),
    f.ModelChanged(at=4, model="m", version="1.0.0", sha256="ab", state="active"),
    f.DriftMeasured(at=4, model="m", version="1.0.0", sha256="ab", start=1, samples=200, level="ok", psi={"x": 0.01}),
    f.CcpRecorded(at=4, ccp="fill_temperature", value=72.5, unit="CEL", low=72.0, within=True, verdict_id="v"),
    f.RulesetActivated(at=4, work_unit="a/b/c", ruleset="r", ruleset_version="1.0.0", ruleset_hash="h", content="e30="),
    f.CommandAnswered(at=4, command="c1", done=False, why="it is over", actor="kim"),
    f.AlarmChanged(at=4, alarm="hot", active=True, severity="warning"),
    f.EventNotified(at=7, source="plc", event="0a1b", type="DoorOpened", severity=500, message="문", fields={"n": 1.5}),
    f.Backfilled(at=8, work_unit="a/b/c", source="plc", start=5, tags=3, readings=40),
    f.LotDefined(at=8, lot="L1", product="cola", quantity=12.5, unit="KGM", state="released"),
    f.ShiftPlanned(at=8, work_unit="a/b/c", shift="day", start=8, end=9, team="A"),
    f.QualityMeasured(at=8, work_unit="a/b/c", characteristic="brix", value=10.4, low=10.0, high=11.0, passed=True),
    f.JobResponded(at=9, work_unit="a/b/c", response="r1", order="A-1", start=8, produced=10, good=9, scrap=1),
    f.SchemaDrifted(at=9, source="erp", severity="critical", changes=["orders.qty is gone"], counts={"column_deleted": 1}),
    f.Gap(at=5, source="plc", start=1, tags=3, reason="down"),
    f.ConnectionChanged(at=6, source="plc", connected=False, why="timeout"),
    f.Faulted(at=7, why="bug"),
    f.JobOrderPlanned(at=8, order="o", product="p", quantity=5, start=1, end=2, state="released"),
    f.ProductDefined(at=9, product="p", name={"en": "P"}),
    f.InventoryCounted(at=10, material="m", location="l", quantity=1.5, unit="KGM"),
    f.Aggregated(at=11, tag="t", start=1, count=3, bad=1, mean=2.0),
    f.TagDictionary(at=12, version="v", tags=[f.TagEntry(id="a/b/c/t", unit="CEL", low=0.0, high=1.0)]),
    f.Audited(at=13, actor="a", action="b", detail={"n": 1, "list": [1, "x"]}, previous="0" * 64),
    f.Tallied(at=14, start=10, inc="a" * 32, lanes={"1": (1, 3), "3": (4, 9000)}),
    f.ClockStepped(at=14, step=-5, uptime=7, was="unset", sync="synced"),
    f.HealthReported(at=14, values={"cpu": 0.5}),
    f.Corrected(at=15, inc="a" * 32, stream=2, seq=7, rev=1, replacement={"kind": "state"}, by="a", reason="b"),
]  # fmt: skip


def columns(n: int, **changed) -> Readings:
    at = np.arange(n, dtype=np.int64) * 1_000_000 + 1_700_000_000_000_000_000
    made = {
        "tag": np.arange(n, dtype=np.int32) % 7,
        "value": np.arange(n, dtype=np.float64) / 3,
        "status": np.zeros(n, np.uint32),
        "source_time": at,
        "server_time": at,
        "received": 5,
        "other": None,
    }
    return Readings(**(made | changed))


def same(a: Readings, b: Readings) -> None:
    for name in ("tag", "value", "status", "source_time", "server_time"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)
        assert getattr(a, name).dtype == getattr(b, name).dtype
    assert (a.received, a.other or None, a.historical) == (b.received, b.other or None, b.historical)


def body(content: object) -> bytes:
    return zstandard.ZstdCompressor().compress(msgspec.json.encode(content))


def test_every_kind_of_fact_comes_out_as_it_went_in():
    assert {type(fact) for fact in FACTS} == set(f.STREAM_OF)
    assert decode(encode_facts(FACTS), len(FACTS)) == FACTS


def test_readings_come_out_as_they_went_in():
    assert decode(encode_readings(columns(1), "v"), 1).dictionary == "v"
    same(decode(encode_readings(columns(MAX_RECORDS), "v"), MAX_RECORDS).readings, columns(MAX_RECORDS))


numbers = st.floats(allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)
times = st.integers(-(2**62), 2**62)


@given(st.data())
@settings(max_examples=60)
def test_any_readings_come_out_as_they_went_in(data):
    n = data.draw(st.integers(1, 30))

    def drawn(strategy, dtype):
        return np.array(data.draw(st.lists(strategy, min_size=n, max_size=n)), dtype)

    other = data.draw(st.dictionaries(st.integers(0, n - 1), st.text(max_size=20) | st.integers(-(2**63), 2**64 - 1)))
    value = drawn(numbers, np.float64)
    value[list(other)] = np.nan
    batch = columns(
        n,
        tag=drawn(st.integers(0, 2**31 - 1), np.int32),
        value=value,
        status=drawn(st.integers(0, 2**32 - 1), np.uint32),
        source_time=drawn(times, np.int64),
        server_time=drawn(times, np.int64),
        other=other,
        historical=data.draw(st.booleans()),
    )
    same(decode(encode_readings(batch, "v"), n).readings, batch)


def test_history_is_a_word_that_old_chunks_lack_and_old_clouds_skip():
    plain = zstandard.ZstdDecompressor().decompress(encode_readings(columns(2), "v"))
    assert b"historical" not in plain  # what a gateway said before there was history is said with the same bytes
    marked = json.loads(zstandard.ZstdDecompressor().decompress(encode_readings(columns(2, historical=True), "v")))
    assert marked["readings"].pop("historical") is True
    assert json.loads(plain) == marked
    same(decode(body(marked | {"later": 1}), 2).readings, columns(2))  # and a word of later times does no harm


def test_live_and_historical_readings_never_become_one_batch():
    assert concatenate([columns(2, historical=True), columns(1, historical=True)]).historical
    assert columns(3, historical=True).take(np.arange(2)).historical
    with pytest.raises(ValueError, match="live and historical"):
        concatenate([columns(2), columns(2, historical=True)])


def test_values_that_are_no_numbers_have_none_and_keep_their_status():
    batch = columns(3, value=np.array([np.nan, np.inf, 1.5]), status=np.array([0x80310000, 0x803C0000, 0], np.uint32))
    back = decode(encode_readings(batch, "v"), 3).readings
    assert np.isnan(back.value[:2]).all()  # infinity is no measurement; JSON has none either
    assert back.status.tolist() == [0x80310000, 0x803C0000, 0]


def test_the_same_records_give_the_same_bytes():
    assert encode_readings(columns(500), "v") == encode_readings(columns(500), "v")
    assert encode_facts(FACTS) == encode_facts(FACTS)


def test_a_kind_nobody_knows_yet_is_kept_as_it_came():
    raw = {"kind": "sang", "at": 1, "song": ["la", {"x": None}]}
    assert decode(body({"facts": [raw]}), 1) == [UnknownFact(raw=msgspec.json.encode(raw), kind="sang")]


def test_a_field_nobody_knows_yet_is_no_reason_to_refuse():
    (fact,) = decode(body({"facts": [{"kind": "fault", "at": 1, "why": "x", "later": {"a": 1}}]}), 1)
    assert fact == f.Faulted(at=1, why="x")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "either readings or facts"),
        ({"facts": [], "readings": None}, "holds 0 records"),
        ({"facts": [{"at": 1}]}, "without a kind"),
        ({"facts": [{"kind": "fault", "at": "now", "why": "x"}]}, "a fault fact is malformed"),
        ({"facts": [{"kind": "fault", "at": 1, "why": "x"}] * 2}, "holds 2 records, its frame says 1"),
        ([1, 2], "damaged body"),
        ({"readings": {"dictionary": "v"}}, "damaged body"),
        ({"readings": {"dictionary": "v", "received": 1, "tag": [0], "t0": 0, "dt": [], "v": [1]}}, "different lengths"),
        ({"readings": {"dictionary": "v", "received": 1, "tag": [], "t0": 0, "dt": [], "v": []}}, "different lengths"),
        ({"readings": {"dictionary": "v", "received": 1, "tag": [2**31], "t0": 0, "dt": [0], "v": [1]}}, "does not fit"),
        ({"readings": {"dictionary": "v", "received": 1, "tag": [0], "t0": 0, "dt": [0], "v": [1], "q": [[0, -1]]}}, "does not fit"),
        ({"readings": {"dictionary": "v", "received": 1, "tag": [0], "t0": 0, "dt": [0], "v": [1], "q": [[9, 1]]}}, "not there"),
        ({"readings": {"dictionary": "v", "received": 1, "tag": [0], "t0": 2**63, "dt": [0], "v": [1]}}, "does not fit"),
    ],
)  # fmt: skip
def test_a_body_nobody_sends_is_refused_with_what_is_wrong(content: object, why: str):
    with pytest.raises(ChunkError, match=why):
        decode(body(content), 1)


@pytest.mark.parametrize(
    "place", [b'{"facts":[{"kind":"fault","at":1,"why":"%s"}]}', b'{"facts":[{"kind":"%s","at":1}]}']
)
def test_text_that_is_no_utf_8_is_refused(place: bytes):
    with pytest.raises(ChunkError):
        decode(zstandard.ZstdCompressor().compress(place % b"\xc3\x28"), 1)


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = zstandard.ZstdCompressor().compress(bytes(200 << 20))
    assert len(bomb) < MAX_BODY_BYTES
    with pytest.raises(ChunkError, match=f"at most {MAX_DECODED_BYTES} are accepted"):
        decode(bomb, 1)
    stream = zstandard.ZstdCompressor().compressobj()  # one that does not say how large it is
    with pytest.raises(ChunkError):
        decode(stream.compress(bytes(200 << 20)) + stream.flush(), 1)
    with pytest.raises(ChunkError, match="at most"):
        decode(bytes(MAX_BODY_BYTES + 1), 1)


def test_deep_nesting_is_refused():
    with pytest.raises(ChunkError):
        decode(zstandard.ZstdCompressor().compress(b'{"facts":[{"kind":"sang","x":' + b"[" * 100_000), 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_chunk_error(noise: bytes):
    for raw in (noise, zstandard.ZstdCompressor().compress(noise)):
        with pytest.raises(ChunkError):
            decode(raw, 1)


@given(st.data())
@settings(max_examples=200)
def test_a_damaged_body_is_refused_or_still_decodes_to_as_many_records(data):
    raw = bytearray(data.draw(st.sampled_from([encode_facts(FACTS), encode_readings(columns(len(FACTS)), "v")])))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(raw), len(FACTS))
    except ChunkError:
        return
    assert len(decoded if isinstance(decoded, list) else decoded.readings) == len(FACTS)
