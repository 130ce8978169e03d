"""A ruleset and the names it was compiled against as one content: kept on the gateway, told to the cloud, read by both."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

import msgspec
import zstandard

from edge.judgment.names import LineNames
from models.ruleset import Ruleset
from models.rulesets import load_document
from sync.judgment import RulesetActivated

MAX_BYTES: Final = 16 << 20
"""Of a content before compression."""
PART_BYTES: Final = 96 * 1024
"""Of a content in one fact; base64 makes a third more of it, and a chunk takes 192 KiB."""


class ArchiveError(Exception):
    """What was kept of a ruleset cannot be used; the message says what is wrong with it."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """All that a ruleset's verdicts need to be judged again."""

    document: str
    """Canonical JSON of the parsed ruleset (`Ruleset.document`)."""
    names: LineNames

    def ruleset(self, wanted: str | None = None) -> Ruleset:
        """Compile it anew. Raises ArchiveError when it no longer compiles, or is not the one with this hash."""
        try:
            ruleset = load_document(self.document, self.names.environment())
        except ValueError as error:
            raise ArchiveError(f"the kept ruleset cannot be compiled: {error}") from error
        if wanted is not None and ruleset.hash != wanted:
            raise ArchiveError(f"the kept ruleset has the hash {ruleset.hash}, not {wanted}; the file was changed")
        return ruleset


_kept: Final = msgspec.json.Decoder(Kept)
"""Made at import: threads that meet a type first at the same time crash (see `models.package.content`)."""


def activated(ruleset: Ruleset, names: LineNames, at: int) -> list[RulesetActivated]:
    """Give the facts that tell the cloud of a ruleset with all its verdicts need; mostly one. at: ns."""
    content = msgspec.json.encode(Kept(document=ruleset.document, names=names), order="sorted")
    frame = zstandard.ZstdCompressor(level=9).compress(content)
    parts = [frame[start : start + PART_BYTES] for start in range(0, len(frame), PART_BYTES)]
    return [
        RulesetActivated(
            at=at,
            work_unit=names.work_unit,
            ruleset=ruleset.name,
            ruleset_version=ruleset.version,
            ruleset_hash=ruleset.hash,
            names=names.digest,
            part=number,
            parts=len(parts),
            content=base64.b64encode(part).decode(),
        )
        for number, part in enumerate(parts, start=1)
    ]


def kept(facts: Sequence[RulesetActivated]) -> Kept:
    """Put together what `activated` gave, in any order. Raises ArchiveError when parts are missing or damaged."""
    parts = {fact.part: fact.content for fact in facts}
    wanted = facts[0].parts if facts else 0
    if not facts or sorted(parts) != list(range(1, wanted + 1)):
        raise ArchiveError(f"{len(parts)} of {wanted} parts of a ruleset are there")
    try:
        frame = b"".join(base64.b64decode(parts[number], validate=True) for number in sorted(parts))
        if zstandard.get_frame_parameters(frame).content_size > MAX_BYTES:
            raise ArchiveError("the content of a ruleset is larger than any can be")
        return _kept.decode(zstandard.ZstdDecompressor().decompress(frame))
    except (binascii.Error, zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise ArchiveError(f"the content of a ruleset cannot be read: {error}") from error
