"""What a question to a database comes to: rows, or a sentence about why there are none. Free of any library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A result: its columns and at most as many rows as were asked for."""

    names: list[str]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Explained:
    """What an error means."""

    lost: bool
    """Whether the connection is gone; else only this question failed."""
    what: str
    kind: str = ""
    """table_deleted, column_deleted or timed_out, when that is what happened."""


class QuestionError(Exception):
    """One question failed; the connection lives. `explained` says why, in a sentence."""

    def __init__(self, explained: Explained) -> None:
        super().__init__(explained.what)
        self.explained = explained
