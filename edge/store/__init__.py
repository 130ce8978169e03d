"""The store: everything of a gateway that must outlive a power cut; one file, one thread, one way in."""

from edge.store.file import StoreError, StoreRefusedError
from edge.store.store import (
    CommitError,
    LaneCounts,
    Next,
    Outbox,
    Quota,
    Recovery,
    Store,
    StoreCounts,
    StoredChunk,
    open_store,
)

__all__ = [
    "CommitError",
    "LaneCounts",
    "Next",
    "Outbox",
    "Quota",
    "Recovery",
    "Store",
    "StoreCounts",
    "StoreError",
    "StoreRefusedError",
    "StoredChunk",
    "open_store",
]
