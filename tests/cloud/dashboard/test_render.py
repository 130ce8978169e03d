"""Pages from fixed answers: what stands on them, and what a browser would refuse to run."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cloud import config
from cloud.bi.lines import Lines
from cloud.dashboard import fleet, views
from cloud.dashboard.render import STATIC, Reader, render
from cloud.drawing import charts
from cloud.plant import Plants
from cloud.wording.texts import LANGUAGES, Language, Words

HERE = Path(__file__).parent


def answer(name: str) -> dict[str, Any]:
    found = json.loads((HERE / f"{name}.json").read_text())
    for part in ("lines", "alarms", "verdicts", "gateways", "proof"):
        for one in found.get(part, []):
            one["site"] = "seoul"
    return found


@cache
def places() -> Lines:
    """Give the lines of the fixed answers, as their cloud.toml would name them."""
    named = {one["work_unit"]: one["name"] for one in answer("overview")["lines"]}
    units = "".join(
        f'[[site.work_unit]]\npath = "{unit}"\nname = {{ko = "{name["ko"]}", en = "{name["en"]}"}}\n'
        for unit, name in named.items()
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cloud.toml"
        path.write_text(
            f'safe = "stored"\n[[site]]\ntenant = "demo"\nid = "seoul"\nname = {{ko = "서울", en = "Seoul"}}\ntimezone = "Asia/Seoul"\n{units}'
        )
        return Lines(Plants(config.load(path)), "demo", ())


def whom(language: Language = "en", theme: str = "auto") -> Reader:
    return Reader(words=Words(language), theme=theme, zone=ZoneInfo("Asia/Seoul"))


def hall(overview: dict[str, Any], language: Language = "en") -> str:
    return render("hall.html", whom(language), **views.hall(overview), places=places())


class Text(HTMLParser):
    """The words of a page, and every attribute."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]

    def __str__(self) -> str:
        return " ".join(self.words)


def fleet_page(overview: dict[str, Any], completeness: dict[str, Any], language: Language = "en") -> str:
    nothing: dict[str, Any] = {"lines": [], "rulesets": [], "models": [], "gateways": []}
    told = fleet.Told(overview=overview, completeness=completeness, hours=nothing, rulesets=nothing, models=nothing)
    reader = whom(language)
    return render("fleet.html", reader, **fleet.fleet(told, places(), reader.words, reader.zone), places=places())


