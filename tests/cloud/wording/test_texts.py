from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloud.bi.spc import RULE_SETS
from cloud.bi.today import CARDS
from cloud.dashboard.periods import DAYS
from cloud.dashboard.render import HERE, LIVE_WORDS
from cloud.dashboard.views import PERIODS
from cloud.wording.texts import LANGUAGES, TEXTS, Words, choose

PLACES = re.compile(r"\{(\w+)\}")
LOOKED_UP = {"state", "reason", "element", "decision", "severity", "check", "component", "loss", "stream", "oee_reason"}
LOOKED_UP |= {"defect", "tag", "unece", "unit", "hour_state"}
LOOKED_UP |= {"input", "cause", "feedback_type", "feedback_reason", "order_state", "acts_tab", "action_type"}
LOOKED_UP |= {"action_state", "risk", "characteristic", "rule", "part", "tone", "loss_step"}
LOOKED_UP |= {f"ask_{name}" for name in ("kind", "says", "period", "grain", "against", "order", "change", "unit")}
LOOKED_UP |= {"ask_group", "ask_level", "ask_gallery"}
LOOKED_UP |= {"mart", "mart_status", "mart_kind", "letter_state", "letter_severity", "job_kind", "job_state"}
LOOKED_UP |= {"alert_kind", "watch_state", "watch_period", "watch_against", "watch_side", "figure_reason", "level"}
LOOKED_UP |= {"report_kind", "due_state", "outgoing_state", "sum"}
"""Sections whose keys are codes of the data; everything else is named in a template or a module."""

SAID_BY_CODE = {f"gateway.{state}" for state in ("connected", "connecting", "offline", "never", "lost", "down")}
SAID_BY_CODE |= {f"line.range_{period}" for period in PERIODS}
SAID_BY_CODE |= {f"quality.rules_{code}" for code in RULE_SETS} | {
    f"quality.kind_{kind}" for kind in ("xbar", "individuals")
}
SAID_BY_CODE |= {f"quality.spread_{kind}" for kind in ("xbar", "individuals")} | {f"period.{code}" for code in DAYS}
SAID_BY_CODE |= {f"card.{card.id}" for card in CARDS}
SAID_BY_CODE |= {f"alerts.{side}" for side in ("below", "above")} | {
    f"watch.rule_{side}" for side in ("below", "above")
}
SAID_BY_CODE |= {f"alerts.mail_{why}" for why in ("new", "again", "over", "unseen")} | {
    "alert.kpi",
    "alert.kpi_no_data",
}
SAID_BY_CODE |= {"line.availability", "line.effectiveness", "line.quality_ratio"}


def sources() -> str:
    elsewhere = [
        path for name in ("alerting", "drawing", "reports", "wording") for path in (HERE.parent / name).glob("*.py")
    ]
    files = [*(HERE / "pages").iterdir(), *HERE.glob("*.py"), *elsewhere]
    return "\n".join(path.read_text() for path in files)


def test_every_text_is_there_in_both_languages_with_the_same_places() -> None:
    for key, entry in TEXTS.items():
        assert set(entry) == set(LANGUAGES), key
        assert set(PLACES.findall(entry["ko"])) == set(PLACES.findall(entry["en"])), key


def test_every_text_a_page_asks_for_exists() -> None:
    asked = set(re.findall(r"""\b(?:t|words)\(\s*['"]([a-z_]+\.\w+)['"]\s*[,)]""", sources()))
    assert len(asked) > 80
    assert asked <= set(TEXTS)


def test_no_text_is_left_over_that_no_page_says() -> None:
    text = sources()
    left = [
        key
        for key in TEXTS
        if key.split(".")[0] not in LOOKED_UP
        and f"'{key}'" not in text
        and f'"{key}"' not in text
        and key not in LIVE_WORDS
        and key not in SAID_BY_CODE
    ]
    assert left == []


def test_scripts_ask_only_for_words_the_page_carries() -> None:
    said = set()
    for script in Path(HERE / "static").glob("*.js"):
        said |= set(re.findall(r"""say\("([a-z_]+\.\w+)\"""", script.read_text()))
    assert said
    assert said <= set(LIVE_WORDS)


def test_a_code_without_a_word_is_shown_as_it_came() -> None:
    words = Words("ko")
    assert words.label("reason", "changeover") == "품종 교체"
    assert words.label("reason", "pallet_stuck") == "pallet stuck"
    assert words.label("reason", None) == ""


def test_a_summary_without_our_language_is_shown_in_the_one_it_has() -> None:
    assert Words("ko").of({"en": "too hot"}) == "too hot"
    assert Words("en").of({"ko": "과열", "en": "too hot"}) == "too hot"
    assert Words("en").of({}) == ""


@pytest.mark.parametrize(
    ("asked", "cookie", "accept", "language"),
    [
        ("en", "ko", "ko-KR", "en"),
        (None, "en", "ko-KR", "en"),
        (None, None, "en-US,en;q=0.9,ko;q=0.8", "en"),
        (None, None, "fr-FR,ko;q=0.5,en;q=0.4", "ko"),
        (None, None, "en;q=0,fr", "ko"),
        (None, None, "en;q=high", "ko"),
        ("de", "nl", "fr", "ko"),
        (None, None, None, "ko"),
    ],
)
def test_the_language_is_the_one_asked_for_then_the_one_kept_then_the_browsers_then_korean(
    asked: str | None, cookie: str | None, accept: str | None, language: str
) -> None:
    assert choose(asked, cookie, accept) == language
