"""How a tenant's lines are asked for: by path, and with the site before it where two sites have the same path.

`site:path` means a line everywhere and always; the path alone does where only one site has it.
"""

from __future__ import annotations

from collections.abc import Iterable

from cloud.database import Connection
from cloud.plant import Plants

Line = tuple[str, str]
"""(site, work unit)."""


class Lines:
    """The lines of the file, and those that were heard of besides."""

    def __init__(self, plants: Plants, tenant: str, heard: Iterable[Line]) -> None:
        """Take a tenant's plants, and every (site, work unit) that told anything."""
        self._plants = {plant.site.id: plant for plant in plants.of_tenant(tenant)}
        known = [(site, unit) for site, plant in self._plants.items() for unit in plant.order]
        known += sorted(one for one in heard if one[0] in self._plants)
        self._sites: dict[str, list[str]] = {}
        for site, unit in dict.fromkeys(known):
            self._sites.setdefault(unit, []).append(site)

    def key(self, site: str, work_unit: str) -> str:
        """Give what a line is asked for by."""
        return work_unit if self._sites.get(work_unit, [site]) == [site] else f"{site}:{work_unit}"

    def keys(self) -> list[str]:
        """Give the keys of all lines."""
        return [self.key(site, unit) for unit, sites in self._sites.items() for site in sites]

    def named(self, name: str) -> list[Line]:
        """Give the lines that a name means: one, none, or those of several sites that share a path."""
        site, _, unit = name.partition(":")
        if site in self._sites.get(unit, ()):
            return [(site, unit)]
        return [(one, name) for one in self._sites.get(name, ())]

    def called(self, site: str, work_unit: str) -> dict[str, str]:
        """Give a line's name in both languages, with its site where another site's line is called the same."""
        plant = self._plants.get(site)
        return dict.fromkeys(("ko", "en"), work_unit) if plant is None else plant.full_label(work_unit)


def lines(connection: Connection, plants: Plants, tenant: str) -> Lines:
    """Give a tenant's lines as they are known now."""
    rows = connection.execute("select site, work_unit from work_unit where tenant=?", (tenant,))
    return Lines(plants, tenant, ((site, unit) for site, unit in rows if unit))
