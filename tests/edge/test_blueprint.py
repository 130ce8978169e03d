"""What a gateway was started with is kept whole, by content, and read back the same."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import zstandard

from edge.blueprint import Blueprint, BlueprintError, decode
from edge.site import load
from tests.edge.test_site import BOOK, RULES, SITE

MORE = """fill = { at = 20 }
[[connection]]
name = "erp"
driver = "sql"
url = "sqlite:///erp.db"
password = { credential = "gw-1.key" }
[[connection.query]]
gives = "products"
sql = "SELECT 1"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "gw-1.key").write_text("ab" * 32)
    (tmp_path / "site.toml").write_text(SITE + MORE)
    (tmp_path / "press.toml").write_text(BOOK + '[[tag]]\nname = "zones"\naddress = "holding:40"\ncount = 3\n')
    (tmp_path / "press.rules.toml").write_text(RULES)
    return tmp_path


def test_it_comes_back_as_it_was_and_without_a_secret(folder):
    site = load(folder / "site.toml")
    blueprint = Blueprint.of(site, at=7, software="triflow 1")
    again = decode(blueprint.encode())
    assert again == blueprint
    assert again.digest == blueprint.digest
    assert [tag.id for tag in again.tags][-1] == "area/line-1/press/zones_2"
    assert again.rules["area/line-1/press"] == RULES
    assert b"abab" not in zstandard.decompress(blueprint.encode())


def test_the_digest_is_of_the_content_alone(folder):
    first = Blueprint.of(load(folder / "site.toml"), at=1, software="a").digest
    text = (folder / "site.toml").read_text()
    (folder / "site.toml").write_text("# a comment\n" + text)
    assert Blueprint.of(load(folder / "site.toml"), at=2, software="b").digest == first
    (folder / "press.toml").write_text((folder / "press.toml").read_text().replace("holding:10", "holding:12"))
    assert Blueprint.of(load(folder / "site.toml")).digest != first


def test_what_another_version_wrote_is_refused_in_a_sentence(folder):
    good = msgspec.json.decode(zstandard.decompress(Blueprint.of(load(folder / "site.toml")).encode()))
    for spoilt in (
        b"no zstandard",
        zstandard.compress(b"{"),
        zstandard.compress(json.dumps(good | {"form": 2}).encode()),
        zstandard.compress(json.dumps(good | {"file": good["file"] | {"novelty": 1}}).encode()),
        zstandard.compress(json.dumps(good | {"tags": [{"name": "x"}]}).encode()),
    ):
        with pytest.raises(BlueprintError):
            decode(spoilt)
