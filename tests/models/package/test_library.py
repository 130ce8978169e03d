"""What we ship may run, fits the demo's fillers, is small, and can be built again from the same windows."""

from __future__ import annotations

import numpy as np
import pytest

from demo.plant_tags import book
from demo.training_data import record
from models.features import Features
from models.library.building import (
    BuildError,
    Windows,
    balanced_accuracy,
    border_rows,
    interval,
    parity,
    round_thresholds,
    tabled,
)
from models.package import read
from models.package.verification import verify
from models.session import Session
from tests.models.package.specimens import LIBRARY

NAMES = ("bearing_wear", "fill_quality", "filler_anomaly")
TRUSTED = (LIBRARY / "trusted.pub").read_text(encoding="ascii").split()


@pytest.fixture(scope="module")
def windows() -> Windows:
    return Windows(record(3, 0.5, 77))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_package_may_run_on_the_demos_fillers(name):
    path = LIBRARY / name / f"{name}.tfm"
    assert path.stat().st_size < 300_000
    verified = verify(path, trusted=TRUSTED)
    assert verified.contract.name == name
    assert verified.findings.rows >= 30
    for filler in ("filler_opcua", "filler_modbus"):
        units = {tag.name: tag.unit for tag in book(filler).tags}
        assert Features(verified.contract).unfit(units) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_its_figures_are_in_both_languages(name):
    package = read(LIBRARY / name / f"{name}.tfm", trusted=None)
    for language, word in (("en", "Simulated"), ("ko", "시뮬레이션")):
        card = package.card(language)
        assert word in card
        assert "$" not in card
        for figure in package.contract.training.metrics.values():
            assert f"{figure:.3f}" in card


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_says_of_unseen_windows_what_its_card_promises(name, windows):
    """Another seed than any of training: most windows are judged, and sound ones are called so."""
    package = read(LIBRARY / name / f"{name}.tfm", trusted=None)
    table = tabled(package.contract, windows)
    session = Session(package.model, package.contract)
    answers = [session.run(row[None]) for row in table.rows]
    assert table.refused < 0.02
    wear, excursion = table.truth["wear"], table.truth["excursion"].astype(str)
    settled = (table.truth["running_s"] > 120) & (excursion == "") & (table.truth["fault"].astype(str) == "")
    said = np.array([answer.decision for answer in answers])
    if name == "bearing_wear":
        truth = np.where(wear >= 0.8, "critical", np.where(wear >= 0.55, "warning", "normal"))
        clear = (np.abs(wear - 0.55) > 0.05) & (np.abs(wear - 0.8) > 0.05) & settled
        assert balanced_accuracy(truth[clear], said[clear]) > 0.95
    else:
        assert np.mean(said[settled & (wear < 0.5)] == "normal") > 0.98


def test_the_recorder_repeats_itself(windows):
    again = Windows(record(3, 0.5, 77))
    assert again.sha256 == windows.sha256
    assert Windows(record(3, 0.5, 78)).sha256 != windows.sha256


def test_thresholds_are_rounded_so_that_no_float32_input_is_told_otherwise(windows):
    from sklearn.ensemble import RandomForestClassifier

    table = tabled(read(LIBRARY / "bearing_wear" / "bearing_wear.tfm", trusted=None).contract, windows)
    forest = RandomForestClassifier(5, max_depth=4, random_state=1).fit(table.rows, table.truth["wear"] > 0.3)
    rows = np.concatenate([table.rows, border_rows(forest.estimators_, table.rows, 1)])
    before = forest.predict_proba(rows)
    round_thresholds(forest.estimators_)
    assert (forest.predict_proba(rows) == before).all()


def test_a_model_that_is_not_the_trained_one_is_never_packed(windows):
    """Parity is a gate: a shift of 0.00002, or one row of thousands with another label, and nothing is written."""
    package = read(LIBRARY / "bearing_wear" / "bearing_wear.tfm", trusted=None)
    session = Session(package.model, package.contract)
    rows = tabled(package.contract, windows).rows
    found = session.run_each(rows).astype(np.float64)
    assert parity(session, lambda asked: found, rows) < 1e-7
    with pytest.raises(BuildError, match="off by"):
        parity(session, lambda asked: found + 2e-5, rows)
    other = found.copy()
    other[7] = [0.0, 0.0, 1.0] if found[7, 2] < 0.5 else [1.0, 0.0, 0.0]
    with pytest.raises(BuildError, match="1 of"):
        parity(session, lambda asked: other, rows)


def test_an_interval_holds_its_figure():
    runs = np.repeat(np.arange(12), 50)
    hits = np.random.default_rng(1).random(600) < 0.8
    found = interval(lambda at: float(np.mean(hits[at])), runs, 1)
    assert found.low < found.value < found.high
    assert 0.02 < found.high - found.low < 0.15
