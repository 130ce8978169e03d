"""Replay, on the disk of a gateway that was killed: a day of the plant comes out the same byte for byte in another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.replaying import open_replays
from tests.scenarios.recorded_plant import START, WINDOW, WORK_UNIT, prepare

ROOT = Path(__file__).parents[2]


def recorder(folder: Path, hours: float, *more: Path, killed_at: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.scenarios.recorded_plant", str(folder), str(hours), *map(str, more)],
        cwd=ROOT, env=os.environ | ({"TRIFLOW_FAILPOINT": killed_at} if killed_at else {}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def triflow(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "triflow", "replay", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> Path:
    """Give a day of one line, recorded with three kills: before a commit, after one, and at the begin of a start."""
    folder = tmp_path_factory.mktemp("plant")
    prepare(folder)
    for place in ("edge.before_commit:50", "edge.after_commit:60", "edge.after_begin:1"):
        assert recorder(folder, 24, killed_at=place).returncode == -signal.SIGKILL, place
    ended = recorder(folder, 24)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.timeout(300)
def test_a_day_of_the_plant_comes_out_the_same_byte_for_byte_in_another_process(day):
    """Scenario 13: identical decisions and confidences; nothing new on the disk."""
    store = day / "gw-opcua" / "edge.db"
    before = store.read_bytes()
    told = triflow("day", "--site", day / "gw-opcua.toml", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    proof = json.loads(told.stdout)
    assert proof["total"] == proof["exact"] == 8_639, "every window of ten seconds but the last, which is still open"
    assert (proof["different"], proof["unrepeatable"], proof["damaged"]) == ([], 0, 0)
    assert store.read_bytes() == before, "a replay writes nothing"


@pytest.mark.timeout(300)
def test_every_window_was_judged_once_through_all_kills(day):
    with open_replays(day / "gw-opcua") as replays:
        verdicts = [json.loads(raw) for raw in replays.history.verdicts()]
    assert [verdict["start"] for verdict in verdicts] == [START + number * WINDOW for number in range(8_639)]
    decisions = {verdict["decision"] for verdict in verdicts}
    assert len(decisions) > 1, "a day on which nothing happens proves little"


@pytest.mark.timeout(300)
def test_one_verdict_as_it_was_what_if_and_with_other_rules(day):
    with open_replays(day / "gw-opcua") as replays:
        fact = next(
            json.loads(raw)
            for raw in replays.history.verdicts()
            if b'"state":"EXECUTE"' in raw and b'"decision":"normal"' in raw
        )
    site, verdict = day / "gw-opcua.toml", fact["verdict_id"]
    told = triflow("verdict", verdict, "--site", site, "--language", "en")
    assert told.returncode == 0, told.stderr
    assert "the same byte for byte" in told.stdout
    warmer = fact["inputs"]["product_temperature.mean"] + 20
    told = triflow("verdict", verdict, "--site", site, "--json", "--set", f"product_temperature={warmer}")
    (answer,) = json.loads(told.stdout)["what_if"]
    assert answer["modifications"] == [
        {"name": "product_temperature.mean", "from": fact["inputs"]["product_temperature.mean"], "to": warmer}
    ]
    stricter = day / "stricter.toml"
    text = (ROOT / "demo" / "rules" / "filler.toml").read_text("utf-8").replace('"1.0.0"', '"1.1.0"')
    stricter.write_text(
        text.replace("critical_high = 9.5", "critical_high = 1.5").replace("warning_high = 7.5", "warning_high = 1")
    )
    told = triflow(
        "verdict", verdict, "--site", site, "--json", "--rules", stricter, "--rules", ROOT / "demo/rules/filler.toml"
    )
    new, own = json.loads(told.stdout)["versions"]
    assert new["comparison"]["ruleset_changed"]
    assert own["comparison"]["change_reasons"] == []
    assert own["replay"] == json.loads(told.stdout)["original"]
    for wrong in (["--set", "produkt_temperature=1"], ["--set", "product_temperature"], ["--rules", day / "none.toml"]):
        told = triflow("verdict", verdict, "--site", site, *wrong)
        assert told.returncode in {2, 78}
        assert told.stderr
    assert triflow("verdict", "f" * 32, "--site", site).returncode == 2


@pytest.mark.timeout(300)
def test_a_thousand_verdicts_against_a_new_version(day):
    """Scenario 14: rate, histogram, failures counted; and the whole day in columns gives the sample's numbers."""
    stricter = day / "colder.toml"
    text = (ROOT / "demo" / "rules" / "filler.toml").read_text("utf-8").replace('"1.0.0"', '"1.1.0"')
    stricter.write_text(text.replace("warning_high = 7.5", "warning_high = 5.5"))
    words = ["--site", day / "gw-opcua.toml", "--rules", stricter, "--json"]
    told = triflow("batch", *words, "--sample", "1000", "--sampling", "stratified", "--seed", "7")
    assert told.returncode == 0, told.stderr
    summary = json.loads(told.stdout)["summary"]
    assert (summary["total"], summary["failed"]) == (1_000, 0)
    assert summary["changed"] == sum(summary["result_changes"].values()) > 0
    assert summary["change_rate"] == round(summary["changed"] / 10, 2)
    again = triflow("batch", *words, "--sample", "1000", "--sampling", "stratified", "--seed", "7")
    assert again.stdout == told.stdout, "the same seed, the same sample"
    whole = json.loads(triflow("batch", *words, "--memory", "recorded").stdout)["lines"][WORK_UNIT]
    assert whole["total"] == 8_639
    assert whole["change_rate"] == pytest.approx(summary["change_rate"], abs=3)


