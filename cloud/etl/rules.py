"""The rules that facts are checked by, as data: codes, severities, limits, and their words in Korean and English."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SEVERITIES: Final = ("info", "warning", "error", "critical")
HOLDING: Final = frozenset({"error", "critical"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that is asked of facts."""

    code: str
    severity: str
    by: str
    """What a warning is counted by; empty where every record has its own row."""
    limit: int
    title: dict[str, str]
    why: dict[str, str]

    @property
    def holds(self) -> bool:
        return self.severity in HOLDING

    def words(self, detail: Mapping[str, Any]) -> dict[str, str]:
        """Say in both languages what was found."""
        known = {"limit": self.limit, **detail}
        return {language: text.format_map(_Told(known)) for language, text in self.why.items()}


class _Told(dict[str, Any]):
    """What an older cloud found may lack a word."""

    def __missing__(self, key: str) -> str:
        return "?"


def _load() -> dict[str, Rule]:
    said = tomllib.loads(Path(__file__).with_name("rules.toml").read_text(encoding="utf-8"))
    return {
        code: Rule(
            code=code,
            severity=one["severity"],
            by=one.get("by", ""),
            limit=one.get("limit", 0),
            title=one["title"],
            why=one["why"],
        )
        for code, one in said.items()
    }


RULES: Final = _load()


def rule(code: str) -> Rule:
    """Give a rule, also one that a newer cloud had and we do not know."""
    known = RULES.get(code)
    if known is None:
        words = {"ko": code, "en": code}
        return Rule(code=code, severity="warning", by="", limit=0, title=words, why=words)
    return known
