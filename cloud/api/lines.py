"""The line that a request names: `site:path`, or the path alone where one site has it; never a guess."""

from __future__ import annotations

from typing import Final

from cloud.api.errors import ApiError, invalid, not_found
from cloud.bi.lines import Line, Lines
from sync.settings import nearest

MOST_NAME: Final = 600


class AmbiguousLineError(ApiError):
    """Several sites have a line of this path; `choices` says how each is asked for."""

    def __init__(self, name: str, choices: list[Line]) -> None:
        """Take what was asked for, and the lines it may mean."""
        sites = ", ".join(site for site, _ in choices)
        meant = " or ".join(f"{site}:{unit}" for site, unit in choices)
        super().__init__(
            400, "ERR_VALIDATION", f"{len(choices)} sites have a line {name!r}: {sites}", f"say which: {meant}"
        )
        self.name, self.choices = name, choices


def one_line(lines: Lines, name: str) -> Line:
    """Give the line that is meant. Raises ApiError: 404 for one that there is not, 400 where several sites have it."""
    if "\0" in name or len(name) > MOST_NAME:
        raise invalid("`work_unit` cannot be", f"give a name of at most {MOST_NAME} characters")
    found = lines.named(name)
    if not found:
        raise not_found(f"there is no line {name!r}", nearest(name, lines.keys()))
    if len(found) > 1:
        raise AmbiguousLineError(name, found)
    return found[0]


def filtered(lines: Lines, name: str | None) -> tuple[str | None, str | None]:
    """Give (site, work unit) to filter a list by. A line nobody heard of filters everything out. Raises ApiError 400."""
    if name is None:
        return None, None
    found = lines.named(name)
    if len(found) > 1:
        raise AmbiguousLineError(name, found)
    return found[0] if found else (None, name)
