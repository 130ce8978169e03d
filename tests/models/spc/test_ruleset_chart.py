"""[[chart]] and [[capability]] in a ruleset file: what they mean, and what every fault is told as."""

from __future__ import annotations

import pytest

from models.expression import window_environment
from models.ruleset_capability import CapabilityCheck
from models.ruleset_chart import Chart
from models.rulesets import Ruleset, RulesetError, load
from models.spc import NELSON, USUAL, Limits

ENVIRONMENT = window_environment({"weight": "float32", "oil": "float32", "sku": "string"})
HEAD = '[ruleset]\nname = "r"\nversion = "1.0.0"\n'
LIMITS = 'limits = { center = 500.0, sigma = 2.0, version = "2026-11-23" }\n'
CHART = '[[chart]]\nname = "fill"\nkind = "xbar"\nvalue = "weight.mean"\n'


def read(text: str) -> Ruleset:
    return load(HEAD + text, ENVIRONMENT)


def only(text: str) -> Chart:
    (check,) = read(text).checks
    assert isinstance(check, Chart)
    return check


def told(text: str) -> str:
    with pytest.raises(RulesetError) as error:
        read(text)
    return str(error.value)


def test_a_chart_has_the_usual_rules_its_subgroup_is_the_window_and_its_limits_are_the_files():
    chart = only(CHART + LIMITS)
    assert chart.design.rules == USUAL
    assert dict(chart.limits) == {None: Limits(kind="xbar", center=500.0, sigma=2.0, version="2026-11-23")}
    assert read(CHART + LIMITS).program.variables[chart.size_at or 0] in {"weight.count", "weight.mean"}
    assert (chart.spread_at, chart.reset_on, chart.reset_after_ns) == (None, (), 0)
    assert chart.severities == dict.fromkeys(USUAL, "warning")


def test_rules_severities_resets_and_products_can_be_said():
    chart = only(
        CHART
        + 'rules = ["nelson", "we_4"]\nseverity = "info"\nseverities = { nelson_1 = "critical" }\nspread = "weight.stddev"\n'
        + 'reset_on = "lot"\nreset_after_s = 3600\nsize = 5\n'
        + '[[chart.limits]]\ncenter = 500.0\nsigma = 2.0\nversion = "1"\n'
        + '[[chart.limits]]\nproduct = "COLA-1000"\ncenter = 1000.0\nsigma = 3.0\nversion = "1"\n'
    )
    assert chart.design.rules == (*NELSON, "we_4")
    assert (chart.severities["nelson_1"], chart.severities["nelson_2"]) == ("critical", "info")
    assert (chart.reset_on, chart.reset_after_ns, chart.size) == (("lot",), 3_600_000_000_000, 5.0)
    found = [chart.limits_of(name) for name in ("COLA-1000", "COLA-500", None)]
    assert [one.center for one in found if one is not None] == [1000.0, 500.0, 500.0]


