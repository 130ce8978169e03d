"""Builds `filler_anomaly.tfm`: is this window like any of sound production? Nobody has to say what may go wrong.

Principal components of standardised features; T² (far out along what varies) and SPE (off the plane of what goes
together), each against the value that one sound window in a thousand exceeds. Jackson and Mudholkar's two charts, as
in Montgomery, Introduction to Statistical Quality Control, chapter 11; the limits here are empirical quantiles, since
start-ups make the data far from normal. Matrix products only: microseconds, where an isolation forest takes thousands.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.decomposition import PCA

from models.library import building, trees
from models.package.contract import Contract, Feature, Input, Label, Output, Training
from models.session import Session

SEED: Final = 20_260_119
EXPLAINED: Final = 0.9
"""Components are kept until they explain so much of the variance."""
QUANTILE: Final = 0.999
MOST_RATIO: Final = 1_000.0
WORN: Final = 0.55
"""Sound production ends where wear begins to be planned for (`bearing_wear`)."""
SETTLED_S: Final = 60.0
NOMINAL: Final = '(context.product == "juice-350" ? 350.0 : 500.0)'

FEATURES: Final = (
    Feature(
        name="pressure",
        expression="fill_pressure.mean",
        unit="BAR",
        low=0.2,
        high=10.0,
        title={"ko": "충전 압력", "en": "Filling pressure"},
    ),
    Feature(
        name="pressure_spread",
        expression="fill_pressure.stddev",
        unit="BAR",
        low=0.0,
        high=4.0,
        title={"ko": "충전 압력 편차", "en": "Spread of filling pressure"},
    ),
    Feature(
        name="weight_error",
        expression=f"fill_weight.mean - {NOMINAL}",
        unit="GRM",
        low=-550.0,
        high=1_200.0,
        title={"ko": "중량 오차", "en": "Error of weight"},
    ),
    Feature(
        name="cap_torque",
        expression="cap_torque.mean",
        unit="NU",
        low=-0.5,
        high=6.0,
        title={"ko": "캡 토크", "en": "Cap torque"},
    ),
    Feature(
        name="vibration",
        expression="vibration.mean",
        unit="C16",
        low=0.0,
        high=22.0,
        title={"ko": "진동", "en": "Vibration"},
    ),
    Feature(
        name="vibration_spread",
        expression="vibration.stddev",
        unit="C16",
        low=0.0,
        high=8.0,
        title={"ko": "진동 편차", "en": "Spread of vibration"},
    ),
    Feature(
        name="bearing_temperature",
        expression="bearing_temperature.mean",
        unit="CEL",
        low=0.0,
        high=210.0,
        title={"ko": "베어링 온도", "en": "Bearing temperature"},
    ),
    Feature(
        name="product_temperature",
        expression="product_temperature.mean",
        unit="CEL",
        low=-5.0,
        high=60.0,
        title={"ko": "제품 온도", "en": "Product temperature"},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """The fitted model, float64; what ONNX computes in float32."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    axes: NDArray[np.float64]
    """(features, components)."""
    variance: NDArray[np.float64]
    t2_limit: float = 1.0
    spe_limit: float = 1.0

    def ratios(self, rows: building.Rows) -> NDArray[np.float64]:
        """Give T² and SPE against their limits, (n, 2)."""
        z = (rows.astype(np.float64) - self.mean) / self.sd
        scores = z @ self.axes
        t2 = np.sum(scores * scores / self.variance, axis=1) / self.t2_limit
        off = z - scores @ self.axes.T
        return np.column_stack([t2, np.sum(off * off, axis=1) / self.spe_limit])

    def outputs(self, rows: building.Rows) -> building.Outputs:
        """Give anomaly, usual, t2, spe, as the package does."""
        ratios = np.minimum(self.ratios(rows), MOST_RATIO)
        anomaly = 1 - np.exp(-np.log(2.0) * ratios.max(axis=1))
        return np.column_stack([anomaly, 1 - anomaly, ratios])


