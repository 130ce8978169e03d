"""A session answers, or says why not; each row alone, in the same bits whoever asks."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from models.package import Output, read
from models.session import ModelError, NotFiniteError, OutputRangeError, Session, StoppedError
from tests.models.package import specimens
from tests.models.package.specimens import LIBRARY, node, onnx_of
from tests.models.package.test_verification import heavy


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_an_answer_has_outputs_label_decision_and_confidence():
    answer = Session(specimens.logistic(), specimens.contract()).run(row(9.0, 40.0))
    assert answer.label == "worn"
    assert answer.decision == "critical"
    assert answer.confidence == answer.outputs["worn"] == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-6)
    assert np.float32(answer.outputs["worn"]) + np.float32(answer.outputs["sound"]) == pytest.approx(1)


def test_what_is_no_number_is_no_answer():
    model = onnx_of([node("Sub", ["features", "features"], ["z"]), node("Div", ["z", "z"], ["scores"])])
    with pytest.raises(NotFiniteError, match="worn is nan"):
        Session(model, specimens.contract()).run(row(1, 1))


def test_a_number_the_contract_rules_out_is_no_answer():
    model = onnx_of([node("Identity", ["features"], ["scores"])])
    session = Session(model, specimens.contract())
    assert session.run(row(1.00005, 0)).confidence == 1.0
    with pytest.raises(OutputRangeError, match=r"worn is 1\.5"):
        session.run(row(1.5, 0))
    wide = specimens.contract(outputs=(Output(name="worn", high=9.0), Output(name="sound")))
    assert Session(model, wide).run(row(1.5, 0)).label == "worn"


def test_a_row_of_another_shape_or_type_is_the_callers_mistake():
    session = Session(specimens.logistic(), specimens.contract())
    for wrong in (np.zeros((1, 3), np.float32), np.zeros((2, 2), np.float32), np.zeros((1, 2))):
        with pytest.raises(ValueError, match="takes float32"):
            session.run(wrong)


def test_what_cannot_be_loaded_says_so():
    with pytest.raises(ModelError, match="cannot load"):
        Session(b"no model", specimens.contract())


def test_a_run_is_stopped_from_another_thread_and_the_next_one_answers():
    session = Session(heavy(1_000), specimens.contract())
    began = time.monotonic()
    told: list[BaseException] = []

    def ask() -> None:
        try:
            session.raw(row(1, 1))
        except StoppedError as error:
            told.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not told and time.monotonic() - began < 30:
        session.stop()
        time.sleep(0.02)
    thread.join()
    assert len(told) == 1
    quick = Session(specimens.logistic(), specimens.contract())
    quick.stop()  # nothing runs: nothing happens
    assert quick.run(row(9, 40)).label == "worn"


@pytest.mark.parametrize("name", ["bearing_wear", "fill_quality", "filler_anomaly"])
def test_many_rows_have_the_bits_of_each_alone(name):
    package = read(LIBRARY / name / f"{name}.tfm", trusted=None)
    session = Session(package.model, package.contract)
    rows = np.array([[np.nan if v is None else v for v in one.inputs] for one in package.golden.rows], np.float32)
    together = session.run_each(rows)
    again = Session(package.model, package.contract).run_each(rows[::-1])[::-1]
    assert together.tobytes() == again.tobytes()
    for i, one in enumerate(rows):
        assert [np.float32(v) for v in session.run(one[None]).outputs.values()] == together[i].tolist()


def test_contributions_say_what_the_answer_hangs_on():
    session = Session(specimens.logistic(), specimens.contract())
    effects = session.contributions(row(9.0, 40.0), {"vibration": 3.0, "temperature": 50.0})
    assert effects["vibration"] == pytest.approx(0.9933 - 0.2689, abs=1e-3)
    assert effects["temperature"] == 0
    assert session.contributions(row(9.0, 40.0), {}) == {}
