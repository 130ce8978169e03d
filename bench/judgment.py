"""Rules and judging: fused evaluations per second against a CEL library, and the p99 of judging one window."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

import cel

from bench.table import Row
from edge.judgment import State, gather, judge, judged
from models.expression import Environment, Program, window_environment
from models.expression_checker import check
from models.expression_parser import parse
from models.rulesets import load
from models.window import TagWindow, Window
from sync.facts import Context

TAGS, RULES = 1000, 50
S = 1_000_000_000


def run() -> list[Row]:
    """Measure the expressions beside a CEL library, and a whole judgment."""
    return [_evaluations(), _judging()]


def _per_s(work: Callable[[], object], evaluations: int, *, seconds: float = 0.4) -> float:
    """Give evaluations per second: the median of five runs of about `seconds` each."""
    work()
    start = time.perf_counter()
    work()
    turns = max(1, int(seconds / max(1e-7, time.perf_counter() - start)))
    rates: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(turns):
            work()
        rates.append(turns * evaluations / (time.perf_counter() - start))
    return statistics.median(rates)


def _evaluations() -> Row:
    """Fifty rules of three tags each over a thousand tags: ours fused, and the Rust CEL with one shared context."""
    draw = random.Random(1)
    values = {f"t{i}": draw.gauss(50, 10) for i in range(TAGS)}
    texts = [
        f"t{draw.randrange(TAGS)} > {draw.uniform(40, 60):.2f} && t{draw.randrange(TAGS)} < {draw.uniform(40, 60):.2f} "
        f"|| t{draw.randrange(TAGS)} - t{draw.randrange(TAGS)} >= {draw.uniform(0, 5):.2f}"
        for _ in range(RULES)
    ]
    environment = Environment(types=dict.fromkeys(values, "double"))
    slots: dict[str, int] = {}
    program = Program([check(text, parse(text), environment, slots, "bool") for text in texts], slots)
    inputs = [values[name] for name in program.variables]
    compiled = [cel.compile(text) for text in texts]
    context = cel.Context(values)
    if list(program.run(inputs, known=True)) != [one.execute(context) for one in compiled]:
        raise AssertionError("the two engines disagree")
    ours = _per_s(lambda: program.run(inputs, known=True), RULES)
    theirs = _per_s(lambda: [one.execute(context) for one in compiled], RULES)
    return Row(
        measure=f"rules: evaluations/s on one core, {RULES} rules over {TAGS} tags",
        goal="≥ 1 M",
        figure=f"{ours / 1e6:.1f} M",
        alternative=f"common-expression-language (Rust) {theirs / 1e6:.2f} M",
        ratio=f"{ours / theirs:.1f}",
        ok=ours >= 1_000_000,
    )


def _judging() -> Row:
    """One window through fifty checks to the finished fact: limits, rules and tables, a few of them failing."""
    names = [f"t{i}" for i in range(40)]
    text = '[ruleset]\nname = "bench"\nversion = "1.0.0"\n'
    for i in range(30):
        text += f'[[limit]]\nname = "limit_{i}"\nvalue = "t{i}.mean"\nwarning_high = {80 + i % 3}\ncritical_high = 90\nhysteresis = 1\ndelay_s = 10\n'
    for i in range(15):
        text += f'[[rule]]\nname = "rule_{i}"\nwhen = "t{i}.max > 70 && t{i + 10} < 40 || t{i + 20}.stddev > 9.5"\nseverity = "warning"\n'
    for i in range(5):
        text += f'[[table]]\nname = "table_{i}"\ninputs = {{ rate = "100 * counts.scrap / counts.produced", product = "context.product" }}\nvalue = "rate"\n'
        for row in range(4):
            text += (
                f'[[table.row]]\nwhen = {{ rate = "> {8 - 2 * row}", product = "P{row % 2}" }}\nseverity = "critical"\n'
            )
    ruleset = load(text, window_environment(dict.fromkeys(names, "float64")))
    draw = random.Random(2)
    state, times, walls = State(), list[float](), list[float]()
    for number in range(2000):
        window = _window(number, names, draw)
        start, wall = time.thread_time(), time.perf_counter()
        verdict = judge(ruleset, gather(ruleset, window, memory=state))
        judged(verdict)
        times.append((time.thread_time() - start) * 1e3)
        walls.append((time.perf_counter() - wall) * 1e3)
        state = verdict.state
    p50, p99 = (statistics.quantiles(times, n=100)[percent - 1] for percent in (50, 99))
    wall = statistics.quantiles(walls, n=100)[98]
    return Row(
        measure="rules: a window judged by 50 checks to the finished fact, p99 of CPU time",
        goal="< 1 ms",
        figure=f"{p99:.2f} ms (p50 {p50:.2f}, by the wall clock {wall:.2f})",
        ok=p99 < 1.0,
    )


def _window(number: int, names: list[str], draw: random.Random) -> Window:
    tags: dict[str, TagWindow] = {}
    for name in names:
        value = draw.gauss(65, 8)
        tags[name] = TagWindow(
            name=name, unit="CEL", last=value, first=value - 1, mean=value, min=value - 2, max=value + 2,
            stddev=draw.uniform(0, 10), count=100, bad=0, status=0, age_ns=S, low=-50.0, high=200.0,
            max_age_ns=30 * S, required=name in {"t0", "t1"},
        )  # fmt: skip
    scrap = draw.randrange(12)
    return Window(
        work_unit="a/b/c",
        start=number * 10 * S,
        end=(number + 1) * 10 * S,
        tags=tags,
        state="EXECUTE",
        reason=None,
        context=Context(product=f"P{number // 100 % 2}"),
        counts={"produced": 100, "good": 100 - scrap, "scrap": scrap},
    )
