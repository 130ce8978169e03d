"""Builds `fill_quality.tfm`: does the filler underfill more than its recipe does anyway? From one window.

Gradient boosting, 100 trees. Truth is the simulator's: an excursion pulls the bowl's pressure down and five times as
many bottles are underfilled. A fixed limit of pressure cannot tell that from a recipe that runs at less pressure.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier

from models.library import building, trees
from models.package.contract import Contract, Feature, Input, Label, Output, Training
from models.session import Session

SEED: Final = 20_260_112
SOUND_PER_POOR: Final = 8
"""Training rows without an excursion for each with one; the card says what that does to the scores."""

FEATURES: Final = (
    Feature(
        name="pressure_mean",
        expression="fill_pressure.mean",
        unit="BAR",
        low=0.2,
        high=4.5,
        tolerance=0.3,
        title={"ko": "평균 충전 압력", "en": "Mean filling pressure"},
    ),
    Feature(
        name="pressure_min",
        expression="fill_pressure.min",
        unit="BAR",
        low=0.2,
        high=4.5,
        tolerance=0.3,
        title={"ko": "최저 충전 압력", "en": "Lowest filling pressure"},
    ),
    Feature(
        name="pressure_spread",
        expression="fill_pressure.stddev",
        unit="BAR",
        low=0.0,
        high=3.2,
        tolerance=0.3,
        title={"ko": "충전 압력 편차", "en": "Spread of filling pressure"},
    ),
    Feature(
        name="pressure_rise",
        expression="fill_pressure.last - fill_pressure.mean",
        unit="BAR",
        low=-7.0,
        high=7.0,
        title={"ko": "충전 압력 변화", "en": "Rise of filling pressure"},
    ),
    Feature(
        name="weight",
        expression="fill_weight.mean",
        unit="GRM",
        low=-10.0,
        high=1_200.0,
        tolerance=50.0,
        title={"ko": "충전 중량", "en": "Filling weight"},
    ),
    Feature(
        name="product_temperature",
        expression="product_temperature.mean",
        unit="CEL",
        low=0.0,
        high=30.0,
        nullable=True,
        impute=5.0,
        tolerance=3.0,
        title={"ko": "제품 온도", "en": "Product temperature"},
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
    Feature(
        name="underfill_share",
        expression="100.0 * counts.defect.underfill / counts.produced",
        unit="P1",
        low=0.0,
        high=100.0,
        nullable=True,
        impute=0.0,
        title={"ko": "미달 충전 비율", "en": "Share of underfilled bottles"},
    ),
)


def contract(training: Training, opset: dict[str, int]) -> Contract:
    """Give the contract; thresholds are those of the card."""
    return Contract(
        name="fill_quality",
        version="1.0.0",
        title={"ko": "충전 품질", "en": "Filling quality"},
        work="classification",
        inputs=(
            Input(tag="fill_pressure", unit="BAR"),
            Input(tag="fill_weight", unit="GRM"),
            Input(tag="product_temperature", unit="CEL"),
            Input(tag="speed", unit="P1"),
        ),
        features=FEATURES,
        outputs=(
            Output(name="sound", meaning="1 - underfilling"),
            Output(name="underfilling", meaning="score of an excursion that multiplies underfills"),
        ),
        labels=(
            Label(
                name="underfilling",
                decision="critical",
                output="underfilling",
                at_least=0.9,
                title={"ko": "미달 충전", "en": "underfilling"},
            ),
            Label(
                name="suspected",
                decision="warning",
                output="underfilling",
                at_least=0.5,
                title={"ko": "미달 충전 의심", "en": "underfilling suspected"},
            ),
            Label(name="sound", decision="normal", output="sound", title={"ko": "정상", "en": "sound"}),
        ),
        window_s=(2.0, 20.0),
        only_when='state == "EXECUTE"',
        opset=opset,
        score_meaning="score of a boosted ensemble trained on one excursion to eight sound windows; higher than the "
        "true probability where excursions are rarer",
        deadline_ms=20.0,
        training=training,
        licence="Apache-2.0",
    )


def make(windows: building.Windows) -> building.Made:
    """Train, convert, compare, measure."""
    nothing = Training(data="", data_sha256=windows.sha256, rows=0, seed=SEED, trainer="", converter="")
    table = building.tabled(contract(nothing, {"ai.onnx": 17}), windows)
    poor = np.char.find(table.truth["excursion"].astype(str), "fill_pressure") >= 0
    train = ~table.held_out
    chance = np.random.default_rng(SEED)
    bad = np.flatnonzero(train & poor)
    rows = np.concatenate([bad, chance.permutation(np.flatnonzero(train & ~poor))[: SOUND_PER_POOR * len(bad)]])
    boosted: Any = GradientBoostingClassifier(
        n_estimators=100, max_depth=4, min_samples_leaf=20, subsample=0.8, learning_rate=0.1, random_state=SEED
    )
    boosted.fit(table.rows[rows], poor[rows].astype(np.int64))
    ensemble = boosted.estimators_[:, 0].tolist()
    building.round_thresholds(ensemble)

    def trainer(asked: building.Rows) -> building.Outputs:
        return boosted.predict_proba(asked)

    model = trees.exported(boosted, len(FEATURES), "fill_quality")
    opset = trees.opset_of(model)
    draft = contract(nothing, opset)
    session = Session(model, draft)
    test = np.flatnonzero(table.held_out)
    borders = building.border_rows(ensemble, table.rows[test], SEED)
    worst = building.parity(session, trainer, np.concatenate([table.rows[test], borders]))
    said = building.labels(draft, trainer(table.rows[test])) != "sound"
    there, runs = poor[test], table.runs[test]
    # The first seconds of an excursion look like nothing yet: they count as missed, as they would at the line.
    recall = building.interval(lambda at: float(np.mean(said[at][there[at]])), runs, SEED)
    precision = building.interval(lambda at: float(np.mean(there[at][said[at]])), runs, SEED)
    false = building.interval(lambda at: 1000 * float(np.mean(said[at][~there[at]])), runs, SEED)
    young = table.truth["running_s"][test] < 60.0
    wrong_young = 100 * float(np.mean(young[said & ~there]))
    limit = table.named["pressure_mean"][test] < 2.48
    limit_recall = building.interval(lambda at: float(np.mean(limit[at][there[at]])), runs, SEED)
    limit_precision = building.interval(lambda at: float(np.mean(there[at][limit[at]])), runs, SEED)
    training = Training(
        data="windows of simulated fillers (demo.training_data), excursions as the simulator knows them",
        data_sha256=windows.sha256,
        rows=len(rows),
        seed=SEED,
        trainer=f"scikit-learn {building.libraries('scikit-learn')['scikit-learn']} GradientBoostingClassifier, "
        "100 trees",
        converter=f"skl2onnx {building.libraries('skl2onnx')['skl2onnx']}",
        metrics={"recall": round(recall.value, 4), "precision": round(precision.value, 4)},
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
            "test_poor": f"{int(there.sum()):,}",
            "test_runs": str(len(np.unique(runs))),
            "recall": str(recall),
            "precision": str(precision),
            "false_per_1000": str(false),
            "false_young": f"{wrong_young:.0f}",
            "limit_recall": str(limit_recall),
            "limit_precision": str(limit_precision),
            "refused": f"{100 * table.refused:.2f}",
            "parity": f"{worst:.1e}",
            "parity_rows": f"{len(test) + len(borders):,}",
        },
        libraries=building.libraries("scikit-learn", "skl2onnx", "onnx", "onnxruntime"),
    )


if __name__ == "__main__":
    sys.exit(building.main(Path(__file__).parent, make, sys.argv[1:]))
