"""Judging end to end: real machines, a gateway process, mosquitto and the cloud, while it is cut, killed and asked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.scenarios.works import FILLER, FILLER_RULES, GATEWAY, MIXER, PRESS, TANK, Works
from tests.servers import mosquitto

pytestmark = pytest.mark.timeout(240)

SOUND = {"temperature": 60.0, "load": 0.5, "pressure": 5, "counts": {"produced": 100, "scrap": 0}}
"""What somebody may ask about the filler: all is well."""


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Works]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        works = Works(tmp_path_factory.mktemp("works") / "works", broker)
        try:
            works.begin()
            yield works
        finally:
            works.stop()


@pytest.fixture
def works(running: Works) -> Works:
    """Give the running works, with machines that show what they showed at the beginning."""
    running.show()
    return running


def asked(works: Works, work_unit: str) -> int:
    """How often a line's model was asked."""
    return works.model(work_unit)["asked"]


def request(works: Works, inputs: dict, work_unit: str = FILLER, **more) -> dict:
    status, said = works.post(GATEWAY, "/api/judge", {"line_code": work_unit, "input_data": inputs, **more})
    assert status == 200, said
    return said


def sure(verdict: dict) -> float:
    return verdict["components"]["rule_confidence"]


# --- 5 to 12: what is said of a window ---------------------------------------------------------------------------------


def test_a_required_tag_that_is_bad_leaves_no_verdict_and_calls_a_person(works):
    """Scenario 5, second half: the server says BadSensorFailure of one node; the others go on."""
    works.show(bad=["temperature"])
    blind = works.verdict(TANK, lambda one: one["decision"] != "normal", "the tank's temperature is bad")
    assert (blind["decision"], blind["needs_human"]) == ("unknown", True)
    assert blind["inputs"]["fault:temperature"] == "bad"
    assert "temperature" in blind["summary"]["en"].lower()
    assert works.verdict(FILLER, lambda _: True, "the filler is judged")["decision"] == "normal"
    works.show()
    seen = works.verdict(TANK, lambda one: one["decision"] == "normal", "the tank's temperature is good again")
    assert not seen.get("needs_human")
    alarms = works.wait(
        lambda: len(found := [a for a in works.stored("alarm", TANK) if a["alarm"] == "inputs"]) == 2 and found,
        "the alarm came and went in the cloud",
    )
    assert [bool(alarm["active"]) for alarm in alarms] == [True, False]


def test_a_value_that_grows_old_makes_a_verdict_less_sure_and_is_named(works):
    """Scenario 5, first half: the machine falls silent; its temperature is stale after 2 s, its load lasts longer."""
    before = works.verdict(FILLER, lambda _: True, "the filler is judged")
    works.kill("plant")
    try:
        old = works.verdict(
            FILLER, lambda one: one["inputs"].get("fault:temperature") == "stale", "the temperature is stale"
        )
        assert sure(old) < sure(before)
        assert int(old["inputs"]["age:temperature"]) > 2_000_000_000
        assert any(check["name"] == "temperature" and check["status"] == "unknown" for check in old["checks"])
        assert "temperature" in old["summary"]["en"].lower()
        assert "stale" in old["summary"]["en"].lower()
    finally:
        works.start("plant")
    works.verdict(FILLER, lambda one: sure(one) == sure(before), "the machine speaks again")


def test_five_of_a_hundred_is_a_high_defect_and_no_model_is_asked(works):
    """Scenario 6, on the machine's own counters and as a request, in both languages."""
    before = asked(works, FILLER)
    works.show(made=100, scrap=5)
    live = works.verdict(FILLER, lambda one: one.get("status") == "HIGH_DEFECT", "100 pieces, 5 of them scrap")
    assert (live["decision"], live["severity"], live["policy"], live["source"]) == (
        "critical", "critical", "rule_fallback", "rule",
    )  # fmt: skip
    assert (live["inputs"]["counts.produced"], live["inputs"]["counts.scrap"]) == (100, 5)
    for language, words in (("ko", ("5 %", "2 %", "불량률")), ("en", ("5 %", "2 %", "efect rate"))):
        assert all(word in live["summary"][language] for word in words), live["summary"]
        said = request(works, SOUND | {"counts": {"produced": 100, "scrap": 5}}, language=language)
        assert (said["decision"], said["status"], said["ml_result"]) == ("critical", "HIGH_DEFECT", None)
        assert all(word in json.dumps(said["explanation"], ensure_ascii=False) for word in words), said["explanation"]
    assert asked(works, FILLER) == before


