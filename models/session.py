"""onnxruntime behind one door: one model, one thread, one row at a time, and no answer that is not one.

The settings buy repeatability and a flat memory curve: no thread pool, no spinning, no arena that keeps the largest
batch, basic graph rewriting only. A row is always run alone, also in back-tests: kernels may add in another order for
a batch (a matrix product does), and then replay would not give the bits of the line. A tree ensemble costs ~10 µs so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native  # pyright: ignore[reportAttributeAccessIssue] (a compiled module)

from models.package.contract import Contract, Decision

RUNTIME: Final = f"onnxruntime {ort.__version__}"
FAULTS: Final[tuple[type[Exception], ...]] = (
    *(kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
    TypeError,
)
"""What onnxruntime raises for a bad model or bad input; its own classes share no base but Exception."""
SLACK: Final = 1e-4
"""So far an output may lie outside of the range its contract says: float32 sums of shares."""


class SessionError(Exception):
    """The model gave no answer. Count it against its breaker; the rules answer."""

    code: str = "error"


class ModelError(SessionError):
    """It cannot be loaded, or its input and output are not the contract's."""

    code = "model"


class NotFiniteError(SessionError):
    """It gave NaN or infinity."""

    code = "not_finite"


class OutputRangeError(SessionError):
    """It gave a number its contract rules out."""

    code = "output_range"


class StoppedError(SessionError):
    """`stop` ended it: the deadline passed."""

    code = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said to one row."""

    outputs: dict[str, float]
    """In the contract's order; each the shortest decimal of its float32."""
    label: str
    decision: Decision
    confidence: float


class Session:
    """A loaded model. One thread at a time; `stop` may come from another."""

    def __init__(self, model: bytes, contract: Contract) -> None:
        """Load. model: an ONNX file without external data, from a verified package. Raises ModelError."""
        self.contract: Final = contract
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            self._native: Any = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except FAULTS as error:
            raise ModelError(f"onnxruntime cannot load it: {_first_line(error)}") from error
        self._input, self._output = self._names()
        self._shape = (1, contract.width)
        self._run: Any = None

    def _names(self) -> tuple[str, str]:
        takes, gives = self._native.get_inputs(), self._native.get_outputs()
        if len(takes) != 1 or len(gives) != 1:
            raise ModelError(f"it has {len(takes)} inputs and {len(gives)} outputs; a package's model has one each")
        for what, end, width in (
            ("input", takes[0], self.contract.width),
            ("output", gives[0], len(self.contract.outputs)),
        ):
            if end.type != "tensor(float)":
                raise ModelError(f"its {what} {end.name!r} is a {end.type}; a package's model has float32")
            shape = list(end.shape)
            rows = shape[0] if shape else None
            if len(shape) != 2 or shape[1] != width or not (rows == 1 or rows is None or isinstance(rows, str)):
                raise ModelError(f"its {what} {end.name!r} has the shape {shape}; the contract says (rows, {width})")
        return takes[0].name, gives[0].name

    def run(self, row: NDArray[np.float32]) -> Answer:
        """Give the model's answer to one row. row: (1, features) float32 from `Features`.

        Raises SessionError; ValueError when the caller gives another shape or type.
        """
        outputs = self.raw(row)
        for output, value in zip(self.contract.outputs, outputs, strict=True):
            if not math.isfinite(value):
                raise NotFiniteError(f"output {output.name} is {value}")
            if not output.low - SLACK <= value <= output.high + SLACK:
                raise OutputRangeError(f"output {output.name} is {value}, outside of {output.low} … {output.high}")
        chosen = self.contract.choose(outputs)
        names = (output.name for output in self.contract.outputs)
        return Answer(
            outputs=dict(zip(names, outputs, strict=True)),
            label=chosen.label,
            decision=chosen.decision,
            confidence=chosen.confidence,
        )

    def raw(self, row: NDArray[np.float32]) -> list[float]:
        """Give the outputs as they come, NaN and all; for verification.

        Each as the shortest decimal of its float32: a record of it is short, and gives the very same label again.
        """
        if row.dtype != np.float32 or row.shape != self._shape:
            raise ValueError(f"a row of {row.dtype} {row.shape}; this model takes float32 {self._shape}")
        options = ort.RunOptions()
        self._run = options
        try:
            (found,) = self._native.run([self._output], {self._input: row}, options)
        except FAULTS as error:
            if options.terminate:
                raise StoppedError("stopped before it had an answer") from error
            raise SessionError(f"onnxruntime failed: {_first_line(error)}") from error
        finally:
            self._run = None
        if found.shape != (1, len(self.contract.outputs)):
            raise SessionError(
                f"an answer of shape {found.shape}; the contract has {len(self.contract.outputs)} outputs"
            )
        return [float(str(value)) for value in found[0]]

    def run_each(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the outputs of many rows, (n, features) → (n, outputs): one by one, so that every bit is the line's."""
        found = np.empty((len(rows), len(self.contract.outputs)), np.float32)
        for i in range(len(rows)):
            found[i] = self.raw(rows[i : i + 1])
        return found

    def stop(self) -> None:
        """End the run that another thread is in, at its next operator: it raises StoppedError. Nothing else happens."""
        running = self._run
        if running is not None:
            running.terminate = True

    def contributions(self, row: NDArray[np.float32], baseline: Mapping[str, float]) -> dict[str, float]:
        """Give how much of the answer hangs on each feature: its label's output minus that with the feature as usual.

        baseline: feature → usual value (training median); one without is left out. One more run per feature.
        Positive: this value speaks for the label. Effects of features that only act together are counted twice.
        Four digits, so that a record of it is short.
        """
        outputs = self.raw(row)
        label = self.contract.choose(outputs).label
        of = next(one.output for one in self.contract.labels if one.name == label)
        at = next(i for i, one in enumerate(self.contract.outputs) if one.name == of)
        effects: dict[str, float] = {}
        for i, feature in enumerate(self.contract.features):
            usual = baseline.get(feature.name)
            if usual is None:
                continue
            changed = row.copy()
            changed[0, i] = usual
            effect = outputs[at] - self.raw(changed)[at]
            if math.isfinite(effect):
                effects[feature.name] = float(f"{effect:.4g}")
        return effects


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
