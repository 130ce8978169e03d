"""One definition of features: what a window gives, what flat inputs give, and what is never asked of a model."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.expression_interpreter import Cause
from models.features import FeatureError, Features
from models.package import Feature, Input
from tests.models.package import specimens
from tests.models.windows import S, tag, window


def vibration(value: float | None = 3.0, **changes):
    return tag("vibration", value, unit="C16", **changes)


def oil(value: float | None = 55.0, **changes):
    return tag("oil", value, unit="CEL", **changes)


@pytest.fixture
def features() -> Features:
    return Features(specimens.contract())


def test_a_window_gives_a_row_and_its_numbers(features):
    vector = features.vector(window(vibration(3.1), oil(55.0)))
    assert vector.failure is None
    assert vector.row.dtype == np.float32
    assert vector.row.tolist() == [[float(np.float32(3.1)), 55.0]]
    assert vector.named == {"vibration": 3.1, "temperature": 55.0}


def test_a_missing_value_is_replaced_only_as_the_contract_says(features):
    vector = features.vector(window(vibration(3.0)))
    assert vector.failure is None
    assert vector.named == {"vibration": 3.0, "temperature": None}
    assert vector.row.tolist() == [[3.0, 40.0]]
    assert vector.missing == {"temperature": "oil.mean missing"}


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ([oil()], "vibration.mean missing"),
        ([vibration(count=0, age_ns=31 * S), oil()], "vibration.mean stale"),
        ([vibration(count=0, status=0x8000_0000), oil()], "vibration.mean bad"),
        ([vibration(float("nan")), oil()], "vibration.mean not_finite"),
    ],
)
def test_without_a_needed_input_the_model_is_not_asked(features, tags, why):
    vector = features.vector(window(*tags))
    assert vector.failure == f"missing_input: vibration ({why})"
    assert vector.named["temperature"] == 55.0


def test_a_tag_in_another_unit_is_refused(features):
    vector = features.vector(window(tag("vibration", 3.0, unit="MTS"), oil()))
    assert vector.failure == "wrong_unit: vibration is in MTS, not C16"


def test_what_a_line_lacks_is_said_before_it_runs(features):
    assert features.unfit({"vibration": "C16", "oil": "CEL", "other": None}) == []
    missing, wrong = features.unfit({"vibration": "MTS"})
    assert "'vibration' is in MTS" in missing
    assert "no tag 'oil'" in wrong


@pytest.mark.parametrize(("seconds", "fits"), [(4, False), (5, True), (20, True), (21, False)])
def test_a_window_of_another_length_is_not_judged(features, seconds, fits):
    vector = features.vector(window(vibration(), oil(), seconds=seconds))
    assert (vector.failure is None) == fits
    assert fits or (vector.failure or "").startswith("not_applicable: a window of")


def test_only_windows_the_model_knows_are_asked_about():
    features = Features(specimens.contract(only_when='context.product == "COLA-500" && oil > 50.0'))
    assert features.vector(window(vibration(), oil(55.0))).failure is None
    other = features.vector(window(vibration(), oil(45.0)))
    assert (other.failure or "").startswith("not_applicable: only when")
    unknown = features.vector(window(vibration()))
    assert "oil missing" in (unknown.failure or "")


@pytest.mark.parametrize(
    ("value", "failure", "outside"),
    [
        (20.0, False, False),
        (20.5, False, True),
        (22.0, False, True),
        (22.01, True, True),
        (-2.0, False, True),
        (-2.5, True, True),
        (1e300, True, True),
    ],
)
def test_a_value_beyond_the_tolerance_is_refused(features, value, failure, outside):
    vector = features.vector(window(vibration(value), oil()))
    assert ((vector.failure or "").startswith("out_of_range: vibration is")) == failure
    assert vector.outside == (("vibration",) if outside else ())
    assert vector.clipped == ()
    assert np.isfinite(vector.row).all()


def test_a_clipped_value_is_named():
    feature = msgspec.structs.replace(specimens.FEATURES[0], beyond="clip")
    features = Features(specimens.contract(features=(feature, specimens.FEATURES[1])))
    vector = features.vector(window(vibration(50.0), oil()))
    assert vector.failure is None
    assert vector.row[0, 0] == 20
    assert vector.named["vibration"] == 50.0
    assert vector.clipped == vector.outside == ("vibration",)


def test_arithmetic_that_has_no_value_is_a_missing_input():
    share = Feature(name="share", expression="100.0 * counts.scrap / counts.produced", unit="P1", low=0, high=100)
    features = Features(specimens.contract(features=(share, specimens.FEATURES[1])))
    good = features.vector(window(oil(), counts={"scrap": 1, "produced": 8}))
    assert good.row[0, 0] == 12.5
    bad = features.vector(window(oil(), counts={"scrap": 0, "produced": 0}))
    assert "zero_division" in (bad.failure or "")


finite = st.floats(-1e4, 1e4) | st.floats(0, 20) | st.none()


@given(finite, finite)
def test_recorded_features_make_the_very_same_row(first, second):
    """What a verdict records (`named`) is enough to ask the model again: bit for bit, clipping and imputation included."""
    clip = tuple(msgspec.structs.replace(one, beyond="clip", nullable=True) for one in specimens.FEATURES)
    features = Features(specimens.contract(features=clip))
    vector = features.of({"vibration.mean": first, "oil.mean": second})
    recorded = msgspec.json.decode(msgspec.json.encode(vector.named))
    assert features.row(recorded).tobytes() == vector.row.tobytes()
    for name, value in vector.named.items():
        assert value is None or float(np.float32(value)) == float(np.float32(float(str(np.float32(value))))), name


@given(st.floats(0, 20), st.none() | st.floats(-10, 120))
def test_window_flat_inputs_and_table_are_one(value, other):
    features = Features(specimens.contract())
    by_window = features.vector(window(vibration(value), oil(other) if other is not None else vibration(value)))
    by_inputs = features.of({"vibration.mean": value, "oil.mean": other})
    missing = math.nan if other is None else other
    (by_table,) = features.table({"vibration.mean": [value], "oil.mean": [missing]}, 1)
    assert by_window.row.tobytes() == by_inputs.row.tobytes() == by_table.row.tobytes()
    assert by_window.named == by_inputs.named == by_table.named


def test_flat_inputs_may_say_themselves_what_is_wrong(features):
    vector = features.of({"vibration.mean": Cause("vibration.mean", "stale"), "oil.mean": 50.0})
    assert vector.failure == "missing_input: vibration (vibration.mean stale)"


@pytest.mark.parametrize(
    ("expression", "told"),
    [("vibration.men", "nearest is vibration.mean"), ("oil.mean", "CEL"), ("state", "string"), ("pump", "pump")],
)
def test_a_wrong_expression_is_named_with_its_feature(expression, told):
    feature = Feature(name="first", expression=expression, unit="C16", low=0, high=1)
    with pytest.raises(FeatureError, match="first") as caught:
        Features(specimens.contract(features=(feature,)))
    assert told in str(caught.value)


def test_a_tag_the_contract_does_not_list_is_refused_though_the_line_has_it():
    contract = specimens.contract(inputs=(Input(tag="vibration", unit="C16"),))
    with pytest.raises(FeatureError, match="inputs do not list"):
        Features(contract, specimens.contract().environment())
