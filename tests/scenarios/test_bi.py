"""Figures as a plant asks for them: a seeded past at two sites in two zones, the real commands, the real service.

Whatever says a figure (hall, line, page, answer, CSV, a report) is held against sums of the base rows made here.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.bi.analyses.result import Result
from cloud.config import load
from cloud.plant import Plants
from cloud.seed import example
from tests.cloud.bi.analyses.truth import unfounded
from tests.servers import ROOT, free_port, listens, process, wait_until

pytestmark = pytest.mark.timeout(300)
LINE = "assembly/line-a/eq-501"
SEOUL = [{"dimension": "site", "values": ["seoul"]}]
SITES = {"seoul": "Asia/Seoul", "newyork": "America/New_York"}
DAYS = 6


class World:
    """A cloud over a seeded plant whose two sites call their lines the same."""

    again: list[int]
    """How many rows of each table a second seeding added."""
    told: str
    """What the first seeding said."""
    service: subprocess.Popen[bytes]

    def __init__(self, folder: Path) -> None:
        self.path = example.write(folder)
        self.port = free_port()
        text = self.path.read_text().replace("port = 8080", f"port = {self.port}")
        head, site = text[: text.index("[[gateway]]")], text[text.index("[[gateway]]") :]
        other = site.replace('"seoul"', '"newyork"').replace("Asia/Seoul", SITES["newyork"])
        other = other.replace("서울 공장", "뉴욕 공장").replace("Seoul plant", "New York plant")
        self.path.write_text(head + site + other)
        self.plants = Plants(load(self.path))

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "triflow", "cloud", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def seed(self) -> str:
        return self.command("seed", str(self.path), "--days", str(DAYS))

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.path.with_name('cloud.db')}?mode=ro", uri=True)) as database:
            return database.execute(sql, values).fetchall()

    def counts(self) -> list[int]:
        tables = ("dim_date", "production", "equipment_state", "quality_measurement", "mart_shift", "mart_day", "fact")
        return [self.rows(f"select count(*) from {table}")[0][0] for table in tables]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=20)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"http://127.0.0.1:{self.port}/api/v1/{path}", json=body, timeout=20)

    def ask(self, **plan: Any) -> dict[str, Any]:
        answer = self.post("bi/ask", plan)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def yesterday(self, site: str) -> str:
        calendar = self.plants["demo", site].calendar
        now = self.rows("select max(data_at) from work_unit")[0][0] // 1_000_000
        return (date.fromisoformat(calendar.at(now).business_date) - timedelta(days=1)).isoformat()

    def made(self, site: str, day: str) -> tuple[int, int]:
        """Add up what a line made on a business date: (produced, good), from its base rows."""
        shifts = self.plants["demo", site].calendar.day(day)
        sql = "select sum(produced), sum(good) from production where site=? and work_unit=? and counted_ms>=? and counted_ms<?"
        sums = [self.rows(sql, site, LINE, one.start_ms, one.end_ms)[0] for one in shifts]
        return sum(one[0] or 0 for one in sums), sum(one[1] or 0 for one in sums)

    def settled(self) -> bool:
        return self.get("/api/v1/etl/status").json()["pending"] == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("bi")
    made = World(folder)
    made.told = made.seed()
    before = made.counts()
    made.seed()
    made.again = [new - old for old, new in zip(before, made.counts(), strict=True)]
    with process("triflow", "cloud", "run", str(made.path), log=folder / "cloud.log") as made.service:
        wait_until(lambda: listens(made.port), "the cloud listens", 60)
        yield made


def column(answer: dict[str, Any], name: str) -> list[Any]:
    place = [one["name"] for one in answer["columns"]].index(name)
    return [row[place] for row in answer["rows"]]


def test_seeding_twice_changes_nothing_and_the_stories_are_found(world: World) -> None:
    assert world.counts()[0] == 4018
    assert world.again[0] == 0
    assert all(0 <= more < 400 for more in world.again), "at most an hour that ended meanwhile is told, too"
    period = {"relative": "last_7_days"}
    ranked = world.ask(analysis="RANK", metrics=["defect_rate"], dimensions=["line"], filters=SEOUL, period=period)
    assert column(ranked, "line")[0] == f"seoul:{LINE}"
    causes = {
        split: column(
            world.ask(analysis="RANK", metrics=["defect_rate"], dimensions=[split], filters=SEOUL, period=period), split
        )[0]
        for split in ("product", "shift")
    }
    assert causes == {"product": "PROD-X", "shift": "C"}
    day = world.yesterday("seoul")
    why = world.ask(
        analysis="FIND_CAUSE",
        metrics=["defect_rate"],
        filters=SEOUL,
        period=period,
        against={"first": day, "last": day},
    )
    named = [one["keys"] for one in why["findings"]["standing_out"]]
    assert "PROD-X" in named[0]
    assert ["C"] in named
    assert "holds  0 < OEE ≤ 1" in world.told
    assert "BROKEN" not in world.told


@pytest.mark.parametrize("site", SITES)
def test_every_place_that_says_a_figure_says_the_same(world: World, site: str) -> None:
    day, key = world.yesterday(site), f"{site}:{LINE}"
    produced, good = world.made(site, day)
    assert produced > 0
    where = {"filters": [{"dimension": "line", "values": [key]}], "period": {"first": day, "last": day}}
    assert column(world.ask(analysis="CHECK", metrics=["produced"], **where), "value") == [produced]
    assert column(world.ask(analysis="CHECK", metrics=["good"], **where), "value") == [good]
    plan = json.dumps({"analysis": "TREND", "metrics": ["produced"], "grain": "shift", **where})
    lines = world.get(f"/api/v1/bi/ask.csv?plan={urllib.parse.quote(plan)}").text.lstrip("\ufeff").splitlines()
    assert sum(int(line.split(",")[1]) for line in lines[1:]) == produced
    shifts = world.plants["demo", site].calendar.day(day)
    span = [urllib.parse.quote(f"{world.plants['demo', site].calendar.local(ms).isoformat()}") for ms in (shifts[0].start_ms, shifts[-1].end_ms)]  # fmt: skip
    told = world.get(f"/api/v1/lines/{urllib.parse.quote(key)}?from={span[0]}&to={span[1]}").json()
    assert (told["pieces"]["produced"], told["pieces"]["good"]) == (produced, good)
    assert told["line"]["site"] == site
    judged = column(world.ask(analysis="CHECK", metrics=["judgments"], **where), "value")[0]
    assert sum(told["decisions"].values()) == judged > 0
    oee = column(world.ask(analysis="CHECK", metrics=["oee"], **where), "value")[0]
    assert told["oee"]["oee"] == pytest.approx(oee, abs=1e-12)
    page = world.get(f"/lines/{urllib.parse.quote(key)}?first={day}&last={day}")
    assert f"{oee * 100:.1f}<small>%" in page.text, "the page reads dates on its own site's calendar"
    steps = {step["name"]: step["ms"] for step in told["waterfall"]["steps"]}
    assert steps["calendar"] == shifts[-1].end_ms - shifts[0].start_ms


def test_lines_of_one_path_have_a_page_each(world: World) -> None:
    keys = {line["key"] for line in world.get("/api/v1/overview").json()["lines"]}
    assert {f"{site}:{LINE}" for site in SITES} <= keys
    hall = world.get("/").text
    for site in SITES:
        assert f"/lines/{urllib.parse.quote(f'{site}:{LINE}')}" in hall
    assert world.get(f"/lines/nowhere:{LINE}").status_code == 404


def test_reports_files_and_orders_of_one_site_keep_to_it(world: World) -> None:
    day, key = world.yesterday("newyork"), f"newyork:{LINE}"
    order = {"kind": "shift", "site": "newyork", "business_date": day, "shift": "A", "by": "kim"}
    made = world.post("reports", order)
    assert made.is_success, made.text
    page = world.get(f"/reports/{made.json()['id']}").text
    assert f"/lines/{urllib.parse.quote(key)}" in page
    assert "seoul" not in page.lower().replace("asia/seoul", "")
    for path in (f"quality/ccp.csv?work_unit={key}", f"verdicts.csv?work_unit={key}&from={day}T00:00:00Z"):
        head, *rows = world.get(f"/api/v1/{path}").text.lstrip("\ufeff").splitlines()
        place = head.split(",").index("site")
        assert {row.split(",")[place] for row in rows} == {"newyork"}, path
    for path, body in (
        ("etl/restatements", {"from": f"{day}T00:00:00Z", "to": f"{day}T08:00:00Z", "lines": [LINE], "dry_run": True, "by": "kim", "reason": "to see"}),
        ("replay/batch", {"rules": (ROOT / "demo/rules/filler.toml").read_text(), "line": LINE}),
    ):  # fmt: skip
        refused = world.post(path, body)
        assert refused.status_code == 400, refused.text
        assert key in refused.text


def test_a_correction_of_a_correction_is_in_every_figure_at_once(world: World) -> None:
    day = world.yesterday("seoul")
    shift = world.plants["demo", "seoul"].calendar.day(day)[0]
    inc, stream, seq, produced = world.rows(
        "select i.inc, p.stream, p.seq, p.produced from production p join incarnation i on i.id=p.inc where p.site='seoul'"
        " and p.work_unit=? and p.counted_ms>=? and p.counted_ms<? and p.produced>0 order by p.seq limit 1",
        LINE, shift.start_ms, shift.end_ms,
    )[0]  # fmt: skip
    plan = {
        "analysis": "CHECK", "metrics": ["produced"], "period": {"first": day, "last": day},
        "filters": [{"dimension": "line", "values": [f"seoul:{LINE}"]}],
    }  # fmt: skip
    whole = column(world.ask(**plan), "value")[0]
    assert world.ask(**plan)["from_cache"]
    where = f"facts/{inc}/{stream}/{seq}"
    original = world.get(f"/api/v1/{where}/revisions").json()["revisions"][0]["body"]
    assert world.post(f"{where}/correction", {"by": "kim", "reason": "counted twice", "replacement": None}).is_success
    wait_until(lambda: column(world.ask(**plan), "value")[0] == whole - produced, "the answer follows", 20)
    assert world.made("seoul", day)[0] == whole - produced
    body = {"by": "lee", "reason": "it was not", "replacement": original}
    again = world.post(f"{where}/correction", body)
    assert again.is_success, again.text
    wait_until(lambda: column(world.ask(**plan), "value")[0] == whole, "the answer follows again", 20)
    wait_until(world.settled, "nothing waits", 20)
    assert "no figures differ" in world.command("audit-marts", str(world.path))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"metrics": ["oee'; drop table mart_shift;--"]}, 400),
        ({"metrics": ["defekt_rate"]}, 404),
        ({"dimensions": ["line; select 1"]}, 400),
        ({"filters": [{"dimension": "line", "values": ["' or 1=1--"]}]}, 400),
        ({"order": "1; drop table fact"}, 400),
        ({"period": {"first": "2026-02-30", "last": "2026-03-01"}}, 400),
    ],
)
def test_what_is_no_question_is_refused_and_nothing_is_touched(world: World, change: dict[str, Any], code: int) -> None:
    before = world.counts()
    answer = world.post("bi/ask", {"analysis": "RANK", "metrics": ["oee"], "dimensions": ["line"]} | change)
    assert answer.status_code == code, answer.text
    assert "sql" not in answer.text.lower()
    assert world.counts() == before


QUESTIONS: tuple[dict[str, Any], ...] = (
    {"analysis": "CHECK", "metrics": ["oee", "defect_rate", "mtbf"]},
    {"analysis": "CHECK", "metrics": ["oee"], "dimensions": ["line"]},
    {"analysis": "TREND", "metrics": ["produced"], "grain": "shift"},
    {"analysis": "COMPARE", "metrics": ["produced"], "dimensions": ["line"], "against": "previous"},
    {"analysis": "RANK", "metrics": ["defect_rate"], "dimensions": ["product"]},
    {"analysis": "FIND_CAUSE", "metrics": ["oee"]},
    {"analysis": "CORRELATE", "metrics": ["defect_rate", "effectiveness"], "grain": "shift", "period": {"relative": "last_7_days"}},
    {"analysis": "DETECT_ANOMALY", "metrics": ["defect_rate"], "grain": "hour"},
    {"analysis": "PREDICT", "metrics": ["produced"], "grain": "shift", "horizon": 3, "period": {"relative": "last_7_days"}},
    {"analysis": "WHAT_IF", "metrics": ["oee"], "edits": [{"what": "setup", "percent": -30}, {"what": "scrap", "points": -1}]},
)  # fmt: skip


def test_no_sentence_says_a_number_that_its_answer_does_not_hold(world: World) -> None:
    """Scenario 49, as far as answers go: complete in Korean and English without any model, and nothing invented."""
    told = world.get("/api/v1/bi/catalogue").json()["analyses"]
    assert {one["analysis"] for one in QUESTIONS} == set(told)
    for question in QUESTIONS:
        days = [date.fromisoformat(world.yesterday("seoul")) - timedelta(days=back) for back in (1, 0)]
        period = {"first": days[0].isoformat(), "last": days[1].isoformat()}
        answer = world.ask(**{"period": period, "filters": SEOUL, **question})
        assert answer["refused"] in {None, "worse_than_naive"}, question
        assert answer["as_of"]
        assert answer["definitions"].keys() >= set(question["metrics"])
        said = {name: tuple(texts) for name, texts in answer["sentences"].items()}
        whole = Result(columns=(), rows=tuple(answer["rows"]), findings=answer["findings"] | question, sentences=said)
        assert len(said["ko"]) == len(said["en"]) > 0
        assert unfounded(whole) == [], question


def test_what_cannot_be_told_is_refused_with_the_reason_and_the_least_that_is_needed(world: World) -> None:
    """Scenario 47: too short a history has no forecast, a period without production no what-if."""
    day = world.yesterday("seoul")
    two = {"first": (date.fromisoformat(day) - timedelta(days=1)).isoformat(), "last": day}
    short = world.ask(analysis="PREDICT", metrics=["oee"], grain="day", period=two, filters=SEOUL)
    assert (short["refused"], short["rows"], short["findings"]["least_points"]) == ("not_enough_history", [], 7)
    before = {"first": "2020-01-01", "last": "2020-01-02"}
    edits = [{"what": "setup", "percent": -30}]
    nothing = world.ask(analysis="WHAT_IF", metrics=["oee"], period=before, filters=SEOUL, edits=edits)
    assert (nothing["refused"], nothing["rows"]) == ("insufficient_data", [])
    for refused in (short, nothing):
        assert all(refused["sentences"][language] for language in ("ko", "en"))
    empty = world.ask(analysis="CHECK", metrics=["oee"], period=before, filters=SEOUL)
    assert (column(empty, "value"), column(empty, "level")) == ([None], ["no_figure"])
    assert column(empty, "reason")[0]


def test_every_lot_has_its_trace_without_a_hole(world: World) -> None:
    """Scenario 63: measurements, limits, judgments and versions of any lot, counted from the base rows."""
    lots = [name for (name,) in world.rows("select distinct lot from mart_order where lot<>'' order by lot")]
    assert len(lots) > 20
    for lot in lots[:: len(lots) // 6]:
        trace = world.get(f"/api/v1/quality/lots/{urllib.parse.quote(lot)}").json()
        made = world.rows("select sum(produced), sum(good) from production where lot=?", lot)[0]
        assert tuple(sum(one[name] for one in trace["made"]) for name in ("produced", "good")) == made
        measured = world.rows("select count(*) from quality_measurement where lot=?", lot)[0][0]
        judged = world.rows("select count(*) from judgment where lot=?", lot)[0][0]
        assert len(trace["measurements"]) == measured
        assert all(one["low"] <= one["value"] <= one["high"] for one in trace["measurements"] if one["passed"])
        assert all(point["high"] is not None and point["within"] is not None for point in trace["ccp"])
        assert sum(sum(one["decisions"].values()) for one in trace["judgments"]) == judged
        assert sum(v["judgments"] for one in trace["judgments"] for v in one["by_version"]) == judged
        assert not trace["truncated"]
        assert all(one["state"] in {"complete", "running"} or one["gaps"] for one in trace["completeness"]), lot
    assert world.get("/api/v1/quality/lots/LOT-NOBODY-MADE").status_code == 404


def test_a_database_that_takes_nothing_is_said_and_no_order_reports_success(world: World) -> None:
    """Scenario 65: no file may grow by a byte; what is asked still has its answer, what is ordered fails loudly."""
    fact = world.rows("select i.inc, p.stream, p.seq from production p join incarnation i on i.id=p.inc limit 1")[0]
    orders = {
        f"facts/{fact[0]}/{fact[1]}/{fact[2]}/correction": {"by": "kim", "reason": "test", "replacement": None},
        "watches": {
            "name": "w", "metric": "oee", "site": "seoul", "period": "this_shift", "side": "below", "against": "value",
            "level": 0.5, "severity": "warning", "by": "kim",
        },
    }  # fmt: skip
    before = world.counts()
    resource.prlimit(world.service.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        for path, body in orders.items():
            answer = world.post(path, body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE"), (
                path,
                answer.text,
            )
            assert "Traceback" not in answer.text
        assert column(world.ask(analysis="CHECK", metrics=["produced"], filters=SEOUL), "value")[0] > 0
    finally:
        resource.prlimit(world.service.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert world.post("watches", orders["watches"]).is_success, "and goes on as soon as it can be written again"
    assert world.counts() == before
