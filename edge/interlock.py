"""Interlocks: an expression over a line that must be true now. What is not known, not good or not fresh is not met. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.expression import Environment, Expression, Indeterminate, compile_expression
from models.ruleset_inputs import NS_PER_S, Reader, reader, tag_of
from models.window import TagWindow, Window


@dataclass(frozen=True, slots=True)
class Met:
    """What an interlock says."""

    met: bool | None
    """None: it cannot be told, which is not met."""
    why: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Interlock:
    """A compiled interlock; `compile_interlock` makes it."""

    text: str
    expression: Expression
    readers: Mapping[str, Reader]
    tags: tuple[str, ...]
    """Tags it reads, each of which must be good and fresh."""
    fresh_ns: int

    def look(self, window: Window | None) -> Met:
        """Tell whether it is met by a line as it is now (its open window, reduced at this moment)."""
        if window is None:
            return Met(None, "the line is not known")
        doubts = [
            f"{name} {why}" for name in self.tags if (why := doubt(window.tags.get(name), self.fresh_ns)) is not None
        ]
        if doubts:
            return Met(None, "; ".join(doubts))
        result = self.expression.evaluate({name: read(window) for name, read in self.readers.items()})
        if isinstance(result, Indeterminate):
            return Met(None, "; ".join(f"{cause.variable} {cause.why}" for cause in result.causes))
        return Met(True) if result is True else Met(False, f"{self.text} is false")


def compile_interlock(text: str, environment: Environment, fresh_s: float) -> Interlock:
    """Compile it against a line's names. Raises ExpressionError with every fault, and where it stands."""
    expression = compile_expression(text, environment, expect="bool")
    readers = {name: reader(name, kind) for name, kind in zip(expression.variables, expression.types, strict=True)}
    tags = tuple(dict.fromkeys(tag for name in readers if (tag := tag_of(name)) is not None))
    return Interlock(text, expression, readers, tags, round(fresh_s * NS_PER_S))


def doubt(tag: TagWindow | None, fresh_ns: int) -> str | None:
    """Say why a tag's value is not good and fresh enough to act on; None when it is."""
    if tag is None or tag.last is None:
        return "has no value"
    if tag.quality != "good":
        return f"is {tag.quality}"
    if tag.age_ns > min(fresh_ns, tag.max_age_ns):
        return f"is {tag.age_ns / NS_PER_S:.1f} s old"
    return None
