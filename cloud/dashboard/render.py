"""Pages from models: the Jinja2 environment, and the static files with an address that changes when they do."""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from cloud.dashboard import navigation
from cloud.wording import formats
from cloud.wording.texts import LANGUAGES, TEXTS, Language, Words

HERE: Final = Path(__file__).parent
STATIC: Final[Mapping[str, tuple[bytes, str]]] = {
    path.name: (path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
    for path in sorted((HERE / "static").iterdir())
}
"""name → (bytes, media type): a handful of small files, held in memory."""

VERSION: Final = hashlib.sha256(b"".join(body for body, _ in STATIC.values())).hexdigest()[:12]
"""Part of every static address, so that browsers may keep the files for ever."""

LIVE_WORDS: Final = (
    *(f"unit.{name}" for name in ("day", "hour", "minute", "second", "gap")),
    *(f"app.{name}" for name in ("live", "connecting", "lost", "lost_banner")),
    "alarms.new",
    "wall.since",
    "link.failed",
    "hours.asked",
    "hours.asked_none",
    "hours.ask_failed",
    *(f"decision.{code}" for code in ("normal", "warning", "critical", "unknown")),
    *(f"verdict.{name}" for name in ("changes", "stays", "lacks", "model_stays", "exact", "exact_model", "not_exact")),
    "feedback.thanks",
    "acts.who",
    "acts.asked",
    "data.done",
    *(f"ask.{name}" for name in ("pinned", "saved", "unpinned")),
    *(key for key in TEXTS if key.startswith("refused.")),
)
"""What the scripts say themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Whom the page is for: what the request said about language, light and time zone."""

    words: Words
    theme: str
    """light, dark or auto."""
    zone: tzinfo
    path: str = "/"
    query: tuple[tuple[str, str], ...] = ()
    """What the address asked for besides the language."""

    def address(self, **changes: object) -> str:
        """Give this page's address with something changed."""
        return "?" + urlencode(
            [*((name, value) for name, value in self.query if name not in changes), *changes.items()]
        )

    def without(self, *names: str) -> Reader:
        """Give a reader whose address asks for less."""
        return replace(self, query=tuple(pair for pair in self.query if pair[0] not in names))

    @property
    def language(self) -> Language:
        return self.words.language


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": formats.number,
        "signed": formats.signed,
        "percent": formats.percent,
        "measured": formats.measured,
        "size": formats.size,
        "freshness": formats.freshness,
        "line_path": lambda work_unit: quote(str(work_unit)),
    }
    shared: dict[str, Any] = {
        "spans": formats.spans,
        "age": formats.age,
        "decision_icon": formats.DECISION_ICON,
        "element_icon": formats.ELEMENT_ICON,
        "stale_after": formats.STALE_AFTER_S,
        "languages": LANGUAGES,
        "navigation": navigation.GROUPS,
        "version": VERSION,
    }
    environment.globals.update(shared)
    return environment


_PAGES: Final = _environment()


def pages() -> list[str]:
    """Give the name of every page, and of every part of one."""
    return _PAGES.list_templates()


def compiled(page: str) -> Template:
    """Give a page or a part of one, compiled, which takes 10 ms the first time."""
    return _PAGES.get_template(page)


def render(page: str, reader: Reader, **model: Any) -> str:
    """Give the page (a file in pages/) for this reader.

    The templates see the model's names, `t` (texts), `label` (codes to words), `clock` and `duration`.
    """
    words = reader.words

    def clock(text: str | None, *, now: str | None = None, seconds: bool = True) -> str:
        return formats.clock(text, reader.zone, now=now, seconds=seconds)

    def duration(seconds: float | None) -> str:
        return formats.duration(seconds, words)

    spoken = {key: TEXTS[key][words.language] for key in LIVE_WORDS}  # with their {places}: the script fills them
    return compiled(page).render(
        t=words,
        label=words.label,
        said=words.of,
        clock=clock,
        duration=duration,
        reader=reader,
        spoken=Markup(json.dumps(spoken, ensure_ascii=False).replace("<", "\\u003c")),  # noqa: S704 - our own texts, escaped
        **model,
    )
