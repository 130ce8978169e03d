"""Tag drift: a tag the machine served and now refuses (node or register gone, another type), said once as a fact.

A refusal counts when it lasts from one look to the next: a machine that starts, or a scan that fails once, is no drift.
What was said is kept with the fact, so that a restart does not say it again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from edge.recording import Recording
from sync.facts import Fact, SchemaDrifted

log = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""Drivers ask refused tags again about as often."""
MOST_CHANGES: Final = 50


class TagDrift:
    """Looks at every connection's refused tags; `keep_looking` runs until cancelled."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._tags = {tag.index: tag for tag in recording.site.table.tags}
        self._seen: dict[str, Mapping[int, str]] = {}
        """Connection → what was refused at the last look."""
        self._said: dict[str, set[str]] = {}
        """Connection → tag ids whose refusal is on record."""

    async def keep_looking(self) -> None:
        while True:
            await self._recording.clock.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Compare with the last look, and put what changed on disk."""
        for name, source in self._recording.sources.items():
            if source.state != "connected":
                self._seen.pop(name, None)
                continue
            before = self._seen.get(name)
            self._seen[name] = now = dict(source.health.bad_items)
            if before is not None:
                await self._compare(name, {i: why for i, why in now.items() if i in before}, now)

    async def _compare(self, name: str, steady: Mapping[int, str], now: Mapping[int, str]) -> None:
        """steady: refused at both looks. now: refused at this one."""
        said = self._said_of(name)
        refused = {self._tags[i].id: i for i in now if i in self._tags}
        begun = {self._tags[i].id: why for i, why in steady.items() if i in self._tags and self._tags[i].id not in said}
        ended = sorted(said - refused.keys())
        if not begun and not ended:
            return
        sentences = [f"{tag} is refused: {why}" for tag, why in begun.items()]
        sentences += [f"{tag} is served again" for tag in ended]
        if len(sentences) > MOST_CHANGES:
            sentences = [*sentences[: MOST_CHANGES - 1], f"and {len(sentences) - MOST_CHANGES + 1} more"]
        counts = {"tag_refused": len(begun), "tag_served": len(ended)}
        fact = SchemaDrifted(
            at=self._recording.clock.now(),
            source=name,
            severity="critical" if begun else "info",
            changes=sentences,
            counts={kind: count for kind, count in counts.items() if count},
        )
        log.log(
            logging.WARNING if begun else logging.INFO, "tag drift: source=%s what=%s", name, "; ".join(sentences[:5])
        )
        said.update(begun)
        said.difference_update(ended)
        facts: list[Fact] = [fact]
        checkpoints = {f"drift:{name}": msgspec.msgpack.encode(sorted(said))}
        await self._recording.commit([], facts, checkpoints=checkpoints)

    def _said_of(self, name: str) -> set[str]:
        if name not in self._said:
            saved = self._recording.store.checkpoint(f"drift:{name}")
            try:
                self._said[name] = set() if saved is None else set(msgspec.msgpack.decode(saved, type=list[str]))
            except msgspec.MsgspecError as error:
                log.warning("checkpoint not usable, begun anew: name=drift:%s why=%s", name, error)
                self._said[name] = set()
        return self._said[name]
