"""Whatever a package's model is, the caller hears one reason in bounded time: real ONNX files, real child processes."""

from __future__ import annotations

import contextlib
import itertools
import random
import struct
import tempfile
import threading

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from models.package import Feature, Golden, GoldenRow, Output, PackageRefusedError
from models.package.onnx_file import OnnxFileError, examine
from models.package.verification import verify
from tests.models.package import specimens
from tests.models.package.specimens import node, onnx_of


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return specimens.key(tmp_path_factory.mktemp("key"))


def refused(signer, model: bytes | None = None, **parts) -> PackageRefusedError:
    how = {name: parts.pop(name) for name in ("timeout_s", "software") if name in parts}
    with pytest.raises(PackageRefusedError) as caught:
        verify(specimens.package(signer[0], model, **parts), trusted=[signer[1]], **how)
    assert caught.value.what
    return caught.value


def test_a_sound_package_may_run(signer, tmp_path):
    path = tmp_path / "wear.tfm"
    path.write_bytes(specimens.package(signer[0]))
    verified = verify(path, trusted=[signer[1]])
    found = verified.findings
    assert verified.contract == specimens.contract()
    assert found.rows == 4
    assert found.worst < 1e-6
    assert found.opset == {"ai.onnx": 17}
    assert found.all_missing == "not_finite"
    assert 0 < found.p50_us <= found.p95_us


def test_signature_and_hashes_come_before_the_model_is_parsed(signer, tmp_path):
    """A model that is no ONNX at all is refused for its stranger's signature: nobody looked at it."""
    stranger, _ = specimens.key(tmp_path)
    with pytest.raises(PackageRefusedError) as caught:
        verify(specimens.package(stranger, b"no onnx"), trusted=[signer[1]])
    assert caught.value.code == "untrusted"


def declared(model: onnx.ModelProto) -> None:
    model.functions.add().name = "Mine"


