"""The columns of a tag book as a spreadsheet: their order, what stands in their cells, and what each means. Pure.

A column is a key of `TagSpec`; a cell is text in either format, so that CSV and XLSX say the same.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, cast, get_args

from edge.tags import ContextField, CounterKind, DataType, Role, TagSpec, WordOrder

Kind = Literal["text", "number", "integer", "flag", "values"]

COLUMNS: Final[dict[str, tuple[Kind, str, str]]] = {
    "name": ("text", "태그 이름: 소문자, 숫자, 밑줄", "name of the tag: lower case, digits, underscores"),
    "address": (
        "text",
        "주소. OPC UA: nsu=…;s=…  Modbus: holding:100, input:3, coil:0, discrete:7, holding:100.15, holding:100.4-7, holding:100.high",
        "address. OPC UA: nsu=…;s=…  Modbus: holding:100, input:3, coil:0, discrete:7, holding:100.15, holding:100.4-7, holding:100.high",
    ),
    "type": ("text", "장치의 데이터 형식", "data type on the device"),
    "unit": ("text", "단위(UNECE 코드): CEL, BAR, VLT, AMP, WTT, C62(개) …", "UNECE code of the unit: CEL, BAR, VLT, AMP, WTT, C62 (piece), …"),
    "role": ("text", "역할: 측정값, 카운터, 상태, 정지 사유, 설정값, 작업 정보, 장비 시계", "what the tag is for"),
    "counter": ("text", "카운터가 세는 것 (role = counter)", "what a counter counts (role = counter)"),
    "defect": ("text", "불량 종류 (counter = defect)", "type of defect (counter = defect)"),
    "context": ("text", "작업 정보의 종류 (role = context)", "what a context tag says (role = context)"),
    "values": ("values", "숫자의 이름: 1=idle;2=run", "names of numbers: 1=idle;2=run"),
    "low": ("number", "정상 계측 범위의 하한; 벗어나면 불확실", "lower end of the engineering range; outside it a value is uncertain"),
    "high": ("number", "정상 계측 범위의 상한", "upper end of the engineering range"),
    "scale": ("number", "값 = 원시값 × scale + offset", "value = raw × scale + offset"),
    "offset": ("number", "값 = 원시값 × scale + offset", "value = raw × scale + offset"),
    "deadband": ("number", "이보다 작은 변화는 기록하지 않음 (단위 기준)", "smaller changes are not recorded, in the unit"),
    "rollover": ("integer", "카운터가 0으로 돌아가는 수: uint16이면 65536", "where the counter starts again: 65536 for a uint16"),
    "max_age_s": ("number", "이보다 오래된 값은 불확실, 세 배면 불량 (초)", "older than this a value is uncertain, three times this bad, s"),
    "required": ("flag", "true: 이 값이 없으면 판정하지 않음", "true: without this value judgment says unknown"),
    "writable": ("flag", "true: 쓰기 허용", "true: may be written"),
    "word_order": ("text", "Modbus: 워드 순서, 연결의 설정과 다를 때", "Modbus: where the words lie, if not as the connection says"),
    "length": ("integer", "Modbus: 문자열의 레지스터 수", "Modbus: registers of a string"),
    "count": ("integer", "배열의 원소 수", "elements of an array"),
    "period_ms": ("number", "읽는 주기 (ms), 연결의 설정과 다를 때", "how often it is read, ms, if not as the connection says"),
    "path": ("text", "OPC UA: 구조체나 배열의 일부: position.x, [3]", "OPC UA: part of a structure or array: position.x, [3]"),
    "sampling_ms": ("number", "OPC UA: 샘플링 주기 (ms)", "OPC UA: sampling interval, ms"),
    "publishing_ms": ("number", "OPC UA: 발행 주기 (ms)", "OPC UA: publishing interval, ms"),
    "queue_size": ("integer", "OPC UA: 서버의 대기열 크기", "OPC UA: values the server keeps between two publishes"),
    "discard": ("text", "OPC UA: 대기열이 차면 버릴 값", "OPC UA: what the server drops from a full queue"),
    "trigger": ("text", "OPC UA: 변화로 보는 것", "OPC UA: what counts as a change"),
    "triggered_by": ("text", "OPC UA: 이 태그가 변할 때만 보고", "OPC UA: reported only when that tag changes"),
    "source_deadband": ("number", "OPC UA: 서버의 절대 데드밴드 (원시값)", "OPC UA: absolute deadband at the server, raw"),
    "source_deadband_percent": ("number", "OPC UA: 서버의 데드밴드 (EURange의 %)", "OPC UA: deadband at the server, % of EURange"),
}  # fmt: skip
"""Column → what its cells hold, and what it means in Korean and in English; in the order of a book."""
ALWAYS: Final = (
    "name", "address", "type", "unit", "role", "counter", "values", "low", "high", "scale", "offset", "deadband",
    "word_order", "writable",
)  # fmt: skip
"""Columns that an export shows even when no tag of the book needs them."""
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "type": get_args(DataType),
    "role": get_args(Role),
    "counter": get_args(CounterKind),
    "context": get_args(ContextField),
    "word_order": get_args(WordOrder),
    "discard": ("oldest", "newest"),
    "trigger": ("status", "value", "timestamp"),
    "required": ("true", "false"),
    "writable": ("true", "false"),
}
_TRUE, _FALSE = ("true", "yes", "1", "예"), ("false", "no", "0", "아니오")
_PAIR = re.compile(r"(?:\\.|[^\\;])+")


def shown(spec: TagSpec) -> dict[str, str]:
    """Give a tag's cells: name, address, type and role, and what is not as it would be anyway."""
    cells = {"name": spec.name, "address": spec.address, "type": spec.type, "role": spec.role}
    for column, (kind, _, _) in COLUMNS.items():
        value = getattr(spec, column)
        if column not in cells and value != TagSpec.model_fields[column].get_default(call_default_factory=True):
            cells[column] = cell(value, kind)
    return cells