def test_two_opinions_are_weighed_and_a_sure_rule_is_not_held_against_a_model(works):
    """Scenario 7: equal opinions are worth more, differing ones the rules' decision; the gate keeps the model out."""
    works.show(load=0.6)
    both = works.verdict(
        MIXER, lambda one: one.get("ml", {}).get("scores", {}).get("worn", 0) > 0.59, "both say normal"
    )
    rules, model = sure(both), both["ml"]["confidence"]
    assert (both["decision"], both["source"]) == ("normal", "hybrid")
    assert both["confidence"] == pytest.approx(min(1.0, (0.6 * rules + 0.4 * model) * 1.1), abs=1e-4)
    before = asked(works, TANK)
    gated = works.verdict(TANK, lambda _: True, "the tank is judged")
    assert sure(gated) >= 0.85
    assert "ml" not in gated
    assert asked(works, TANK) == before
    works.show(load=0.6, temperature=75)
    differing = works.verdict(MIXER, lambda one: one["decision"] == "warning", "the rules warn, the model does not")
    assert differing["ml"]["decision"] == "normal"
    assert differing["confidence"] == pytest.approx(
        0.6 * sure(differing) + 0.4 * differing["ml"]["confidence"], abs=1e-4
    )
    unsure = works.verdict(TANK, lambda one: "ml" in one, "below the gate the model is asked")
    assert sure(unsure) < 0.85
    assert asked(works, TANK) > before


def test_safety_first(works):
    """Scenario 12: one side says critical, the other is surer of normal; both ways round."""
    works.show(temperature=95, load=0.2)
    rules = works.verdict(MIXER, lambda one: one["decision"] == "critical", "the rules say critical")
    assert (rules["severity"], rules["needs_human"], rules["ml"]["decision"]) == ("critical", True, "normal")
    works.show(load=0.95)
    model = works.verdict(MIXER, lambda one: one.get("ml", {}).get("decision") == "critical", "the model says critical")
    assert (model["decision"], model["severity"], model["needs_human"]) == ("critical", "critical", True)
    assert all(check["status"] == "ok" for check in model["checks"])


def test_what_was_answered_is_answered_from_memory_under_the_same_policy_only(works):
    """Scenario 9 (another version of rules or model: tests/edge/judgment/test_cache.py and test_models.py)."""
    inputs = SOUND | {"temperature": 71.25}
    first, second = request(works, inputs), request(works, inputs)
    assert (first["cached"], second["cached"]) == (False, True)
    assert second["explanation"] == first["explanation"]
    assert second["execution_id"] == first["execution_id"]
    other = request(works, inputs, policy="rule_only")
    assert (other["cached"], other["policy_used"]) == (False, "rule_only")
    assert not request(works, inputs | {"temperature": 71.26})["cached"]
    assert not request(works, inputs, cache_enabled=False)["cached"]


