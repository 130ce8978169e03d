"""Verdicts of the fleet judged again in the cloud: the same to the byte, by other versions, with other inputs, by the hundred."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from cloud.__main__ import main
from cloud.api.errors import ApiError
from cloud.api.replays import BatchAsked, Replays
from cloud.bi.times import iso
from cloud.config import Settings
from cloud.judging.archive import Archive, library
from cloud.packages.store import Packages, beside_the_database
from cloud.plant import Plants
from edge.judgment.batch import Wanted
from models.package import read
from models.rulesets import load
from sync.judgment import FeedbackGiven
from sync.topics import Address
from tests.cloud.gateway import Start
from tests.cloud.judging import fleet as line
from tests.cloud.judging.conftest import Fleet
from tests.cloud.judging.fleet import LINE, NAMES, PACKAGE, WARM, S

HOUR = 3600 * S


def base() -> int:
    return line.now_ns() - 2 * HOUR


async def hundred(fleet: Fleet, ruleset=None, count: int = 100) -> list:
    begin, ruleset = base(), ruleset or line.filler()
    facts = line.verdicts(ruleset, line.history(begin, count))
    await fleet.say(*line.told(ruleset, begin - S), *facts)
    return facts


async def test_every_verdict_of_the_fleet_is_judged_the_same_byte_for_byte(fleet: Fleet) -> None:
    facts = await hundred(fleet, line.hybrid())
    assert len({fact.decision for fact in facts}) > 2
    for fact in facts[::9]:
        answer = await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {})
        assert (answer["exact"], answer["differs"], answer["notes"]) == (True, [], [])
        (version,) = answer["versions"]
        assert version["replay"] == msgspec.to_builtins(fact) | {"kind": "verdict"}
        assert version["model"] == ("recomputed" if fact.ml is not None else "none")
        assert answer["dry_run"] is True


async def test_a_replay_writes_nothing(fleet: Fleet) -> None:
    fact = (await hundred(fleet))[0]
    count = "select (select count(*) from fact), (select count(*) from command), (select count(*) from fact_subject)"
    before = await fleet.rows(count)
    await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {})
    await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {"overrides": {"oil_temperature": 75.0}})
    await fleet.post("/replay/batch", {"rules": WARM})
    assert await fleet.rows(count) == before


async def test_a_what_if_and_versions_answer_as_the_gateway_does(fleet: Fleet) -> None:
    begin = base()
    ruleset = load(WARM, NAMES.environment())
    (fact,) = line.verdicts(ruleset, [line.well(begin, oil=68.0)])
    await fleet.say(*line.told(ruleset, begin), fact)
    path = f"/verdicts/{fact.verdict_id}/replay"
    (imagined,) = (await fleet.post(path, {"overrides": {"oil_temperature": 75}}))["what_if"]
    assert imagined["modifications"] == [{"name": "oil_temperature", "from": 68.0, "to": 75.0}]
    assert imagined["comparison"]["result_change"] == {"from": "normal", "to": "warning"}
    assert imagined["impact"]["result_changed"] is True
    other = WARM.replace("warning_high = 70", "warning_high = 60").replace("2.0.0", "2.1.0")
    answer = await fleet.post(path, {"rules": [WARM, other]})
    assert answer["exact"] is None
    same, new = answer["versions"]
    assert (same["version"], same["comparison"]["change_reasons"]) == ("rules 1", [])
    assert new["comparison"]["change_reasons"][:2] == ["ruleset_version_changed", "result_different"]
    twice = await fleet.post(path, {"rules": [WARM, other], "overrides": {"oil_temperature": 65.0}})
    assert [one["what_if_result"]["decision"] for one in twice["what_if"]] == ["normal", "warning"]


async def test_a_model_of_the_store_stands_in_for_the_one_that_judged(fleet: Fleet, settings: Settings) -> None:
    facts = await hundred(fleet, line.hybrid(), 20)
    fact = next(one for one in facts if one.ml is not None and one.ml.failure is None)
    digest = Packages(beside_the_database(settings)).put("demo", PACKAGE)
    assert digest == fact.ml.sha256
    (version,) = (await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {"models": [digest]}))["versions"]
    assert (version["version"], version["model"]) == ("model 1", "recomputed")
    assert version["comparison"]["change_reasons"] == []
    feature = await fleet.post(
        f"/verdicts/{fact.verdict_id}/replay",
        {"overrides": {"feature.vibration_max": 20.0, "feature.vibration_mean": 9.0}},
    )
    assert feature["what_if"][0]["model"] == "recomputed"
    gone = await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {"models": ["ab" * 32]}, 409)
    assert gone["error"]["code"] == "NOT_AT_HAND"
    assert "triflow cloud package cloud.toml put" in gone["error"]["message"]


async def test_a_package_that_is_not_here_leaves_its_recorded_answer_and_says_what_to_do(fleet: Fleet) -> None:
    facts = await hundred(fleet, line.hybrid(), 20)
    fact = next(one for one in facts if one.ml is not None and one.ml.failure is None)
    other = msgspec.structs.replace(fact, verdict_id="e" * 32, ml=msgspec.structs.replace(fact.ml, sha256="cd" * 32))
    await fleet.say(other)
    answer = await fleet.post(f"/verdicts/{other.verdict_id}/replay", {})
    assert answer["versions"][0]["model"] == "recorded"
    assert "put its .tfm file into the cloud's store" in answer["notes"][0]


def test_a_file_of_the_store_that_was_changed_is_not_run(tmp_path: Path) -> None:
    store = Packages(tmp_path)
    digest = store.put("demo", PACKAGE)
    (tmp_path / "demo" / digest).write_bytes((line.ROOT / "models/library/fill_quality/fill_quality.tfm").read_bytes())
    with pytest.raises(Exception, match="was changed"):
        Archive(store).model("demo", digest)
    (tmp_path / "demo" / digest).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(Exception, match="cannot be used"):
        Archive(store).model("demo", digest)
    assert read(PACKAGE, trusted=None).sha256 in library()


async def test_rules_that_never_arrived_are_said_to_be_missing(fleet: Fleet) -> None:
    begin = base()
    (fact,) = line.verdicts(line.filler(), [line.well(begin)])
    await fleet.say(fact)
    answer = await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {}, 409)
    assert answer["error"]["code"] == "NOT_AT_HAND"
    assert "has not arrived" in answer["error"]["message"]
    # Of another ruleset of that line the names are known: rules can be tried, the original cannot be repeated.
    await fleet.say(*line.told(load(WARM, NAMES.environment()), begin + HOUR))
    (version,) = (await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {"rules": WARM}))["versions"]
    assert version["replay"]["decision"] == "normal"
    await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {}, 409)


async def test_what_a_gateway_tells_of_a_ruleset_holds_only_under_its_own_hash(fleet: Fleet) -> None:
    begin, real = base(), line.filler()
    (fact,) = line.verdicts(real, [line.well(begin)])
    (forged,) = line.told(load(WARM, NAMES.environment()), begin)
    await fleet.say(msgspec.structs.replace(forged, ruleset_hash=real.hash), fact)
    answer = await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {}, 409)
    assert "has the hash" in answer["error"]["message"]
    (torn,) = line.told(real, begin + S)
    await fleet.say(msgspec.structs.replace(torn, content=torn.content[:-40], at=fact.at))
    answer = await fleet.post(f"/verdicts/{fact.verdict_id}/replay", {}, 409)
    assert "cannot be read" in answer["error"]["message"]


async def test_a_ruleset_activated_anew_with_other_names_judges_by_those_of_its_time(fleet: Fleet) -> None:
    begin = base()
    other = msgspec.structs.replace(NAMES, units=NAMES.units | {"vibration": "MMT"})
    ruleset = line.filler()
    first, second = line.verdicts(ruleset, [line.well(begin, 0), line.well(begin, 60)])
    await fleet.say(*line.told(ruleset, begin - S), first, *line.told(ruleset, begin + 300 * S, other), second)
    about = await fleet.answers.replays.case("demo", first.verdict_id)
    assert about.told[0].names == NAMES.digest
    assert (await fleet.answers.replays.case("demo", second.verdict_id)).told[0].names == other.digest


async def test_a_batch_says_what_would_change_and_whether_people_agree(fleet: Fleet) -> None:
    facts = await hundred(fleet)
    rated = [fact for fact in facts if fact.decision == "normal"][:40]
    words = [
        FeedbackGiven(at=fact.at, work_unit=LINE, feedback=f"f{number}", target=fact.verdict_id, type="positive",
                      actor="kim", ruleset="filler", decision=fact.decision)
        for number, fact in enumerate(rated)
    ]  # fmt: skip
    await fleet.say(*words)
    whole = await fleet.post("/replay/batch", {"rules": WARM})
    assert whole["total"] == len(facts)
    assert whole["lines"].keys() == {f"seoul/{LINE}"}
    summary = whole["summary"]
    assert summary == whole["lines"][f"seoul/{LINE}"]
    assert summary["changed"] == sum(summary["result_changes"].values()) > 0
    assert summary["appraisal"]["rated"] == len(rated)
    assert summary["appraisal"]["baseline"]["accuracy"] == 1.0
    sampled = await fleet.post("/replay/batch", {"rules": WARM, "sample": 1000, "sampling": "stratified", "seed": 4})
    batch = sampled["batch"]
    assert (sampled["total"], batch["summary"]["total"]) == (len(facts), len(facts))
    # `recorded` judges each verdict alone, as a sample does: the columns say the same of all of them.
    alone = await fleet.post("/replay/batch", {"rules": WARM, "memory": "recorded"})
    assert alone["summary"] == batch["summary"]
    few = [await fleet.post("/replay/batch", {"rules": WARM, "sample": 20, "seed": 7}) for _ in range(2)]
    assert few[0] == few[1]
    assert few[0]["batch"]["summary"]["total"] == 20


async def test_a_batch_is_bounded_by_time_line_and_decision(fleet: Fleet) -> None:
    facts = await hundred(fleet)
    middle = facts[len(facts) // 2].at
    begin = middle // 1_000_000
    part = await fleet.post("/replay/batch", {"rules": WARM, "from": iso(begin), "to": iso(begin + 3_600_000 * 24)})
    assert part["total"] == sum(fact.at >= middle for fact in facts)
    normal = await fleet.post("/replay/batch", {"rules": WARM, "decision": "normal", "line": LINE})
    assert normal["total"] == sum(fact.decision == "normal" for fact in facts)
    nothing = await fleet.post("/replay/batch", {"rules": WARM, "line": "no/such/line"})
    assert (nothing["total"], nothing["summary"], nothing["lines"]) == (0, None, {})
    assert f"There are {len(facts)}" in nothing["why"]["en"]
    assert "판정" in nothing["why"]["ko"]
    none = await fleet.post("/replay/batch", {"rules": WARM, "to": "1999-01-01T00:00:00Z", "sample": 5})
    assert (none["total"], none["batch"]) == (0, None)
    far = await fleet.post("/replay/batch", {"rules": WARM, "from": "9999-12-30T00:00:00Z"})
    assert far["total"] == 0


async def test_one_batch_at_a_time_and_none_for_ever(fleet: Fleet) -> None:
    await hundred(fleet)
    twice = await asyncio.gather(*(fleet.web.post("/api/v1/replay/batch", json={"rules": WARM}) for _ in range(2)))
    assert sorted(answer.status_code for answer in twice) == [200, 429]
    refused = next(answer for answer in twice if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "TOO_MANY_REQUESTS"
    short = Replays(fleet.database, Packages(Path("/nowhere")), batch_s=0.01)
    with pytest.raises(ApiError, match="was not done within"):
        await short.batch("demo", BatchAsked(rules=WARM, wanted=Wanted()))


BAD = [
    ({"overrides": {"oil_temprature": 1.0, "vibration": "much", "counts.scrap": -1}}, 400,
     {"overrides.oil_temprature", "overrides.vibration", "overrides.counts.scrap"}),
    ({"overrides": {"oil_temperature": [1]}, "models": ["x"], "nonsense": 1}, 400, {"overrides.oil_temperature", "models.0", "nonsense"}),
    ({"rules": "this is no toml ["}, 400, {"rules.0"}),
    ({"rules": [WARM, WARM.replace("oil_temperature", "oil_temprature")]}, 400, {"rules.1"}),
    ({"rules": [WARM] * 6}, 400, {"rules"}),
    ({"rules": [WARM] * 3, "models": ["ab" * 32] * 3}, 400, {"rules"}),
    ({"overrides": {f"x{i}": "y" * 100 for i in range(110)}}, 413, set()),
    ([], 400, {""}),
]  # fmt: skip


@pytest.mark.parametrize(("said", "status", "fields"), BAD)
async def test_all_that_is_wrong_with_a_request_is_said_at_once(
    fleet: Fleet, said, status: int, fields: set[str]
) -> None:
    fact = (await hundred(fleet, count=2))[0]
    answer = (await fleet.post(f"/verdicts/{fact.verdict_id}/replay", said, status))["error"]
    named = {one["field"] for one in answer.get("fields", [])}
    assert fields <= named
    assert answer["check"]


async def test_hostile_words_find_nothing_and_break_nothing(fleet: Fleet) -> None:
    fact = (await hundred(fleet, count=5))[0]
    for name in ("' or 1=1 --", "%00", "a" * 5000, "../../etc/passwd", "%F0%9F%92%A9", "e" * 32):
        answer = await fleet.web.post(f"/api/v1/verdicts/{name}/replay", json={})
        assert answer.status_code == 404, name
        assert (await fleet.web.get(f"/api/v1/verdicts/{name}")).status_code == 404, name
    for field in ("line", "ruleset", "product"):
        answer = await fleet.post("/replay/batch", {"rules": WARM, field: "'; drop table judgment; --"})
        assert answer["total"] == 0
        await fleet.post("/replay/batch", {"rules": WARM, field: "nul\0"}, 400)
    path = f"/api/v1/verdicts/{fact.verdict_id}/replay"
    headers = {"Content-Type": "application/json"}
    assert (await fleet.web.post(path, content=b"x" * 2_000_000, headers=headers)).status_code == 413
    assert (await fleet.web.post(path, content=b"[" * 100_000, headers=headers)).status_code == 400
    assert (await fleet.web.post(path, content=b"{}", headers={"Content-Type": "text/plain"})).status_code == 415
    assert (await fleet.web.post(path, content=b'{"rules": "\\ud800"}', headers=headers)).status_code == 400
    assert await fleet.rows("select count(*) from judgment") != [(0,)]


async def test_another_tenants_verdict_is_not_there(fleet: Fleet, settings: Settings) -> None:
    fact = (await hundred(fleet, count=2))[0]
    site = settings.file.sites[0].model_copy(update={"tenant": "other"})
    settings.file.sites.append(site)
    fleet.plants = fleet.answers.plants = Plants(settings)
    await fleet.post(f"/verdicts/{fact.verdict_id}/replay?tenant=other", {}, 404)
    await fleet.get(f"/verdicts/{fact.verdict_id}?tenant=other", 404)
    assert (await fleet.post("/replay/batch?tenant=other", {"rules": WARM}))["total"] == 0
    # The same id in another tenant is another verdict.
    await fleet.say(msgspec.structs.replace(fact, decision="critical"), start=Start(Address("other", "seoul", "gw-1")))
    assert (await fleet.get(f"/verdicts/{fact.verdict_id}?tenant=other"))["decision"] == "critical"
    assert (await fleet.get(f"/verdicts/{fact.verdict_id}?tenant=demo"))["decision"] == fact.decision


async def test_the_command_line_proves_a_day_and_tells_what_is_not_the_same(
    fleet: Fleet, cloud_toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = await hundred(fleet, line.hybrid())
    call = ["replay", str(cloud_toml)]
    assert await asyncio.to_thread(main, [*call, "day"]) == 0
    assert f"{len(facts)} verdicts: {len(facts)} the same byte for byte" in capsys.readouterr().out
    assert await asyncio.to_thread(main, [*call, "verdict", facts[0].verdict_id]) == 0
    (tmp_path / "warm.toml").write_text(WARM)
    rules = ["--rules", str(tmp_path / "warm.toml")]
    assert await asyncio.to_thread(main, [*call, "batch", *rules]) == 0
    assert "change" in capsys.readouterr().out
    assert await asyncio.to_thread(main, [*call, "verdict", facts[0].verdict_id, "--set", "nothing=1"]) == 2
    assert "no input of this name" in capsys.readouterr().err
    await fleet.say(msgspec.structs.replace(facts[3], verdict_id="f" * 32, confidence=0.111))
    assert await asyncio.to_thread(main, [*call, "day"]) == 1
    assert f"{'f' * 32}" in capsys.readouterr().out
    assert await asyncio.to_thread(main, [*call, "verdict", "f" * 32]) == 1
    assert "another verdict_id, confidence" in capsys.readouterr().out


async def test_a_verdict_is_answered_in_the_shape_of_every_verdict(fleet: Fleet) -> None:
    facts = await hundred(fleet, line.hybrid(), 30)
    fact = next(one for one in facts if one.ml is not None and one.ml.failure is None)
    answer = await fleet.get(f"/verdicts/{fact.verdict_id}?language=ko")
    assert answer["explanation"]["language"] == "ko"
    assert answer["explanation"]["summary"] == fact.summary["ko"]
    assert answer["rule_result"]["script_hash"] == fact.ruleset_hash
    assert answer["ml_result"]["sha256"] == fact.ml.sha256
    assert answer["ml"]["contributions"] == fact.ml.contributions
    assert abs(sum(answer["feature_importance"].values()) - 1) < 0.01
    assert {one["name"] for one in answer["evidence"]["rule_checks"]} == {check.name for check in fact.checks}
    assert {one["name"] for one in answer["given"]} == {name for name in fact.inputs if ":" not in name}
    assert (answer["repeatable"], answer["form"], answer["feedback"], answer["acted"]) == (True, 2, [], [])
    await fleet.get(f"/verdicts/{fact.verdict_id}?language=klingon", 400)
