"""The dashboard's words: one file, two languages, the reader's choice."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Language = Literal["ko", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("ko", "en")
DEFAULT: Final[Language] = "ko"
"""A plant in Korea."""


def load() -> dict[str, dict[str, str]]:
    """Read texts.toml as `section.key` → language → text."""
    sections = tomllib.loads((Path(__file__).parent / "texts.toml").read_text("utf-8"))
    return {f"{section}.{key}": entry for section, entries in sections.items() for key, entry in entries.items()}


TEXTS: Final = load()


@dataclass(frozen=True, slots=True)
class Words:
    """The texts in one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """Give the text; KeyError for a key the file lacks, because that is a bug of the page and not of the data."""
        return TEXTS[key][self.language].format(**values)

    def label(self, section: str, code: str | None) -> str:
        """Give the word for a code that came in the data; the code itself where we have none."""
        entry = TEXTS.get(f"{section}.{code}")
        return entry[self.language] if entry is not None else str(code or "").replace("_", " ")

    def of(self, summary: Mapping[str, str] | str | None) -> str:
        """Pick this language from a text that came with the data, else whichever there is."""
        if summary is None or isinstance(summary, str):
            return summary or ""
        return summary.get(self.language) or next(iter(summary.values()), "")


def choose(asked: str | None, cookie: str | None, accept: str | None) -> Language:
    """Pick the language: what the address asks for, what was chosen before, what the browser accepts, Korean.

    accept: an Accept-Language header (RFC 9110 §12.5.4); highest q first, `en-US` counts as `en`.
    """
    for wish in (asked, cookie):
        for language in LANGUAGES:
            if wish == language:
                return language
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate((accept or "").split(",")):
        name, _, weight = part.strip().partition(";q=")
        try:
            ranked.append((-float(weight or 1), place, name.split("-")[0].lower()))
        except ValueError:
            continue
    for negative, _, name in sorted(ranked):
        for language in LANGUAGES:
            if name == language and negative < 0:
                return language
    return DEFAULT
