"""Static checks: what is told of rulesets that contradict themselves or never answer, and that the reasoning is sound."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.expression import window_environment
from models.expression_checker import check
from models.expression_interpreter import Cause, Indeterminate, evaluate
from models.expression_parser import parse
from models.ruleset import Write
from models.ruleset_mistakes import STATES, domain
from models.ruleset_reason import Numbers, OpenError, Reasoner, Words
from models.rulesets import RulesetError, load
from sync.equipment import PackML

TAGS = {"x": "float64", "y": "float64", "sku": "string"}
ENVIRONMENT = window_environment(TAGS)
HEAD = '[ruleset]\nname = "r"\nversion = "1.0.0"\n'


def rule(name: str, when: str, severity: str = "warning", more: str = "") -> str:
    return f'[[rule]]\nname = "{name}"\nwhen = \'{when}\'\nseverity = "{severity}"\n{more}'


def table(*rows: str, more: str = "", inputs: str = 'x = "x", y = "y", state = "state"') -> str:
    told = "".join(f'[[table.row]]\nwhen = {{ {row} }}\nseverity = "warning"\n' for row in rows)
    return f'[[table]]\nname = "t"\ninputs = {{ {inputs} }}\n{more}{told}'


def tree(*nodes: tuple[str, str, str, str]) -> str:
    """Give a tree of nodes: name, when, yes, no."""
    told = (f'[[tree.node]]\nname = "{n}"\nwhen = "{when}"\nyes = {yes}\nno = {no}\n' for n, when, yes, no in nodes)
    return '[[tree]]\nname = "t"\n' + "".join(told)


INFO = '{ severity = "info" }'


def faults(text: str) -> str:
    with pytest.raises(RulesetError) as error:
        load(HEAD + text, ENVIRONMENT)
    return str(error.value)


def warnings(text: str, **given) -> str:
    return "\n".join(str(warning) for warning in load(HEAD + text, ENVIRONMENT, **given).warnings)


WRITE = 'action = [{{ action_type = "slow_down", en = "x", write = {{ tag = "{}", value = {} }} }}]\n'
ACTION = '[[rule.action]]\naction_type = "{}"\nen = "x"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rule("a", "x > 5.0 && x < 3.0"), "6:1: rule a: this can never hold; compare the bounds and texts in it"),
        (rule("a", 'sku == "A" && sku in ["B", "C"]'), "rule a: this can never hold"),
        (rule("a", "x > 5.0", more='only_when = "x < 2.0"\n'), "rule a: this can never hold while only_when does"),
        (rule("a", "x > 5.0", more='only_when = "x != x + 0.0 && false"\n'), "8:1: rule a: this can never hold, so the check never applies"),
        (rule("a", "x / 0.0 > 5.0"), "6:9: rule a, when: divides by zero, always; guard it"),
        (rule("a", "x > 1.0 || 5 / (2 - 2) == 1"), "rule a, when: divides by zero, always"),
        (rule("a", 'state == "EXECUT"'), "rule a, when: state is never 'EXECUT'; nearest is EXECUTE"),
        (rule("a", 'x.quality in ["bad", "ugly"]'), "rule a, when: x.quality is never 'ugly'; there are good, uncertain, bad"),
        (table('state = "RUN"'), "table t, row, 0, when, state: state is never 'RUN'; nearest is EXECUTE"),
        (rule("a", 'state == "running"'), "rule a, when: state is never 'running'; nearest is EXECUTE"),
        (table('x = "> 5 && < 3"'), "table t, row 1: no input fits this row; compare its cells"),
        (table('x = "> 1"', 'x = "> 2"'), "table t, row 2: row 2 can never answer; row 1 fits wherever it does"),
        (table('x = "> 1"', 'y = "> 1"', 'x = "> 3", y = "> 3"'), "table t, row 3: row 3 can never answer; row 1 fits"),
        (table('x = "> 1"', 'x = "<= 1"', 'y = "> 1"'), "row 3 can never answer; the rows before it answer for all that it fits"),
        (table('state = "in [\'HELD\', \'STOPPED\']"', 'state = "HELD", x = "> 3"'), "row 2 can never answer; row 1 fits"),
        (table('x = "> 1"', 'x = "< 0"', more="complete = true\n"), "table t: no row answers for x from 0 to 1; add a row"),
        (rule("a", "x > 5.0", "info") + rule("b", "!(x <= 5.0)", "critical"), "rule b: says critical where rule a says info"),
        (
            rule("a", "x > 5.0", more=ACTION.format("stop")) + rule("b", "x > 3.0", more=ACTION.format("continue")),
            "rule b: demands continue where rule a demands stop; stop is what would be done",
        ),
        (rule("a", "x > 5.0", more=ACTION.format("stop") + ACTION.format("continue")), "demands stop and continue at once"),
        (rule("a", "x > 5.0", more=WRITE.format("z", "5.0")), "8:67: rule a, action, 0, write, tag: there is no tag 'z'"),
        (rule("a", "x > 5.0", more=WRITE.format("state", "5.0")), "there is no tag 'state'"),
        (rule("a", "x > 5.0", more=WRITE.format("x.mean", "5.0")), "rule a, action, write, tag: 'x.mean' is not of the form"),
        (rule("a", "x > 5.0", more=WRITE.format("x", "true")), "rule a, action, 0, write, value: x is double, and the value is True"),
        (rule("a", "x > 5.0", more=WRITE.format("sku", "5")), "sku is string, and the value is 5.0"),
        (rule("a", "x > 5.0", more='action = [{ action_type = "slow_down", en = "x" }]\n'), "rule a, action, action_type: input should be 'alert'"),
        (rule("a", "x > 5.0", more='suppressed_by = ["b"]\n'), "8:18: rule a: there is no check 'b'; there are a"),
        (rule("a", "x > 5.0", more='suppresses = ["a"]\n'), "rule a: a check cannot suppress itself"),
        (
            rule("a", "x > 5.0", more='suppresses = ["b"]\n') + rule("b", "y > 5.0", more='suppresses = ["c"]\n')
            + rule("c", "y > 7.0", more='suppresses = ["a"]\n'),
            "checks suppress each other: a → c → b → a; all would be silent",
        ),
        (
            '[[limit]]\nname = "l"\nvalue = "x"\ncritical_high = 5\nccp = true\n' + rule("a", "y > 1.0", more='suppresses = ["l"]\n'),
            "rule a: 'l' is a critical control point; it cannot be suppressed",
        ),
        ('[[limit]]\nname = "l"\nvalue = "x"\nwarning_high = 5\nccp = true\n', "a critical control point needs a critical limit"),
        ('[[limit]]\nname = "l"\nvalue = "x"\ncritical_high = 5\nccp = true\nalarm = false\n', "cannot go without its alarm"),
        (
            rule("a", "x > 1.0") + '[[composite]]\nname = "c"\nall = ["a", "bb"]\nseverity = "critical"\n',
            "10:13: composite c: there is no check 'bb'",
        ),
        (
            rule("a", "x > 1.0") + '[[composite]]\nname = "c"\nall = ["a", "d"]\nseverity = "critical"\n'
            '[[composite]]\nname = "d"\nany = ["a", "c"]\nseverity = "critical"\n',
            "composites are made of each other: c → d → c",
        ),
        ('[[composite]]\nname = "c"\nall = ["a", "b"]\nany = ["a", "b"]\nseverity = "info"\n', "give one of all, any, of"),
        ('[[composite]]\nname = "c"\nof = ["a", "b"]\nat_least = 3\nseverity = "info"\n', "at_least 3 of 2 can never be"),
        ('[[composite]]\nname = "c"\nall = ["a"]\nseverity = "info"\n', "composite c, all: list should have at least 2"),
        ('[[change]]\nname = "c"\nvalue = "x"\n', "a rate of change needs a threshold: critical_up, warning_up"),
        ('[[change]]\nname = "c"\nvalue = "x"\nwarning_up = 5\ncritical_up = 4\n', "warning_up is not below critical_up"),
        ('[[change]]\nname = "c"\nvalue = "x"\nwarning_down = 5\ncritical_down = 4\n', "warning_down is not below critical_down"),
        ('[[change]]\nname = "c"\nvalue = "x"\nwarning_up = 5\nper = "day"\n', "change c, per: input should be 'second', 'minute' or 'hour'"),
        ('[[stuck]]\nname = "s"\nvalue = "sku"\nband = 1\nfor_s = 5\nseverity = "info"\n', "a band needs a number, and value gives string"),
        ('[[stuck]]\nname = "s"\nvalue = "x"\nseverity = "info"\n', "stuck s: 'for_s' is missing"),
        (
            tree(("a", "x > 1.0", '"b"', INFO)),
            "9:8: tree t, node, 0, yes: there is no node 'b'; there are a",
        ),
        (
            tree(("a", "x > 1.0", '"a"', INFO)),
            "the node 'a' is reached from the root already",
        ),
        (
            tree(("a", "x >", INFO, '{ severty = "info" }')),
            "10:8: tree t: unknown key 'severty'; nearest is severity",
        ),
        (
            tree(("a", "x > 1.0", INFO, INFO), ("b", "x > 1.0", INFO, INFO)),
            "tree t, node, 1, name: no node leads to 'b'; the root is 'a'",
        ),
    ],
)  # fmt: skip
def test_what_is_certainly_wrong_is_refused_with_its_place(text, expected):
    assert expected in faults(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rule("a", "true"), "6:1: rule a: this holds always; it names no input"),
        (rule("a", "false"), "rule a: this never holds: the rule is switched off"),
        (rule("a", "x > 5.0 || x <= 5.0"), "rule a: this holds always; remove the rule"),
        (rule("a", "x > 5.0") + rule("b", "5.0 < x"), "rule b: has the same condition as rule a; one of them is enough"),
        (table('x = "> 1"', 'x = "< 1"'), "table t: no row answers for x 1; close the hole between the rows"),
        (table('x = ">= 0.01 && < 0.02"', 'x = "> 0.02"'), "no row answers for x 0.02"),
        (table('x = "> 1"', more='only_when = "x < 0.5"\n'), "table t, row 1: no input fits this row while only_when holds"),
        (
            rule("a", "x > 5.0", more=ACTION.format("stop")) + rule("b", "x < 7.0", more=ACTION.format("continue")),
            "rule b: demands continue, and rule a can demand stop at the same time; stop is what would be done",
        ),
        (
            '[[limit]]\nname = "l"\nvalue = "x"\ncritical_high = 5\naction = [{ action_type = "stop", en = "x" }]\n'
            + rule("b", "x > 7.0 && y > 1.0", more=ACTION.format("continue")),
            "",
        ),
        (
            tree(("a", "x > 1.0", '"b"', INFO), ("b", "x > 0.5", '{ severity = "critical" }', INFO)),
            "15:1: tree t: no input leads here (a: yes, b: no)",
        ),
    ],
)  # fmt: skip
def test_what_is_suspicious_is_warned_of_and_loads(text, expected):
    if expected:
        assert expected in warnings(text)
    else:
        assert "demands continue where limit l, critical_high demands stop" in faults(text)


def test_limits_outside_the_engineering_range_are_warned_of_where_the_range_is_known():
    text = (
        '[[limit]]\nname = "l"\nvalue = "x.mean"\nwarning_high = 100\ncritical_high = 150\nwarning_low = 5\ncritical_low = -1\n'
        + rule("a", "x > 200.0 && y > 1.0")
        + table('y = "> 3"', 'x = "< 0"')
    )
    ranges = {"x": (0.0, 150.0), "y": (None, None)}
    assert warnings(text) == ""
    assert warnings(text, ranges=ranges).split("\n") == [
        "8:1: limit l, critical_high: x.mean has no good value beyond 150; its engineering range has nothing above 150",
        "10:1: limit l, critical_low: x.mean has no good value beyond -1; its engineering range has nothing below 0",
        "13:1: rule a: no values within the engineering range of x fulfil this; compare bounds and range".replace(
            ", y", ""
        ),
        "22:1: table t, row 2: no values within the engineering range of x fulfil this; compare bounds and range",
    ]


def test_an_action_may_ask_for_a_write():
    rules = load(HEAD + rule("a", "x > 5.0", more=WRITE.format("x", "5")), ENVIRONMENT)
    (action,) = rules.checks[0].outcome.actions
    assert (action.action_type, action.write) == ("slow_down", Write("x", 5.0))


def test_what_silences_the_other_does_not_contradict_it():
    text = rule("a", "x > 5.0", "info", more='suppresses = ["b"]\n') + rule("b", "x > 5.0", "critical")
    assert warnings(text) == ""


def test_open_tables_and_ordinary_rows_are_left_in_peace():
    assert warnings(table('x = "> 4", state = "EXECUTE"', 'state = "EXECUTE"', 'x = "> 2"', 'x = "> 1"')) == ""
    assert warnings(table('x = "> 4"', 'x = "<= 4"', more="complete = true\n")) == ""
    assert warnings(table('x = "> 4"', "", more="complete = true\n")) == ""
    assert warnings(rule("a", "x > 5.0") + rule("b", "x > 5.0", "critical")) == ""


def test_the_states_are_those_of_packml():
    assert set(STATES) == set(PackML.__members__)
    assert domain("x.quality") == Words(frozenset(["good", "uncertain", "bad"]))
    assert domain("context.product") is None


def test_hundreds_of_rules_and_wide_tables_are_reviewed_in_time():
    many = "".join(
        rule(f"r{n}", f"x > {n}.0 && y < {n}.0 || x < -{n}.0", more=ACTION.format("stop")) for n in range(200)
    )
    wide = table(*(f'x = "> {64 - n}", y = "< {64 - n} || > {200 + n}", state = "!= \'HELD\'"' for n in range(64)))
    assert len(load(HEAD + many + wide, ENVIRONMENT).checks) == 201


def test_hundreds_of_checks_that_name_each_other_are_told_in_time_and_not_each_pair():
    names = [f"r{n}" for n in range(60)]
    mutual = "".join(
        rule(name, f"x > {n}.0", more=f"suppresses = {[one for one in names if one != name]}\n".replace("'", '"'))
        for n, name in enumerate(names)
    )
    assert len(faults(mutual).split("\n")) == 20
    chain = "".join(rule(f"r{n}", f"x > {n}.0", more=f'suppressed_by = ["r{n + 1}"]\n') for n in range(400)) + rule(
        "r400", "y > 1.0"
    )
    assert warnings(chain) == ""
    same = "".join(rule(f"r{n}", "x > 1.0") for n in range(300))
    assert len(warnings(same).split("\n")) == 299


def test_a_table_made_to_take_for_ever_is_left_open():
    cell = " || ".join(f"> {2 * n} && < {2 * n + 1}" for n in range(40))
    rows = (f'x = "{cell}", y = "{cell.replace("0", str(n))}", state = "!= \'HELD\'"' for n in range(1, 60))
    assert len(load(HEAD + table(*rows), ENVIRONMENT).checks) == 1


# --- soundness: nothing that can happen is called impossible


BOUNDS = [-1.0, 0.0, 0.5, 1.0, 2.0]
NUMBERS = [-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 1e308, -1e308]
WORDS = ["A", "B", "C"]


def _conditions():
    number = st.sampled_from(["x", "y", "x + y", "x * 2.0", "x - y", "-x", "math.abs(y)", "x / y"])
    atoms = st.one_of(
        st.tuples(number, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.sampled_from(BOUNDS)).map(
            lambda a: f"{a[0]} {a[1]} {a[2]!r}"
        ),
        st.tuples(st.sampled_from(BOUNDS), st.sampled_from(["<", ">=", "=="]), number).map(lambda a: f"{a[0]!r} {a[1]} {a[2]}"),
        st.tuples(number, st.lists(st.sampled_from(BOUNDS), max_size=3)).map(lambda a: f"{a[0]} in {a[1]!r}"),
        st.tuples(st.sampled_from(["==", "!="]), st.sampled_from(WORDS)).map(lambda a: f"sku {a[0]} '{a[1]}'"),
        st.lists(st.sampled_from(WORDS), max_size=2).map(lambda words: f"sku in {words!r}"),
        st.sampled_from(["context.stale", "context.stale == false", "has(x)", "x < y", "sku < 'B'", "sku.startsWith('A')", "1 < 2", "x / 0.0 > 1.0"]),
    )  # fmt: skip
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(lambda found: "(" + " && ".join(f"({c})" for c in found) + ")"),
            st.lists(inner, min_size=2, max_size=3).map(lambda found: "(" + " || ".join(f"({c})" for c in found) + ")"),
            inner.map(lambda c: f"!({c})"),
            st.tuples(inner, inner, inner).map(lambda c: f"(({c[0]}) ? ({c[1]}) : ({c[2]}))"),
        ),
        max_leaves=7,
    )


def _typed(text: str, slots: dict[str, int]):
    return check(text, parse(text), ENVIRONMENT, slots, "bool")


def _sample(draw: random.Random, names) -> list:
    pool = {"x": NUMBERS, "y": NUMBERS, "sku": [*WORDS, "D", ""], "context.stale": [True, False]}
    return [Cause(name, "bad") if draw.random() < 0.1 else draw.choice(pool[name]) for name in names]


@settings(max_examples=300, deadline=None)
@given(_conditions(), st.booleans(), st.integers(0, 2**32))
def test_a_condition_that_happens_lies_in_one_of_its_regions(text, want, seed):
    slots: dict[str, int] = {}
    tree = _typed(text, slots)
    reasoner = Reasoner({})
    try:
        regions = reasoner.regions(tree, want)
    except OpenError:
        return
    draw = random.Random(seed)
    for _ in range(60):
        inputs = _sample(draw, slots)
        if evaluate(tree, inputs) is not want:
            continue
        assert any(
            all(_lies(evaluate(reasoner.terms[n], inputs), values) for n, values in region.items())
            for region in regions
        ), (text, want, inputs)


def _lies(value, values) -> bool:
    if isinstance(value, Indeterminate):
        return False
    if isinstance(values, Words):
        return (value in values.names) is not values.without
    return any(
        (low < value or (low == value and low_in)) and (value < high or (value == high and high_in))
        for low, low_in, high, high_in in values.spans
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(_conditions(), min_size=1, max_size=6), st.integers(0, 2**32))
def test_what_is_refused_as_unreachable_is_never_reached(conditions, seed):
    """First as rules, then as rows of one table: a sampled window reaches nothing that was called unreachable."""
    slots: dict[str, int] = {}
    trees = [_typed(text, slots) for text in conditions]
    reasoner = Reasoner({})
    never = [not reasoner.possible((tree, True)) for tree in trees]
    shadowed = [
        not reasoner.possible((tree, True), *((earlier, False) for earlier in trees[:at]))
        for at, tree in enumerate(trees)
    ]
    draw = random.Random(seed)
    for _ in range(80):
        inputs = _sample(draw, slots)
        results = [evaluate(tree, inputs) for tree in trees]
        for at, result in enumerate(results):
            if result is True:
                assert not never[at], (conditions[at], inputs)
                if all(earlier is False for earlier in results[:at]):
                    assert not shadowed[at], (conditions, at, inputs)


@given(st.lists(st.tuples(st.sampled_from(["lt", "le", "gt", "ge", "eq"]), st.sampled_from(BOUNDS)), max_size=6))
def test_sets_of_numbers_keep_the_laws(parts):
    found, truth = Numbers(((float("-inf"), False, float("inf"), False),)), lambda _: True
    for name, bound in parts:
        one = {
            "lt": Numbers(((float("-inf"), False, bound, False),)), "le": Numbers(((float("-inf"), False, bound, True),)),
            "gt": Numbers(((bound, False, float("inf"), False),)), "ge": Numbers(((bound, True, float("inf"), False),)),
            "eq": Numbers(((bound, True, bound, True),)).other(),
        }[name]  # fmt: skip
        law = {"lt": lambda v, b=bound: v < b, "le": lambda v, b=bound: v <= b, "gt": lambda v, b=bound: v > b,
               "ge": lambda v, b=bound: v >= b, "eq": lambda v, b=bound: v != b}[name]  # fmt: skip
        found, truth = found.both(one), (lambda v, was=truth, now=law: was(v) and now(v))
    for value in (-2.0, *BOUNDS, 0.25, 0.75, 1.5, 9.0):
        assert _lies(value, found) is truth(value)
        assert _lies(value, found.other()) is not truth(value)
    assert found.other().other() == found
