"""Trying rules on history: recorded verdicts a second, from their JSON, beside judging each again with all its words."""

from __future__ import annotations

import random
import time
from pathlib import Path

import msgspec

from bench.judgment import S
from bench.table import Row
from edge.judgment import State, gather, judge, judged
from edge.judgment.backtest import evaluate
from edge.judgment.past import Past, Recorded
from models.expression import window_environment
from models.rulesets import load
from models.window import TagWindow, Window
from sync.facts import Context, Judged

EXAMPLE = Path(__file__).parent.parent / "models" / "examples" / "filler.toml"
TAGS = {"oil_temperature": "CEL", "filling_pressure": "BAR", "vibration": "C16"}
WINDOWS, TIMES = 5_000, 20


def run() -> list[Row]:
    """Record windows, then try another version of the rules on all of them."""
    environment = window_environment(dict.fromkeys(TAGS, "float64"), units=dict(TAGS))
    text = EXAMPLE.read_text(encoding="utf-8")
    ruleset = load(text, environment)
    candidate = load(text.replace("warning_high = 75", "warning_high = 74").replace("1.0.0", "1.1.0"), environment)
    draw, memory = random.Random(4), State()
    raw: list[bytes] = []
    start = time.thread_time()
    for number in range(WINDOWS):
        verdict = judge(ruleset, gather(ruleset, _window(number, draw), memory=memory))
        memory = verdict.state
        raw.append(msgspec.json.encode(judged(verdict)))
    one_by_one = WINDOWS / (time.thread_time() - start)
    decoder = msgspec.json.Decoder(Recorded)
    start = time.thread_time()
    past = Past([decoder.decode(each) for each in raw * TIMES])
    read = time.thread_time() - start
    start = time.thread_time()
    evaluate(past, candidate, memory="continuous")
    tried = time.thread_time() - start
    assert isinstance(msgspec.json.decode(raw[0], type=Judged), Judged)
    rate, whole = past.rows / tried, past.rows / (tried + read)
    return [
        Row(
            measure="back-test of rules with limits, tables, hysteresis and delays: verdicts per CPU second",
            goal="≥ 50,000",
            figure=f"{rate:,.0f} (with reading their JSON {whole:,.0f})",
            alternative=f"judging each window with all its words: {one_by_one:,.0f}",
            ratio=f"{whole / one_by_one:.0f}",
            ok=whole >= 50_000,
        )
    ]


def _window(number: int, draw: random.Random) -> Window:
    tags: dict[str, TagWindow] = {}
    for (name, unit), middle in zip(TAGS.items(), (70.0, 3.0, 4.0), strict=True):
        value = draw.gauss(middle, middle / 10)
        tags[name] = TagWindow(
            name=name, unit=unit, last=value, first=value, mean=value, min=value, max=value * 1.1, stddev=middle / 50,
            count=100, bad=0, status=0, age_ns=S, low=None, high=None, max_age_ns=30 * S, required=False,
        )  # fmt: skip
    scrap = draw.randrange(6)
    return Window(
        work_unit="a/b/c",
        start=number * 10 * S,
        end=(number + 1) * 10 * S,
        tags=tags,
        state="EXECUTE",
        reason=None,
        context=Context(product="JUICE-1000" if number // 500 % 2 else "COLA-500"),
        counts={"produced": 100, "good": 100 - scrap, "scrap": scrap},
    )