def outside(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")


def grown(value: np.ndarray) -> dict[str, np.ndarray]:
    return {"w": value}


PAIR = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
MODELS = {
    "no onnx": (lambda: b"no onnx at all", "model", "no ONNX"),
    "nothing": (lambda: b"", "model", "no ONNX"),
    "half": (lambda: specimens.logistic()[: len(specimens.logistic()) // 2], "model", ""),
    "wrong width": (
        lambda: onnx_of([node("MatMul", ["features", "w"], ["scores"])], weights=grown(np.ones((3, 2), np.float32)), width=3),
        "model", "the contract says (rows, 2)",
    ),
    "wrong outputs": (
        lambda: onnx_of([node("MatMul", ["features", "w"], ["scores"])], weights=grown(np.ones((2, 3), np.float32)), outputs=3),
        "model", "output",
    ),
    "two rows": (lambda: onnx_of([node("Identity", ["features"], ["scores"])], rows=2), "model", "shape"),
    "float64": (lambda: onnx_of([node("Identity", ["features"], ["scores"])], kind=TensorProto.DOUBLE), "model", "double"),
    "unknown operator": (lambda: onnx_of([node("Nonsense", ["features"], ["scores"])]), "model", "Nonsense"),
    "foreign domain": (
        lambda: onnx_of([node("FusedMatMul", ["features", "features"], ["scores"], domain="com.microsoft")], opsets={"": 17, "com.microsoft": 1}),
        "model", "com.microsoft",
    ),
    "function": (lambda: onnx_of([node("Identity", ["features"], ["scores"])], change=declared), "model", "functions"),
    "external data": (
        lambda: onnx_of([node("MatMul", ["features", "w"], ["scores"])], weights=grown(PAIR), change=outside),
        "model", "another file",
    ),
    "chance": (
        lambda: onnx_of([node("RandomUniformLike", ["features"], ["scores"])]), "model", "chance",
    ),
    "another opset": (lambda: onnx_of([node("Identity", ["features"], ["scores"])], opsets={"": 16}), "contract", "opset"),
    "another model": (lambda: onnx_of([node("Sigmoid", ["features"], ["scores"])]), "golden", "must be"),
    "NaN": (
        lambda: onnx_of([node("Sub", ["features", "features"], ["zero"]), node("Div", ["zero", "zero"], ["scores"])]),
        "golden", "is nan",
    ),
    "eats memory": (
        lambda: onnx_of(
            [
                node("Expand", ["features", "huge"], ["wide"]),
                node("ReduceMean", ["wide"], ["scores"], axes=[0], keepdims=1),
            ],
            weights={"huge": np.array([3_000_000_000, 2], np.int64)},
        ),
        "golden", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_bad_model_is_refused_with_its_reason(signer, name):
    make, code, told = MODELS[name]
    error = refused(signer, make())
    assert told in error.what
    assert error.code == code


def control_flow() -> bytes:
    body = helper.make_graph(
        [node("Identity", ["on"], ["on_"]), node("Identity", ["x"], ["x_"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on_", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_", TensorProto.FLOAT, None),
        ],
    )
    return onnx_of(
        [node("Loop", ["times", "true", "features"], ["scores"], body=body)],
        weights={"times": np.array(2**62), "true": np.array(True)},
    )


def test_a_loop_is_refused_before_it_runs(signer):
    assert "control flow" in refused(signer, control_flow()).what


def heavy(layers: int) -> bytes:
    size = 1_400
    names = ["wide", *(f"h{i}" for i in range(layers))]
    return onnx_of(
        [
            node("MatMul", ["features", "up"], ["wide"]),
            *(node("MatMul", [a, "w"], [b]) for a, b in itertools.pairwise(names)),
            node("MatMul", [names[-1], "down"], ["zero"]),
            node("Add", ["zero", "half"], ["scores"]),
        ],
        weights={
            "up": np.zeros((2, size), np.float32),
            "w": np.zeros((size, size), np.float32),
            "down": np.zeros((size, 2), np.float32),
            "half": np.array([0.5, 0.5], np.float32),
        },
    )


HALF = Golden(rows=(GoldenRow((1.0, 40.0), (0.5, 0.5), "worn"),))


def test_a_slow_model_is_refused_with_how_slow_it_is(signer):
    error = refused(signer, heavy(40), rows=HALF, made=specimens.contract(deadline_ms=0.5))
    assert error.code == "slow"
    assert "ms of CPU" in error.what


def test_a_model_that_does_not_come_to_an_end_is_ended(signer):
    error = refused(signer, heavy(4_000), rows=HALF, timeout_s=2.0)
    assert "not through after 2 s" in error.what


def test_the_range_a_contract_claims_is_tried(signer):
    """1/x is fine on the golden rows, and infinite at the end of the range."""
    model = onnx_of(
        [
            node("Gather", ["features", "first"], ["x"], axis=1),
            node("Reciprocal", ["x"], ["p"]),
            node("Sub", ["one", "p"], ["q"]),
            node("Concat", ["p", "q"], ["scores"], axis=1),
        ],
        weights={"first": np.array([0], np.int64), "one": np.array([1.0], np.float32)},
    )
    rows = Golden(rows=(GoldenRow((2.0, 40.0), (0.5, 0.5), "worn"),))
    error = refused(signer, model, rows=rows)
    assert "with vibration" in error.what
    assert error.code == "model"


def test_a_nullable_feature_without_imputation_must_be_one_the_model_may_miss(signer):
    lacking = msgspec.structs.replace(specimens.FEATURES[0], nullable=True)
    error = refused(signer, made=specimens.contract(features=(lacking, specimens.FEATURES[1])))
    assert "vibration missing" in error.what


def test_golden_rows_that_another_model_gave_are_refused(signer):
    rows = specimens.golden().rows
    for row, told in (
        (msgspec.structs.replace(rows[1], outputs=(0.3, 0.7)), "output worn is"),
        (msgspec.structs.replace(rows[1], label="worn"), "label sound, and must be worn"),
    ):
        error = refused(signer, rows=Golden(rows=(rows[0], row)))
        assert error.code == "golden"
        assert error.where == "golden.json row 1"
        assert told in error.what


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("vibration.men", "nearest is vibration.mean"),
        ("pump.mean", "pump"),
        ("vibration.mean > 3.0", "double"),
        ("oil.mean", "CEL"),
        ("1 +", "1:4: the expression ends"),
    ],
)
def test_an_expression_that_does_not_fit_is_refused_with_its_place(signer, expression, told):
    bad = Feature(name="vibration", expression=expression, unit="C16", low=0, high=20)
    error = refused(signer, made=specimens.contract(features=(bad, specimens.FEATURES[1])))
    assert error.code == "contract"
    assert told in error.what


def test_large_outputs_may_be_off_by_their_share(signer):
    """Another processor's kernels differ in the last bits: of 400, that is more than 0.0001, and no other model."""
    model = onnx_of([node("Identity", ["features"], ["scores"])])
    made = specimens.contract(
        outputs=(Output(name="worn", high=1e3, low=-1e3), Output(name="sound", high=1e3, low=-1e3))
    )
    for wanted, sound in ((400.01, True), (400.1, False)):
        rows = Golden(rows=(GoldenRow((400.0, 40.0), (wanted, 40.0), "worn"),))
        data = specimens.package(signer[0], model, made=made, rows=rows)
        if sound:
            assert verify(data, trusted=[signer[1]]).findings.worst < 1e-4
        else:
            assert refused(signer, model, made=made, rows=rows).code == "golden"


def test_newer_software_may_be_asked_for(signer):
    error = refused(signer, made=specimens.contract(minimum_software="9.0.0"), software="8.2.1")
    assert "needs triflow 9.0.0" in error.what


def test_verifying_leaves_nothing_and_works_beside_itself(signer, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    data = specimens.package(signer[0])
    told: list[object] = []
    threads = [threading.Thread(target=lambda: told.append(verify(data, trusted=[signer[1]]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 3
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=15)
@given(st.data())
def test_a_model_damaged_before_it_was_signed_never_hurts_the_caller(signer, data):
    """The signer's own mistake: the bytes are signed, hashed, and wrong. Each goes through a real child."""
    model = bytearray(specimens.logistic())
    for _ in range(data.draw(st.integers(1, 8))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PackageRefusedError):
        verify(specimens.package(signer[0], bytes(model)), trusted=[signer[1]], timeout_s=20)


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_no_bytes_crash_the_look_into_an_onnx_file(data):
    with pytest.raises(OnnxFileError):
        examine(data)


def test_no_damage_to_an_onnx_file_crashes_the_look_into_it():
    chance = random.Random(3)
    good = specimens.logistic()
    for _ in range(3_000):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 5)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        with contextlib.suppress(OnnxFileError):
            examine(bytes(bad[: chance.randint(1, len(bad))]))


def test_graphs_within_graphs_end_somewhere():
    inner = b""
    for _ in range(2_000):  # ModelProto.graph → node → attribute.g → node → …
        attribute = b"\x32" + varint(len(inner)) + inner
        operator = b"\x2a" + varint(len(attribute)) + attribute
        inner = b"\x0a" + varint(len(operator)) + operator
    with pytest.raises(OnnxFileError, match="too deep"):
        examine(b"\x3a" + varint(len(inner)) + inner)


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += struct.pack("B", number & 0x7F | 0x80)
        number >>= 7
    return out + struct.pack("B", number)
