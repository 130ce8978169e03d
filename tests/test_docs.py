"""The documents say what the software does: every setting with its default, every example loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from edge.commands.rules import main as rules
from edge.config import Gateway, Line, Models, Page, Uplink
from edge.connections import Connection, EventSource, Modbus, OpcUa, Serial
from edge.permits import Acting, WriteEntry
from edge.tags import TagSpec, VirtualSpec
from models.policy import POLICIES
from models.ruleset_file import Head
from models.ruleset_kinds import KINDS
from sync.settings import Log
from tests.servers import ROOT

DOCS = ROOT / "docs"
PAGES = [
    *sorted((DOCS / "drivers").glob("*.md")),
    DOCS / "integrator.md",
    DOCS / "store-and-sync.md",
    DOCS / "acting.md",
    DOCS / "models.md",
]
RULES = [DOCS / "rules.md", DOCS / "spc.md"]
"""Pages whose examples are rulesets, or parts of them."""
TABLES: dict[str, TypeAdapter[Any]] = {
    "gateway": TypeAdapter(Gateway), "page": TypeAdapter(Page), "uplink": TypeAdapter(Uplink), "log": TypeAdapter(Log),
    "connection": TypeAdapter(list[Connection]), "line": TypeAdapter(list[Line]), "tag": TypeAdapter(list[TagSpec]),
    "virtual": TypeAdapter(list[VirtualSpec]), "acting": TypeAdapter(Acting),
    "models": TypeAdapter(Models), "title": TypeAdapter(str),
}  # fmt: skip


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_loads(page):
    for block in blocks(page):
        if block.startswith("safe = "):
            continue  # the cloud's file: tests/cloud/test_documents.py
        for name, table in tomllib.loads(block).items():
            assert name in TABLES, f"{page.name}: no table [{name}] in a site file or a book:\n{block}"
            TABLES[name].validate_python(table)


@pytest.mark.parametrize("page", RULES, ids=lambda page: page.name)
def test_every_ruleset_is_good_and_nothing_in_it_is_suspicious(page, tmp_path, capsys):
    found = [block for block in blocks(page) if not tomllib.loads(block).keys() & {"given", "tags"}]
    assert found
    for block in found:
        whole = block if "[ruleset]" in block else f'[ruleset]\nname = "page"\nversion = "1.0.0"\n{block}'
        (tmp_path / "rules.toml").write_text(whole, "utf-8")
        assert rules(["check", str(tmp_path / "rules.toml"), "--strict"]) == 0, block
    capsys.readouterr()


def test_the_first_ruleset_says_what_the_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = DOCS / "rules.md"
    text = page.read_text("utf-8")
    for name, block in zip(["press.toml", "cases.toml", "window.toml"], blocks(page), strict=False):
        Path(name).write_text(block, "utf-8")
    Path("press.yaml").write_text(re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[0], "utf-8")
    explain = ["explain", "press.toml", "--window", "window.toml"]
    for command in (
        ["check", "press.toml"],
        ["test", "press.toml", "cases.toml"],
        [*explain, "--language", "en"],
        explain,
    ):
        assert rules(command) == 0
        assert capsys.readouterr().out in text, command
    assert rules(["check", "press.yaml"]) == 0
    assert capsys.readouterr().out.replace("press.yaml", "press.toml") in text, "the same document, the same hash"


def test_every_kind_of_check_and_every_policy_is_on_the_page():
    text = (DOCS / "rules.md").read_text("utf-8")
    assert all(f"`[[{kind}]]`" in text for kind in KINDS)
    assert set(re.findall(r"^\| `([a-z_]+)` \| (?:never|always|when r)", text, re.MULTILINE)) == set(POLICIES)


def rows(page: str, heading: str) -> dict[str, str]:
    """Give the settings of the table under a heading: name → what stands in its second column."""
    text = (DOCS / "drivers" / page).read_text("utf-8")
    section = text.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    return dict(re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("page", "heading", "model"),
    [
        ("opcua.md", "## Settings", OpcUa),
        ("opcua.md", "### Events", EventSource),
        ("modbus.md", "## Settings", Modbus),
        ("modbus.md", "### The serial line", Serial),
        ("../acting.md", "## One tag that may be written", WriteEntry),
        ("../rules.md", "### The head of a file", Head),
    ],
)
def test_a_page_has_every_setting_with_its_default(page: str, heading: str, model: type[BaseModel]):
    said = rows(page, heading)
    assert list(said) == list(model.model_fields)
    for name, field in model.model_fields.items():
        if field.is_required():
            assert said[name] == "must be there", name
        elif field.default not in (None, "", []):
            literal = re.fullmatch(r"`(.*)`", said[name])
            assert literal is not None, f"{name}: write its default, {field.default!r}"
            assert tomllib.loads(f"x = {literal[1]}")["x"] == field.default, name
        else:
            assert said[name] != "must be there", name


@pytest.mark.parametrize(
    "page",
    [
        *PAGES,
        *RULES,
        DOCS / "operator.md",
        DOCS / "broker.md",
        DOCS / "reliability.md",
        *(DOCS / f"{name}.md" for name in ("dashboard", "figures", "reports", "corrections", "api")),
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
    ],
    ids=lambda page: page.name,
)
def test_links_between_documents_lead_somewhere(page):
    for target, _, part in re.findall(r"\]\(([^)#]*)(#([^)]+))?\)", page.read_text("utf-8")):
        if "://" not in target:
            found = page.parent / target if target else page
            assert found.exists(), f"{page.name}: {target}"
            if part:
                heads = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
                assert part in {anchor(head) for head in heads}, f"{page.name}: {target}#{part}"


def anchor(head: str) -> str:
    """Give the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")
