"""Colours for where there is no page: `var(--run)` becomes the hex value that the house's palette has for it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from cloud.bi.analyses.result import Spec

Theme = Literal["page", "light", "dark"]

TOKENS: Final = Path(__file__).parents[2] / "dashboard" / "static" / "tokens.css"
_TOKEN: Final = re.compile(r"(--[a-z-]+):\s*light-dark\((#[0-9a-f]{3,8}),\s*(#[0-9a-f]{3,8})\)")
_NAME: Final = re.compile(r"var\((--[a-z-]+)\)")


class PaintError(ValueError):
    """A chart names a colour that the palette does not have: a bug of the chart."""


@lru_cache(maxsize=1)
def palette() -> dict[str, tuple[str, str]]:
    """Give name → (light, dark), as the page's own style sheet says."""
    return {name: (light, dark) for name, light, dark in _TOKEN.findall(TOKENS.read_text("utf-8"))}


def paint(spec: Spec, theme: Theme) -> Spec:
    """Give a chart with its colours in hex for a light or dark ground; for the page as it is, since CSS knows the names."""
    return spec if theme == "page" else _painted(spec, theme)


def _painted(value: Any, theme: Theme) -> Any:
    match value:
        case dict():
            return {key: _painted(one, theme) for key, one in value.items()}
        case list() | tuple():
            return [_painted(one, theme) for one in value]
        case str() if "var(--" in value:
            return _NAME.sub(lambda found: _hex(found[1], theme), value)
        case _:
            return value


def _hex(name: str, theme: Theme) -> str:
    if name not in palette():
        raise PaintError(f"{name} is not in tokens.css")
    return palette()[name][theme == "dark"]