def cell(value: Any, kind: Kind) -> str:
    """Write a value as a cell."""
    if kind == "flag":
        return "true" if value else "false"
    if kind == "values":
        names = cast("dict[str, str]", value)
        return ";".join(f"{_escaped(number)}={_escaped(name)}" for number, name in names.items())
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def read(text: str, kind: Kind, *, comma: bool = False) -> Any:
    """Give what a filled cell says. comma: numbers may have one for a point. Raises ValueError with a sentence."""
    if kind == "text":
        return text
    if kind == "values":
        return _values(text)
    if kind == "flag":
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"{text!r} is neither true nor false")
    try:
        number = float(text.replace(",", ".") if comma and text.count(",") == 1 and "." not in text else text)
    except ValueError:
        hint = "; write the point as in 1.5" if "," in text else ""
        raise ValueError(f"{text!r} is no number{hint}") from None
    if kind == "number":
        return number
    if not number.is_integer():
        raise ValueError(f"{text!r} is no whole number")
    return int(text) if text.lstrip("-").isdecimal() else int(number)


def _values(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in _PAIR.findall(text):
        number, equals, name = _split(pair)
        if not equals or not number or not name:
            raise ValueError(f"{pair.strip()!r} is no number=name; write e.g. 1=idle;2=run")
        if number in found:
            raise ValueError(f"{number} is named twice")
        found[number] = name
    return found


def _split(pair: str) -> tuple[str, str, str]:
    """Cut at the first `=` that is not escaped, and take the escapes away."""
    match = re.match(r"((?:\\.|[^\\=])*)(=?)(.*)", pair.strip(), re.DOTALL)
    assert match is not None  # noqa: S101 - it matches any text
    return _plain(match[1].strip()), match[2], _plain(match[3].strip())


def _escaped(text: str) -> str:
    return re.sub(r"([\\;=])", r"\\\1", text)


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
