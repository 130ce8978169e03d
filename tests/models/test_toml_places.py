"""Places of keys and values in TOML, against what tomllib reads there."""

from __future__ import annotations

import tomllib
from pathlib import Path

from models.toml_places import places

EXAMPLE = Path(__file__).parents[2] / "models" / "examples" / "filler.toml"

TRICKY = '''# a comment with "quotes" and [brackets]
title = 'literal "x"'
long = """
first = "not a key"
second"""
"quoted key" = 1
dotted.inner = { a = 1, "b" = [1, 2, { c = "]" }] }   # } ]

[outer."with space"]
list = [
  "one",  # [
  'two',
]

[[row]]
name = "first"
  [[row.cell]]
  value = "a\\"b"
  [[row.cell]]
  value = 2
[[row]]
name = "second"
[row.table]
x = 1979-05-27T07:32:00Z
'''


def leaves(document, path=()):
    """Give every (path, value) below a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from leaves(value, (*path, key))
    elif isinstance(document, list):
        for position, value in enumerate(document):
            yield from leaves(value, (*path, position))
    else:
        yield path, document


def test_every_value_is_found_where_it_stands():
    for text in (TRICKY, EXAMPLE.read_text(), TRICKY.replace("\n", "\r\n")):
        found = places(text)
        lines = text.split("\n")
        for path, value in leaves(tomllib.loads(text)):
            line, column = found.value(path)
            here = lines[line - 1][column - 1 :]
            told = str(value).split("\n")[0].replace('"', '\\"') if isinstance(value, str) else str(value)[:4].lower()
            assert here.startswith((told, str(value).split("\n")[0])), (path, line, column)


def test_a_key_that_is_not_there_is_placed_at_what_is_around_it():
    found = places(TRICKY)
    assert found.key(("row", 1, "missing")) == found.key(("row", 1))
    assert found.key(("nothing",)) == (1, 1)
    assert TRICKY.split("\n")[found.key(("row", 1))[0] - 1] == "[[row]]"
