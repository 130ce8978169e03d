"""A tag book as TOML that people like to read: comments on top, one table a tag, only what is not as it would be anyway."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, cast

from edge.commands.book_columns import COLUMNS
from edge.tags import TagBook, TagSpec, VirtualSpec

ORDER: Final = (
    "name", "address", "type", "length", "count", "path", "word_order", "role", "counter", "defect", "context",
    "values", "unit", "low", "high", "scale", "offset", "deadband", "rollover", "max_age_s", "required", "writable",
    "period_ms", "sampling_ms", "publishing_ms", "queue_size", "discard", "trigger", "triggered_by",
    "source_deadband", "source_deadband_percent",
)  # fmt: skip
WIDE = 110
"""An inline table longer than this gets a table of its own."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_of(book: TagBook, comments: Sequence[str] = ()) -> str:
    """Write a book. comments: lines on top, without their `#`."""
    parts = [*(f"# {line}".rstrip() for line in comments), f"title = {_string(book.title)}"]
    for spec in book.tags:
        parts += ["", "[[tag]]", *_tag(spec)]
    for virtual in book.virtual:
        parts += ["", "[[virtual]]", *_virtual(virtual)]
    return "\n".join(parts) + "\n"


def comments_of(text: str) -> list[str]:
    """Give the comment lines that a TOML text begins with, without their `#`."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" ").rstrip())
    return lines


def _tag(spec: TagSpec) -> list[str]:
    lines: list[str] = []
    tables: list[str] = []
    for key in ORDER:
        value = getattr(spec, key)
        if key not in {"name", "address", "type"} and value == _default(key):
            continue
        if not isinstance(value, dict):
            lines.append(f"{key} = {_scalar(value)}")
            continue
        pairs = [f"{_key(k)} = {_string(v)}" for k, v in cast("dict[str, str]", value).items()]
        inline = f"{key} = {{ {', '.join(pairs)} }}"
        if len(inline) <= WIDE:
            lines.append(inline)
        else:
            tables += [f"[tag.{key}]", *pairs]
    return [*lines, *tables]


def _virtual(spec: VirtualSpec) -> list[str]:
    lines: list[str] = []
    for key, field in VirtualSpec.model_fields.items():
        value = getattr(spec, key)
        if not field.is_required() and value == field.get_default():
            continue
        if isinstance(value, dict):
            pairs = ", ".join(f"{_key(k)} = {_string(v)}" for k, v in cast("dict[str, str]", value).items())
            lines.append(f"{key} = {{ {pairs} }}")
        else:
            lines.append(f"{key} = {_scalar(value)}")
    return lines


def _default(key: str) -> Any:
    return TagSpec.model_fields[key].get_default(call_default_factory=True)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _string(value) if isinstance(value, str) else repr(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


assert set(ORDER) == set(COLUMNS)  # noqa: S101 - a new key of a tag needs its place here and its words there
