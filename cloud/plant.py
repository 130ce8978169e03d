"""What the configuration says about plants, ready to use: calendars, names, order of lines, enrolled gateways."""

from __future__ import annotations

from dataclasses import dataclass

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

    def label(self, work_unit: str) -> dict[str, str]:
        """Give a line's name in both languages; its path where nobody named it."""
        name = self.names.get(work_unit)
        return {"ko": work_unit, "en": work_unit} if name is None else {"ko": name.ko, "en": name.en}


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

    def gateways(self, tenant: str) -> list[Address]:
        """Give a tenant's enrolled gateways in the order of the file."""
        return [address for address in self.keys if address.tenant == tenant]

    def page_of(self, address: Address) -> str | None:
        """Give the address of a gateway's own page, where the file tells it."""
        return next((g.page for g in self.file.gateways if g.address == address), None)
