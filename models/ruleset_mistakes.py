"""What is wrong with an expression that parses and has the right types: parts without a value, texts that never come."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Final

from models.expression_checker import Const, Op, Slot, Typed
from models.ruleset_reason import Folding, Words

STATES: Final = (
    "UNDEFINED", "CLEARING", "STOPPED", "STARTING", "IDLE", "SUSPENDED", "EXECUTE", "STOPPING", "ABORTING", "ABORTED",
    "HOLDING", "HELD", "UNHOLDING", "SUSPENDING", "UNSUSPENDING", "RESETTING", "COMPLETING", "COMPLETE",
)  # fmt: skip
"""What `state` can be: PackML (ISA-TR88.00.02)."""
_MEANT: Final = {
    "RUN": "EXECUTE", "RUNNING": "EXECUTE", "PRODUCING": "EXECUTE", "AUTO": "EXECUTE", "STOP": "STOPPED", "DOWN": "STOPPED",
    "FAULT": "ABORTED", "FAULTED": "ABORTED", "ERROR": "ABORTED", "ALARM": "ABORTED", "PAUSED": "HELD", "READY": "IDLE",
    "STARVED": "SUSPENDED", "BLOCKED": "SUSPENDED", "DONE": "COMPLETE",
}  # fmt: skip
"""What makers call PackML's states."""
QUALITIES: Final = ("good", "uncertain", "bad")


def domain(name: str) -> Words | None:
    """Give the texts an input can be; None when it is a number or can be any text."""
    known = _texts(name)
    return None if known is None else Words(frozenset(known))


def mistakes(tree: Typed, names: Sequence[str]) -> list[str]:
    """Give a sentence for each mistake, `problem; hint`. names: of the inputs, by place."""
    folding = Folding()
    found = [
        f"{why}; guard it, as in b != 0.0 && a / b > 2.0"
        for part in parts(tree)
        if isinstance(part, Op) and (why := _own(part, folding)) is not None
    ]
    for part in parts(tree):
        for slot, word in _compared(part):
            known = _texts(names[slot.index]) if slot.index < len(names) else None
            if known is not None and word not in known:
                meant = _MEANT.get(word.upper(), word.upper())
                near = [meant] if meant in known else difflib.get_close_matches(word, known, 1, 0.6)
                hint = f"nearest is {near[0]}" if near else f"there are {', '.join(known)}"
                found.append(f"{names[slot.index]} is never {word!r}; {hint}")
    return list(dict.fromkeys(found))


def parts(tree: Typed) -> Iterator[Typed]:
    """Give a tree and all trees in it."""
    yield tree
    if isinstance(tree, Op):
        for argument in tree.arguments:
            yield from parts(argument)


def _own(tree: Op, folding: Folding) -> str | None:
    """Say why a part has no value, where its arguments are not already to blame."""
    if any(folding.hopeless(argument) is not None for argument in tree.arguments):
        return None
    return folding.hopeless(tree)


def _texts(name: str) -> tuple[str, ...] | None:
    if name == "state":
        return STATES
    return QUALITIES if name.endswith(".quality") and not name.startswith("context.") else None


def _compared(tree: Typed) -> list[tuple[Slot, str]]:
    if not isinstance(tree, Op) or tree.name not in {"eq", "ne", "in"}:
        return []
    slots = [part for part in tree.arguments if isinstance(part, Slot)]
    words = [part.value for part in tree.arguments if isinstance(part, Const) and isinstance(part.value, str)]
    return [(slot, word) for slot in slots[:1] for word in words]
