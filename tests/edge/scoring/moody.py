"""Real packages with real models that pass verification and then misbehave where the test wants them to.

One feature, `load` in [0, 1]: the answer is p = load. Around 0.30 the model gives NaN (0/0); around 0.61 it takes some
200 ms over many operators; around 0.81 it is inside one operator for about two seconds and cannot be stopped.
"""

from __future__ import annotations

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from models.drift import Reference, histogram
from models.package import Build, Contract, Feature, Golden, GoldenRow, Input, Label, Output, Training, unsigned, write
from models.package.signature import public_key
from models.window import TagWindow, Window
from tests.models.windows import tag, window

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
TRUSTED = public_key(KEY)
NAN, SLOW, HANG = 0.30, 0.61, 0.81
FAR = -9.0
"""No load is near it."""
SPACING_S = 1.0
_F = TensorProto.FLOAT


def contract(version: str = "1.0.0", name: str = "moody", **changes) -> Contract:
    given = {
        "name": name,
        "version": version,
        "title": {"ko": "기분파", "en": "Moody"},
        "work": "classification",
        "inputs": (Input(tag="load"),),
        "features": (
            Feature(
                name="load", expression="load.mean", unit="C62", low=0.0, high=1.0, tolerance=0.5,
                title={"ko": "부하", "en": "Load"},
            ),
        ),
        "outputs": (Output(name="worn", low=-1.0, high=2.0),),
        "labels": (
            Label(name="worn", decision="critical", output="worn", at_least=0.9),
            Label(name="good", decision="normal", output="worn"),
        ),
        "window_s": (0.05, 60.0),
        "opset": {"ai.onnx": 17},
        "score_meaning": "the load itself",
        "training": Training(data="none", data_sha256="0" * 64, rows=1000, seed=1, trainer="by hand", converter="onnx"),
        "licence": "Apache-2.0",
    }  # fmt: skip
    return Contract(**(given | changes))


def _times(runs: int, name: str) -> list[onnx.NodeProto]:
    """Nodes that add a zero to the answer, by `runs` products of matrices that are large only near `NAME_at`."""
    node = helper.make_node
    names = [f"{name}_{word}" for word in ("d", "s", "m", "e", "n", "f", "i", "shape")]
    d, s, m, e, n, f, i, shape = names
    nodes = [
        node("Sub", ["x1", f"{name}_at"], [d]),
        node("Mul", [d, d], [s]),
        node("Mul", [s, "sharp"], [m]),
        node("Exp", [m], [e]),
        node("Mul", [e, f"{name}_size"], [n]),
        node("Floor", [n], [f]),
        node("Cast", [f], [f"{i}0"], to=TensorProto.INT64),
        node("Add", [f"{i}0", "one"], [i]),
        node("Concat", [i, i], [shape], axis=0),
        node("ConstantOfShape", [shape], [f"{name}_0"]),
    ]
    nodes += [node("MatMul", [f"{name}_{k}", f"{name}_0"], [f"{name}_{k + 1}"]) for k in range(runs)]
    nodes.append(node("ReduceSum", [f"{name}_{runs}"], [f"{name}_out"], keepdims=0))
    return nodes


def model(gain: float = 1.0, nan_at: float = NAN, *, even: bool = False) -> bytes:
    node = helper.make_node
    constants = {
        "one": np.array([1], np.int64), "flat": np.array([1], np.int64), "sharp": np.array([-40_000], np.float32),
        "nan_at": np.array([FAR if even else nan_at], np.float32), "band": np.array([0.01], np.float32),
        "slow_at": np.array([FAR if even else SLOW], np.float32), "slow_size": np.array([700], np.float32),
        "hang_at": np.array([FAR if even else HANG], np.float32), "hang_size": np.array([6000], np.float32),
        "gain": np.array([gain], np.float32),
    }  # fmt: skip
    nodes = [
        node("Reshape", ["x", "flat"], ["x1"]),
        node("Sub", ["x1", "nan_at"], ["n0"]),
        node("Abs", ["n0"], ["n1"]),
        node("Sub", ["n1", "band"], ["n2"]),
        node("Relu", ["n2"], ["n3"]),
        node("Div", ["n3", "n3"], ["n4"]),
        *_times(20, "slow"),
        *_times(1, "hang"),
        node("Mul", ["x", "gain"], ["p0"]),
        node("Mul", ["p0", "n4"], ["p1"]),
        node("Add", ["p1", "slow_out"], ["p2"]),
        node("Add", ["p2", "hang_out"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "moody",
        [helper.make_tensor_value_info("x", _F, [1, 1])],
        [helper.make_tensor_value_info("p", _F, [1, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def package(
    version: str = "1.0.0",
    *,
    gain: float = 1.0,
    nan_at: float = NAN,
    key: Ed25519PrivateKey | None = KEY,
    spacing_s: float = SPACING_S,
    spread: float = 0.05,
    even: bool = False,
    **changes,
) -> bytes:
    """A signed package; `gain` multiplies the answer, so that it shows which version gave it.

    spread: standard deviation of the loads it says it was trained on, around 0.5. even: it has no moods.
    """
    agreed = contract(version, **changes)
    trained = np.random.default_rng(7).normal(0.5, spread, 5_000)
    reference = Reference(
        spacing_s=spacing_s,
        alarms_per_month=1.0,
        features={"load": histogram(trained)},
        outputs={"worn": histogram(trained * gain)},
        labels={"worn": 0, "good": 5_000},
    )
    rows = tuple(
        GoldenRow((x,), (float(np.float32(x) * np.float32(gain)),), "worn" if x * gain >= 0.9 else "good")
        for x in (0.5, 0.1, 0.97)
    )
    entries = unsigned(
        agreed,
        model(gain, nan_at, even=even),
        golden=Golden(rows=rows, tolerance=1e-5),
        reference=reference,
        cards={"en": "# Moody\n", "ko": "# 기분파\n"},
        build=Build(),
    )
    return write(entries, key)


def moment(load: float | None, number: int = 0, **changes) -> Window:
    """The n-th window of 10 s of a line whose load was this."""
    one: TagWindow = tag("load", load, **({"status": 0x80000000, "count": 0} if load is None else {}), **changes)
    made = window(one)
    step = 10 * number * 1_000_000_000
    return Window(
        work_unit=made.work_unit, start=made.start + step, end=made.end + step, tags=made.tags,
        state=made.state, reason=made.reason, context=made.context, counts=made.counts,
    )  # fmt: skip
