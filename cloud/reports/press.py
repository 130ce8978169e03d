"""From drawings to paper: SVG to PDF and PNG by vl-convert, pages put together by pypdf. Knows nothing of reports.

Letters are drawn with the fonts of the machine. Where none of them has Hangul, Korean would come out as boxes or as
nothing: that is found out by drawing and said, with what to install, instead of printed.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import pypdf
from pypdf.generic import NameObject, TextStringObject

from cloud.bi.analyses.paint import paint
from cloud.drawing.renderer import renderer

Spec = dict[str, Any]

FONT: Final = (
    "Pretendard, 'Noto Sans KR', 'Noto Sans CJK KR', 'NanumGothic', 'Apple SD Gothic Neo', 'Malgun Gothic',"
    " 'Noto Sans', 'DejaVu Sans', sans-serif"
)
INSTALL: Final = (
    "no font on this machine has Korean letters: install one (Debian and Ubuntu: apt-get install fonts-noto-cjk or"
    " fonts-nanum; Fedora: google-noto-sans-cjk-kr-fonts) and start the cloud again"
)
_CONFIG: Final[Spec] = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": 11,
        "labelPadding": 5,
        "titleColor": "var(--muted)",
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domain": False,
        "ticks": False,
        "title": None,
    },
    "axisX": {"grid": False},
    "text": {"fill": "var(--ink)", "fontSize": 11},
}
_SIZE: Final = re.compile(r'<svg[^>]*? width="([\d.]+)"[^>]*? height="([\d.]+)"')
_XML_FORBIDS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class FontError(Exception):
    """Nothing here can draw Korean letters; says what to install. Another language, or the page, still works."""


def drawing(spec: Spec) -> tuple[str, float, float]:
    """Draw a chart on paper; gives SVG, width, height. The same chart again costs nothing."""
    return _drawn(json.dumps(paint({**spec, "config": _CONFIG}, "light"), ensure_ascii=False, sort_keys=True))


@lru_cache(maxsize=256)
def _drawn(spec: str) -> tuple[str, float, float]:
    svg = renderer.svg(spec)
    size = _SIZE.search(svg)
    if size is None:
        raise ValueError("the renderer gave a drawing without a size")
    return svg, float(size[1]), float(size[2])


def pdf(pages: Sequence[str], *, title: str, author: str, language: str) -> bytes:
    """Give one document of pages (SVG). Raises FontError."""
    _check(pages)
    book = pypdf.PdfWriter()
    for page in pages:
        book.append(pypdf.PdfReader(io.BytesIO(renderer.pdf(_clean(page)))))
    book.add_metadata({"/Title": title, "/Author": author, "/Producer": "Triflow"})
    book.root_object[NameObject("/Lang")] = TextStringObject(language)
    book.compress_identical_objects()
    out = io.BytesIO()
    book.write(out)
    return out.getvalue()


def png(page: str) -> bytes:
    """Give one page (SVG) as a picture. Raises FontError."""
    _check([page])
    return renderer.png(_clean(page))


def _clean(page: str) -> str:
    return _XML_FORBIDS.sub("\ufffd", page)


def _check(pages: Sequence[str]) -> None:
    if any("\uac00" <= letter <= "\ud7a3" for page in pages for letter in page) and not has_hangul():
        raise FontError(INSTALL)


@lru_cache(maxsize=1)
def has_hangul() -> bool:
    """Tell whether Korean letters can be drawn: two of them look different from each other and from nothing."""
    seen = {_letter(one) for one in ("", "가", "뷁")}
    return len(seen) == 3


def _letter(one: str) -> bytes:
    text = f'<text x="4" y="28" font-size="24" font-family="{FONT}">{one}</text>'
    return renderer.png(f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{text}</svg>')
