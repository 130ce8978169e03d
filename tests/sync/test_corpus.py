"""What every version wrote is read for ever, by this one; and what this one writes is read by the first, as far as it can."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sync.chunk import DecodedReadings, UnknownFact, decode, decode_clocked, decode_raw, digest
from sync.frames import PROTOCOLS, open_down, open_up
from sync.receiver import check_batch
from tests.sync.corpus.make import KEY
from tests.sync.corpus.protocol_1 import chunk as old_chunk
from tests.sync.corpus.protocol_1 import frames as old_frames

CORPUS = Path(__file__).parent / "corpus"
RELEASED = {
    # Never written again: a gateway may hold such chunks on its disk for a year.
    "1/frames.jsonl": "2b15d395c1b3ddb5b3e85b0db4da11dcb38d20802d95e80f2549fcf965160fa7",
    "1/chunks.jsonl": "4db86c439c3b84a6bcd9d4ac2596191794a49f6aaa7c965564ab315a35f173bd",
}


def lines(name: str, *protocols: int) -> list[Any]:
    return [
        pytest.param(msgspec.json.decode(line), id=f"{protocol} {msgspec.json.decode(line)['name']}")
        for protocol in protocols or PROTOCOLS
        for line in (CORPUS / str(protocol) / f"{name}.jsonl").read_bytes().splitlines()
    ]


def holds(got: Any, said: Any) -> bool:
    """Tell whether everything that was said is there, as it was said; there may be more."""
    if isinstance(said, dict) and isinstance(got, dict):
        return all(key in got and holds(got[key], value) for key, value in said.items())
    if isinstance(said, list | tuple) and isinstance(got, list | tuple):
        # A struct that travels as a list may have grown at its end.
        return len(got) >= len(said) and all(holds(g, s) for g, s in zip(got, said, strict=False))
    return got == said


def columns(decoded: Any) -> dict[str, Any]:
    batch = decoded.readings
    return {
        "tag": batch.tag.tolist(),
        "value": ["nan" if np.isnan(v) else float(v).hex() for v in batch.value],
        "status": batch.status.tolist(),
        "source_time": batch.source_time.tolist(),
        "server_time": batch.server_time.tolist(),
        "received": batch.received,
        "other": {str(k): v for k, v in (batch.other or {}).items()},
        "historical": bool(batch.historical),
    }


def as_sent(said: dict[str, Any]) -> dict[str, Any]:
    """Numbers that are none travel as nothing."""
    return said | {"value": ["nan" if v in {"nan", "inf", "-inf"} else v for v in said["value"]]}


def test_every_protocol_we_speak_is_in_the_corpus():
    assert sorted(int(folder.name) for folder in CORPUS.iterdir() if folder.name.isdecimal()) == sorted(PROTOCOLS)


@pytest.mark.parametrize("name", RELEASED)
def test_what_was_released_is_what_it_was(name: str):
    assert hashlib.sha256((CORPUS / name).read_bytes()).hexdigest() == RELEASED[name]


@pytest.mark.parametrize("line", lines("frames"))
def test_every_frame_is_read(line: dict[str, Any]):
    message, body = base64.b64decode(line["message"]), base64.b64decode(line["body"])
    frame, found = open_up(message, KEY) if line["way"] == "up" else (open_down(message, KEY), b"")
    assert holds(msgspec.to_builtins(frame), line["says"])
    assert found == body


@pytest.mark.parametrize("line", lines("chunks"))
def test_every_chunk_is_read_to_the_last_bit(line: dict[str, Any]):
    body = base64.b64decode(line["body"])
    assert digest(body).hex() == line["digest"]
    decoded, clock = decode_clocked(body, line["count"])
    assert (clock is not None) == line["name"].endswith("with a clock")
    if isinstance(decoded, DecodedReadings):
        assert columns(decoded) == as_sent(line["says"])
    else:
        assert not [fact for fact, _ in decoded if isinstance(fact, UnknownFact)]
        for (fact, raw), said in zip(decoded, line["says"], strict=True):
            assert holds(msgspec.to_builtins(fact), said)
            assert msgspec.json.decode(raw) == said  # what is kept is what was said


# --- what this version writes, read by the first one ---


@pytest.mark.parametrize("line", lines("frames", 2))
def test_an_older_end_reads_our_frames_or_refuses_them_in_order(line: dict[str, Any]):
    message = base64.b64decode(line["message"])
    if line["name"].split()[0] in {"Wanted", "Reincarnate", "Offer"}:  # never sent to it
        with pytest.raises(old_frames.FrameError):
            old_frames.open_down(message, KEY)
        return
    frame = old_frames.open_up(message, KEY)[0] if line["way"] == "up" else old_frames.open_down(message, KEY)
    assert holds(line["says"], msgspec.to_builtins(frame))


@pytest.mark.parametrize("line", lines("chunks", 2))
def test_an_older_cloud_loses_nothing_of_our_chunks(line: dict[str, Any]):
    decoded = old_chunk.decode_raw(base64.b64decode(line["body"]), line["count"])
    if isinstance(decoded, old_chunk.DecodedReadings):
        assert columns(decoded) == as_sent(line["says"])
        return
    for (_, raw), said in zip(decoded, line["says"], strict=True):
        assert msgspec.json.decode(raw) == said  # kinds and fields that it does not know are kept as they came
    if line["name"].startswith("every kind"):
        unknown = {fact.kind for fact, _ in decoded if isinstance(fact, old_chunk.UnknownFact)}
        assert unknown == {"tally", "clock_step"}


def test_what_a_newer_version_adds_is_kept():
    """Kinds and fields from after this version: the same promise, one release later."""
    import zstandard

    facts = [{"kind": "state", "at": 1, "state": "HELD", "colour": "red"}, {"kind": "dream", "at": 2, "of": ["sheep"]}]
    body = zstandard.compress(msgspec.json.encode({"facts": facts, "mood": 1}))
    decoded = decode_raw(body, 2)
    assert [msgspec.json.decode(raw) for _, raw in decoded] == facts
    known, unknown = decode(body, 2)
    assert known.state == "HELD"
    assert isinstance(unknown, UnknownFact)
    assert unknown.kind == "dream"


def test_the_numbers_of_old_batches_are_believed():
    for param in lines("frames", 1):
        (line,) = param.values
        if line["name"] == "Batch bare":
            frame, _ = open_up(base64.b64decode(line["message"]), KEY)
            check_batch(msgspec.structs.replace(frame, first=1))
