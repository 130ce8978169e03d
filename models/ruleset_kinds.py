"""The kinds of checks a ruleset may have: the table of the file, its shape, and what builds the check.

A new kind is a line here, and one in `edge.judgment.findings`, which says how it looks at a window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from models.ruleset import Check
from models.ruleset_capability import CapabilityEntry, build_capability
from models.ruleset_change import ChangeEntry, StuckEntry, build_change, build_stuck
from models.ruleset_chart import ChartEntry, build_chart
from models.ruleset_compile import Compiler, build_limit, build_rule
from models.ruleset_composite import CompositeEntry, build_composite
from models.ruleset_file import Entry, LimitEntry, RuleEntry, TableEntry
from models.ruleset_table import build_table
from models.ruleset_tree import TreeEntry, build_tree
from models.toml_places import Path


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of check."""

    entry: type[Entry]
    build: Callable[[Compiler, Any, Path], Check | None]
    """Give the check of an entry at a path of the document; None after its faults were told."""


KINDS: Final[dict[str, Kind]] = {
    "limit": Kind(LimitEntry, build_limit),
    "table": Kind(TableEntry, build_table),
    "rule": Kind(RuleEntry, build_rule),
    "change": Kind(ChangeEntry, build_change),
    "stuck": Kind(StuckEntry, build_stuck),
    "tree": Kind(TreeEntry, build_tree),
    "chart": Kind(ChartEntry, build_chart),
    "capability": Kind(CapabilityEntry, build_capability),
    "composite": Kind(CompositeEntry, build_composite),
}
"""Table of the file → its kind, in the order in which their findings stand; composites come last, after their members."""
