"""The virtual tags of a line's book, compiled over the tags the line has."""

from __future__ import annotations

from collections.abc import Sequence

from edge.production import counters_of
from edge.tags import Tag, TagBook
from models.virtual import Virtual, VirtualError, VirtualTag, compile_virtual
from sync.settings import ConfigError, Document


def bind_virtual(source: Document, book: TagBook, tags: Sequence[Tag]) -> Virtual:
    """Compile a book's virtual tags. Raises ConfigError with every fault, on its line of the book.

    source: the book's file. tags: those the book became on this line.
    """
    entries = [
        VirtualTag(
            name=spec.name, value=spec.value, unit=spec.unit, low=spec.low, high=spec.high, required=spec.required
        )
        for spec in book.virtual
    ]
    try:
        return compile_virtual(
            entries,
            {tag.spec.name: tag.spec.type for tag in tags},
            counters_of(tags),
            {tag.spec.name: tag.spec.unit for tag in tags},
        )
    except VirtualError as error:
        raise ConfigError(
            [source.fault(("virtual", fault.position, fault.key), fault.problem) for fault in error.faults]
        ) from error
