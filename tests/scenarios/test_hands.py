"""Hands, end to end: what a rule, the cloud, people and forgers bring a gateway to write, and what is on record of it.

At most one write per action over all kills: tests/edge/acting. Here: what the whole system adds.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import msgspec
import pytest

from sync.signing import make_key
from tests.scenarios.tap import Tap, signed
from tests.scenarios.works import ADDRESS, FILLER, GATEWAY, SPEED, Works
from tests.servers import mosquitto, wait_until

pytestmark = pytest.mark.timeout(240)
SECOND = 1_000_000_000


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
    running.verdict(FILLER, lambda one: one["decision"] == "normal", "all is well")
    return running


@pytest.fixture
def tap(works: Works) -> Iterator[Tap]:
    key = bytes.fromhex((works.folder / "credentials" / f"{GATEWAY}.key").read_text())
    with Tap(works.broker.port, ADDRESS, key) as tap:
        yield tap


def waiting(works: Works) -> list[dict]:
    return works.get(GATEWAY, "/api/approvals")["approvals"]


def request(works: Works, value: float, tag: str = "speed_setpoint") -> str:
    """Have the cloud ask for a write; gives the action's id, which is the command's."""
    return works.command("act", {"work_unit": FILLER, "tag": tag, "value": value})


def answer(works: Works, action: str, actor: str, *, approve: bool = True) -> tuple[int, dict]:
    return works.post(GATEWAY, f"/api/approvals/{action}", {"approve": approve, "actor": actor})


def decided(works: Works, action: str) -> dict:
    """Wait for what the gateway decided of an action, in the cloud; it decides once."""
    found = works.wait(
        lambda: [one for one in works.stored("action_decision") if one["action"] == action], f"{action} is decided"
    )
    assert len(found) == 1
    return found[0]


def ended(works: Works, action: str) -> dict:
    """Wait for the end of an action in the cloud; there is one, and it stays one."""
    found = works.wait(
        lambda: [one for one in works.stored("action") if one["action"] == action], f"the end of {action} in the cloud"
    )
    assert len(found) == 1
    return found[0]


def modes(works: Works) -> list[str]:
    return [one["mode"] for one in works.stored("mode")]


# --- 30: commands -------------------------------------------------------------------------------------------------------


def test_a_command_counts_once_in_time_and_from_the_cloud_only(works, tap):
    """Scenario 30: delivered twice it is carried out once, after its end it is reported; a forged one is ignored."""
    before = len(modes(works))
    first = works.command("mode", {"mode": "advise", "reason": "commissioning"})
    heard = tap.command(first)
    assert works.answered(first)["state"] == "done"
    tap.say(heard)

    now = time.time_ns()
    late = signed(
        works.folder, ADDRESS,
        msgspec.structs.replace(
            heard, command="a" * 32, arguments={"mode": "monitor", "reason": "too late"}, issued=now - 90 * SECOND,
            expires=now - 30 * SECOND,
        ),
    )  # fmt: skip
    forged = [
        msgspec.structs.replace(heard, command="b" * 32, arguments={"mode": "control", "reason": "forged"}),
        msgspec.structs.replace(late, command="c" * 32, expires=now + 600 * SECOND),
        msgspec.structs.replace(heard, command="d" * 32, signature=""),
        msgspec.structs.replace(heard, command="e" * 32, kind="kill"),
    ]
    stranger = works.folder / "stranger"
    stranger.mkdir()
    (stranger / "witness.key").write_text(make_key().hex())
    forged.append(signed(stranger, ADDRESS, msgspec.structs.replace(heard, command="f" * 32)))
    for one in (*forged, late):
        tap.say(one)
    tap.say(heard)
    told = works.wait(
        lambda: [one for one in works.stored("command_answer") if one["command"] == late.command],
        "the gateway says that it was too late",
    )
    assert [one["done"] for one in told] == [False]
    assert "it was over" in told[0]["why"]
    last = works.command("mode", {"mode": "control", "reason": "commissioned"})
    assert works.answered(last)["state"] == "done"
    assert modes(works)[before:] == ["advise", "control"]
    answers = [one["command"] for one in works.stored("command_answer")]
    assert answers.count(first) == 1
    assert not {one.command for one in forged} & set(answers)
    assert works.get(GATEWAY, "/api/actions")["killed"] is None


def test_from_afar_the_kill_switch_is_thrown_and_never_lifted(works):
    """And no further than the site file lets it: nobody in the cloud can make a line act that the plant only watches."""
    for kind, arguments, word in (
        ("mode", {"mode": "dance", "reason": "nonsense"}, "there is no mode"),
        ("trust", {"ruleset": "filler", "level": 4, "reason": "too high a level"}, "0 to 3"),
        ("trust", {"ruleset": "filler", "level": True, "reason": "no number"}, "0, 1, 2 or 3"),
        ("trust", {"ruleset": "nothing", "level": 1, "reason": "no such rules"}, "nothing"),
        ("act", {"work_unit": "works/line-9/none", "tag": "speed_setpoint", "value": 30}, "no line"),
        ("act", {"work_unit": FILLER, "tag": "speed_setpoint", "value": "fast"}, "number"),
        ("act", {"work_unit": FILLER, "tag": "../speed_setpoint", "value": 30}, "give a name"),
        ("act", {"work_unit": FILLER, "tag": "speed_setpoint", "value": 30, "action_type": "x" * 5_000}, "give a name"),
        ("feedback", {"target": "x", "type": "nonsense"}, "no feedback"),
        ("feedback", {"target": "x", "type": "correction"}, "no feedback"),
        ("feedback", {"target": "x", "type": "negative", "work_unit": "works/line-9/none"}, "no feedback"),
        ("approve", {"action": "f" * 32}, "no action"),
        ("model", {"what": "dance", "line": FILLER}, "no order"),
        ("feedback", {"target": "x"}, "no feedback"),
    ):
        told = works.answered(works.command(kind, arguments))
        assert (told["state"], word in told["why"]) == ("refused", True), (kind, arguments, told["why"])
    killed = works.answered(works.command("kill", {"reason": "drill"}))
    assert killed["state"] == "done"
    assert (works.folder / GATEWAY / "kill").exists()
    action = request(works, 40.0)
    assert works.answered(action)["state"] == "done"
    refused = decided(works, action)
    assert (refused["decision"], "kill switch" in " ".join(refused["reasons"])) == ("reject", True), refused
    assert waiting(works) == []
    (works.folder / GATEWAY / "kill").unlink()  # by hand, so that nobody sees it: it comes back
    wait_until((works.folder / GATEWAY / "kill").exists, lambda: f"the switch is back\n{works.said()}", 30)
    told = works.triflow("edge", "act", "lift", works.site_file, "--reason", "the drill is over")
    assert told.returncode == 0, told.stderr
    works.wait(lambda: works.get(GATEWAY, "/api/actions")["killed"] is None, "it is lifted at the gateway")
    assert works.writes == []


# --- 36, 37: who decides, and what is blocked ---------------------------------------------------------------------------


def test_cloud_and_line_answer_at_once_and_the_machine_is_written_once(works):
    """Scenario 30 of spec/16 with 37: the first answer counts, the other is on record as superseded, and changes nothing."""
    works.show(pressure=9)
    waits = works.wait(lambda: waiting(works), "a rule asks to slow the filler down")
    action, before = waits[0]["action"], len(works.writes)
    assert (waits[0]["target"], waits[0]["value"]) == (SPEED, 25)
    far = works.command("approve", {"action": action}, actor="lee")
    status, near = answer(works, action, "park")
    assert status in {200, 409}, near
    told = works.answered(far)
    end = ended(works, action)
    assert (end["status"], end["written"], end["read_back"]) == ("EXECUTED", 25, 25)
    assert works.writes[before:] == [25]
    words = works.wait(
        lambda: len(found := [one for one in works.stored("approval") if one["action"] == action]) == 2 and found,
        "both answers are in the cloud",
    )
    assert sorted((one.get("place", "edge"), one["actor"]) for one in words) == [
        ("cloud", "lee"), ("edge", "park"),
    ]  # fmt: skip
    assert sorted(bool(one.get("superseded")) for one in words) == [False, True]
    assert (told["why"] == "superseded") != (status == 409), (told, near)
    for late in ("park", "kim"):  # anybody, at any later time
        answer(works, action, late, approve=False)
    works.verdict(
        FILLER, lambda one: one["decision"] == "critical", "the rule goes on asking, and that is one occasion"
    )
    assert works.writes[before:] == [25]


def test_what_is_outside_the_limits_or_not_interlocked_is_not_written_whoever_asks(works):
    """Scenario 37: blocked and audited with what stood and what was wanted; the cloud asks and cannot force it."""
    before = list(works.writes)
    for value in (10.0, 81.0, 1e300):
        action = request(works, value)
        works.answered(action)
        (decided,) = works.wait(
            lambda a=action: [one for one in works.stored("action_decision") if one["action"] == a],
            f"{value} is decided",
        )
        assert (decided["decision"], decided["value"]) == ("reject", value)
    action = request(works, 40.0, tag="temperature")
    works.answered(action)
    assert not [one for one in waiting(works) if one["action"] == action]
    works.show(state=4)
    works.verdict(FILLER, lambda one: one["state"] == "IDLE", "the machine idles")
    action = request(works, 40.0)
    works.answered(action)
    if [one for one in waiting(works) if one["action"] == action]:
        refused = works.answered(works.command("approve", {"action": action}))
        assert (refused["state"], "only a person at the gateway" in refused["why"]) == ("refused", True)
        answer(works, action, "park")
    assert ended(works, action)["status"] == "REJECTED"
    assert works.writes == before
    works.show()
    works.verdict(FILLER, lambda one: one["state"] == "EXECUTE", "the machine runs")
    action = request(works, 40.0)
    works.wait(lambda: [one for one in waiting(works) if one["action"] == action], "it waits for a person")
    assert works.answered(works.command("approve", {"action": action}))["state"] == "refused"
    assert works.writes == before
    assert answer(works, action, "park")[0] == 200
    assert ended(works, action)["status"] == "EXECUTED"
    assert works.writes == [*before, 40]
    audited = [one for one in works.stored("audit") if one.get("detail", {}).get("action") == action]
    assert {"action.answered"} <= {one["action"] for one in audited}
    assert any(40 in one["detail"].values() or 40.0 in one["detail"].values() for one in audited), audited


# --- 34, 67: trust ------------------------------------------------------------------------------------------------------


def rate(works: Works, verdicts: list[dict], word: str) -> None:
    for one in verdicts:
        status, said = works.post(
            GATEWAY, "/api/feedback", {"target": one["verdict_id"], "type": word, "actor": f"kim {one['at']}"}
        )
        assert status == 200, said


def test_trust_is_lost_on_the_line_and_then_it_asks_again(works):
    """Scenarios 34 and 67: full trust acts alone; three bad marks in a row, all of them bad, and it asks a person."""
    order = {"ruleset": "filler", "level": 3, "reason": "a year of good work"}
    assert works.answered(works.command("trust", order))["state"] == "refused", "an administrator confirms full trust"
    for level in (1, 2, 3):
        told = works.answered(works.command("trust", order | {"level": level, "confirmed": True}))
        assert told["state"] == "done", told
    before = len(works.writes)
    works.show(pressure=9)
    wait_until(lambda: len(works.writes) > before, lambda: f"at full trust it writes at once\n{works.said()}", 45)
    assert works.writes[before:] == [25]
    critical = [one for one in works.verdicts(FILLER) if one["decision"] == "critical"][:1]
    works.show()
    sound = [works.verdict(FILLER, lambda one: one["decision"] == "normal", "it is normal again") for _ in range(3)]
    assert works.get(GATEWAY, "/api/trust")["trust"][0]["level"] == 3, "that a verdict was critical costs no trust"
    rate(works, sound[:2], "positive")
    rate(works, critical, "positive")
    assert next(one for one in works.get(GATEWAY, "/api/trust")["trust"] if one["ruleset"] == "filler")["level"] == 3
    worse = [works.verdict(FILLER, lambda _: True, "another verdict") for _ in range(3)]
    rate(works, worse, "negative")
    steps = works.wait(
        lambda: [(one["previous"], one["level"]) for one in works.stored("trust") if one["level"] < one["previous"]],
        "the cloud hears that trust was lost",
    )
    assert steps[0] == (3, 2)
    assert all(before == after + 1 for before, after in steps), "a step at a time"
    before = len(works.writes)
    works.show(pressure=9)
    waits = works.wait(lambda: [one for one in waiting(works) if one["ruleset"] == "filler"], "now it asks a person")
    assert len(works.writes) == before
    assert answer(works, waits[0]["action"], "park", approve=False)[0] == 200
    assert ended(works, waits[0]["action"])["status"] == "REJECTED"
    assert len(works.writes) == before


# --- killed in the middle, told once ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["edge.act_written", "edge.act_write"])
def test_killed_in_the_middle_of_a_write_the_cloud_hears_one_end_and_the_truth(works, place):
    """Scenario 37 and the promise: one write at most, one end, and `needs_human` where nobody can know."""
    before = len(works.writes)
    works.kill(GATEWAY)
    works.start(GATEWAY, env={**os.environ, "TRIFLOW_FAILPOINT": f"{place}:1"})
    works.wait(lambda: works.get(GATEWAY, "/api/status")["uplink"]["state"] == "streaming", "it streams")
    works.verdict(FILLER, lambda one: one["decision"] == "normal", "it judges")
    value = 45.0 if place == "edge.act_write" else 46.0
    action = request(works, value)
    works.wait(lambda: [one for one in waiting(works) if one["action"] == action], "it waits for a person")
    with contextlib.suppress(OSError):
        answer(works, action, "park")
    wait_until(lambda: works.processes[GATEWAY].poll() is not None, lambda: f"it dies at {place}\n{works.said()}", 45)
    works.kill(GATEWAY)
    works.start(GATEWAY)
    if place == "edge.act_written":
        end = ended(works, action)
        assert (end["status"], end["read_back"], end["needs_human"]) == ("EXECUTED", value, True)
        assert works.writes[before:] == [value]
    else:
        (begun,) = works.wait(
            lambda: [one for one in works.get(GATEWAY, "/api/actions")["open"] if one["action"] == action], "it is open"
        )
        assert begun["state"] == "begun", "a minute for the machine, then a person has to look"
        assert works.writes[before:] == []
    approvals = [one for one in works.stored("approval") if one["action"] == action]
    assert len(approvals) <= 1
    decided(works, action)


# --- the page's door ----------------------------------------------------------------------------------------------------


def test_the_page_takes_no_orders_from_another_site(works):
    """Scenario 35's part at the line: what does not come from the gateway's own page changes nothing."""
    word = {"mode": "monitor", "actor": "mallory", "reason": "because I can"}
    for headers in (
        {"X-Triflow": ""},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Content-Type": "text/plain"},
    ):
        status, _ = works.post(GATEWAY, "/api/mode", word, **headers)
        assert status in {400, 403}, headers
    assert works.post(GATEWAY, "/api/mode", word | {"reason": "why"})[0] == 422
    assert works.get(GATEWAY, "/api/actions")["mode"] == "control"
