"""scikit-learn's tree ensembles → ONNX with one input and one output, as packages want it."""

from __future__ import annotations

from typing import Any, Final

import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType

OPSET: Final = {"ai.onnx": 17, "ai.onnx.ml": 3}


def exported(estimator: Any, width: int, name: str) -> bytes:
    """Give a fitted classifier's ONNX file: `features` (rows, width) → `scores` (rows, classes).

    Classes are 0, 1, 2 …, the places of the contract's outputs.
    """
    model: Any = convert_sklearn(
        estimator,
        name=name,
        initial_types=[("features", FloatTensorType([None, width]))],
        options={id(estimator): {"zipmap": False}},
        target_opset={"": OPSET["ai.onnx"], "ai.onnx.ml": OPSET["ai.onnx.ml"]},
    )
    return finished(model, "probabilities", name)


def finished(model: Any, output: str, name: str) -> bytes:
    """Keep one output as `scores`, drop what does not lead to it and what says who and when, and give the bytes."""
    needed, kept = {output}, list[Any]()
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.insert(0, node)
    ends = [end for end in model.graph.output if end.name == output]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(kept)
    model.graph.output.extend(ends)
    for node in model.graph.node:
        for i, made in enumerate(node.output):
            if made == output:
                node.output[i] = "scores"
    model.graph.output[0].name = "scores"
    model.graph.name = name
    model.producer_name, model.producer_version, model.doc_string, model.domain = "triflow", "", "", ""
    opset = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    del model.opset_import[:]
    for domain in sorted({node.domain or "ai.onnx" for node in model.graph.node} | {"ai.onnx"}):
        model.opset_import.append(onnx.helper.make_opsetid("" if domain == "ai.onnx" else domain, opset[domain]))
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def opset_of(model: bytes) -> dict[str, int]:
    """Give the opsets of an ONNX file, as a contract says them."""
    return {entry.domain or "ai.onnx": entry.version for entry in onnx.load_from_string(model).opset_import}
