"""What a tag of a book shows on a line of the plant: the inverse of what a driver does with it.

The book is the one description of a machine's tags; servers and back-fill both show the model through it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from demo.plant_signals import Value
from edge.tags import TagBook, TagSpec
from sync.equipment import PackML

BOOKS = Path(__file__).parent / "books"


def book(name: str) -> TagBook:
    """Give a book of the demo."""
    return TagBook.model_validate(tomllib.loads((BOOKS / f"{name}.toml").read_text(encoding="utf-8")))


class Shown:
    """One tag of a book, ready to be shown: codes looked up once."""

    def __init__(self, spec: TagSpec) -> None:
        self.spec = spec
        self._codes = {name: int(code) for code, name in spec.values.items()} if spec.role == "state" else {}

    def of(self, observed: dict[str, Value], at: int) -> Value:
        """Give what the machine says, in engineering units: codes are the machine's own, counters roll over.

        at: the machine's time, for its clock tag.
        """
        spec = self.spec
        if spec.role == "clock":
            return Value(at // 1_000_000, at)
        value = observed[spec.name]
        if self._codes and isinstance(value.value, int):
            return Value(self._codes[PackML(value.value).name], value.at, value.status)
        if spec.rollover is not None and isinstance(value.value, int):
            return Value(value.value % spec.rollover, value.at, value.status)
        return value
