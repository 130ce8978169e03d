"""A browser on the gateway's page that hears every complaint, and a gateway whose rule asks for a write."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from tests.edge.acting.gateway import MEDIUM
from tests.edge.acting.test_acting import ModbusPlc
from tests.edge.acting.test_process import site
from tests.edge.page.test_page import live
from tests.servers import free_port, listens, process, wait_until


@dataclass
class Heard:
    """What a page complained of, and whom it asked."""

    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def browsing(browser: Browser, home: str, *, language: str = "en", **context: Any) -> AsyncIterator[Page]:
    """Open the page; at the end nothing may have been complained of, and nobody else asked for anything."""
    opened = await browser.new_context(reduced_motion="reduce", **context)
    page, heard = await opened.new_page(), Heard()
    page.on("console", lambda said: heard.complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: heard.complaints.append(str(error)))
    page.on("request", lambda request: heard.addresses.append(request.url))
    await live(page, f"{home}/?lang={language}")
    yield page
    # A browser says of every answer of 4xx that it failed; what the page makes of it is what the test looks at.
    assert [text for text in heard.complaints if "Failed to load resource" not in text] == []
    assert [url for url in heard.addresses if not url.startswith(home + "/")] == []
    await opened.close()


async def wide(page: Page) -> int:
    """Give how many pixels stand beyond the right edge, of the page or of the dialog that is open."""
    return await page.evaluate("""() => Math.max(...[document.documentElement, ...document.querySelectorAll("dialog[open]")]
        .map((one) => one.scrollWidth - one.clientWidth))""")


NAMELESS = """() => {
  const seen = (node) => node.checkVisibility({ visibilityProperty: true });
  const labelled = (node) => node.getAttribute("aria-label") || node.innerText?.trim() || node.labels?.[0]?.innerText.trim()
    || node.getAttribute("aria-labelledby") && document.getElementById(node.getAttribute("aria-labelledby"))?.textContent.trim();
  const all = [...document.querySelectorAll("button, a, input, select, textarea, dialog, summary")].filter(seen);
  return all.filter((node) => !labelled(node)).map((node) => node.outerHTML.slice(0, 120));
}"""
FAINT = """() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const light = ({ r, g, b }) => { const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
  const ground = (node) => { for (; node; node = node.parentElement) { const c = parse(getComputedStyle(node).backgroundColor); if (c.a === 1) return c; }
    return { r: 255, g: 255, b: 255 }; };
  const found = [];
  const scope = [...document.querySelectorAll("dialog[open]")].pop() ?? document.body;
  for (const node of scope.querySelectorAll("*")) {
    if (!node.checkVisibility({ visibilityProperty: true }) || node.closest(":disabled")) continue;
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(parse(style.color)), light(ground(node))].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24 || parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700;
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) found.push(`${node.className || node.id || node.tagName}: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return found;
}"""


async def accessible(page: Page) -> None:
    """See that all one can touch has a name and all one can read stands out (WCAG 2.2: 4.1.2, 1.4.3)."""
    assert await page.evaluate(NAMELESS) == []
    assert await page.evaluate(FAINT) == []


@contextlib.contextmanager
def filler(folder: Path, machine: ModbusPlc, **more: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a gateway that would slow a filler down when its pressure is high, after a person's yes."""
    port, log = free_port(), folder / "gateway.log"
    path = site(folder, machine, port, **{"mode": "advise", "acting": "", "permit": MEDIUM, **more})
    with process("triflow", "edge", "run", str(path), log=log) as running:
        wait_until(lambda: running.poll() is not None or listens(port), "the gateway's page answers", 30)
        assert running.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}", running
