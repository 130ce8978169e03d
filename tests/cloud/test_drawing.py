"""The process that draws: what it gives, what it refuses, and that its end is nobody else's."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from cloud.drawing import renderer as home
from cloud.drawing.renderer import DrawingError, Renderer

CHART = json.dumps(
    {"mark": "point", "data": {"values": [{"a": 1}]}, "encoding": {"x": {"field": "a", "type": "quantitative"}}}
)
PAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><rect width="20" height="20"/></svg>'


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    one = Renderer()
    yield one
    one.close()


def _child() -> psutil.Process:
    mine = psutil.Process().children()
    return next(one for one in mine if str(home.CHILD) in one.cmdline())


def test_charts_and_pages_come_out_in_every_form(renderer: Renderer):
    assert renderer.svg(CHART).startswith("<svg ")
    assert renderer.pdf(PAGE).startswith(b"%PDF")
    assert renderer.png(PAGE).startswith(b"\x89PNG")


def test_what_is_no_chart_is_refused_and_the_next_one_is_drawn(renderer: Renderer):
    for wrong in ("{", json.dumps({"mark": "no such mark"}), "\ud800"):
        with pytest.raises(DrawingError):
            renderer.svg(wrong)
    assert renderer.svg(CHART).startswith("<svg ")


def test_a_chart_reads_nothing_from_elsewhere(renderer: Renderer, tmp_path: Any):
    (tmp_path / "secret.csv").write_text("a\n4711\n")
    for where in ((tmp_path / "secret.csv").as_uri(), str(tmp_path / "secret.csv")):
        spec = {"mark": "text", "data": {"url": where}, "encoding": {"text": {"field": "a"}}}
        try:
            drawn = renderer.svg(json.dumps(spec))
        except DrawingError:
            continue
        assert "4711" not in drawn


def test_a_killed_process_is_started_anew(renderer: Renderer):
    renderer.svg(CHART)
    before = _child()
    before.send_signal(signal.SIGKILL)
    before.wait(10)
    assert renderer.svg(CHART).startswith("<svg ")
    assert _child().pid != before.pid


def test_a_picture_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, renderer: Renderer):
    renderer.svg(CHART)
    _child().suspend()
    monkeypatch.setattr(home, "PATIENCE_S", 0.2)
    with pytest.raises(DrawingError, match="too long"):
        renderer.svg(CHART)
    monkeypatch.undo()
    assert renderer.svg(CHART).startswith("<svg ")


def test_this_process_goes_on_while_another_draws(renderer: Renderer):
    """With the renderer in this interpreter no other thread would get a turn for as long as a chart takes."""
    renderer.svg(CHART)
    _child().suspend()
    drawn: list[str] = []
    drawing = threading.Thread(target=lambda: drawn.append(renderer.svg(CHART)), name="pytest-drawing")
    drawing.start()
    time.sleep(0.05)
    assert drawn == []
    _child().resume()
    drawing.join(10)
    assert drawn[0].startswith("<svg ")


def test_it_ends_when_it_is_closed(renderer: Renderer):
    renderer.svg(CHART)
    child = _child()
    renderer.close()
    assert not child.is_running()
