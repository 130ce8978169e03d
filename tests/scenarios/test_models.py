"""Models on running lines: failing, missing, swapped through the cloud, taken back with nobody there; no window lost."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.scoring import moody
from tests.scenarios.works import ADDRESS, GATEWAY, MIXER, PRESS, TANK, Works
from tests.servers import mosquitto

pytestmark = pytest.mark.timeout(240)


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
    running.show()
    return running


def failure(verdict: dict) -> str:
    return verdict.get("ml", {}).get("failure", "").partition(":")[0]


def version(verdict: dict) -> str | None:
    return verdict.get("ml", {}).get("version")


def whole(verdicts: list[dict], since: int) -> list[dict]:
    """Give the verdicts of windows from then on, in order; every window is there, once."""
    found = sorted((one for one in verdicts if one["start"] >= since), key=lambda one: one["start"])
    starts = [one["start"] for one in found]
    length = found[0]["at"] - found[0]["start"]
    assert starts == list(range(starts[0], starts[0] + len(starts) * length, length)), "a window is missing, or twice"
    return found


def alarms(works: Works, work_unit: str, alarm: str) -> list[bool]:
    return [bool(one["active"]) for one in works.stored("alarm", work_unit) if one["alarm"] == alarm]


def offer(works: Works, package: bytes, name: str) -> str:
    """Offer a package through the cloud and wait until the gateway has it; gives its SHA-256."""
    path = works.folder / name
    path.write_bytes(package)
    told = works.triflow("cloud", "package", works.folder / "cloud.toml", "put", path, "--to", str(ADDRESS))
    assert told.returncode == 0, told.stderr
    digest = hashlib.sha256(package).hexdigest()

    def received() -> bool:
        items = works.get("cloud", "/api/v1/packages/offers")["items"]
        return any(one["digest"] == digest and one["state"] == "received" for one in items)

    works.wait(received, f"{name} is on the gateway", 60)
    return digest


def activate(works: Works, digest: str, line: str = PRESS) -> dict:
    return works.answered(works.command("model", {"what": "activate", "line": line, "package": digest}))


def test_a_package_comes_from_the_cloud_and_is_taken_back_with_nobody_there(works):
    """Scenarios 40 and 9: what is wrong is refused and the old one serves; a good one takes over between two windows."""
    old = works.verdict(PRESS, lambda one: version(one) == "1.0.0", "1.0.0 serves")
    since = old["start"]
    good = moody.package("1.1.0", gain=1.2)
    strange = moody.package("1.1.0", gain=1.3, key=moody.STRANGER)
    spoilt = bytearray(good)
    spoilt[len(spoilt) // 2] ^= 1
    for name, wrong, word in (
        ("strange.tfm", strange, "signed by"),
        ("unsigned.tfm", moody.package("1.1.0", key=None), "sign"),
        ("spoilt.tfm", bytes(spoilt), ""),
        ("noise.tfm", b"no package at all", ""),
    ):
        answer = activate(works, offer(works, wrong, name))
        assert (answer["state"], answer["why"].startswith("refused")) == ("refused", True), (name, answer)
        assert word in answer["why"], answer
        assert works.model(PRESS)["version"] == "1.0.0"
    for nothing in ("0" * 64, "", "../../moody.tfm", str(works.folder / "moody.tfm")):
        assert "no package" in activate(works, nothing)["why"], nothing
    remembered = {"line_code": PRESS, "input_data": {"temperature": 60.0, "load": 0.95}}
    assert [works.post(GATEWAY, "/api/judge", remembered)[1]["cached"] for _ in range(2)] == [False, True]

    answer = activate(works, offer(works, good, "good.tfm"))
    assert answer["state"] == "done", answer
    new = works.verdict(PRESS, lambda one: version(one) == "1.1.0", "1.1.0 serves")
    assert new["ml"]["scores"]["worn"] == pytest.approx(0.6, abs=0.01)
    assert new["ml"]["sha256"] == hashlib.sha256(good).hexdigest()
    assert not works.post(GATEWAY, "/api/judge", remembered)[1]["cached"], "another model's answer is not ours"
    assert works.model(MIXER)["version"] == "1.0.0", "the line beside it keeps its own"

    works.broker.kill()
    told = works.triflow("edge", "model", "rollback", "--line", PRESS, works.site_file)
    assert told.returncode == 0, told.stderr
    works.verdict(PRESS, lambda one: version(one) == "1.0.0", "1.0.0 serves again, without a broker")
    works.broker.start()
    works.wait(
        lambda: (
            [one["version"] for one in works.stored("model", PRESS) if one["state"] == "active"]
            == ["1.0.0", "1.1.0", "1.0.0"]
        ),
        "the cloud knows what served when",
    )
    last = works.newest(PRESS)
    works.wait(
        lambda: any(one["at"] >= last for one in works.stored("verdict", PRESS)), "the verdicts are in the cloud"
    )
    found = whole(works.stored("verdict", PRESS), since)
    swaps = [version(one) for one, after in itertools.pairwise(found) if version(one) != version(after)]
    assert swaps == ["1.0.0", "1.1.0"], "exactly one version each, and two swaps"
    assert not [one for one in found if failure(one) not in {"", "deadline"}], "no window without its model"


def test_a_model_that_gives_no_numbers_is_left_alone_and_tried_again(works):
    """Scenario 8: NaN; the rules judge, one alarm, five failures open the breaker, a window tries it after 30 s."""
    before = works.model(MIXER)["asked"]
    works.show(load=moody.NAN)
    failed = works.verdict(MIXER, lambda one: failure(one) == "not_finite", "the model gives NaN")
    assert (failed["source"], failed["decision"]) == ("rule_fallback", "normal")
    assert failed["confidence"] == failed["components"]["rule_confidence"]
    works.verdict(MIXER, lambda one: failure(one) == "breaker_open", "it is not asked any more")
    opened = works.model(MIXER)
    assert (opened["breaker"], opened["failures"]["not_finite"]) == ("open", 5)
    assert opened["asked"] - before >= 5
    works.wait(lambda: works.model(MIXER)["failures"]["not_finite"] > 5, "after a while one window tries it", 60)
    assert works.model(MIXER)["failures"]["not_finite"] == 6, "one window, no more"
    works.wait(lambda: alarms(works, MIXER, "model.breaker") == [True], "people are told once")
    assert [one["state"] for one in works.stored("model", MIXER)][-1] == "breaker_open"


def test_a_package_that_is_damaged_or_gone_stops_no_line_and_is_told_once(works):
    """Scenario 8: corrupt or missing at a start; the site file's own and the kept copy of it."""
    package = works.folder / "moody.tfm"
    content = package.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    kept = works.folder / GATEWAY / "bundles" / digest
    told = len(alarms(works, TANK, "model.refused"))
    for damage in ("cut", "gone"):
        works.kill(GATEWAY)
        spoil(package, damage)
        spoil(kept, damage)
        works.start(GATEWAY)
        works.show(load=0.6, temperature=75)
        judged = works.verdict(TANK, lambda one: failure(one) == "no_model", f"the package is {damage}")
        assert (judged["decision"], judged["source"]) == ("warning", "rule_fallback")
        assert works.model(TANK)["state"] == "refused"
        assert works.model(TANK)["why"]
        works.wait(lambda: alarms(works, TANK, "model.refused")[told:] == [True], "told once, however often it starts")
    package.write_bytes(content)
    works.kill(GATEWAY)
    works.start(GATEWAY)
    works.show(load=0.6, temperature=75)
    works.verdict(TANK, lambda one: version(one) == "1.0.0" and not failure(one), "the package is back")
    works.wait(lambda: alarms(works, TANK, "model.refused")[told:] == [True, False], "and so it is told")
    assert kept.read_bytes() == content


def spoil(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        path.unlink()
