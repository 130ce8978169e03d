"""How the checks of a ruleset name each other: who silences whom, and who is part of whom. Settled once all are known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from models.ruleset import Check
from models.ruleset_composite import Composite, CompositeEntry
from models.ruleset_file import Entry, LimitEntry
from models.ruleset_table import nearest
from models.toml_places import Path


@dataclass(frozen=True, slots=True)
class Made:
    """A check with what it was made of."""

    check: Check
    entry: Entry
    path: Path


MOST_CIRCLES: Final = 20
"""So many are told; whoever mends these sees the next."""
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
    for one in made:
        if isinstance(one.entry, CompositeEntry):
            for position, other in enumerate(one.entry.counted[0]):
                if other not in names:
                    where = (*one.path, one.entry.key, position)
                    blame(where, _where(one), f"there is no check {other!r}", nearest(other, names))
    parts = {one.check.name: set(one.check.members) for one in made if isinstance(one.check, Composite)}
    for circle in _circles({name: {part for part in members if part in parts} for name, members in parts.items()}):
        one = by_name[circle[0]]
        told = " → ".join([*circle, circle[0]])
        blame((*one.path, "name"), _where(one), f"composites are made of each other: {told}", "")
    for circle in _circles(silenced)[:MOST_CIRCLES]:
        one = by_name[circle[0]]
        told = " → ".join([*circle, circle[0]])
        blame((*one.path, "suppressed_by"), _where(one), f"checks suppress each other: {told}", "all would be silent")
    made = _members_first(made)
    order = {one.check.name: position for position, one in enumerate(made)}
    return [
        replace(one, check=replace(one.check, suppressed_by=tuple(sorted(found, key=lambda name: order.get(name, 0)))))
        if (found := silenced[one.check.name])
        else one
        for one in made
    ]


def _members_first(made: Sequence[Made]) -> list[Made]:
    """Put composites behind their members, and let them depend on what these depend on."""
    done: dict[str, Made] = {one.check.name: one for one in made if not isinstance(one.check, Composite)}
    waiting = [(one, one.check) for one in made if isinstance(one.check, Composite)]
    while waiting:
        ready = [(one, check) for one, check in waiting if all(name in done for name in check.members)]
        if not ready:
            return list(made)  # a circle or a missing member, which was told
        for one, check in ready:
            uses = dict.fromkeys(used for name in check.members for used in done[name].check.uses)
            done[check.name] = replace(one, check=replace(check, uses=tuple(dict.fromkeys([*check.uses, *uses]))))
        waiting = [(one, check) for one, check in waiting if check.name not in done]
    return list(done.values())


def _circles(edges: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Give a circle for every name that points back at one on the way to it; none twice, none left without one."""
    found: dict[frozenset[str], list[str]] = {}
    done: set[str] = set()
    for start in edges:
        way: list[str] = []
        waiting: list[tuple[str, Iterator[str]]] = []
        name: str | None = start if start not in done else None
        while name is not None or waiting:
            if name is not None:
                way.append(name)
                waiting.append((name, iter(sorted(edges.get(name, ())))))
            name = next((other for other in waiting[-1][1] if other not in done), None)
            if name is None:
                done.add(waiting.pop()[0])
                way.pop()
            elif name in way:
                circle = way[way.index(name) :]
                found.setdefault(frozenset(circle), circle)
                name = None
    return list(found.values())


def _where(one: Made) -> str:
    return f"{one.path[0]} {one.check.name}"
