"""Where each key and value of a file stands, so that a fault can name its line. `tomllib` alone does not say.

`places` finds them in TOML; `yaml_places` in YAML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

Path = tuple[str | int, ...]
"""Keys and positions: ("limit", 0, "value")."""

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BASIC: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_QUOTED: Final = re.compile(r"'[^'\n]*'")
_LONG_BASIC: Final = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL)
_LONG_QUOTED: Final = re.compile(r"'''.*?'{3,5}", re.DOTALL)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")


@dataclass(slots=True)
class Places:
    """Offsets of keys and of what stands behind them (the first character inside the quotes of a text)."""

    text: str
    keys: dict[Path, int] = field(default_factory=dict[Path, int])
    values: dict[Path, int] = field(default_factory=dict[Path, int])
    indents: dict[Path, int] = field(default_factory=dict[Path, int])
    """By how much the further lines of a value stand further right in the file than in the text it means (YAML)."""

    def key(self, path: Path) -> tuple[int, int]:
        """Give line and column of a key or table; of the nearest table around it when there is no such key."""
        return self._nearest(self.keys, path if path in self.keys or (*path, 0) not in self.keys else (*path, 0))

    def value(self, path: Path) -> tuple[int, int]:
        """Give line and column of a value's first character; of the nearest thing around it when there is none."""
        if path in self.values:
            return self._line(self.values[path])
        return self._nearest(self.keys, path)

    def _nearest(self, places: dict[Path, int], path: Path) -> tuple[int, int]:
        while path and path not in places:
            path = path[:-1]
        return self._line(places[path]) if path else (1, 1)

    def _line(self, at: int) -> tuple[int, int]:
        return self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)


def places(text: str) -> Places:
    """Give the places of a text that `tomllib` has read without complaint."""
    scanner = _Scanner(text)
    scanner.run()
    return scanner.found


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found = Places(text)
        self.arrays: dict[Path, int] = {}

    def run(self) -> None:
        table: Path = ()
        while self._skip(_BLANK) and self.at < len(self.text):
            start = self.at
            if self.text.startswith("[[", self.at):
                self.at += 2
                *outer, last = self._keys()
                self.at += 2
                array = (*self._inside(outer), last)
                self.arrays[array] = self.arrays.get(array, -1) + 1
                table = (*array, self.arrays[array])
                self.found.keys[table] = start
            elif self.text[self.at] == "[":
                self.at += 1
                table = self._inside(self._keys())
                self.at += 1
                self.found.keys[table] = start
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return True

    def _inside(self, keys: list[str]) -> Path:
        """Give the path of a table named by keys: below an array of tables it is the last one's."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self.arrays:
                path = (*path, self.arrays[path])
        return path

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            pattern = {'"': _BASIC, "'": _QUOTED}.get(self.text[self.at], _BARE_KEY)
            match = pattern.match(self.text, self.at)
            assert match is not None  # noqa: S101 (tomllib has read this text)
            keys.append(match.group().strip("\"'"))
            self.at = match.end()
            self._skip(_SPACE)
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _pair(self, table: Path) -> None:
        self._skip(_SPACE)
        start = self.at
        path = (*table, *self._keys())
        self.found.keys[path] = start
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        start = self.at
        rest = self.text[self.at : self.at + 3]
        if rest in {'"""', "'''"}:
            self._skip(_LONG_BASIC if rest[0] == '"' else _LONG_QUOTED)
            start += 3
            for line_end in ("\n", "\r\n"):  # a first line break is not part of the text
                if self.text.startswith(line_end, start):
                    start += len(line_end)
                    break
        elif rest[:1] in {'"', "'"}:
            self._skip(_BASIC if rest[0] == '"' else _QUOTED)
            start += 1
        elif rest[:1] == "[":
            self._items(path)
        elif rest[:1] == "{":
            self._pairs(path)
        else:
            self._skip(_SCALAR)
        self.found.values[path] = start

    def _items(self, path: Path) -> None:
        self.at += 1
        position = 0
        while self._skip(_BLANK) and self.text[self.at] != "]":
            self.found.keys[*path, position] = self.at
            self._value((*path, position))
            position += 1
            self._skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1

    def _pairs(self, path: Path) -> None:
        self.at += 1
        while self._skip(_BLANK) and self.text[self.at] != "}":
            self._pair(path)
            self._skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1
