"""What a line of the fleet is called in a list of lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]
"""With site, gateway and work_unit."""


def named(lines: Iterable[Line], among: Sequence[Line]) -> list[str]:
    """Give `gateway/line` of each; `site:gateway/line` where another site has the same."""
    sites = Counter(pair[1:] for pair in {(one["site"], one["gateway"], one["work_unit"]) for one in among})
    return [
        f"{one['site']}:{name}" if sites[one["gateway"], one["work_unit"]] > 1 else name
        for one in lines
        for name in (f"{one['gateway']}/{one['work_unit']}",)
    ]
