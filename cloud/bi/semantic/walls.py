"""What a question may read at most: marts, dimensions, targets, and of four tables the columns that say how fresh it is."""

from __future__ import annotations

from typing import Final

from cloud import tables

READABLE: Final[dict[str, frozenset[str] | None]] = {
    **{
        name: None
        for name in tables.metadata.tables
        if name.startswith(("mart_", "mv_", "dim_")) or name == "kpi_target"
    },
    "dirty_bucket": None,
    "work_unit": frozenset({"tenant", "site", "work_unit", "data_at"}),
    "gateway": frozenset({"tenant", "site", "name", "last_seen_ms", "gone_ms"}),
}
"""Table → columns; None for all."""
