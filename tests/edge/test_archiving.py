"""What judged is kept before its first verdict, told once, and let go when nothing names it: over a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import archiving
from edge.archiving import Archiving
from edge.bundles import Bundles
from edge.recording import Recording
from edge.site import load
from sync.chunk import decode
from sync.clock import WallClock
from sync.facts import Stream
from sync.judgment import RulesetActivated
from tests.edge.stores import store_in

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
ballast_mb = 0
[[connection]]
name = "press-plc"
driver = "simulated"
[[line]]
work_unit = "forming/line-1/press"
connection = "press-plc"
book = "press.toml"
rules = "press.rules.toml"
window_s = 1
"""
BOOK = """
title = "Press"
[[tag]]
name = "oil_temperature"
address = "oil"
unit = "CEL"
"""
RULES = """
[ruleset]
name = "press"
version = "1.0.0"
[[limit]]
name = "oil"
value = "oil_temperature.mean"
critical_high = 70
"""


def write(folder: Path, rules: str = RULES) -> Path:
    (folder / "site.toml").write_text(SITE)
    (folder / "press.toml").write_text(BOOK)
    (folder / "press.rules.toml").write_text(rules)
    return folder / "site.toml"


async def activated(store) -> list[RulesetActivated]:
    chunks = await store.kept(store.incarnation, Stream.EVENT, 1, 100)
    facts = [fact for chunk in chunks for fact in decode(chunk.body, chunk.count)]
    return [fact for fact in facts if isinstance(fact, RulesetActivated)]


async def test_a_ruleset_is_kept_and_told_once_however_often_the_gateway_starts(tmp_path: Path):
    site = load(write(tmp_path))
    for told in (1, 0):
        async with store_in(site.data) as store:
            recording = Recording(site, store, WallClock())
            await Archiving(recording, set).keep()
            assert len(await activated(store)) == told
    (line,) = site.rulesets
    ruleset, names = Bundles(site.data).ruleset(site.rulesets[line].hash, line)
    assert ruleset.hash == site.rulesets[line].hash
    assert names.tags["oil_temperature"] == "float64"


async def test_another_version_is_told_and_the_former_one_stays_until_much_came_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archiving, "TRIM_AFTER_S", 0.0)
    hashes: list[str] = []
    for limit in range(70, 138):
        site = load(write(tmp_path, RULES.replace("critical_high = 70", f"critical_high = {limit}")))
        (ruleset,) = site.rulesets.values()
        hashes.append(ruleset.hash)
        if 73 <= limit <= 135:  # the archive itself, without a store opened for each
            recorded = Recording(site, store=None, clock=WallClock())
            Bundles(site.data).keep(ruleset, _names(recorded), limit)
            continue
        async with store_in(site.data) as store:
            recording = Recording(site, store, WallClock())
            archive = Archiving(recording, set)
            await archive.keep()
            assert [fact.ruleset_hash for fact in await activated(store)] == [ruleset.hash]
            await archive.trim()
    kept = {entry.name for entry in (site.data / "bundles").iterdir()}
    assert hashes[-1] in kept
    assert len(kept) == 65, "64 that nothing names, and the one that judges"
    assert not set(hashes[:3]) & kept


def _names(recording: Recording):
    from edge.bundles import line_names

    ((work_unit, pipeline),) = recording.pipelines.items()
    return line_names(work_unit, pipeline.tags, pipeline.virtual)
