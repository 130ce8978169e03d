"""`triflow rules limits`: from a file or from what a gateway recorded to a line that a ruleset accepts."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from edge.commands.rules_limits import main
from edge.judgment import gather, judge, judged
from models.expression import window_environment
from models.ruleset_chart import Chart
from models.rulesets import load
from sync.facts import Context
from tests.edge.judgment.conftest import S, ruleset, tag, window
from tests.edge.stores import store_in
from tests.models.spc import published

ENVIRONMENT = window_environment({"weight": "float32"})


def csv(path, rows, header="time,value"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def steady(number=60, spoiled=None):
    noise = random.Random(3)
    for i in range(number):
        value = 99.0 if i == spoiled else round(noise.gauss(50, 2), 3)
        yield f"2026-11-23T06:{i:02d}:00+00:00,{value}"


def test_limits_are_told_with_what_was_left_out_and_how_often_they_alarm(tmp_path, capsys):
    path = csv(tmp_path / "a.csv", steady(spoiled=30))
    assert main([path, "--language", "en", "--window-s", "60"]) == 0
    told = capsys.readouterr().out
    assert "chart individuals: 59 of 60 points used, 2 round(s)" in told
    assert "left out: point 31 (2026-11-23T06:30:00Z): 99 > " in told
    assert "doubt: 59 points: limits are rough below 100" in told
    assert "false alarms (nelson_1, nelson_2, nelson_5, nelson_6): one in 109.0 points on average" in told
    assert main([path]) == 0
    assert "제외: 점 31" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "value", "more"),
    [
        ("individuals", 'value = "weight"', []),
        ("ewma", 'value = "weight"', ["--lambda", "0.1", "--width", "2.7"]),
        ("cusum", 'value = "weight"', ["--h", "4"]),
        ("xbar", 'value = "weight.mean"', ["--every", "2"]),
    ],
)
def test_what_is_printed_is_accepted_by_a_ruleset_and_a_changed_number_is_not(tmp_path, capsys, kind, value, more):
    path = csv(tmp_path / "a.csv", steady())
    for product in ([], ["--product", 'COLA "500"']):
        assert main([path, "--kind", kind, *more, *product]) == 0
        printed = capsys.readouterr().out
        start = printed.index("[[chart.limits]]" if product else "limits = {")
        head = f'[ruleset]\nname = "r"\nversion = "1.0.0"\n[[chart]]\nname = "w"\nkind = "{kind}"\n{value}\n'
        (check,) = load(head + printed[start:], ENVIRONMENT).checks
        assert isinstance(check, Chart)
        (limits,) = check.limits.values()
        assert limits.version == "2026-11-23"
        with pytest.raises(ValueError, match="a number was changed"):
            load(head + printed[start:].replace("center = ", "center = 1"), ENVIRONMENT)


def test_counts_and_json(tmp_path, capsys):
    rows = [f"{counted},50" for counted in published.MISREGISTERED]
    path = csv(tmp_path / "p.csv", rows, "counted,inspected")
    assert main([path, "--kind", "p", "--json", "--rules", "nelson_1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["point"], one["round"]) for one in told["excluded"]] == [(15, 1), (21, 2), (23, 1)]
    assert told["limits"]["center"] == pytest.approx(281 / 1350, abs=1e-6)
    assert told["false_alarms"]["average_run_length"] == pytest.approx(370.4, abs=0.01)
    assert told["doubts"][-1]["en"].startswith("the points vary 1.5 times")
    assert main([path, "--kind", "p", "--json", "--laney", "yes"]) == 0
    assert json.loads(capsys.readouterr().out)["limits"]["sigma_z"] == pytest.approx(1.66, abs=5e-3)


def test_subgroups_of_a_column(tmp_path, capsys):
    rows = [f"{i},{value}" for i, values in enumerate(published.HARD_BAKE) for value in values]
    path = csv(tmp_path / "x.csv", rows, "subgroup,value")
    assert main([path, "--kind", "xbar", "--subgroup", "subgroup", "--spread-kind", "range", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["limits"]["center"], told["limits"]["sigma"]) == pytest.approx((1.5056, 0.1398), abs=5e-5)
    assert told["limits"]["ucl"] == pytest.approx(1.69325, abs=2e-4)


@pytest.mark.parametrize(
    ("rows", "header", "more", "problem"),
    [
        ([], "time,value", [], "0 points give no limits"),
        (["2026-11-23T06:00:00,x"], "time,value", [], "a.csv:2: value: 'x' is no number"),
        (["2026-11-23T06:00:00;1,5"], "time;value", [], "write a decimal point"),
        (["2026-11-23T06:00:00,inf"], "time,value", [], "no finite number"),
        (["23.11.2026,1"], "time,value", [], "a.csv:2: time: '23.11.2026' is no time"),
        (["2026-11-23T06:00:00,1", "2026-11-23T05:00:00,1"], "time,value", [], "a.csv:3: goes back in time"),
        (["2026-11-23T06:00:00,1,2"], "time,value", [], "a.csv:2: 3 cells, but 2 columns"),
        (["2026-11-23T06:00:00,1"], "time,weight", [], "there is no column 'value'; there are time, weight"),
        (["1"] * 30, "value", [], "no variation"),
        (["1"] * 30, "value", ["--rules", "nelson_9"], "there is no rule 'nelson_9'"),
        (["1", "2"] * 30, "value", ["--every", "2"], "take --kind xbar"),
        (["1"] * 30, "value", ["--kind", "p"], "there is no column 'counted'"),
        (["1", "2"] * 30, "value", ["--kind", "ewma", "--lambda", "2"], "--lambda lies above 0"),
        (["1", "2"] * 30, "value", ["--kind", "cusum", "--head-start", "9"], "--h above --head-start"),
        (["1", "2"] * 30, "value", ["--size", "value"], "--size and --spread belong together"),
    ],
)
def test_bad_input_is_refused_with_its_place(tmp_path, capsys, rows, header, more, problem):
    assert main([csv(tmp_path / "a.csv", rows, header), "--language", "en", *more]) == 2
    caught = capsys.readouterr()
    assert problem in caught.err
    assert caught.out == ""


def test_files_that_are_none_are_refused(tmp_path, capsys):
    (tmp_path / "latin.csv").write_bytes(b"value\n\xb5\n")
    (tmp_path / "empty.csv").write_bytes(b"")
    for name, problem in (("none.csv", "cannot be read"), ("latin.csv", "not UTF-8"), ("empty.csv", "is empty")):
        assert main([str(tmp_path / name)]) == 2
        assert problem in capsys.readouterr().err
    assert main(["--site", str(tmp_path), "--value", "oil"]) == 2
    assert "there is no edge.db" in capsys.readouterr().err


RULES = '[[limit]]\nname = "oil"\nvalue = "oil_temperature.mean"\nwarning_high = 90\nonly_when = "oil_temperature.count > 0.0 && oil_temperature.stddev >= 0.0 && counts.scrap >= 0.0 && counts.produced > 0.0"\n'


async def test_limits_come_from_what_a_gateway_recorded(tmp_path, capsys):
    rules, noise, facts = ruleset(RULES), random.Random(4), []
    for i in range(80):
        oil = tag("oil_temperature", 60.0, mean=noise.gauss(60, 0.5), stddev=0.9, count=10, unit="CEL")
        one = window(i, tags=[replace(oil, count=0) if i == 5 else oil], state="HELD" if i == 6 else "EXECUTE")
        one = replace(one, counts={"produced": 100.0, "scrap": float(noise.choice([1, 2, 3])), "good": 97.0})
        if i >= 70:
            one = replace(one, context=Context(order="O", product="OTHER", lot="L", shift="A"))
        facts.append(judged(judge(rules, gather(rules, one))))
    async with store_in(tmp_path) as store:
        await store.commit(facts=facts)
    asked = ["--site", str(tmp_path), "--value", "oil_temperature.mean", "--json"]
    assert main([*asked, "--product", "COLA-500"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["points"], told["gaps"]) == (68, 1)
    assert told["limits"]["center"] == pytest.approx(60, abs=0.3)
    grouped = ["--kind", "xbar", "--size", "oil_temperature.count", "--spread", "oil_temperature.stddev"]
    assert main([*asked, *grouped]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["limits"]["sigma"] == pytest.approx(0.9 * (10 / 9) ** 0.5 / 0.97266, rel=1e-3)
    assert main([*asked[:2], "--kind", "p", "--counted", "counts.scrap", "--inspected", "counts.produced"]) == 0
    assert "관리도 p" in capsys.readouterr().out
    assert main([*asked[:2], "--value", "pressure"]) == 2
    assert "no verdict here was made of 'pressure'" in capsys.readouterr().err
    assert main(asked[:2]) == 2
    assert "--value is missing" in capsys.readouterr().err
    assert facts[0].at == 10 * S
