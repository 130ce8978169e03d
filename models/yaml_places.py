"""Ruleset files in YAML: the same document as in TOML, and where each key and value of it stands.

Read from the parser's events, so nothing a YAML file may hold beside plain data ever comes to life: no tags, no anchors
and aliases (and with them no bombs), no merge keys, no second document; nesting is bounded. Plain words mean what they
mean in YAML 1.2: only true and false are booleans, so `on:`, `yes:` and `no:` are keys as in TOML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from models.toml_places import Path, Places

MAX_DEPTH: Final = 16
_INT: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ODD: Final = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)")
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE: Final = "<<"


class YamlError(ValueError):
    """A text that is no plain YAML document; `line` and `column` say where, `hint` what to do."""

    def __init__(self, at: yaml.Mark | None, problem: str, hint: str) -> None:
        self.line = 1 if at is None else at.line + 1
        self.column = 1 if at is None else at.column + 1
        self.problem, self.hint = problem, hint
        super().__init__(f"{self.line}:{self.column}: {problem}; {hint}")


def read(text: str) -> tuple[dict[str, Any], Places]:
    """Give the document of a text, and its places. Raises YamlError."""
    reading = _Reading(text)
    try:
        return reading.document(), reading.found
    except yaml.MarkedYAMLError as error:
        told = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(
            error.problem_mark or error.context_mark, f"not YAML: {told}", "check indentation and quotes"
        ) from error
    except yaml.YAMLError as error:
        character = getattr(error, "position", 0)
        line = text.count("\n", 0, character)
        mark = yaml.Mark("", character, line, character - text.rfind("\n", 0, character) - 1, None, 0)
        raise YamlError(mark, f"not YAML: {getattr(error, 'reason', error)}", "remove the character") from error


class _Reading:
    """One pass over the events of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = Places(text)
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)

    def document(self) -> dict[str, Any]:
        """Give the one document; an empty text has none in it."""
        for event in self.events:
            if isinstance(event, yaml.StreamEndEvent):
                return {}
            if isinstance(event, yaml.DocumentStartEvent):
                break
        root = next(self.events)
        if not isinstance(root, yaml.MappingStartEvent):
            if isinstance(root, yaml.ScalarEvent) and root.value == "":
                return {}
            raise YamlError(root.start_mark, "the file is no table", "it begins with ruleset:")
        document: dict[str, Any] = self._node(root, (), 0)
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise YamlError(after.start_mark, "a second document", "one file is one ruleset")
        return document

    def _node(self, event: yaml.Event, path: Path, depth: int) -> Any:
        self._plain(event)
        if depth > MAX_DEPTH:
            raise YamlError(event.start_mark, f"nested deeper than {MAX_DEPTH}", "a ruleset is flat")
        match event:
            case yaml.ScalarEvent():
                return self._scalar(event, path)
            case yaml.SequenceStartEvent():
                self.found.values[path] = _index(event)
                items: list[Any] = []
                while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
                    self.found.keys[*path, len(items)] = _index(inner)
                    items.append(self._node(inner, (*path, len(items)), depth + 1))
                return items
            case _:
                return self._table(event, path, depth)

    def _table(self, event: yaml.Event, path: Path, depth: int) -> dict[str, Any]:
        self.found.values[path] = _index(event)
        table: dict[str, Any] = {}
        while not isinstance(key := next(self.events), yaml.MappingEndEvent):
            self._plain(key)
            if not isinstance(key, yaml.ScalarEvent):
                raise YamlError(key.start_mark, "a key must be a word", "write it before a colon")
            name = key.value
            if name == _MERGE and key.implicit[0]:
                raise YamlError(key.start_mark, "merge keys are left out", "write the entries where they belong")
            if name in table:
                raise YamlError(key.start_mark, f"{name!r} is there twice", "remove one")
            self.found.keys[*path, name] = _index(key)
            table[name] = self._node(next(self.events), (*path, name), depth + 1)
        return table

    def _plain(self, event: yaml.Event) -> None:
        """Refuse what is more than data."""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise YamlError(event.start_mark, "anchors and aliases are left out", "write the value where it belongs")
        if getattr(event, "tag", None) is not None:
            raise YamlError(event.start_mark, "tags are left out", "write a plain text, number or boolean")

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        at = _index(event)
        if event.style in {"'", '"'}:
            self.found.values[path] = at + 1
            return event.value
        if event.style in {"|", ">"}:
            first = self.text.find("\n", at) + 1
            while first and self.text[first : first + 1] == "\n":
                first += 1
            indent = len(self.text[first:]) - len(self.text[first:].lstrip(" ")) if first else 0
            self.found.values[path], self.found.indents[path] = first + indent, indent
            return event.value
        self.found.values[path] = at
        return self._word(event)

    def _word(self, event: yaml.ScalarEvent) -> Any:
        word = event.value
        if word in _BOOLS:
            return _BOOLS[word]
        if word in _NULLS:
            raise YamlError(event.start_mark, "there is no value here", "write one, or leave the key out")
        if _INT.fullmatch(word):
            if len(word) > 20:
                raise YamlError(event.start_mark, f"{word[:20]}… is too long for a number", "write it as 1e30")
            return int(word)
        if _FLOAT.fullmatch(word) or _ODD.fullmatch(word):
            return float(word.replace(".", "", 1) if _ODD.fullmatch(word) else word)
        return word


def _index(event: yaml.Event) -> int:
    return event.start_mark.index