@pytest.mark.timeout(300)
def test_a_day_that_was_tampered_with_does_not_come_out_the_same(day):
    (rules,) = (day / "gw-opcua" / "bundles").glob("*/rules.json")
    whole = rules.read_text()
    rules.write_text(whole.replace("7.5", "7.4"))
    try:
        told = triflow("day", "--site", day / "gw-opcua.toml", "--language", "en", "--to", "2023-11-14T00:10")
        assert told.returncode == 1
        assert "the file was changed" in told.stdout
    finally:
        rules.write_text(whole)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("policy", ["ml_fallback", "hybrid_weighted", "ml_only"])
def test_verdicts_with_a_model_come_out_the_same_with_the_model_asked_again(tmp_path, policy):
    """The package is taken from the archive by its hash, and its answer worked out from the recorded features."""
    prepare(tmp_path)
    package = ROOT / "models" / "library" / "filler_anomaly" / "filler_anomaly.tfm"
    rules = tmp_path / "asking.toml"
    text = (ROOT / "demo" / "rules" / "filler.toml").read_text("utf-8")
    rules.write_text(text.replace('policy = "rule_only"', f'policy = "{policy}"\n[model]\nname = "filler_anomaly"\n'))
    assert recorder(tmp_path, 1, rules, package, killed_at="edge.after_commit:4").returncode == -signal.SIGKILL
    ended = recorder(tmp_path, 1, rules, package)
    assert ended.returncode == 0, ended.stderr
    told = triflow("day", "--site", tmp_path / "gw-opcua.toml", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    proof = json.loads(told.stdout)
    assert proof["total"] == proof["exact"] == 359
    assert proof["recomputed"] > 0
    with open_replays(tmp_path / "gw-opcua") as replays:
        fact = next(f for raw in replays.history.verdicts() if (f := json.loads(raw)).get("ml", {}).get("features"))
    feature, value = next((name, value) for name, value in fact["ml"]["features"].items() if value is not None)
    words = ["verdict", fact["verdict_id"], "--site", tmp_path / "gw-opcua.toml"]
    told = triflow(*words, "--json", "--set", f"feature.{feature}={value + 1000}")
    (answer,) = json.loads(told.stdout)["what_if"]
    assert answer["model"] == "recomputed"
    assert answer["modifications"][0]["name"] == f"feature.{feature}"
