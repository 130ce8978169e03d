"""Keeps what judged for as long as its verdicts are: rulesets and packages on disk before the first verdict names them.

The cloud is told of each ruleset once, with all that replaying its verdicts there needs. Once a start, what no verdict on
this box names any more is let go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from edge.bundles import Bundles, Trimmed, line_names
from edge.recording import Recording
from edge.replaying import open_replays
from edge.store import StoreRefusedError
from edge.store.history import HistoryError
from sync.facts import Fact

log = logging.getLogger(__name__)

TRIM_AFTER_S: Final = 60.0
"""After a start; there is more urgent work in its first minute."""


class Archiving:
    """The archive of a running gateway. packages: digests of the model packages that must stay."""

    def __init__(self, recording: Recording, packages: Callable[[], set[str]]) -> None:
        self._recording, self._packages = recording, packages
        self._bundles = Bundles(recording.site.data)

    async def keep(self) -> None:
        """Keep the rulesets that judge from now on. Raises OSError, StoreError."""
        store, now = self._recording.store, self._recording.clock.now()
        facts, told = list[Fact](), dict[str, bytes]()
        for work_unit, pipeline in self._recording.pipelines.items():
            if pipeline.ruleset is None:
                continue
            names = line_names(work_unit, pipeline.tags, pipeline.virtual)
            activated = self._bundles.keep(pipeline.ruleset, names, now)
            what = f"{pipeline.ruleset.hash} {names.digest}".encode()
            if store.checkpoint(f"rules:{work_unit}") != what:
                facts += activated
                told[f"rules:{work_unit}"] = what
        if facts:
            await store.commit(facts=facts, checkpoints=told)

    async def trim(self) -> None:
        """Let go of what nothing names, once, some time after a start. What cannot be read lets nothing go."""
        await self._recording.clock.sleep(TRIM_AFTER_S)
        try:
            trimmed = await asyncio.to_thread(self._trim)
        except (OSError, HistoryError, StoreRefusedError) as error:
            log.warning("old rulesets and packages stay: %s", error)
            return
        if trimmed.gone:
            log.info("old rulesets and packages are gone: gone=%d kept=%d", trimmed.gone, trimmed.kept)

    def _trim(self) -> Trimmed:
        now = {line.ruleset.hash for line in self._recording.pipelines.values() if line.ruleset is not None}
        with open_replays(self._recording.site.data, own=True) as replays:
            return self._bundles.trim(replays.named() | now | self._packages())
