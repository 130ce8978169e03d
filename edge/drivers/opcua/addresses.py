"""What a tag book calls a node, and which part of its value it means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from asyncua import ua

from edge.tags import Tag
from sync.quality import BAD_CONFIGURATION_ERROR, BAD_NODE_ID_UNKNOWN

Path = tuple[str | int, ...]
"""Steps into a value: names of fields and numbers of elements; empty for the whole value."""
_STEP: Final = re.compile(r"\.?([^\W\d][^.\[\]]*)|\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a tag has no value."""

    status: int
    why: str


def resolve(address: str, namespaces: dict[str, int]) -> ua.NodeId | Refusal:
    """Give the node that an address (`nsu=<uri>;s=<id>`, or `i=<number>` of OPC UA's own) names on this server."""
    namespace, _, rest = address.partition(";") if address.startswith("nsu=") else ("", "", address)
    index = 0
    if namespace:
        uri = namespace.removeprefix("nsu=")
        if uri not in namespaces:
            known = ", ".join(namespaces)
            return Refusal(BAD_NODE_ID_UNKNOWN, f"{address}: the server has no namespace {uri!r}; it has {known}")
        index = namespaces[uri]
    if rest[:2] not in {"s=", "i=", "g=", "b="}:
        why = f"{address}: write nsu=<namespace uri>;s=<id>; ns=<number> will not do, a server may number them anew"
        return Refusal(BAD_CONFIGURATION_ERROR, why)
    try:
        return ua.NodeId.from_string(f"ns={index};{rest}")
    except (ua.UaError, ValueError) as error:
        return Refusal(BAD_CONFIGURATION_ERROR, f"{address}: no node address ({error}); write nsu=<uri>;s=<id>")


def path_of(tag: Tag) -> Path | Refusal:
    """Give the steps from a node's value to what the tag means: its path, and its element where the book says `count`."""
    steps: list[str | int] = []
    text, at = tag.spec.path, 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or (at == 0 and text[0] == "."):
            why = f"{tag.address}: path {text!r} is not to be read from {text[at:]!r} on; write [3], position.x or axes[2].torque"
            return Refusal(BAD_CONFIGURATION_ERROR, why)
        steps += [step[1]] if step[1] else [int(number) for number in step[2].split(",")]
        at = step.end()
    return (*steps, tag.element) if tag.spec.count > 1 else tuple(steps)


def spelled(path: Path) -> str:
    """Give steps as a book writes them."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
