from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from edge.drivers.modbus.address import parse
from edge.drivers.opcua.addresses import Refusal, resolve
from edge.tags import TagBook

BOOKS = sorted((Path(__file__).parents[3] / "edge" / "drivers" / "books").glob("*.toml"))


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_every_shipped_book_names_its_source_and_addresses_a_driver_can_read(path) -> None:
    text = path.read_text()
    assert text.startswith("#"), "the first lines say where the map comes from"
    book = TagBook.model_validate(tomllib.loads(text))
    for position, spec in enumerate(book.tags):
        address = re.sub(r"\{namespace\}", "urn:x", re.sub(r"\{machine\}", "m", spec.address))
        if address.startswith("nsu="):
            assert not isinstance(resolve(address, {"urn:x": 2}), Refusal)
        else:
            parse(position, address, spec)
        if spec.role in {"measurement", "counter", "setpoint"}:
            assert spec.unit, f"{spec.name} has no unit"