def contract(training: Training, opset: dict[str, int]) -> Contract:
    """Give the contract; thresholds are those of the card."""
    return Contract(
        name="filler_anomaly",
        version="1.0.0",
        title={"ko": "충전기 이상 감지", "en": "Filler anomaly"},
        work="anomaly",
        inputs=(
            Input(tag="fill_pressure", unit="BAR"),
            Input(tag="fill_weight", unit="GRM"),
            Input(tag="cap_torque", unit="NU"),
            Input(tag="vibration", unit="C16"),
            Input(tag="bearing_temperature", unit="CEL"),
            Input(tag="product_temperature", unit="CEL"),
        ),
        features=FEATURES,
        outputs=(
            Output(name="anomaly", meaning="1 - 2^-(the larger of t2 and spe): 0.5 at the limit"),
            Output(name="usual", meaning="1 - anomaly"),
            Output(name="t2", high=MOST_RATIO, meaning="Hotelling's T² against its limit: unusual size"),
            Output(name="spe", high=MOST_RATIO, meaning="squared prediction error against its limit: unusual together"),
        ),
        labels=(
            # An anomaly is a question, not an answer: it never stops a line, so it is never critical.
            Label(
                name="unusual",
                decision="warning",
                output="anomaly",
                at_least=0.5,
                title={"ko": "평소와 다름", "en": "unusual"},
            ),
            Label(name="usual", decision="normal", output="usual", title={"ko": "평소와 같음", "en": "as usual"}),
        ),
        window_s=(2.0, 20.0),
        only_when='state == "EXECUTE"',
        opset=opset,
        score_meaning="0.5 where one sound window in a thousand lies beyond; a distance, not a probability",
        deadline_ms=20.0,
        training=training,
        licence="Apache-2.0",
    )


def exported(plane: Plane) -> bytes:
    """Give the plane as an ONNX file."""
    held = {
        "mean": plane.mean.reshape(1, -1),
        "per_sd": 1 / plane.sd.reshape(1, -1),
        "axes": plane.axes,
        "back": plane.axes.T,
        "per_t2": 1 / (plane.variance * plane.t2_limit).reshape(1, -1),
        "per_spe": np.array(1 / plane.spe_limit),
        "most": np.array(MOST_RATIO),
        "ln_half": np.array(-np.log(2.0)),
        "one": np.array(1.0),
    }
    weights = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in held.items()]
    weights.append(numpy_helper.from_array(np.array([1], np.int64), "across"))
    node = helper.make_node
    nodes = [
        node("Sub", ["features", "mean"], ["centred"]),
        node("Mul", ["centred", "per_sd"], ["z"]),
        node("MatMul", ["z", "axes"], ["along"]),
        node("Mul", ["along", "along"], ["along2"]),
        node("Mul", ["along2", "per_t2"], ["t2_parts"]),
        node("ReduceSum", ["t2_parts", "across"], ["t2_free"], keepdims=1),
        node("MatMul", ["along", "back"], ["on_plane"]),
        node("Sub", ["z", "on_plane"], ["off"]),
        node("Mul", ["off", "off"], ["off2"]),
        node("ReduceSum", ["off2", "across"], ["off_sum"], keepdims=1),
        node("Mul", ["off_sum", "per_spe"], ["spe_free"]),
        node("Min", ["t2_free", "most"], ["t2"]),
        node("Min", ["spe_free", "most"], ["spe"]),
        node("Max", ["t2", "spe"], ["worst"]),
        node("Mul", ["worst", "ln_half"], ["exponent"]),
        node("Exp", ["exponent"], ["usual"]),
        node("Sub", ["one", "usual"], ["anomaly"]),
        node("Concat", ["anomaly", "usual", "t2", "spe"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "filler_anomaly",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(plane.mean)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 4])],
        weights,
    )
    opsets = [helper.make_opsetid("", trees.OPSET["ai.onnx"])]
    made: Any = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    made.producer_name = "triflow"
    onnx.checker.check_model(made)
    return made.SerializeToString(deterministic=True)


def fitted(sound: building.Rows, kept_back: building.Rows) -> Plane:
    """Fit the plane on sound rows, and its limits on other sound rows: on its own it would look better than it is."""
    mean, sd = sound.astype(np.float64).mean(axis=0), sound.astype(np.float64).std(axis=0)
    pca: Any = PCA(n_components=EXPLAINED, svd_solver="full").fit((sound - mean) / sd)
    plane = Plane(mean=mean, sd=sd, axes=pca.components_.T, variance=pca.explained_variance_)
    t2, spe = np.quantile(plane.ratios(kept_back), QUANTILE, axis=0)
    return Plane(mean=mean, sd=sd, axes=pca.components_.T, variance=pca.explained_variance_, t2_limit=t2, spe_limit=spe)


