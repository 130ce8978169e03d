"""What judged is kept before its verdicts, comes back as it was, and goes only when nothing names it."""

from __future__ import annotations

import os

import pytest

from edge import bundles
from edge.bundles import BundleError, Bundles, line_names
from edge.judgment.archive import PART_BYTES, ArchiveError, activated, kept
from edge.judgment.names import LineNames
from edge.tags import Tag, TagSpec
from models.expression import window_environment
from models.rulesets import load
from models.virtual import VirtualTag, compile_virtual

LINE = "hall/line-1/press"
NAMES = LineNames(
    work_unit=LINE, tags={"oil": "float32"}, counters=["produced"], units={"oil": "CEL"}, required=["oil"]
)
RULES = '[ruleset]\nname = "r"\nversion = "1.0.0"\n[[limit]]\nname = "oil"\nvalue = "oil.mean"\nwarning_high = {high}\n'


def rules(high: float = 70, names: LineNames = NAMES):
    return load(RULES.format(high=high), names.environment())


def test_a_ruleset_comes_back_as_it_judged(tmp_path):
    archive = Bundles(tmp_path)
    ruleset = rules()
    archive.keep(ruleset, NAMES, 1)
    again, names = Bundles(tmp_path).ruleset(ruleset.hash, LINE)
    assert (again.hash, again.checks, names) == (ruleset.hash, ruleset.checks, NAMES)
    assert again.program.variables == ruleset.program.variables


def test_spaces_and_comments_make_no_other_bundle(tmp_path):
    archive = Bundles(tmp_path)
    archive.keep(rules(), NAMES, 1)
    archive.keep(load("# why\n" + RULES.format(high="70 ").replace("=", "  ="), NAMES.environment()), NAMES, 2)
    assert len(list(archive.folder.iterdir())) == 1


def test_keeping_twice_writes_once_and_tells_the_cloud_each_time(tmp_path):
    archive = Bundles(tmp_path)
    (first,), (second,) = archive.keep(rules(), NAMES, 1), archive.keep(rules(), NAMES, 2)
    assert (first.content, first.ruleset_hash, first.work_unit) == (second.content, second.ruleset_hash, LINE)
    told = kept([first])
    assert told.names == NAMES
    assert told.ruleset(first.ruleset_hash).hash == rules().hash


def test_a_ruleset_too_large_for_one_fact_comes_in_parts():
    noise = os.urandom(PART_BYTES).hex()
    big = LineNames(work_unit=LINE, tags={"oil": "float32"}, units={"oil": noise})
    facts = activated(rules(), big, 1)
    assert len(facts) > 1
    assert kept(facts[::-1]).names == big
    with pytest.raises(ArchiveError, match="parts"):
        kept(facts[1:])


def test_damaged_content_is_refused():
    (fact,) = activated(rules(), NAMES, 1)
    for content in ("!", "AAAA", fact.content[:-8] + "AAAAAAAA"):
        with pytest.raises(ArchiveError):
            kept([type(fact)(**{name: getattr(fact, name) for name in fact.__struct_fields__} | {"content": content})])


def test_what_is_not_kept_or_was_changed_is_said(tmp_path):
    archive = Bundles(tmp_path)
    ruleset = rules()
    with pytest.raises(BundleError, match=f"{ruleset.hash[:16]}"):
        archive.ruleset(ruleset.hash, LINE)
    archive.keep(ruleset, NAMES, 1)
    with pytest.raises(BundleError, match="never judged elsewhere"):
        archive.ruleset(ruleset.hash, "elsewhere")
    document = archive.folder / ruleset.hash / "rules.json"
    document.write_text(document.read_text().replace("70", "71"))
    with pytest.raises(BundleError, match="was changed"):
        archive.ruleset(ruleset.hash, LINE)


def test_of_a_tag_that_changed_its_type_the_one_that_fits_the_record_is_taken(tmp_path):
    archive = Bundles(tmp_path)
    text = '[ruleset]\nname = "r"\nversion = "1.0.0"\n[[rule]]\nname = "a"\nwhen = "x == x"\nseverity = "warning"\n'
    number, word = (LineNames(work_unit=LINE, tags={"x": kind}) for kind in ("float32", "string"))
    for names in (word, number):
        archive.keep(load(text, names.environment()), names, 1)
    digest = load(text, number.environment()).hash
    assert archive.ruleset(digest, LINE, {"x": "A"})[1] == word
    assert archive.ruleset(digest, LINE, {"x": 1.0})[1] == number
    assert archive.names(LINE) == number, "the newest is what a new ruleset may name"


def test_a_model_package_is_kept_once_and_checked(tmp_path):
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # of b"test"
    assert bundles.keep(tmp_path, digest, b"test") == bundles.path(tmp_path, digest)
    assert bundles.keep(tmp_path, digest, b"never read").read_bytes() == b"test"
    assert Bundles(tmp_path).model(digest) == bundles.path(tmp_path, digest)
    assert Bundles(tmp_path).model("0" * 64) is None
    with pytest.raises(BundleError, match="not the one it is named"):
        bundles.keep(tmp_path, "1" * 64, b"test")
    bundles.path(tmp_path, digest).write_bytes(b"tests")
    with pytest.raises(BundleError, match="changed or damaged"):
        Bundles(tmp_path).model(digest)


def test_what_a_verdict_names_is_never_let_go(tmp_path):
    archive = Bundles(tmp_path)
    made = [rules(high) for high in range(50, 60)]
    for number, ruleset in enumerate(made):
        archive.keep(ruleset, NAMES, number)
        for file in (archive.folder / ruleset.hash, *(archive.folder / ruleset.hash).iterdir()):
            os.utime(file, (number, number))
    named = {made[0].hash, made[1].hash}
    trimmed = archive.trim(named, spare=3)
    assert (trimmed.kept, trimmed.named, trimmed.gone) == (5, 2, 5)
    assert {entry.name for entry in archive.folder.iterdir()} == named | {one.hash for one in made[-3:]}


def test_the_names_of_a_line_give_the_environment_its_rules_were_compiled_in():
    specs = [
        TagSpec(name="oil", address="o", unit="CEL", low=0, high=150, required=True),
        TagSpec(name="made", address="m", role="counter", counter="produced"),
        TagSpec(name="sku", address="s", type="string"),
    ]
    tags = [Tag(index=i, work_unit=LINE, connection="x", address=s.address, spec=s) for i, s in enumerate(specs)]
    types, units = {s.name: s.type for s in specs}, {s.name: s.unit for s in specs}
    virtual = compile_virtual([VirtualTag(name="twice", value="2.0 * oil.mean", required=True)], types, ["produced", "good", "scrap"], units)  # fmt: skip
    names = line_names(LINE, tags, virtual)
    assert names.environment() == virtual.environment
    assert names.required == ["oil", "twice"]
    assert names.ranges == {"oil": (0, 150)}
    assert line_names(LINE, tags).environment() == window_environment(types, names.counters, units)
