"""Small packages made in the test: real ONNX files, sound and damaged in every way we refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from models.drift import Reference, histogram
from models.package import Build, Contract, Feature, Golden, GoldenRow, Input, Label, Output, Training, unsigned, write
from models.package.signature import load_key, make_key, public_key

node = helper.make_node
LIBRARY = Path(__file__).parents[3] / "models" / "library"


def key(folder: Path) -> tuple[Ed25519PrivateKey, str]:
    """A new key and its public half, hex."""
    path = folder / "signing.key"
    public = make_key(path)
    made = load_key(path)
    assert public_key(made) == public
    return made, public


def onnx_of(
    nodes: Sequence[onnx.NodeProto],
    *,
    weights: dict[str, np.ndarray] | None = None,
    width: int = 2,
    outputs: int = 2,
    kind: int = TensorProto.FLOAT,
    opsets: dict[str, int] | None = None,
    rows: int | None = None,
    change: Callable[[onnx.ModelProto], None] | None = None,
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "specimen",
        [helper.make_tensor_value_info("features", kind, [rows, width])],
        [helper.make_tensor_value_info("scores", kind, [rows, outputs])],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(d, v) for d, v in (opsets or {"": 17}).items()], ir_version=8
    )
    if change is not None:
        change(model)
    return model.SerializeToString()


def logistic() -> bytes:
    """[worn, sound] = [s, 1 - s], s = sigmoid(vibration - 4 + 0·temperature)."""
    weights = {
        "w": np.array([[1.0], [0.0]], np.float32),
        "b": np.array([-4.0], np.float32),
        "one": np.array([1.0], np.float32),
    }
    return onnx_of(
        [
            node("MatMul", ["features", "w"], ["m"]),
            node("Add", ["m", "b"], ["a"]),
            node("Sigmoid", ["a"], ["worn"]),
            node("Sub", ["one", "worn"], ["sound"]),
            node("Concat", ["worn", "sound"], ["scores"], axis=1),
        ],
        weights=weights,
    )


FEATURES = (
    Feature(name="vibration", expression="vibration.mean", unit="C16", low=0, high=20, tolerance=2),
    Feature(name="temperature", expression="oil.mean", unit="CEL", low=-10, high=120, nullable=True, impute=40),
)


def contract(**changed: object) -> Contract:
    made = Contract(
        name="wear",
        version="1.0.0",
        title={"ko": "마모", "en": "Wear"},
        work="classification",
        inputs=(Input(tag="vibration", unit="C16"), Input(tag="oil", unit="CEL")),
        features=FEATURES,
        outputs=(Output(name="worn"), Output(name="sound")),
        labels=(
            Label(name="worn", decision="critical", output="worn", at_least=0.5),
            Label(name="sound", decision="normal", output="sound"),
        ),
        window_s=(5.0, 20.0),
        opset={"ai.onnx": 17},
        score_meaning="a logistic curve",
        training=Training(data="made up", data_sha256="0" * 64, rows=3, seed=1, trainer="by hand", converter="by hand"),
        licence="Apache-2.0",
    )
    return msgspec.structs.replace(made, **changed)


def golden() -> Golden:
    rows = [(v, 1 / (1 + np.exp(4.0 - v))) for v in (0.0, 3.0, 4.5, 9.0)]
    return Golden(
        rows=tuple(GoldenRow((v, 40.0), (float(s), float(1 - s)), "worn" if s >= 0.5 else "sound") for v, s in rows)
    )


def reference(made: Contract) -> Reference:
    values = np.random.default_rng(1).normal(3, 1, 2_000)
    return Reference(
        spacing_s=10.0,
        alarms_per_month=1.0,
        features={one.name: histogram(values) for one in made.features},
        outputs={one.name: histogram(1 / (1 + np.exp(-values))) for one in made.outputs},
        labels={one.name: 1 for one in made.labels},
    )


def entries(model: bytes | None = None, made: Contract | None = None, rows: Golden | None = None) -> dict[str, bytes]:
    made = made or contract()
    return unsigned(
        made,
        logistic() if model is None else model,
        golden=rows or golden(),
        reference=reference(made),
        cards={"en": "# Wear\n", "ko": "# 마모\n"},
        build=Build(),
    )


def package(signer: Ed25519PrivateKey, model: bytes | None = None, **parts: object) -> bytes:
    return write(entries(model, **parts), signer)
