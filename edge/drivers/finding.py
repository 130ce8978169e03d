"""What an examination found: a severity, and a sentence each of what was found and what to do about it.

The sentences stand in `edge/texts/<file>.toml`, in Korean and English, by key; a finding carries the key and its words.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

Severity = Literal["ok", "warning", "fault"]
Language = Literal["ko", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("ko", "en")
TEXTS: Final = Path(__file__).parent.parent / "texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    severity: Severity
    check: str
    """What was looked at: `name`, `port`, `security`, `tag`, …"""
    key: str
    """Of its sentences: `<file>.<name>`."""
    words: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the sentences have in braces, and other details for programs."""
    subject: str = ""
    """The connection or part it is about; set by who asked."""
    tag: str | None = None
    """Id of the tag it is about."""

    def what(self, language: Language) -> str:
        """Say what was found."""
        return say(self.key, language, self.words)

    def advice(self, language: Language) -> str:
        """Say what to do about it; empty when there is nothing to do."""
        return advice(self.key, language, self.words)


def ok(check: str, key: str, /, *, tag: str | None = None, **words: Any) -> Finding:
    return Finding(severity="ok", check=check, key=key, words=words, tag=tag)


def warning(check: str, key: str, /, *, tag: str | None = None, **words: Any) -> Finding:
    return Finding(severity="warning", check=check, key=key, words=words, tag=tag)


def fault(check: str, key: str, /, *, tag: str | None = None, **words: Any) -> Finding:
    return Finding(severity="fault", check=check, key=key, words=words, tag=tag)


def worst(findings: Sequence[Finding]) -> Severity:
    """Give the worst severity among findings; `ok` for none."""
    present = {finding.severity for finding in findings}
    return "fault" if "fault" in present else "warning" if "warning" in present else "ok"


@functools.cache
def texts() -> dict[str, dict[str, Any]]:
    """Read all sentences: `<file>.<name>` → language → text, and under `do` the same of the advice."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(TEXTS.glob("*.toml")):
        entries = cast("dict[str, dict[str, Any]]", tomllib.loads(path.read_text("utf-8")))
        found |= {f"{path.stem}.{name}": entry for name, entry in entries.items()}
    return found


def say(key: str, language: Language, words: Mapping[str, Any]) -> str:
    """Give a sentence; KeyError for a key or a word that is missing, because that is a bug of ours."""
    return str(texts()[key][language]).format_map(_spoken(words, language))


def advice(key: str, language: Language, words: Mapping[str, Any]) -> str:
    entry = cast("dict[str, str]", texts()[key].get("do", {}))
    return entry[language].format_map(_spoken(words, language)) if entry else ""


def _spoken(words: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """Put lists into one text, and spans of time (names that end in `_s`) into a unit that can be read."""
    spoken: dict[str, Any] = {}
    for name, word in words.items():
        if isinstance(word, (list, tuple)):
            spoken[name] = ", ".join(map(str, cast("Sequence[object]", word)))
        elif isinstance(word, Finding):
            spoken[name] = word.what(language)
        elif name.endswith("_s") and isinstance(word, (int, float)):
            spoken[name] = span(word, language)
        elif name.endswith("_bytes") and isinstance(word, (int, float)):
            spoken[name] = size(word)
        else:
            spoken[name] = word
    return spoken


_SPANS: Final[tuple[tuple[float, dict[str, str]], ...]] = (
    (86_400 * 2, {"ko": "일", "en": " days"}),
    (3600 * 2, {"ko": "시간", "en": " h"}),
    (60 * 2, {"ko": "분", "en": " min"}),
    (1, {"ko": "초", "en": " s"}),
)
_UNITS: Final = (86_400.0, 3600.0, 60.0, 1.0)


def span(seconds: float, language: Language) -> str:
    """Write a span of time in the unit that suits it: 3 ms, 2.5 s, 14 min, 3 h, 89 days."""
    for (least, names), unit in zip(_SPANS, _UNITS, strict=True):
        if abs(seconds) >= least:
            figure = seconds / unit
            return (
                f"{figure:.1f}{names[language]}" if abs(figure) < 10 and unit == 1 else f"{figure:.0f}{names[language]}"
            )
    return f"{seconds * 1000:.0f} ms" if abs(seconds) >= 0.001 else "< 1 ms"


def size(number: float) -> str:
    """Write bytes as people do, in steps of 1024."""
    for unit in ("B", "KB", "MB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GB"