def test_a_request_with_three_faults_is_told_all_three(works):
    """Scenario 11."""
    wrong = {"line_code": FILLER, "input_data": {"temprature": 60}, "policy": "rules", "timeout_ms": -1, "language": 5}
    status, said = works.post(GATEWAY, "/api/judge", wrong)
    assert status == 400
    assert {fault["field"] for fault in said["error"]["fields"]} == {"policy", "timeout_ms", "language"}
    status, said = works.post(GATEWAY, "/api/judge", {"line_code": FILLER, "input_data": {"temprature": 60}})
    assert (status, said["error"]["fields"][0]["field"]) == (400, "input_data.temprature")
    large = {"line_code": FILLER, "input_data": SOUND | {"note": "x" * 11_000}}
    status, said = works.post(GATEWAY, "/api/judge", large)
    assert (status, said["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    for nonsense in (
        b"",
        b"[",
        b'{"input_data": ' + b"[" * 5_000,
        b"\xff\xfe",
        b'{"input_data":{"temperature":1e999}}',
    ):
        status, said = works.post(GATEWAY, "/api/judge", nonsense)
        assert (status, said["error"]["code"]) == (400, "VALIDATION"), nonsense[:20]
    assert works.get(GATEWAY, "/health")["status"] == "alive"


# --- 13, 14, 39: cut off, killed, and asked again -----------------------------------------------------------------------


def replayed(works: Works) -> dict:
    """Judge every verdict on record again; all come out the same byte for byte."""
    told = works.triflow("replay", "day", "--site", works.site_file, "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    proof = json.loads(told.stdout)
    assert proof["exact"] == proof["total"] > 0
    assert (proof["different"], proof["unrepeatable"], proof["damaged"]) == ([], 0, 0)
    return proof


def test_cut_and_killed_it_judges_again_what_it_judged_and_the_cloud_hears_everything_once(works):
    """Scenarios 13, 14 and 39."""
    works.broker.stop()
    works.wait(lambda: works.get(GATEWAY, "/api/status")["uplink"]["state"] != "streaming", "the gateway is cut off")
    works.show(temperature=68)
    warm = works.verdict(FILLER, lambda one: one["inputs"].get("temperature.mean", 0) > 67, "it is 68 °C")
    works.show(temperature=95, load=0.97)
    works.verdict(PRESS, lambda one: one["decision"] == "critical", "the press is critical")

    # 39: said while cut.
    word = {"target": warm["verdict_id"], "type": "correction", "corrected": "warning", "actor": "박"}
    status, given = works.post(GATEWAY, "/api/feedback", word)
    assert (status, given["offline"]) == (200, True)
    assert works.post(GATEWAY, "/api/feedback", word)[1]["feedback"] == given["feedback"], (
        "a second tap is no second word"
    )
    assert works.post(GATEWAY, "/api/feedback", word | {"corrected": None})[0] == 422
    assert works.post(GATEWAY, "/api/feedback", word | {"target": "f" * 32})[0] == 404

    # 13: beside the running gateway, on what a killed one left, and beside the next one.
    alive = replayed(works)
    assert alive["recomputed"] > 0, "models were asked again"
    works.kill(GATEWAY)
    database = works.folder / GATEWAY / "edge.db"
    left = database.read_bytes()
    dead = replayed(works)
    assert dead["total"] >= alive["total"]
    assert database.read_bytes() == left, "a replay writes nothing"
    works.start(GATEWAY)
    works.verdict(FILLER, lambda _: True, "it judges again, still cut off")
    assert replayed(works)["total"] > dead["total"]

    # 14: what if.
    told = works.triflow(
        "replay", "verdict", warm["verdict_id"], "--site", works.site_file, "--json", "--set", "temperature=75"
    )
    assert told.returncode == 0, told.stderr
    (answer,) = json.loads(told.stdout)["what_if"]
    assert (answer["original_result"]["decision"], answer["what_if_result"]["decision"]) == ("normal", "warning")
    comparison = answer["comparison"]
    assert comparison["result_changed"]
    assert comparison["confidence_diff"] == round(comparison["confidence_diff"], 4) != 0
    assert comparison["change_reasons"]
    stricter = works.folder / "stricter.rules.toml"
    stricter.write_text(FILLER_RULES.replace('"1.0.0"', '"1.1.0"').replace("warning_high = 70", "warning_high = 66"))
    told = works.triflow("replay", "batch", "--site", works.site_file, "--rules", stricter, "--json", "--line", FILLER)
    assert told.returncode == 0, told.stderr
    of_filler = json.loads(told.stdout)["lines"][FILLER]
    assert of_filler["changed"] == sum(of_filler["result_changes"].values()) > 0, of_filler

    # and what was said and judged meanwhile is in the cloud, once.
    works.show()
    works.broker.start()
    (heard,) = works.wait(lambda: works.stored("feedback"), "the word is in the cloud", 60)
    assert (heard["feedback"], heard["corrected"], heard["offline"]) == (given["feedback"], "warning", True)
    works.kill("plant")
    works.wait(
        lambda: works.proof(GATEWAY)["balanced"] and works.proof(GATEWAY)["waiting"] == 0, "all is in the cloud", 60
    )
    verdicts = works.stored("verdict")
    assert len({one["verdict_id"] for one in verdicts}) == len({(one["work_unit"], one["start"]) for one in verdicts})
    assert len(verdicts) == len({one["verdict_id"] for one in verdicts})
    assert len(works.stored("feedback")) == 1
    again = f"/api/v1/verdicts/{warm['verdict_id']}/replay"
    status, there = works.post("cloud", again, {})
    assert (status, there["exact"], there["differs"]) == (200, True, []), there
    assert there["original"]["decision"] == "normal"
    status, there = works.post("cloud", again, {"overrides": {"temperature": 75}})
    assert status == 200, there
    (far,) = there["what_if"]
    assert (far["comparison"], far["what_if_result"]) == (comparison, answer["what_if_result"]), "one code, one answer"
    critical = next(one for one in verdicts if one["work_unit"] == PRESS and one["decision"] == "critical")
    status, there = works.post("cloud", f"/api/v1/verdicts/{critical['verdict_id']}/replay", {})
    assert (status, there["exact"]) == (200, True), there
    names = [one["verdict_id"] for one in works.stored("verdict")]  # a gateway goes on judging a plant that is gone
    assert len(names) == len(set(names)), "a replay in the cloud stores nothing"
    account = works.account(GATEWAY)
    assert (account.twice, account.strangers, account.lost) == (0, 0, 0), account
    works.start("plant")
