"""The virtual tags of a book, compiled over the tags it becomes on a line, or over all of it without a line."""

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


def check_virtual(source: Document, book: TagBook) -> Virtual:
    """Compile a book's virtual tags over its own tags, without a line. Raises ConfigError as `bind_virtual` does."""
    tags = [
        Tag(
            index=index,
            work_unit="",
            connection="",
            address=spec.address,
            spec=spec.model_copy(update={"name": name}),
        )
        for index, (spec, name) in enumerate((spec, name) for spec in book.tags for name in spec.element_names)
    ]
    return bind_virtual(source, book, tags)
