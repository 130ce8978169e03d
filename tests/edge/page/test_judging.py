"""POST /api/judge over a real site: answers, memory, refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from edge.page.judging import Requests, judge_routes
from edge.site import load
from sync.clock import WallClock
from sync.judgment import Scored

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
ballast_mb = 0
[uplink]
host = "127.0.0.1"
port = 1
tls = false
key = {{ credential = "gw-1.key" }}
[[connection]]
name = "press-plc"
driver = "simulated"
[[line]]
work_unit = "forming/line-1/press"
connection = "press-plc"
book = "press.toml"
rules = "{rules}.toml"
"""
BOOK = """
title = "Press"
[[tag]]
name = "oil_temperature"
address = "oil"
type = "float64"
unit = "CEL"
required = true
[[tag]]
name = "vibration"
address = "vibration"
type = "float64"
"""
RULES = """
[ruleset]
name = "press"
version = "1.0.{patch}"
{head}
[[limit]]
name = "oil"
title = {{ ko = "유온", en = "Oil temperature" }}
value = "oil_temperature"
warning_high = {limit}
"""
HOT = {"input_data": {"oil_temperature": 80.0}, "language": "ko"}


def site(folder: Path, *, limit: int = 75, patch: int = 0, head: str = ""):
    (folder / "press.toml").write_text(BOOK)
    (folder / f"rules{patch}.toml").write_text(RULES.format(limit=limit, patch=patch, head=head))
    (folder / "site.toml").write_text(SITE.format(rules=f"rules{patch}"))
    (folder / "credentials").mkdir(mode=0o700, exist_ok=True)
    (folder / "credentials" / "gw-1.key").touch(mode=0o600)
    (folder / "credentials" / "gw-1.key").write_text("ab" * 32)
    return load(folder / "site.toml")


async def client(requests: Requests) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=judge_routes(requests)))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        yield http


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async for one in client(Requests(site(tmp_path), WallClock())):
        yield one


async def test_the_same_request_twice_is_answered_from_memory_with_its_explanation(http):
    first = (await http.post("/api/judge", json=HOT)).json()
    assert (first["decision"], first["cached"], first["line_code"]) == ("warning", False, "forming/line-1/press")
    assert "80 °C" in first["explanation"]["summary"]
    assert "75 °C" in first["explanation"]["summary"]
    again = (await http.post("/api/judge", json=HOT)).json()
    assert again["cached"] is True
    assert 299 < again["cache_ttl_remaining"] <= 300
    assert again["explanation"] == first["explanation"]
    assert again.keys() == first.keys()
    english = (await http.post("/api/judge", json=HOT | {"language": "en"})).json()
    assert english["explanation"]["summary"].startswith("Warning: Oil temperature is 80 °C")
    for fresh in (
        await http.post("/api/judge", json=HOT, headers={"X-Skip-Cache": "true"}),
        await http.post("/api/judge", json=HOT | {"cache_enabled": False}),
        await http.post("/api/judge", json=HOT | {"policy": "ml_fallback"}),
    ):
        assert fresh.json()["cached"] is False


async def test_another_version_of_the_rules_is_judged_anew(tmp_path):
    requests = Requests(site(tmp_path), WallClock())
    async for http in client(requests):
        await http.post("/api/judge", json=HOT)
        assert (await http.post("/api/judge", json=HOT)).json()["cached"] is True
    newer = Requests(site(tmp_path, limit=90, patch=1), WallClock())
    newer.cache = requests.cache
    async for http in client(newer):
        told = (await http.post("/api/judge", json=HOT)).json()
        assert (told["cached"], told["decision"], told["rule_result"]["version"]) == (False, "normal", "1.0.1")


async def test_three_wrong_fields_are_three_faults(http):
    answer = await http.post("/api/judge", json={"input_data": 5, "policy": "guess", "language": 7})
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["error"]["fields"]] == ["input_data", "policy", "language"]
    wrong = await http.post(
        "/api/judge", json={"input_data": {"oil_temperature": "hot", "pressure": 1, "vibration": True}}
    )
    assert wrong.status_code == 400
    assert len(wrong.json()["error"]["fields"]) == 3


async def test_what_is_too_large_is_refused(http):
    large = await http.post("/api/judge", json={"input_data": {"oil_temperature": 1.0, "note": "x" * 11 * 1024}})
    assert large.status_code == 413
    assert large.json()["error"]["fields"][0]["field"] == "input_data"
    assert (await http.post("/api/judge", content=b" " * 100_000)).status_code == 413


@pytest.mark.parametrize(
    ("named", "field", "words"),
    [
        ({"line_code": "forming/line-9/press"}, "line_code", "there are forming/line-1/press"),
        ({"ruleset_id": "pres"}, "ruleset_id", "there are press"),
    ],
)
async def test_a_line_or_ruleset_that_is_not_here_is_said(http, named, field, words):
    (fault,) = (await http.post("/api/judge", json=HOT | named)).json()["error"]["fields"]
    assert fault["field"] == field
    assert words in fault["message"]
    assert (await http.post("/api/judge", json=HOT | {"ruleset_id": "press"})).status_code == 200


async def test_the_lines_model_is_asked_where_the_policy_wants_it(tmp_path):
    calls: list[str] = []

    async def ask(work_unit, ruleset, window):
        calls.append(f"{work_unit} {ruleset.model} {window.tags['oil_temperature'].mean}")
        return Scored(model="wear", version="1.0.0", sha256="ab" * 32, decision="critical", confidence=0.9)

    head = 'policy = "hybrid_weighted"\n[model]\nname = "wear"'
    requests = Requests(site(tmp_path, head=head), WallClock(), ask=ask, model=lambda _: "ab" * 32)
    async for http in client(requests):
        told = (await http.post("/api/judge", json=HOT)).json()
        assert (told["decision"], told["ml_result"]["model_id"]) == ("critical", "wear")
        assert calls == ["forming/line-1/press wear 80.0"]
        assert (await http.post("/api/judge", json=HOT)).json()["cached"] is True
        assert len(calls) == 1
        blind = (await http.post("/api/judge", json={"input_data": {"vibration": 1.0}})).json()
        assert (blind["decision"], blind["needs_human"], len(calls)) == ("unknown", True, 1)
