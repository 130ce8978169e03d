"""How the checks of a ruleset name each other: who silences whom, and who is part of whom. Settled once all are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from models.ruleset import Check
from models.ruleset_file import Entry, LimitEntry
from models.ruleset_table import nearest
from models.toml_places import Path


@dataclass(frozen=True, slots=True)
class Made:
    """A check with what it was made of."""

    check: Check
    entry: Entry
    path: Path


Blame = Callable[[Path, str, str, str], None]
"""Path, check it is about, problem, hint."""


def linked(made: Sequence[Made], known: Iterable[str], blame: Blame) -> list[Made]:
    """Give the checks with their names of others settled: `suppresses` has become the other's `suppressed_by`.

    known: names of all checks, also of those that could not be made. Faults: an unknown name, a check that silences
    itself or a critical control point, and circles.
    """
    names = dict.fromkeys(known)
    by_name = {one.check.name: one for one in made}
    silenced: dict[str, set[str]] = {one.check.name: set(one.check.suppressed_by) for one in made}
    for one in made:
        for key in ("suppressed_by", "suppresses"):
            for position, other in enumerate(getattr(one.entry, key)):
                path = (*one.path, key, position)
                if other not in names:
                    blame(path, _where(one), f"there is no check {other!r}", nearest(other, names))
                elif other == one.check.name:
                    blame(path, _where(one), "a check cannot suppress itself", "name another one")
                elif key == "suppresses" and other in by_name:
                    if isinstance(by_name[other].entry, LimitEntry) and getattr(by_name[other].entry, "ccp", False):
                        blame(path, _where(one), f"{other!r} is a critical control point", "it cannot be suppressed")
                    silenced[other].add(one.check.name)
    for circle in _circles(silenced):
        one = by_name[circle[0]]
        told = " → ".join([*circle, circle[0]])
        blame((*one.path, "suppressed_by"), _where(one), f"checks suppress each other: {told}", "all would be silent")
    order = {one.check.name: position for position, one in enumerate(made)}
    return [
        replace(one, check=replace(one.check, suppressed_by=tuple(sorted(found, key=lambda name: order.get(name, 0)))))
        if (found := silenced[one.check.name])
        else one
        for one in made
    ]


def _circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Give every circle of names that point at each other, each once, beginning with its first name."""
    found: dict[frozenset[str], list[str]] = {}
    done: set[str] = set()
    for start in edges:
        stack: list[tuple[str, list[str]]] = [(start, [start])]
        while stack:
            name, way = stack.pop()
            for other in sorted(edges.get(name, ())):
                if other in way:
                    circle = way[way.index(other) :]
                    found.setdefault(frozenset(circle), circle)
                elif other not in done:
                    stack.append((other, [*way, other]))
        done.add(start)
    return list(found.values())


def _where(one: Made) -> str:
    return f"{one.path[0]} {one.check.name}"
