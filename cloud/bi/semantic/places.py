"""Where figures may be asked for: the lines within a scope, their ISA-95 hierarchy, and filters on it.

What lies outside the scope does not exist here: its names are neither matched nor offered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cloud.bi.semantic.dimensions import Level
from cloud.bi.semantic.errors import PlanError, unknown
from cloud.bi.semantic.scope import Scope
from cloud.plant import Plant, Plants

LEVELS: Final[tuple[Level, ...]] = ("site", "area", "work_center", "line")
Line = tuple[str, str]
"""(site, work unit)."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Sites whose rows may be read, and of each which lines; None for all of them."""

    lines: tuple[tuple[str, frozenset[str] | None], ...]

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(site for site, _ in self.lines)

    @property
    def narrowed(self) -> bool:
        """Tell whether some line of a site is left out."""
        return any(units is not None for _, units in self.lines)

    def holds(self, site: str, work_unit: str) -> bool:
        return any(own == site and (units is None or work_unit in units) for own, units in self.lines)


class Places:
    """The plant as one reader sees it."""

    def __init__(self, plants: Plants, scope: Scope, known: Iterable[Line]) -> None:
        """Take the configured lines, and those (site, work unit) that were seen besides."""
        self.scope = scope
        self.plants: dict[str, Plant] = {
            plant.site.id: plant for plant in plants.of_tenant(scope.tenant) if scope.allows(plant.site.id)
        }
        order: dict[Line, int] = {}
        for site, plant in self.plants.items():
            for unit in plant.order:
                if scope.allows(site, unit):
                    order.setdefault((site, unit), len(order))
        for site, unit in sorted(known):
            if site in self.plants and scope.allows(site, unit):
                order.setdefault((site, unit), len(order))
        self.lines: tuple[Line, ...] = tuple(order)
        self._keys: dict[Level, dict[Line, str]] = {}
        for depth, level in enumerate(LEVELS):
            paths = {line: _path(line, depth) for line in self.lines}
            owners = Counter(path for path, _ in {(paths[line], line[0]) for line in self.lines})
            # The same path at two sites is two places: then, and only then, the site stands before it.
            self._keys[level] = {
                line: path if depth == 0 or owners[path] == 1 else f"{line[0]}:{path}" for line, path in paths.items()
            }

    def first(self) -> Plant:
        """Give the first site within the scope. Raises PlanError when there is none."""
        for plant in self.plants.values():
            return plant
        raise PlanError("there is nothing here that you may see", "ask for access to a site or a line")

    def sites(self, value: str | None) -> list[str]:
        """Give the sites that a value of the dimension `site` means, an id or a name; all of them without one."""
        return [
            site
            for site, plant in self.plants.items()
            if value is None or value in {site, plant.site.name.ko, plant.site.name.en}
        ]

    def key(self, level: Level, site: str, work_unit: str) -> str:
        """Give the key of a place at one level of the hierarchy."""
        if level == "site":
            return site
        known = self._keys[level].get((site, work_unit))
        return _path((site, work_unit), LEVELS.index(level)) if known is None else known

    def line(self, key: str) -> Line | None:
        """Give the line that a key of the dimension `line` means, or `site:path`."""
        return next((line for line, own in self._keys["line"].items() if key in {own, f"{line[0]}:{line[1]}"}), None)

    def matching(self, level: Level, values: Iterable[str]) -> frozenset[Line]:
        """Give the lines that values of one level mean: keys, paths, or the names people use. Raises PlanError."""
        found: set[Line] = set()
        for value in values:
            hits = {line for line in self.lines if value in self._called(level, line)}
            if level == "site" and value in self.plants:  # a site without lines is one all the same
                hits |= {(value, "")}
            if not hits:
                known = {name for line in self.lines for name in self._called(level, line) if ":" not in name}
                known |= set(self.plants) if level == "site" else set()
                raise unknown(level.replace("_", " "), value, known)
            found |= hits
        return frozenset(found)

    def _called(self, level: Level, line: Line) -> set[str]:
        site, unit = line
        names = {self._keys[level][line]}
        if level == "site":
            label = self.plants[site].site.name
            return names | {label.ko, label.en}
        names.add(f"{site}:{_path(line, LEVELS.index(level))}")
        names.add(_path(line, LEVELS.index(level)))
        if level == "line":
            names |= {*self.plants[site].label(unit).values(), *self.plants[site].full_label(unit).values()}
        return names

    def allowed(self, chosen: Iterable[tuple[Level, bool, frozenset[Line]]]) -> Allowed:
        """Give what may be read under filters (level, wanted or not, lines they mean); the scope is always among them."""
        sites = list(self.plants)
        lines: set[Line] | None = None if self.scope.lines is None else set(self.lines)
        for level, wanted, meant in chosen:
            if level == "site":
                named = {site for site, _ in meant}
                sites = [site for site in sites if (site in named) == wanted]
            elif wanted:
                lines = (set(self.lines) if lines is None else lines) & meant
            else:
                lines = (set(self.lines) if lines is None else lines) - meant
        kept: list[tuple[str, frozenset[str] | None]] = []
        for site in sites:
            units = None if lines is None else frozenset(unit for own, unit in lines if own == site)
            if units is None or units:
                kept.append((site, units))
        return Allowed(tuple(kept))


def _path(line: Line, depth: int) -> str:
    """Give the beginning of a path: 1 area, 2 work center, 3 all of it."""
    return line[0] if depth == 0 else "/".join(line[1].split("/")[:depth])
