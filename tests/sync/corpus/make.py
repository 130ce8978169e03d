"""Write the corpus of the code at hand: `PYTHONPATH=TREE python tests/sync/corpus/make.py FOLDER`.

Run once per released protocol, with that version's own code on the path; what it wrote is never written again. Two of
every frame and every kind of fact: with nothing but what must be there, and with everything. Each line of the files
says what was encoded beside the bytes that came of it.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sync import chunk, frames
from sync.facts import AnyFact, TagDictionary, TagEntry
from sync.reading import Readings

KEY = bytes(range(32))


def sample(type_: Any, name: str, full: bool) -> Any:
    """Give a value of a field's type."""
    match type_:
        case msgspec.inspect.UnionType():
            return sample(next(t for t in type_.types if not isinstance(t, msgspec.inspect.NoneType)), name, full)
        case msgspec.inspect.IntType():
            return 7
        case msgspec.inspect.FloatType():
            return 1.5
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.StrType():
            return f"{name} 값"
        case msgspec.inspect.ListType():
            return [sample(type_.item_type, name, full)]
        case msgspec.inspect.VarTupleType():
            return (7,)
        case msgspec.inspect.TupleType():
            return tuple(sample(t, name, full) for t in type_.item_types)
        case msgspec.inspect.DictType():
            return {"key": sample(type_.value_type, name, full)}
        case msgspec.inspect.StructType():
            return struct(type_.cls, full)
        case msgspec.inspect.AnyType():
            return {"any": [1, "x", None]}
    raise TypeError(f"{name}: {type_}")


def struct(cls: Any, full: bool) -> Any:
    """Make a struct with all its fields, or only those that have no default."""
    fields = msgspec.inspect.type_info(cls).fields
    return cls(**{f.name: sample(f.type, f.name, full) for f in fields if full or f.required})


def readings(n: int, **more: Any) -> Readings:
    at = 1_760_000_000_000_000_000 + np.arange(n, dtype=np.int64) * 1_000_000
    columns: dict[str, Any] = {
        "tag": (np.arange(n) % 3).astype(np.int32),
        "value": np.arange(n) * 0.1,
        "status": np.zeros(n, np.uint32),
        "source_time": at,
        "server_time": at,
        "received": int(at[-1]) + 5,
    }
    return Readings(**(columns | more))


def batches() -> dict[str, Readings]:
    doubtful = np.zeros(8, np.uint32)
    doubtful[[2, 5]] = [0x80000000, 0x40000000]
    value = np.array([0.1, np.nan, -1e300, 2.0**53, 1 / 3, np.inf, 0.0, 5e-324])
    at = 1_760_000_000_000_000_000 + np.arange(8, dtype=np.int64)
    return {
        "readings": readings(1000),
        "readings that are doubtful": readings(8, status=doubtful, value=value),
        "readings that are no numbers": readings(8, other={1: "문자", 3: 2**63 + 1}),
        "readings with a server's time": readings(8, server_time=at + 3),
        "readings from history": readings(8, historical=True),
    }


def columns(batch: Readings) -> dict[str, Any]:
    """Give readings as JSON can hold them; numbers as hex, to the last bit."""
    return {
        "tag": batch.tag.tolist(),
        "value": [float(v).hex() for v in batch.value],
        "status": batch.status.tolist(),
        "source_time": batch.source_time.tolist(),
        "server_time": batch.server_time.tolist(),
        "received": batch.received,
        "other": {str(k): v for k, v in (batch.other or {}).items()},
        "historical": bool(batch.historical),
    }


def frame_lines() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for way, union in (("up", frames.UpFrame), ("down", frames.DownFrame)):
        for cls in union.__args__:
            for full in (False, True):
                header = struct(cls, full)
                body = b"\0body\xff" if cls is frames.Batch else b""
                lines.append(
                    {
                        "name": f"{cls.__name__} {'full' if full else 'bare'}",
                        "way": way,
                        "body": base64.b64encode(body).decode(),
                        "says": msgspec.to_builtins(header),
                        "message": base64.b64encode(frames.seal(header, KEY, body)).decode(),
                    }
                )
    return lines


def chunk_lines() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []

    def add(name: str, count: int, body: bytes, says: Any) -> None:
        digest = chunk.digest(body).hex()
        body64 = base64.b64encode(body).decode()
        lines.append({"name": name, "count": count, "digest": digest, "says": says, "body": body64})

    clocks: dict[str, Any] = {"": None}
    if hasattr(chunk, "ClockState"):
        clocks[" with a clock"] = struct(chunk.ClockState, full=True)
    for suffix, clock in clocks.items():
        said = {} if clock is None else {"clock": clock}
        for full in (False, True):
            facts = [struct(cls, full) for cls in AnyFact.__args__]
            name = f"every kind of fact, {'full' if full else 'bare'}{suffix}"
            add(name, len(facts), chunk.encode_facts(facts, **said), msgspec.to_builtins(facts))
        for name, batch in batches().items():
            add(name + suffix, len(batch), chunk.encode_readings(batch, "0" * 16, **said), columns(batch))
    many = TagDictionary(at=1, version="0" * 16, tags=[TagEntry(id=f"라인/{i}", unit="CEL") for i in range(500)])
    add("a large dictionary", 1, chunk.encode_facts([many]), msgspec.to_builtins([many]))
    return lines


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("frames", frame_lines()), ("chunks", chunk_lines())):
        text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        (folder / f"{name}.jsonl").write_bytes(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
