"""A will is believed when it is the gateway's own."""

from __future__ import annotations

import json

import pytest

from sync.farewell import farewell, whose_farewell
from sync.topics import Address

KEY, GATEWAY = bytes(range(32)), Address("demo", "seoul", "gw-1")
INC = "ab" * 16


def test_it_names_the_start_it_belongs_to():
    assert whose_farewell(farewell(KEY, GATEWAY, INC), KEY, GATEWAY) == INC


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"[]", b"\xff", b"[" * 10_000, b'{"online": false}', b'{"inc":"x","mac":"\xc3\xa9"}',
        farewell(bytes(32), GATEWAY, INC), farewell(KEY, Address("demo", "seoul", "gw-2"), INC),
        farewell(KEY, GATEWAY, INC).replace(b"abab", b"cdcd"),
        json.dumps(json.loads(farewell(KEY, GATEWAY, INC)) | {"online": True}).encode(),
    ],
)  # fmt: skip
def test_anything_else_is_nobodys(payload: bytes):
    assert whose_farewell(payload, KEY, GATEWAY) is None
