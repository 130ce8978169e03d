"""Every shipped book: loads, names its source, and what a device holds comes out as the book says."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge.addresses import PLACEHOLDER, faults_of
from edge.commands.book_toml import comments_of
from edge.drivers.modbus.address import parse
from edge.drivers.modbus.registers import place_value
from edge.drivers.opcua.items import Refusal, resolve
from edge.tags import Tag, TagBook, TagSpec
from sync.equipment import PackML
from sync.quality import BAD
from tests.edge.drivers.machines import ModbusMachine

BOOKS = sorted((Path(__file__).parents[3] / "edge" / "drivers" / "books").glob("*.toml"))
UNITS = {
    "AMP": "ampere", "C26": "millisecond", "C62": "one (piece, ratio)", "C94": "revolutions per minute",
    "CEL": "degree Celsius", "D44": "var", "D46": "volt-ampere", "HTZ": "hertz", "HUR": "hour", "KVA": "kilovolt-ampere",
    "KVR": "kilovar", "KWH": "kilowatt hour", "KWT": "kilowatt", "NU": "newton metre", "P1": "percent",
    "RPM": "revolutions per minute", "SEC": "second", "VLT": "volt", "WHR": "watt hour", "WTT": "watt",
}  # fmt: skip
"""UNECE Recommendation 20 codes that books use, looked up one by one: a code not here is looked up and added."""
GIVEN = {"float32": 12.5, "float64": 123_456_789.25, "bool": True}
"""A raw value that fits every tag of a type and no range is narrower than; others get a number of their own."""


def book(path: Path) -> TagBook:
    return TagBook.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


MODBUS = [path for path in BOOKS if not book(path).tags[0].address.startswith("nsu=")]
OPCUA = [path for path in BOOKS if path not in MODBUS]


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", BOOKS, ids=named)
def test_every_shipped_book_names_its_source_and_has_no_fault(path) -> None:
    found = book(path)
    assert "ource: " in " ".join(comments_of(path.read_text(encoding="utf-8"))) or path.stem == "packml"
    assert comments_of(path.read_text(encoding="utf-8")), "the first lines say where the map comes from"
    assert faults_of(found) == []
    for spec in found.tags:
        if spec.role in {"measurement", "counter", "setpoint"} and spec.type not in {"bool", "string"}:
            assert spec.unit in UNITS or spec.values, f"{spec.name} has no unit we know: {spec.unit}"
        if spec.counter == "energy_wh":
            assert spec.unit == "WHR"
        if spec.role == "state":
            assert set(spec.values.values()) <= set(PackML.__members__)
    counted = [spec.counter for spec in found.tags if spec.counter]
    assert len(counted) == len(set(counted)), "two counters of one kind would be added up"


def test_there_are_books_for_the_common_devices() -> None:
    assert len(MODBUS) >= 8
    assert len(OPCUA) >= 3


@pytest.mark.parametrize("path", OPCUA, ids=named)
def test_the_nodes_of_every_opc_ua_book_resolve(path) -> None:
    for spec in book(path).tags:
        address = PLACEHOLDER.sub(lambda match: "urn:x" if match[1] == "namespace" else "m", spec.address)
        assert not isinstance(resolve(address, {"urn:x": 2}), Refusal)


def raw_of(spec: TagSpec, position: int) -> Any:
    return GIVEN.get(spec.type, -(position + 1) if spec.type.startswith("int") else position + 1)


def memory_of(tags: list[Tag]) -> dict[str, dict[int, list[int]]]:
    """Lay the tags' raw values out as the device would, by table: start → registers that lie side by side."""
    cells: dict[str, dict[int, int]] = {"holding": {}, "input": {}}
    for position, tag in enumerate(tags):
        item = parse(position, tag.address, tag.spec)
        order = tag.spec.word_order or "ABCD"
        registers, mask = place_value(raw_of(tag.spec, position), item, tag.spec, order)
        for k, register in enumerate(registers):
            held = cells[item.table]
            at = item.address + k
            held[at] = held.get(at, 0) & ~mask | register
    memory: dict[str, dict[int, list[int]]] = {}
    for table, held in cells.items():
        runs = memory.setdefault(table, {})
        start = last = -2
        for at in sorted(held):
            if at != last + 1:
                start = at
            runs.setdefault(start, []).append(held[at])
            last = at
    return memory


@pytest.mark.parametrize("path", MODBUS, ids=named)
async def test_what_a_device_holds_comes_out_as_the_book_says(path) -> None:
    tags = [
        Tag(index=k, work_unit="hall/line/meter", connection="machine", address=spec.address, spec=spec)
        for k, spec in enumerate(book(path).tags)
    ]
    memory = memory_of(tags)
    machine = ModbusMachine(tags, holding=memory["holding"] or None, registers=memory["input"] or None)
    await machine.start()
    try:
        async with asyncio.timeout(20), machine.driver() as driver:
            found: dict[int, tuple[float, int]] = {}
            async for batch in driver.readings():
                for index, value, status in zip(batch.tag, batch.value, batch.status, strict=True):
                    found[int(index)] = (float(value), int(status))
                if len(found) == len(tags) and not any(status & BAD for _, status in found.values()):
                    break  # devices answer with holes: the planner learns where in its first scans
    finally:
        await machine.stop()
    for position, tag in enumerate(tags):
        value, _ = found[position]
        assert value == raw_of(tag.spec, position) * tag.spec.scale + tag.spec.offset, tag.spec.name
