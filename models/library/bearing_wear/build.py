"""Builds `bearing_wear.tfm`: how worn a filler's bearing is, from vibration and temperature of one window.

A random forest of 100 trees. Truth is the simulator's wear (0 new, 1 worn out): normal below 0.55, warning from there,
critical from 0.80 on. Held out are whole runs: other seeds, orders and starting wear.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from models.library import building, trees
from models.package.contract import Contract, Feature, Input, Label, Output, Training
from models.session import Session

SEED: Final = 20_260_105
WARNING, CRITICAL = 0.55, 0.80
ROWS: Final = 24_000
"""Training rows, as many of each class: more of the easy ones teach nothing."""

FEATURES: Final = (
    Feature(
        name="vibration_mean",
        expression="vibration.mean",
        unit="C16",
        low=0.0,
        high=10.0,
        tolerance=1.0,
        title={"ko": "평균 진동", "en": "Mean vibration"},
    ),
    Feature(
        name="vibration_min",
        expression="vibration.min",
        unit="C16",
        low=0.0,
        high=8.0,
        tolerance=1.0,
        title={"ko": "최소 진동", "en": "Lowest vibration"},
    ),
    Feature(
        name="vibration_max",
        expression="vibration.max",
        unit="C16",
        low=0.0,
        high=21.0,
        tolerance=2.0,
        title={"ko": "최대 진동", "en": "Highest vibration"},
    ),
    Feature(
        name="vibration_spread",
        expression="vibration.stddev",
        unit="C16",
        low=0.0,
        high=6.0,
        tolerance=1.0,
        title={"ko": "진동 편차", "en": "Spread of vibration"},
    ),
    Feature(
        name="bearing_temperature",
        expression="bearing_temperature.mean",
        unit="CEL",
        low=20.0,
        high=125.0,
        nullable=True,
        impute=46.0,
        tolerance=10.0,
        title={"ko": "베어링 온도", "en": "Bearing temperature"},
    ),
    Feature(
        name="speed",
        expression="speed.mean",
        unit="P1",
        low=55.0,
        high=105.0,
        nullable=True,
        impute=92.0,
        tolerance=55.0,
        title={"ko": "속도", "en": "Speed"},
    ),
)
OUTPUTS: Final = ("normal", "warning", "critical")


def contract(training: Training, opset: dict[str, int]) -> Contract:
    """Give the contract; thresholds are those of the card."""
    return Contract(
        name="bearing_wear",
        version="1.0.0",
        title={"ko": "충전기 베어링 마모", "en": "Filler bearing wear"},
        work="classification",
        inputs=(
            Input(tag="vibration", unit="C16"),
            Input(tag="bearing_temperature", unit="CEL"),
            Input(tag="speed", unit="P1"),
        ),
        features=FEATURES,
        outputs=tuple(Output(name=name, meaning=f"share of the trees that say {name}") for name in OUTPUTS),
        labels=(
            Label(
                name="critical",
                decision="critical",
                output="critical",
                at_least=0.5,
                title={"ko": "교체 시점", "en": "worn out"},
            ),
            Label(name="normal", decision="normal", output="normal", at_least=0.5, title={"ko": "정상", "en": "sound"}),
            # Neither is sure: what lies between them is the honest word.
            Label(name="warning", decision="warning", output="warning", title={"ko": "마모 진행", "en": "wearing"}),
        ),
        window_s=(2.0, 20.0),
        only_when='state == "EXECUTE"',
        opset=opset,
        score_meaning="share of the forest's votes; not a calibrated probability",
        deadline_ms=20.0,
        training=training,
        licence="Apache-2.0",
    )


def truth_of(table: building.Table) -> NDArray[Any]:
    """Give the true class of every row."""
    wear = table.truth["wear"]
    return np.where(wear >= CRITICAL, "critical", np.where(wear >= WARNING, "warning", "normal"))


def make(windows: building.Windows) -> building.Made:
    """Train, convert, compare, measure."""
    nothing = Training(data="", data_sha256=windows.sha256, rows=0, seed=SEED, trainer="", converter="")
    table = building.tabled(contract(nothing, {"ai.onnx": 17}), windows)
    truth, train = truth_of(table), ~table.held_out
    chance = np.random.default_rng(SEED)
    rows = np.concatenate(
        [chance.permutation(np.flatnonzero(train & (truth == kind)))[: ROWS // len(OUTPUTS)] for kind in OUTPUTS]
    )
    forest: Any = RandomForestClassifier(100, max_depth=6, min_samples_leaf=40, random_state=SEED, n_jobs=1)
    forest.fit(table.rows[rows], [OUTPUTS.index(kind) for kind in truth[rows]])
    building.round_thresholds(forest.estimators_)

    def trainer(asked: building.Rows) -> building.Outputs:
        return forest.predict_proba(asked)

    model = trees.exported(forest, len(FEATURES), "bearing_wear")
    opset = trees.opset_of(model)
    test = np.flatnonzero(table.held_out)
    draft = contract(nothing, opset)
    session = Session(model, draft)
    borders = building.border_rows(forest.estimators_, table.rows[test], SEED)
    worst = building.parity(session, trainer, np.concatenate([table.rows[test], borders]))
    said = building.labels(draft, trainer(table.rows[test]))
    there, runs = truth[test], table.runs[test]
    # A class off by one at its border is an opinion; normal called critical, or the other way, is a mistake.
    accuracy = building.interval(lambda at: building.balanced_accuracy(there[at], said[at]), runs, SEED)
    recall = building.interval(lambda at: _share(said[at], there[at] == "critical", "critical"), runs, SEED)
    wrong = building.interval(lambda at: _share(said[at], there[at] == "normal", "critical"), runs, SEED)
    clear = (np.abs(table.truth["wear"][test] - WARNING) > 0.05) & (np.abs(table.truth["wear"][test] - CRITICAL) > 0.05)
    sure = building.interval(
        lambda at: building.balanced_accuracy(there[at][clear[at]], said[at][clear[at]]), runs, SEED
    )
    # What two plain limits do, set where this simulator puts the borders (1.6 + 5.2 w²): the fair comparison.
    mean = table.named["vibration_mean"][test]
    rule = np.where(mean >= 4.93, "critical", np.where(mean >= 3.17, "warning", "normal"))
    by_rule = building.interval(lambda at: building.balanced_accuracy(there[at], rule[at]), runs, SEED)
    training = Training(
        data="windows of simulated fillers (demo.training_data), wear as the simulator knows it",
        data_sha256=windows.sha256,
        rows=len(rows),
        seed=SEED,
        trainer=f"scikit-learn {building.libraries('scikit-learn')['scikit-learn']} RandomForestClassifier, 100 trees",
        converter=f"skl2onnx {building.libraries('skl2onnx')['skl2onnx']}",
        metrics={"balanced_accuracy": round(accuracy.value, 4), "critical_recall": round(recall.value, 4)},
    )
    agreed = contract(training, opset)
    return building.Made(
        contract=agreed,
        model=model,
        golden=building.golden(agreed, trainer, table.rows[test], SEED),
        reference=building.reference(agreed, session, table, SEED, np.ones(len(table.rows), np.bool_)),
        figures={
            "train_rows": f"{len(rows):,}",
            "test_rows": f"{len(test):,}",
            "test_runs": str(len(np.unique(runs))),
            "accuracy": str(accuracy),
            "clear_accuracy": str(sure),
            "critical_recall": str(recall),
            "false_critical": str(wrong),
            "rule_accuracy": str(by_rule),
            "refused": f"{100 * table.refused:.2f}",
            "parity": f"{worst:.1e}",
            "parity_rows": f"{len(test) + len(borders):,}",
        },
        libraries=building.libraries("scikit-learn", "skl2onnx", "onnx", "onnxruntime"),
    )


def _share(said: NDArray[Any], of: NDArray[np.bool_], kind: str) -> float:
    return float(np.mean(said[of] == kind)) if of.any() else float("nan")


if __name__ == "__main__":
    sys.exit(building.main(Path(__file__).parent, make, sys.argv[1:]))
