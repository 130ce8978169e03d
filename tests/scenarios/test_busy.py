"""A busy gateway and a cloud on PostgreSQL: a hundred judgments a second with their models, each stored once; and drift."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from models.package import Feature
from tests.edge.scoring import moody
from tests.scenarios.works import GATEWAY, HEAD, Works
from tests.servers import Broker, mosquitto

pytestmark = pytest.mark.timeout(300)
LIKE, UNLIKE = "works/line-1/like", "works/line-2/unlike"
SPREAD = 0.25 / 3
"""Standard deviation of what the simulated machine shows, as a part of its range."""
BOOK = """
title = "A machine that makes up its load"
tag = [{{ name = "load", address = "load", low = {low}, high = {high} }}]
"""
RULES = """
[[limit]]
name = "load"
title = { ko = "부하", en = "Load" }
value = "load.mean"
warning_high = 5
"""
WINDOWS = 2_200
"""Of each line: two full windows of drift, of 1,000 samples each, make an alarm."""


class Busy(Works):
    """Two lines of one model, judged 50 times a second each; one shows loads two standard deviations off."""

    work_units = (LIKE, UNLIKE)

    def __init__(self, folder: Path, broker: Broker, database: str) -> None:
        feature = Feature(
            name="load", expression="load.last", unit="C62", low=0.0, high=1.0, tolerance=0.5,
            title={"ko": "부하", "en": "Load"},
        )  # fmt: skip
        package = moody.package(spacing_s=0.001, spread=SPREAD, even=True, features=(feature,), window_s=(0.01, 60.0))
        super().__init__(folder, broker, database, package=package)

    def _lay_out(self, folder: Path) -> None:
        super()._lay_out(folder)
        head = HEAD.format(name="busy", more='policy = "ml_fallback"\n[model]\nname = "moody"')
        (folder / "busy.rules.toml").write_text(head + RULES)
        for name, shift in (("like", 0.0), ("unlike", 2 * SPREAD)):
            (folder / f"{name}.toml").write_text(BOOK.format(low=shift, high=1 + shift))

    def _site(self, gateway: str) -> str:
        text = super()._site(gateway)
        head = text[: text.index("\n[acting]")]
        lines = "".join(
            f'[[connection]]\nname = "{name}"\ndriver = "simulated"\nperiod_ms = 20\nseed = {seed}\n'
            f'[[line]]\nwork_unit = "{work_unit}"\nconnection = "{name}"\nbook = "{name}.toml"\n'
            'rules = "busy.rules.toml"\nmodel = "moody.tfm"\nwindow_s = 0.02\n'
            for seed, (name, work_unit) in enumerate((("like", LIKE), ("unlike", UNLIKE)), 1)
        )
        return f"{head}\n{lines}"


@pytest.fixture
def busy(tmp_path: Path, postgresql: str) -> Iterator[Busy]:
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute("drop database if exists busy")
        admin.execute("create database busy")
    with mosquitto(tmp_path / "broker") as broker:
        works = Busy(tmp_path / "works", broker, f"{postgresql}/busy")
        try:
            works.start("cloud", GATEWAY)
            yield works
        finally:
            works.stop()
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute("drop database busy with (force)")


def facts(postgresql: str, kind: str) -> list[dict[str, Any]]:
    with psycopg.connect(f"{postgresql}/busy") as cloud:
        rows = cloud.execute("select body from fact where kind = %s order by inc, stream, seq", (kind,)).fetchall()
    return [body if isinstance(body, dict) else json.loads(body) for (body,) in rows]


def stored(postgresql: str, work_unit: str) -> int:
    """How many verdicts of a line the cloud has."""
    with psycopg.connect(f"{postgresql}/busy") as cloud:
        row = cloud.execute("select count(*) from judgment where work_unit = %s", (work_unit,)).fetchone()
    return 0 if row is None else row[0]


def test_every_judgment_of_a_busy_gateway_is_stored_once_and_drift_is_told_where_there_is_some(busy, postgresql):
    """Scenarios 10 and 41: no errors; versions and hashes with every verdict; PSI above 0.25 shifted, below 0.10 not."""

    def counted(work_unit: str) -> int:
        lines = busy.get(GATEWAY, "/api/status")["lines"]
        return next(line["judged"] for line in lines if line["work_unit"] == work_unit)

    busy.wait(lambda: min(counted(LIKE), counted(UNLIKE)) >= WINDOWS, f"{WINDOWS} windows of each line", 200)
    drifted = busy.wait(
        lambda: [
            one for one in facts(postgresql, "drift") if one["work_unit"] == UNLIKE and one["level"] == "critical"
        ],
        "the cloud hears of drift",
        90,
    )[-1]
    assert drifted["psi"]["load"] > 0.25
    assert "load" in drifted["alarmed"]
    assert drifted["shift"]["load"] == pytest.approx(2 * SPREAD, abs=0.03)
    busy.wait(
        lambda: next((one for one in busy.verdicts(UNLIKE) if one.get("ml", {}).get("drifted")), None),
        "verdicts say that their model is asked about something it does not know",
    )
    told = [one for one in facts(postgresql, "drift") if one["work_unit"] == LIKE]
    assert busy.model(LIKE)["drift"] == "ok", json.dumps(told)
    assert not any(one.get("ml", {}).get("drifted") for one in busy.verdicts(LIKE))
    alarms = {one["work_unit"] for one in facts(postgresql, "alarm") if one["alarm"] == "model.drift"}
    assert alarms == {UNLIKE}

    counts = {work_unit: counted(work_unit) for work_unit in (LIKE, UNLIKE)}
    for work_unit, count in counts.items():
        busy.wait(
            lambda w=work_unit, n=count: stored(postgresql, w) >= n,
            f"{count} verdicts of {work_unit} are in the cloud", 60,
        )  # fmt: skip
    verdicts = facts(postgresql, "verdict")
    assert len(verdicts) == len({one["verdict_id"] for one in verdicts}) >= 2 * WINDOWS, "each once"
    sha256 = busy.model(LIKE)["sha256"]
    asked = 0
    for one in verdicts:
        assert (one["ruleset"], one["ruleset_version"], len(one["ruleset_hash"])) == ("busy", "1.0.0", 64)
        scored = one.get("ml", {})
        failure = scored.get("failure", "").partition(":")[0]
        assert failure in {"", "no_model", "deadline"}, scored  # the first windows; a machine that was too busy
        if not failure:
            assert (scored["model"], scored["version"], scored["sha256"]) == ("moody", "1.0.0", sha256)
            asked += 1
    assert asked > WINDOWS
    assert not facts(postgresql, "fault"), "no line faulted"
    peeked = [one for one in facts(postgresql, "drift") if one["work_unit"] == LIKE and one["samples"] >= 1_000]
    assert all(one["psi"]["load"] < 0.10 for one in peeked)
    assert busy.log(GATEWAY).count("ERROR") == 0, busy.said()
