"""Every number of every sentence must be found in the answer's rows or findings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloud.bi.analyses.result import Result
from cloud.drawing.charts import svg

_NUMBER = re.compile(r"(?<![\w.,])[−-]?\d[\d,]*(?:\.\d+)?")
_SCALES = (1.0, 100.0, 1 / 60, 1 / 3600)
"""As it is, in per cent, and seconds as minutes or hours."""


def leaves(value: Any) -> Iterator[Any]:
    match value:
        case Mapping():
            for key, one in value.items():
                yield key
                yield from leaves(one)
        case str():
            yield value
        case Sequence():
            for one in value:
                yield from leaves(one)
        case _:
            yield value


def unfounded(result: Result, names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Give (number, sentence) for each number that is nowhere in rows and findings. Names and dates are no numbers."""
    known = [*leaves(result.rows), *leaves(result.findings)]
    texts = sorted({*(one for one in known if isinstance(one, str) and len(one) > 1), *names}, key=len, reverse=True)
    numbers = [float(one) for one in known if isinstance(one, (int, float)) and not isinstance(one, bool)]
    bad: list[tuple[str, str]] = []
    for sentences in result.sentences.values():
        for sentence in sentences:
            plain = sentence
            for text in texts:
                if any(character.isdigit() for character in text):
                    plain = plain.replace(text, " ")
            for found in _NUMBER.findall(plain.replace("MASE", "").replace("95%", "").replace("80%", "")):
                digits = len(found.partition(".")[2])
                said = abs(float(found.replace(",", "").replace("−", "-")))
                near = 0.5 * 10**-digits + 1e-9
                if not any(abs(abs(one) * scale - said) <= near for one in numbers for scale in _SCALES):
                    bad.append((found, sentence))
    return bad


def sound(result: Result, names: Sequence[str] = ()) -> Result:
    """Assert what holds for every answer, and give it back."""
    assert unfounded(result, names) == []
    assert set(result.sentences) == {"ko", "en"}
    assert len(result.sentences["ko"]) == len(result.sentences["en"]) > 0
    for sentences in result.sentences.values():
        for sentence in sentences:
            assert sentence.endswith(".")
            assert "None" not in sentence and "nan" not in sentence.lower().split() and ".." not in sentence  # noqa: PT018
    for row in result.rows:
        assert len(row) == len(result.columns)
    if result.chart is not None:
        assert "<svg" in svg(result.chart, "chart")
    return result
