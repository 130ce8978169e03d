"""What the configuration says about plants, ready to use: calendars, names, order of lines, enrolled gateways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cloud.config import Label, Settings, Site
from cloud.marts.calendar import Calendar
from sync.topics import Address

Place = tuple[str, str, str]
"""(tenant, site, work unit)."""


@dataclass(frozen=True, slots=True)
class Plant:
    """One site with its calendar."""

    site: Site
    calendar: Calendar
    names: dict[str, Label]
    """Work unit → name; only those the file names."""
    order: dict[str, int]
    known_as: dict[str, str] = field(default_factory=dict[str, str])
    """What the site is called beside the tenant's others, in both languages; empty where it is the only one."""
    elsewhere: frozenset[str] = frozenset()
    """Names of lines of the tenant's other sites."""

    def label(self, work_unit: str) -> dict[str, str]:
        """Give a line's name within its site, in both languages; its path where nobody named it."""
        name = self.names.get(work_unit)
        return {"ko": work_unit, "en": work_unit} if name is None else {"ko": name.ko, "en": name.en}

    def full_label(self, work_unit: str) -> dict[str, str]:
        """Give a line's name as it is said beside lines of other sites: with its site where one there is called the same.

        A line that nobody named always has its site with it: any site may hear of one with the same path.
        """
        name = self.label(work_unit)
        if not self.known_as or (work_unit in self.names and self.elsewhere.isdisjoint(name.values())):
            return name
        return {language: f"{said} · {self.known_as[language]}" for language, said in name.items()}


class Plants:
    """Every configured site, by (tenant, site)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.file = settings.file
        self.keys = settings.keys
        self._plants = {
            (site.tenant, site.id): Plant(
                site,
                Calendar(site),
                {unit.path: unit.name for unit in site.work_units},
                {unit.path: place for place, unit in enumerate(site.work_units)},
                *_beside(site, settings.file.sites),
            )
            for site in settings.file.sites
        }

    def __getitem__(self, key: tuple[str, str]) -> Plant:
        return self._plants[key]

    def of_tenant(self, tenant: str) -> list[Plant]:
        """Give a tenant's sites in the order of the file."""
        return [plant for (owner, _), plant in self._plants.items() if owner == tenant]

    @property
    def tenants(self) -> list[str]:
        """Give every tenant in the order of the file."""
        return list(dict.fromkeys(tenant for tenant, _ in self._plants))

    def tag(self, tenant: str, site: str, tag: str) -> str:
        """Give what a tag is called in the stream of readings: with its site where the tenant has several."""
        return f"{site}:{tag}" if len(self.of_tenant(tenant)) > 1 else tag

    def gateways(self, tenant: str) -> list[Address]:
        """Give a tenant's enrolled gateways in the order of the file."""
        return [address for address in self.keys if address.tenant == tenant]

    def page_of(self, address: Address) -> str | None:
        """Give the address of a gateway's own page, where the file tells it."""
        return next((g.page for g in self.file.gateways if g.address == address), None)


def _beside(site: Site, sites: Sequence[Site]) -> tuple[dict[str, str], frozenset[str]]:
    """Give what a site is called beside the tenant's others, and what lines are called there."""
    others = [one for one in sites if one.tenant == site.tenant and one.id != site.id]
    taken = {name for one in others for name in (one.name.ko, one.name.en)}
    name = {"ko": site.name.ko, "en": site.name.en}
    if not taken.isdisjoint(name.values()):  # nobody told them apart by name: the id does
        name = dict.fromkeys(name, site.id)
    lines = frozenset(said for one in others for unit in one.work_units for said in (unit.name.ko, unit.name.en))
    return (name if others else {}), lines
