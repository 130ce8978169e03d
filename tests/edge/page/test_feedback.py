"""Feedback at the line, over a real gateway process with its network cut: on disk once, refused when it makes no sense."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.edge.page.test_page import press
from tests.servers import wait_until

PAGE = {"X-Triflow": "page"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with press(tmp_path_factory.mktemp("press")) as (address, _):
        yield address


@pytest.fixture
def verdict(home: str) -> dict:
    return httpx.get(f"{home}/api/verdicts").json()["verdicts"][0]


@pytest.mark.parametrize("limit", ["0", "501", "²", "𝟙", "-1", "x", ""])
def test_a_number_of_verdicts_that_is_none_is_refused(home: str, limit: str):
    answer = httpx.get(f"{home}/api/verdicts", params={"limit": limit})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION"), limit


def say(home: str, **said: object) -> httpx.Response:
    return httpx.post(f"{home}/api/feedback", json=said, headers=PAGE)


def said_of(home: str, target: str) -> list[tuple[str, str, str | None]]:
    given = httpx.get(f"{home}/api/feedback").json()["feedback"]
    return [(one["actor"], one["type"], one.get("corrected")) for one in given if one["target"] == target]


def test_a_thumb_is_kept_while_cut_with_what_it_was_about(home: str, verdict: dict):
    answer = say(home, target=verdict["verdict_id"], type="positive", actor="이영희")
    assert answer.status_code == 200, answer.text
    assert answer.json()["offline"] is True
    (one,) = [f for f in httpx.get(f"{home}/api/feedback").json()["feedback"] if f["actor"] == "이영희"]
    assert (one["ruleset"], one["ruleset_version"], one["decision"], one["work_unit"]) == (
        "press", "1.0.0", "critical", "forming/line-1/press",
    )  # fmt: skip


def test_a_later_word_of_the_same_person_replaces_the_earlier_one(home: str, verdict: dict):
    target = verdict["verdict_id"]
    assert say(home, target=target, type="negative", reason="incorrect", actor="kim").status_code == 200
    said = say(home, target=target, type="correction", corrected="warning", comment="그냥 덥다", actor="kim")
    assert said.status_code == 200
    assert say(home, target=target, type="positive", actor="park").status_code == 200
    assert {word for word in said_of(home, target) if word[0] in {"kim", "park"}} == {
        ("kim", "correction", "warning"),
        ("park", "positive", None),
    }


def test_a_second_tap_is_one_word(home: str, verdict: dict):
    first = say(home, target=verdict["verdict_id"], type="positive", actor="choi").json()
    second = say(home, target=verdict["verdict_id"], type="positive", actor="choi").json()
    assert first["feedback"] == second["feedback"]
    assert said_of(home, verdict["verdict_id"]).count(("choi", "positive", None)) == 1


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ({"type": "correction"}, 422, "a correction says what it should have been"),
        ({"type": "positive", "corrected": "normal"}, 422, "a correction says what it should have been"),
        ({"type": "correction", "corrected": "critical"}, 422, "says critical already"),
        ({"type": "correction", "corrected": "lovely"}, 422, "corrected: "),
        ({"type": "shrug", "reason": "because", "actor": ""}, 422, "type: "),
        ({"type": "positive", "target": "f" * 32}, 404, "among the newest"),
        ({"type": "positive", "comment": "x" * 2000}, 422, "comment: "),
        ({"type": "positive", "colour": "red"}, 422, "colour: "),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_mend(home: str, verdict: dict, said: dict, status: int, told: str):
    answer = say(home, **({"target": verdict["verdict_id"], "actor": "han"} | said))
    assert answer.status_code == status
    assert told in answer.json()["error"]["message"]
    assert not [word for word in said_of(home, verdict["verdict_id"]) if word[0] == "han"]


def test_several_faults_are_told_at_once(home: str, verdict: dict):
    told = say(home, target=verdict["verdict_id"], type="shrug", reason="because", actor="").json()["error"]["message"]
    assert all(name in told for name in ("type: ", "reason: ", "actor: "))


def test_another_site_in_the_browser_says_nothing(home: str, verdict: dict):
    word = {"target": verdict["verdict_id"], "type": "positive", "actor": "mallory"}
    assert httpx.post(f"{home}/api/feedback", json=word).status_code == 403
    foreign = PAGE | {"Origin": "https://evil.example"}
    assert httpx.post(f"{home}/api/feedback", json=word, headers=foreign).status_code == 403
    assert httpx.post(f"{home}/api/feedback", data=word, headers=PAGE).status_code == 400
    assert not [w for w in said_of(home, verdict["verdict_id"]) if w[0] == "mallory"]


def test_feedback_counts_for_the_rulesets_history_at_once_and_survives_kill_9(tmp_path: Path):
    with press(tmp_path) as (home, process):
        target = httpx.get(f"{home}/api/verdicts").json()["verdicts"][0]
        before = target["inputs"]["verdict:history"]
        assert say(home, target=target["verdict_id"], type="negative", actor="kim").status_code == 200

        def newest() -> dict:
            return httpx.get(f"{home}/api/verdicts").json()["verdicts"][0]

        wait_until(lambda: newest()["inputs"]["verdict:history"] < before, "the next verdict is less sure")
        assert newest()["confidence"] < target["confidence"]
        process.kill()
        process.wait(10)
    with sqlite3.connect(tmp_path / "data" / "edge.db") as store:
        kept = store.execute("select fact from recent where kind='feedback'").fetchall()
    assert len(kept) == 1
