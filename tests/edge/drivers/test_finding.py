"""Findings are said in both languages, completely, and every sentence is used."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from edge.drivers.finding import LANGUAGES, TEXTS, fault, ok, size, span, texts, warning, worst

EDGE = Path(__file__).parent.parent.parent.parent / "edge"
FILES = "|".join(sorted(path.stem for path in TEXTS.glob("*.toml")))
SOURCE = "\n".join(path.read_text("utf-8") for path in sorted(EDGE.rglob("*.py")))
STORE_COMMANDS = ("backup", "restore", "salvage", "stores", "verify")
ACTIONS = re.compile(r'\baction="[a-z0-9_.]+"')
"""What audit records are called is said in no language."""
FILE_NAMES = {"rules.json"}
NAMED = {f"{file}.{name}" for file, name in re.findall(rf'["\']({FILES})\.([a-z0-9_]+)["\']', ACTIONS.sub("", SOURCE))}
NAMED -= FILE_NAMES
STORES = "\n".join((EDGE / "commands" / f"{name}.py").read_text("utf-8") for name in STORE_COMMANDS)
NAMED |= {f"store.{name}" for name in re.findall(r'\.(?:say|complain)\(\s*"([a-z0-9_]+)"', STORES)}
for file in ("rules", "replay"):  # their commands name sentences by the bare word
    spoken = "\n".join(path.read_text("utf-8") for path in (EDGE / "commands").glob(f"{file}*.py"))
    NAMED |= {f"{file}.{word}" for word in re.findall(r"[\"']([a-z_]+)[\"']", spoken)} & set(texts())
MADE = re.compile(
    r"report\.(check_.+|sum_.+|ok|warning|fault)|modbus\.exception_\d+|opcua\.(own|trusted)_(soon|expired)|plan\.(part_.+|added|removed|changed)|rules\.(second|hour|worst)"
)
"""Keys that are put together from a word of the finding."""


def words(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_key_that_is_named_has_its_sentence():
    assert NAMED - set(texts()) == set()


def test_every_sentence_is_said_by_somebody():
    assert {key for key in texts() if key not in NAMED and not MADE.fullmatch(key)} == set()


@pytest.mark.parametrize("key", sorted(texts()))
def test_a_sentence_says_the_same_in_both_languages(key):
    entry = texts()[key]
    assert set(entry) - {"do"} == set(LANGUAGES)
    assert words(entry["ko"]) == words(entry["en"])
    if "do" in entry:
        assert set(entry["do"]) == set(LANGUAGES)
        assert words(entry["do"]["ko"]) == words(entry["do"]["en"])
        assert entry["do"]["en"][0].isupper()
        assert entry["do"]["en"][-1] == "."
        assert re.search("[가-힣]", entry["do"]["ko"])


def test_what_is_doubtful_comes_with_what_to_do():
    for call, key in re.findall(rf'\b(warning|fault)\(\s*"[a-z]+", "((?:{FILES})\.[a-z0-9_]+)"', SOURCE):
        assert "do" in texts()[key], f"{call} {key}"


def test_lists_spans_and_bytes_are_written_as_people_do():
    assert span(0.0004, "en") == "< 1 ms"
    assert span(0.0312, "en") == "31 ms"
    assert span(2.5, "ko") == "2.5초"
    assert span(150, "en") == "2 min"
    assert span(90 * 86_400, "ko") == "90일"
    assert [size(number) for number in (12, 2048, 3 << 20, 5 << 30)] == ["12 B", "2 KB", "3 MB", "5.0 GB"]
    found = ok("name", "reach.found", host="plc", addresses=["10.0.0.7", "10.0.0.8"])
    assert found.what("en") == "plc is 10.0.0.7, 10.0.0.8"
    assert found.advice("en") == ""


def test_the_worst_finding_decides():
    good, doubtful = ok("port", "reach.open"), warning("tags", "tag.none")
    assert worst([]) == worst([good]) == "ok"
    assert worst([good, doubtful]) == "warning"
    assert worst([doubtful, fault("port", "reach.refused"), good]) == "fault"
