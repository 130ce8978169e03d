"""Who may see what: part of every query and of every cache key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """A tenant, and of it some sites or lines, or all."""

    tenant: str
    sites: frozenset[str] | None = None
    """None: every site."""
    lines: frozenset[tuple[str, str]] | None = None
    """(site, work unit); None: every line of the sites."""

    def allows(self, site: str, work_unit: str | None = None) -> bool:
        """Tell whether a site, or a line of it, may be seen."""
        if self.sites is not None and site not in self.sites:
            return False
        if self.lines is None:
            return True
        if work_unit is None:
            return any(known == site for known, _ in self.lines)
        return (site, work_unit) in self.lines

    def key(self) -> str:
        """Give the part of a cache key that keeps a narrower reader from a wider answer."""
        sites = "*" if self.sites is None else "|".join(sorted(self.sites))
        lines = "*" if self.lines is None else "|".join(sorted("/".join(line) for line in self.lines))
        return f"{self.tenant}\n{sites}\n{lines}"