@pytest.mark.parametrize(
    "text",
    [
        '[[chart]]\nname = "i"\nkind = "individuals"\nvalue = "oil"\n' + LIMITS,
        '[[chart]]\nname = "i"\nkind = "individuals"\nvalue = "oil"\nlimits = { center = 5, lcl = 1, ucl = 20, version = "1" }\n',
        '[[chart]]\nname = "e"\nkind = "ewma"\nvalue = "oil.mean"\nlambda = 0.1\nwidth = 2.7\nsteady = true\n' + LIMITS,
        '[[chart]]\nname = "c"\nkind = "cusum"\nvalue = "oil"\nk = 0.25\nh = 8\nhead_start = 4\nrestart = true\nrules = "nelson_1"\n'
        + LIMITS,
        '[[chart]]\nname = "p"\nkind = "p"\ncounted = "counts.scrap"\ninspected = "counts.produced"\nlimits = { center = 0.02, sigma_z = 1.7, version = "1" }\n',
        '[[chart]]\nname = "n"\nkind = "np"\ncounted = "counts.scrap"\ninspected = 50\nlimits = { center = 0.02, version = "1" }\n',
        '[[chart]]\nname = "c"\nkind = "c"\ncounted = "counts.scrap"\nlimits = { center = 4, version = "1" }\n',
        '[[chart]]\nname = "u"\nkind = "u"\ncounted = "counts.defects"\ninspected = "counts.produced"\nlimits = { center = 0.1, version = "1" }\n',
    ],
    ids=lambda text: text.split("kind = ")[1].split('"')[1],
)
def test_every_kind_can_be_written(text):
    assert only(text).limits


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (CHART, "4:1", "'limits' is missing"),
        (CHART + "limits = { center = 5, sigma = 0, version = '1' }\n", "8:1", "sigma 0 is not above 0"),
        (CHART + "limits = { center = nan, sigma = 1, version = '1' }\n", "8:", "finite"),
        (CHART + "limits = { center = 5, version = '1' }\n", "8:1", "sigma is missing (or lcl and ucl)"),
        (CHART + "limits = { center = 5, sigma = 1 }\n", "8:", "'version' is missing"),
        (CHART + "limits = { center = 5, sigm = 1, version = '1' }\n", "8:", "unknown key 'sigm'"),
        (CHART + "limits = { center = 5, sigma = 1, version = '1', hash = '00000000' }\n", "8:", "a number was changed"),
        (CHART + "[[chart.limits]]\ncenter = 1\nsigma = 1\nversion = '1'\n[[chart.limits]]\ncenter = 2\nsigma = 1\nversion = '1'\n", "12:", "given twice"),
        (CHART + "[[chart.limits]]\ncenter = 1\nsigma = -1\nversion = '1'\n", "8:", "sigma -1 is not above 0"),
        (CHART + LIMITS + "rules = ['nelson_9']\n", "9:", "there is no rule 'nelson_9'; nearest is nelson"),
        (CHART + LIMITS + "rules = []\nsize = 5\nkindd = 1\n", "11:", "unknown key 'kindd'"),
        (CHART + LIMITS + "severities = { nelson_3 = 'critical' }\n", "9:", "this chart has no 'nelson_3'"),
        (CHART + LIMITS + "h = 4\n", "9:", "h means nothing to a chart of kind xbar"),
        (CHART + LIMITS + "lambda = 0.1\n", "9:", "lambda means nothing to a chart of kind xbar"),
        (CHART.replace("weight.mean", "weight.meen") + LIMITS, "7:", "weight.mean"),
        (CHART.replace("weight.mean", "sku") + LIMITS, "7:", "gives string"),
        (CHART.replace("weight.mean", "weight.mean - oil.mean") + LIMITS, "7:", "'size' is missing"),
        ('[[chart]]\nname = "p"\nkind = "p"\ncounted = "counts.scrap"\nlimits = { center = 0.1, version = "1" }\n', "6:", "'inspected' is missing"),
        ('[[chart]]\nname = "p"\nkind = "p"\nvalue = "oil"\nlimits = { center = 0.1, version = "1" }\n', "7:", "value means nothing"),
        ('[[chart]]\nname = "p"\nkind = "np"\ncounted = "counts.scrap"\ninspected = 0\nlimits = { center = 0.1, version = "1" }\n', "8:", "greater than 0"),
        ('[[chart]]\nname = "c"\nkind = "cusum"\nvalue = "oil"\nhead_start = 5\n' + LIMITS, "8:", "head_start 5 is not below h 5"),
        ('[[chart]]\nname = "c"\nkind = "cusums"\nvalue = "oil"\n' + LIMITS, "6:", "'cusum'"),
        ('[[chart]]\nname = "i"\nkind = "individuals"\nvalue = "oil"\nmoving_range = false\nrules = []\n' + LIMITS, "9:", "never signals"),
        ('[[chart]]\nname = "i"\nkind = "individuals"\nvalue = "oil"\nmoving_range = 3\n' + LIMITS, "8:", "boolean"),
        (CHART + 'spread = "weight.stddev"\nlimits = { center = 5, lcl = 1, ucl = 9, version = "1" }\n', "8:", "give sigma instead"),
        ('[[chart]]\nname = "c"\nkind = "c"\ncounted = "counts.scrap"\nrules = []\nlimits = { center = 4, version = "1" }\n', "8:", "never signals"),
    ],
)  # fmt: skip
def test_faults_name_their_line_and_what_is_wrong(text, place, problem):
    found = told(text)
    assert f"ruleset:{place}" in found
    assert problem in found


def test_a_hash_that_fits_is_accepted():
    limits = Limits(kind="xbar", center=500.0, sigma=2.0, version="2026-11-23")
    text = CHART + LIMITS.replace(" }", f', hash = "{limits.hash[:16]}" }}')
    assert next(iter(only(text).limits.values())).hash == limits.hash


CAPABILITY = '[[capability]]\nname = "fill"\nvalue = "weight.mean"\n'


def test_a_capability_has_its_usual_bounds():
    (check,) = read(CAPABILITY + 'spread = "weight.stddev"\nlsl = 490\nusl = 510\n').checks
    assert isinstance(check, CapabilityCheck)
    assert (check.index, check.warning_below, check.critical_below, check.windows) == ("cpk", 1.33, 1.0, 25)
    (check,) = read(CAPABILITY + "lsl = 490\n").checks
    assert isinstance(check, CapabilityCheck)
    assert (check.size_at, check.windows, check.minimum) == (None, 60, 30)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "give lsl, usl or both"),
        ("lsl = 2\nusl = 1\n", "lsl 2 is not below usl 1"),
        ("lsl = 2\nindex = 'cp'\n", "cp needs lsl and usl"),
        ("lsl = 2\nwarning_below = 0.5\n", "warning_below 0.5 is below critical_below 1"),
        ("lsl = 2\nminimum = 10\n", "greater than or equal to 30"),
        ("lsl = 2\nwindows = 20\n", "20 windows of one value never make the 30"),
        ("lsl = 2\nsize = 'weight.count'\n", "give spread, or remove size"),
        ("lsl = 2\nspread = 'weight.sd'\n", "weight.sd"),
        ("lsl = 2\nwindows = 1000\n", "less than or equal to 120"),
    ],
)
def test_capabilities_that_cannot_be_are_faults(text, problem):
    found = told(CAPABILITY + text)
    assert problem in found
    assert found.startswith("ruleset:")
