"""What stands in an ONNX file, read from its protobuf bytes without onnxruntime: operators, opsets, foreign files.

Only what a package is refused for is looked at; weights are stepped over. Field numbers: onnx.proto3 of ONNX 1.17.
Runs in the child process, on bytes whose signature was right; it is bounded all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

MOST_NODES: Final = 5_000
MOST_FIELDS: Final = 4_000_000
DEEPEST: Final = 8
DOMAINS: Final = frozenset({"ai.onnx", "ai.onnx.ml"})
FORBIDDEN: Final = {
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), "control flow: how long it takes would depend on the data"),
    **dict.fromkeys(
        ("Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        "chance: the same window would get another answer in a replay",
    ),
}  # fmt: skip
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class OnnxFileError(Exception):
    """These bytes are no ONNX file, or one that a package must not hold."""


@dataclass(slots=True)
class OnnxFile:
    """What was found."""

    opset: dict[str, int] = field(default_factory=dict[str, int])
    """Domain → version; the default domain as ai.onnx."""
    operators: dict[str, int] = field(default_factory=dict[str, int])
    """`ai.onnx.ml.TreeEnsembleClassifier` → how often."""
    nodes: int = 0
    fields: int = 0


def examine(model: bytes) -> OnnxFile:
    """Read a model. Raises OnnxFileError for what is no ONNX, foreign operators, external data, functions."""
    found = OnnxFile()
    graphs = 0
    for number, value in _fields(memoryview(model), found):
        match number:
            case 7:
                graphs += 1
                _graph(_bytes(value), found, 0)
            case 8:
                domain, version = "", 0
                for part, content in _fields(_bytes(value), found):
                    if part == 1:
                        domain = _text(content)
                    elif part == 2 and isinstance(content, int):
                        version = content
                found.opset[domain or "ai.onnx"] = version
            case 20:
                raise OnnxFileError("it holds training information, which has no place on a gateway")
            case 25:
                raise OnnxFileError("it defines functions of its own; only standard operators are run")
            case _:
                pass
    if graphs != 1 or not found.nodes:
        raise OnnxFileError("this is no ONNX model: there is no graph with operators in it")
    foreign = sorted(set(found.opset) - DOMAINS)
    if foreign:
        raise OnnxFileError(f"it imports operators of {', '.join(foreign)}; only ai.onnx and ai.onnx.ml are run")
    return found


def _graph(raw: memoryview, found: OnnxFile, depth: int) -> None:
    if depth > DEEPEST:
        raise OnnxFileError("graphs within graphs, too deep")
    for number, value in _fields(raw, found):
        match number:
            case 1:
                _node(_bytes(value), found, depth)
            case 5:
                _tensor(_bytes(value), found)
            case 15:
                for part, tensor in _fields(_bytes(value), found):
                    if part in {1, 2}:
                        _tensor(_bytes(tensor), found)
            case _:
                pass


def _node(raw: memoryview, found: OnnxFile, depth: int) -> None:
    found.nodes += 1
    if found.nodes > MOST_NODES:
        raise OnnxFileError(f"more than {MOST_NODES} operators")
    kind, domain = "", ""
    for number, value in _fields(raw, found):
        match number:
            case 4:
                kind = _text(value)
            case 7:
                domain = _text(value)
            case 5:
                _attribute(_bytes(value), found, depth)
            case _:
                pass
    domain = domain or "ai.onnx"
    if domain not in DOMAINS:
        raise OnnxFileError(f"operator {domain}.{kind} is none of ONNX; only ai.onnx and ai.onnx.ml are run")
    if kind in FORBIDDEN:
        raise OnnxFileError(f"operator {kind}: {FORBIDDEN[kind]}")
    name = f"{domain}.{kind}"
    found.operators[name] = found.operators.get(name, 0) + 1


def _attribute(raw: memoryview, found: OnnxFile, depth: int) -> None:
    for number, value in _fields(raw, found):
        match number:
            case 5 | 10:
                _tensor(_bytes(value), found)
            case 6 | 11:
                _graph(_bytes(value), found, depth + 1)
            case _:
                pass


def _tensor(raw: memoryview, found: OnnxFile) -> None:
    for number, value in _fields(raw, found):
        if number == 13 or (number == 14 and value == 1):
            raise OnnxFileError("weights lie in another file (external data); a package holds all of it")


def _fields(raw: memoryview, found: OnnxFile) -> Iterator[tuple[int, int | memoryview]]:
    """Give number and value of each field of a protobuf message: an int, or the bytes."""
    at, end = 0, len(raw)
    while at < end:
        found.fields += 1
        if found.fields > MOST_FIELDS:
            raise OnnxFileError(f"more than {MOST_FIELDS} fields")
        key, at = _varint(raw, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(raw, at)
        elif wire in {_FIXED32, _FIXED64}:
            length = 4 if wire == _FIXED32 else 8
        else:
            raise OnnxFileError("these bytes are no ONNX file (protobuf)")
        if number == 0 or at + length > end:
            raise OnnxFileError("these bytes are no ONNX file (protobuf), or its end is missing")
        yield number, raw[at : at + length]
        at += length


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise OnnxFileError("these bytes are no ONNX file (protobuf), or its end is missing")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise OnnxFileError("these bytes are no ONNX file (protobuf): a number where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8", "replace")[:200]