def _around(disturbed: NDArray[np.bool_], runs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Give the windows that are disturbed or within two of one that is: what was pulled away takes time to come back."""
    wide = disturbed.copy()
    for step in (1, 2):
        same = runs[step:] == runs[:-step]
        wide[step:] |= disturbed[:-step] & same
        wide[:-step] |= disturbed[step:] & same
    return wide


def make(windows: building.Windows) -> building.Made:
    """Train, convert, compare, measure."""
    nothing = Training(data="", data_sha256=windows.sha256, rows=0, seed=SEED, trainer="", converter="")
    table = building.tabled(contract(nothing, {"ai.onnx": trees.OPSET["ai.onnx"]}), windows)
    told = {name: table.truth[name].astype(str) for name in ("excursion", "fault")}
    disturbed = (told["excursion"] != "") | (told["fault"] != "")
    quiet = ~_around(disturbed, table.runs) & (table.truth["running_s"] >= SETTLED_S)
    sound = quiet & (table.truth["wear"] < WORN)
    train = np.flatnonzero(~table.held_out & sound)
    limits = table.runs[train] % 2 == 1
    plane = fitted(table.rows[train[~limits]], table.rows[train[limits]])
    model = exported(plane)
    opset = trees.opset_of(model)
    draft = contract(nothing, opset)
    session = Session(model, draft)
    test = np.flatnonzero(table.held_out)
    worst = building.parity(session, plane.outputs, table.rows[test])
    said = building.labels(draft, plane.outputs(table.rows[test])) == "unusual"
    runs = table.runs[test]

    def share(of: NDArray[np.bool_]) -> building.Interval:
        return building.interval(lambda at: float(np.mean(said[at][of[at]])), runs, SEED)

    test_told = {name: column[test] for name, column in told.items()}
    young = table.truth["running_s"][test] < SETTLED_S
    kinds = {
        "found_pressure": np.char.find(test_told["excursion"], "fill_pressure") >= 0,
        "found_torque": np.char.find(test_told["excursion"], "cap_torque") >= 0,
        "found_temperature": np.char.find(test_told["excursion"], "product_temperature") >= 0,
        "found_spike": np.char.find(test_told["fault"], "spike") >= 0,
        "found_stuck": np.char.find(test_told["fault"], "stuck") >= 0,
        "found_worn": (table.truth["wear"][test] >= 0.8) & quiet[test],
        "false_settled": sound[test],
        "false_starting": young & (table.truth["wear"][test] < WORN) & (test_told["excursion"] == ""),
    }
    shares = {name: share(of) for name, of in kinds.items()}
    libraries = building.libraries("scikit-learn", "onnx", "onnxruntime")
    training = Training(
        data="sound windows of simulated fillers (demo.training_data): no excursion, no fault, bearing in order",
        data_sha256=windows.sha256,
        rows=len(train),
        seed=SEED,
        trainer=f"scikit-learn {libraries['scikit-learn']} PCA, {plane.axes.shape[1]} components",
        converter=f"written as ONNX operators by this script, onnx {libraries['onnx']}",
        metrics={name: round(one.value, 4) for name, one in shares.items()},
    )
    agreed = contract(training, opset)
    return building.Made(
        contract=agreed,
        model=model,
        golden=building.golden(agreed, plane.outputs, table.rows[test], SEED),
        reference=building.reference(agreed, session, table, SEED, sound),
        figures={
            "train_rows": f"{len(train):,}",
            "test_rows": f"{len(test):,}",
            "test_runs": str(len(np.unique(runs))),
            "components": str(plane.axes.shape[1]),
            **{name: str(one) for name, one in shares.items()},
            "refused": f"{100 * table.refused:.2f}",
            "parity": f"{worst:.1e}",
        },
        libraries=libraries,
    )


if __name__ == "__main__":
    sys.exit(building.main(Path(__file__).parent, make, sys.argv[1:]))