def pages(language: Language) -> dict[str, str]:
    overview, reader = answer("overview"), whom(language)
    return {
        "hall": hall(overview, language),
        "line": render("line.html", reader, **views.line(answer("line"), reader, "shift"), tag_of=str),
        "fleet": fleet_page(overview, answer("completeness"), language),
        "evidence": render("_evidence.html", reader, verdict=answer("verdict")),
        "problem": render(
            "problem.html", reader, status=404, title="x", text="y", known=overview["lines"], choices=[], retry_s=None
        ),
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_holds_what_its_policy_forbids_or_leads_elsewhere(language: Language) -> None:
    for name, page in pages(language).items():
        read = Text(page)
        assert not [pair for pair in read.attributes if pair[0] == "style" or pair[0].startswith("on")], name
        assert len(read.ids) == len(set(read.ids)), name
        assert "<style" not in page, name
        loaded = [value or "" for key, value in read.attributes if key in {"src", "href"}]
        elsewhere = [value for value in loaded if "//" in value and not value.startswith("http://127.0.0.1:809")]
        assert elsewhere == [], name
    for name, (body, _) in STATIC.items():
        assert not re.search(rb"https?://(?!www\.w3\.org/)", body), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_hall_says_every_figure_of_the_overview(language: Language) -> None:
    overview = answer("overview")
    text = str(Text(hall(overview, language)))
    for line in overview["lines"]:
        assert line["name"][language] in text
        if line["oee"]["oee"] is not None:
            assert f"{line['oee']['oee'] * 100:.1f}" in text
            assert f"{line['oee']['effectiveness'] * 100:.1f}%" in text
            assert f"{line['output']['good']:,}" in text
        assert line["verdict"]["summary"][language].split()[0] in text
    for proof in overview["proof"]:
        for term in ("produced", "stored", "waiting", "lost"):
            assert f"{proof[term]:,}" in text


def test_no_oee_says_why_instead_of_a_number() -> None:
    overview = answer("overview")
    assert "No data: no planned time in this shift" in str(Text(hall(overview)))
    overview["lines"][3]["oee"]["reason"] = "a_reason_of_tomorrow"
    assert "No data: a reason of tomorrow" in str(Text(hall(overview)))


@pytest.mark.parametrize(
    ("produced", "said"),
    [(0, "Balanced"), (7, "Not yet: 7 on the way"), (-3, "3 too many: look at the conflicts")],
)
def test_the_proof_says_by_how_much_it_does_not_hold(produced: int, said: str) -> None:
    overview = answer("overview")
    row = overview["proof"][0]
    row["produced"] += produced
    row["balanced"] = produced == 0
    assert said in str(Text(hall(overview)))


def test_a_hall_without_any_gateway_says_what_to_do() -> None:
    overview = deepcopy(answer("overview")) | {"lines": [], "alarms": [], "verdicts": [], "gateways": [], "proof": []}
    overview["link"] = {"controllable": False, "cut": None}
    page = hall(overview)
    assert "No gateway has spoken yet" in page
    assert 'id="cut"' not in page
    assert "Nothing needs you right now." in page
    assert "List it in cloud.toml" in fleet_page(overview, {"gateways": []})


def test_a_link_that_does_not_answer_is_unknown_and_not_up() -> None:
    overview = answer("overview")
    overview["link"]["cut"] = None
    assert "The link's switch does not answer." in str(Text(hall(overview)))


def test_text_of_the_plant_cannot_become_markup() -> None:
    overview = answer("overview")
    overview["lines"][0]["name"] = {"ko": "<script>alert(1)</script>", "en": "<script>alert(1)</script>"}
    overview["alarms"][0]["summary"] = {"en": '"><img src=x onerror=alert(1)>'}
    overview["lines"][0]["order"] = "'\"<b>"
    page = hall(overview)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "<b>" not in page


def test_a_chart_takes_its_colours_from_the_page_and_its_hours_from_the_plant() -> None:
    detail = answer("line")
    drawn = str(charts.svg(charts.hourly(detail, ZoneInfo("Asia/Seoul"), charts.WIDE), "Output <by> hour"))
    assert 'aria-label="Output &lt;by&gt; hour"' in drawn
    assert "style=" not in drawn
    assert "var(--run)" in drawn
    assert ">08:00<" in drawn
    assert ">23:00<" not in drawn
    assert ">00:00<" in str(charts.svg(charts.hourly(detail, ZoneInfo("Europe/Berlin"), charts.WIDE), "x"))


def test_a_line_without_any_data_still_has_its_page() -> None:
    detail = answer("line")
    empty: dict[str, Any] = {name: [] for name in ("timeline", "hours", "stops", "defects", "verdicts", "trends")}
    text = str(Text(render("line.html", whom(), **views.line(detail | empty, whom(), "24h"), tag_of=str)))
    for sentence in ("No stop in this time", "No defect in this time", "No measurements in this time"):
        assert sentence in text


def test_the_total_adds_pieces_and_compares_only_lines_that_have_a_plan() -> None:
    overview = answer("overview")
    overview["lines"][3]["output"] |= {"good": 500, "planned_now": None}
    total = views.hall(overview)["total"]
    assert total["good"] == total["good_of_planned"] + 500


def test_more_states_than_pixels_are_drawn_as_shares_of_each_step_and_none_is_lost() -> None:
    minute = 60_000
    parts = [(at * minute, (at + 1) * minute, "down" if at % 10 == 0 else "production") for at in range(90)]
    parts += [(90 * minute, 150 * minute, "setup")]
    assert charts.columns(parts, 60 * minute) == [
        (0, "production", 0.0, 0.9),
        (0, "down", 0.9, 1.0),
        (60 * minute, "production", 0.0, 0.45),
        (60 * minute, "setup", 0.45, 0.95),
        (60 * minute, "down", 0.95, 1.0),
        (120 * minute, "setup", 0.0, 1.0),
    ]


def test_an_offline_gateways_account_says_of_when_it_is() -> None:
    text = str(Text(hall(answer("overview"))))
    assert "As the gateway said at 12:42:18. What it records since then waits there." in text
    assert "grows on the gateway" in text


def test_a_cards_alarm_sign_is_its_worst_alarms() -> None:
    overview = answer("overview")
    assert views.worst(overview["alarms"]) == {
        ("seoul", "bottling/line-2/filler"): "critical",
        ("seoul", "bottling/line-3/filler"): "warning",
    }
