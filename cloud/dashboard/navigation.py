"""The pages in two groups: what runs the plant, and what keeps its records honest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Link:
    """One page of the navigation."""

    text: str
    """Key of its word."""
    path: str
    within: tuple[str, ...] = ()
    """Beginnings of addresses that belong to it, too."""

    def holds(self, path: str) -> bool:
        """Tell whether an address is this page or lies below it."""
        return path == self.path or any(path.startswith(part) for part in (*self.within, *self._below()))

    def _below(self) -> tuple[str, ...]:
        return () if self.path == "/" else (f"{self.path}/",)


GROUPS: Final = (
    (
        "nav.plant",
        (
            Link("nav.hall", "/", ("/lines/", "/verdicts/")),
            Link("nav.quality", "/quality"),
            Link("nav.analysis", "/analysis"),
            Link("nav.reports", "/reports"),
            Link("nav.alerts", "/alerts"),
        ),
    ),
    (
        "nav.records",
        (
            Link("nav.fleet", "/fleet", ("/gateways",)),
            Link("nav.completeness", "/completeness"),
            Link("nav.data", "/data"),
            Link("nav.actions", "/actions"),
            Link("nav.audit", "/audit"),
        ),
    ),
)
"""(key of the group's word, its pages)."""
