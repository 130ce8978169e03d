"""Seven policies: the spec's examples, every cell of a grid against a table written down apart, and what must always hold."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.judgment.policies import RANK, SEVERITY_OF, Combined, Side, combine, needs_model
from models.policy import POLICIES, PolicySettings

DECISIONS = ("normal", "warning", "critical", "unknown")
CONFIDENCES = (0.0, 0.3, 0.55, 0.6, 0.699, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)


def side(decision: str, confidence: float, **given) -> Side:
    return Side(decision=decision, confidence=confidence, **given)


def of(policy: str, **given) -> PolicySettings:
    return PolicySettings(policy=policy, **given)


# --- the examples of the specification --------------------------------------------------------------------------------


def test_two_that_differ_are_weighted_and_the_surer_one_decides():
    said = combine(of("hybrid_weighted"), side("warning", 0.85), side("normal", 0.75))
    assert (said.decision, said.confidence, said.source) == ("warning", 0.81, "hybrid")
    assert combine(of("hybrid_weighted"), side("warning", 0.90), side("normal", 0.70)).confidence == 0.82


def test_two_that_agree_are_surer_than_their_mean_by_a_tenth():
    said = combine(of("hybrid_weighted"), side("warning", 0.85), side("warning", 0.75))
    assert (said.decision, said.confidence, said.reasons) == ("warning", 0.891, ("agree",))
    assert combine(of("hybrid_weighted"), side("normal", 1.0), side("normal", 0.95)).confidence == 1.0


def test_rules_surer_than_the_gate_never_ask_the_model():
    assert not needs_model(of("hybrid_gate"), side("normal", 0.90))
    assert not needs_model(of("hybrid_gate"), side("normal", 0.85))
    assert needs_model(of("hybrid_gate"), side("normal", 0.849))
    said = combine(of("hybrid_gate"), side("normal", 0.90), None)
    assert (said.decision, said.confidence, said.source) == ("normal", 0.9, "rule")


def test_below_the_gate_consensus_lifts_and_dissent_lowers():
    agreed = combine(of("hybrid_gate"), side("warning", 0.8), side("warning", 0.7))
    assert (agreed.confidence, agreed.source) == (0.8625, "hybrid_consensus")
    rule = combine(of("hybrid_gate"), side("warning", 0.8), side("normal", 0.8))
    assert (rule.decision, rule.confidence, rule.source) == ("warning", 0.72, "hybrid_rule")
    model = combine(of("hybrid_gate"), side("warning", 0.8), side("normal", 0.9))
    assert (model.decision, model.confidence, model.source) == ("normal", 0.81, "hybrid_ml")
    assert model.severity == "warning", "what the rules found is not made milder"


def test_rule_fallback_takes_the_model_when_rules_are_less_sure_than_accepted():
    assert combine(of("rule_fallback"), side("normal", 0.7), None).source == "rule"
    said = combine(of("rule_fallback"), side("normal", 0.69), side("warning", 0.5))
    assert (said.decision, said.confidence, said.source) == ("warning", 0.5, "ml_fallback")


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "rule_only"])
def test_a_model_that_fails_leaves_the_answer_to_the_rules(policy):
    broken = side("unknown", 0.0, failure="not_finite")
    for model in (broken, None):
        said = combine(of(policy), side("warning", 0.65), model)
        assert (said.decision, said.confidence, said.source) == ("warning", 0.65, "rule_fallback")
        assert "model_failed" in said.reasons
        nobody = combine(of(policy), side("unknown", 0.0), model)
        assert (nobody.decision, nobody.confidence, nobody.source) == ("unknown", 0.0, "none")
        assert nobody.reasons == ("both_failed",)
        assert nobody.needs_human


def test_escalated_to_a_model_that_is_unsure_a_person_looks():
    sure = combine(of("escalate"), side("normal", 0.75), side("warning", 0.75))
    assert (sure.source, sure.needs_human) == ("ml_escalated", False)
    lax = of("escalate", review=0.5)
    unsure = combine(lax, side("normal", 0.75), side("warning", 0.59))
    assert (unsure.decision, unsure.source, unsure.needs_human) == ("warning", "ml_escalated", True)
    assert not combine(lax, side("normal", 0.75), side("warning", 0.6)).needs_human
    assert combine(lax, side("normal", 0.75), None).needs_human, "nobody surer could be asked"
    assert combine(of("escalate"), side("normal", 0.8), None).source == "rule"


def test_critical_rules_are_believed_against_a_surer_model():
    said = combine(of("hybrid_weighted"), side("critical", 0.6, severity="critical"), side("normal", 0.9))
    assert (said.decision, said.severity, said.needs_human) == ("critical", "critical", True)
    assert said.confidence == 0.6, "no surer than the only one who says so"
    assert (said.source, said.reasons) == ("hybrid_rule", ("differ", "safety_first"))
    other = combine(of("hybrid_weighted"), side("normal", 0.9), side("critical", 0.6))
    assert (other.decision, other.severity, other.confidence, other.source) == (
        "critical",
        "critical",
        0.6,
        "hybrid_ml",
    )


def test_a_person_looks_at_what_is_critical_and_at_what_is_unsure():
    assert combine(of("rule_only"), side("critical", 0.99), None).needs_human
    assert combine(of("rule_only"), side("normal", 0.699), None).needs_human
    assert not combine(of("rule_only"), side("normal", 0.7), None).needs_human
    # 0.6 · 0.75 + 0.4 · 0.62499 is shown as 0.7: then it is 0.7.
    assert not combine(of("hybrid_weighted"), side("normal", 0.75), side("warning", 0.62499)).needs_human


def test_a_drifted_model_counts_for_less_or_not_at_all():
    drifted = side("warning", 0.9, drifted=True)
    said = combine(of("hybrid_weighted"), side("normal", 0.8), drifted)
    assert (said.decision, said.confidence) == ("normal", 0.768)
    assert "drifted" in said.reasons
    aside = combine(of("hybrid_weighted", drifted_aside=True), side("normal", 0.75), drifted)
    assert (aside.decision, aside.confidence, aside.source) == ("normal", 0.75, "rule_fallback")
    helpless = combine(of("hybrid_weighted", drifted_aside=True), side("unknown", 0.0), drifted)
    assert (helpless.decision, helpless.confidence, helpless.source) == ("warning", 0.72, "ml_fallback")


# --- every cell, against a table written apart ------------------------------------------------------------------------

S = {"normal": 0, "unknown": 1, "warning": 1, "critical": 2}


def table(policy, n, rule, model):
    """Give (decision, confidence, source, severity, human) by the specification's table, in exact fractions.

    rule: (decision, confidence, worst found). model: (decision, confidence, failed) or None. n: the settings' numbers.
    """
    rd, rc, found = rule[0], Fraction(str(rule[1])), rule[2]
    md, mc = ("unknown", Fraction(0)) if model is None else (model[0], Fraction(str(model[1])))
    failed = model is None or model[2]
    r_ok, m_ok = rd != "unknown", not failed and md != "unknown" and mc > 0
    limit = {"rule_fallback": n["accept"], "hybrid_gate": n["gate"], "escalate": n["escalate"], "rule_only": 0}
    alone = policy == "rule_only" or (policy in limit and r_ok and rc >= Fraction(str(limit[policy])))
    answer = None
    if alone:
        answer = (rd, rc, "rule") if r_ok else None
    elif policy == "ml_only" and not failed:
        answer = (md, mc, "ml") if m_ok else ("unknown", Fraction(0), "ml")
    elif m_ok and policy == "ml_fallback":
        answer = (md, mc, "ml")
    elif m_ok and policy in {"rule_fallback", "escalate"}:
        answer = (md, mc, {"rule_fallback": "ml_fallback", "escalate": "ml_escalated"}[policy])
    elif m_ok and r_ok and policy == "hybrid_weighted":
        wr = Fraction(str(n["wr"])) / (Fraction(str(n["wr"])) + Fraction(str(n["wm"])))
        c = wr * rc + (1 - wr) * mc
        answer = (
            (rd, min(Fraction(1), c * Fraction(11, 10)), "hybrid")
            if rd == md
            else (rd if rc >= mc else md, c, "hybrid")
        )
    elif m_ok and r_ok and policy == "hybrid_gate":
        if rd == md:
            answer = (rd, min(Fraction(1), Fraction(115, 200) * (rc + mc)), "hybrid_consensus")
        elif rc >= mc:
            answer = (rd, rc * Fraction(9, 10), "hybrid_rule")
        else:
            answer = (md, mc * Fraction(9, 10), "hybrid_ml")
    elif r_ok:
        answer = (rd, rc, "rule_fallback")
    elif m_ok:
        answer = (md, mc, "ml_fallback")
    decision, c, source = answer or ("unknown", Fraction(0), "none")
    if not alone and n["safe"] and decision != "critical":
        less = Fraction(9, 10) if policy == "hybrid_gate" else 1
        if r_ok and rd == "critical":
            decision, c, source = "critical", rc * less, "hybrid_rule"
        elif m_ok and md == "critical":
            decision, c, source = "critical", mc * less, "hybrid_ml"
    severity = max(S[decision], found, S[md] if m_ok and not alone else 0)
    shown = round(float(c), 4)
    human = (
        decision in {"unknown", "critical"}
        or shown < n["review"]
        or (source == "ml_escalated" and shown < n["escalated"])
        or (policy == "escalate" and source == "rule_fallback")
    )
    return decision, shown, source, severity, human


NUMBERS = (
    {"gate": 0.85, "accept": 0.7, "escalate": 0.8, "escalated": 0.6, "review": 0.7, "wr": 0.6, "wm": 0.4},
    {"gate": 0.75, "accept": 0.3, "escalate": 0.7, "escalated": 0.8, "review": 0.0, "wr": 1.0, "wm": 3.0},
    {"gate": 1.0, "accept": 1.0, "escalate": 1.0, "escalated": 0.0, "review": 1.0, "wr": 0.0, "wm": 5.0},
)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_cell_of_the_grid_is_as_the_table_says(policy):
    models = [None, ("unknown", 0.0, True), ("normal", 0.9, True)]
    models += [(d, c, False) for d in DECISIONS for c in CONFIDENCES]
    rules = [(d, c, found) for d in DECISIONS for c in CONFIDENCES for found in {S[d], 2}]
    for numbers, safe, rule, model in itertools.product(NUMBERS, (True, False), rules, models):
        n = numbers | {"safe": safe}
        chosen = of(
            policy, safety_first=safe, rule_weight=n["wr"], ml_weight=n["wm"],
            **{name: n[name] for name in ("gate", "accept", "escalate", "escalated", "review")},
        )  # fmt: skip
        rule_side = side(rule[0], rule[1], severity=("info", "warning", "critical")[rule[2]])
        model_side = None if model is None else side(model[0], model[1], failure="x" if model[2] else None)
        said = combine(chosen, rule_side, model_side)
        want = table(policy, n, rule, model)
        got = (said.decision, said.confidence, said.source, RANK[said.severity], said.needs_human)
        # A number that lies on the edge of two roundings may be shown either way; what follows from it is the shown one's.
        if got != want and abs(got[1] - want[1]) <= 1.0001e-4 and got[:1] + got[2:4] == want[:1] + want[2:4]:
            continue
        assert got == want, (chosen, rule, model)


# --- what must always hold --------------------------------------------------------------------------------------------

confidences = st.floats(0, 1)
rule_sides = st.builds(
    Side, decision=st.sampled_from(DECISIONS), confidence=confidences, severity=st.sampled_from(["info", "warning", "critical"]),
    blind=st.sampled_from([False, False, False, True]),
)  # fmt: skip
model_sides = st.none() | st.builds(
    Side, applies=st.sampled_from([True, True, True, False]), decision=st.sampled_from(DECISIONS), confidence=confidences, drifted=st.booleans(),
    failure=st.sampled_from([None, None, "deadline"]),
)  # fmt: skip
chosen_settings = st.builds(
    PolicySettings, policy=st.sampled_from(POLICIES), safety_first=st.booleans(), rule_weight=confidences,
    ml_weight=st.floats(0.01, 1), gate=confidences, accept=confidences, escalate=confidences, escalated=confidences,
    review=confidences, drifted_aside=st.booleans(),
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(chosen_settings, rule_sides, model_sides)
def test_whatever_they_say_the_answer_is_sound(chosen, rule, model):
    said = combine(chosen, rule, model)
    assert isinstance(said, Combined)
    assert 0 <= said.confidence <= 1
    assert said.confidence == round(said.confidence, 4)
    assert RANK[said.severity] >= RANK[SEVERITY_OF[said.decision]]
    assert RANK[said.severity] >= RANK[rule.severity]
    assert said.needs_human or (said.decision not in {"critical", "unknown"} and said.confidence >= chosen.review)
    assert (said.decision != "unknown") or (said.confidence == 0 and said.needs_human)
    if rule.blind:
        assert (said.decision, said.confidence, said.source) == ("unknown", 0, "none")
    if not needs_model(chosen, rule):
        assert said == combine(chosen, rule, None), "a model that nobody asks changes nothing"
    else:
        if model is not None and not model.applies:
            only = combine(replace(chosen, policy="rule_only"), rule, None)
            assert replace(said, reasons=()) == replace(only, reasons=())
        critical = [s for s in (rule, model) if s is not None and s.answers and s.decision == "critical"]
        aside = chosen.drifted_aside and rule.answers
        critical = [s for s in critical if s is rule or (s.confidence * 0.8 > 0 and not (s.drifted and aside))]
        assert not (chosen.safety_first and critical) or said.decision == "critical"
    if (
        chosen.safety_first
        and not rule.blind
        and not chosen.drifted_aside
        and RANK[rule.severity] <= RANK[SEVERITY_OF[rule.decision]]
    ):
        assert said.severity != "critical" or said.decision == "critical", "never printed as anything milder"


@settings(max_examples=500, deadline=None)
@given(chosen_settings, st.sampled_from(DECISIONS[:3]), st.sampled_from(DECISIONS[:3]), confidences, confidences)
def test_sides_that_change_places_with_their_weights_give_the_same(chosen, one, other, a, b):
    for policy in ("hybrid_weighted", "hybrid_gate"):
        there = replace(chosen, policy=policy, gate=1.0, rule_weight=0.3, ml_weight=0.7)
        back = replace(there, rule_weight=0.7, ml_weight=0.3)
        if a == b or 1.0 in {a, b} or 0.0 in {a, b}:
            continue  # of equals the rules decide, sure rules are not checked, and who is not sure at all does not answer
        if there.safety_first and one == other == "critical":
            continue
        first = combine(there, side(one, a), side(other, b))
        second = combine(back, side(other, b), side(one, a))
        mirrored = {"hybrid_rule": "hybrid_ml", "hybrid_ml": "hybrid_rule"}
        assert (first.decision, first.severity) == (second.decision, second.severity)
        assert abs(first.confidence - second.confidence) <= 1e-4
        assert mirrored.get(first.source, first.source) == second.source


@settings(max_examples=500, deadline=None)
@given(chosen_settings, rule_sides, model_sides, confidences)
def test_a_surer_side_of_the_same_opinion_makes_no_weighted_answer_less_sure(chosen, rule, model, more):
    if model is None:
        return
    weighted = replace(chosen, policy="hybrid_weighted", safety_first=False)
    surer = replace(rule, confidence=max(rule.confidence, more))
    before, after = combine(weighted, rule, model), combine(weighted, surer, model)
    if before.source == after.source:
        assert after.confidence >= before.confidence


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"gate": 1.5}, "gate is 1.5"),
        ({"review": float("nan")}, "review is nan"),
        ({"rule_weight": 0.0, "ml_weight": 0.0}, "both 0"),
        ({"rule_weight": -1.0}, "rule_weight is -1.0"),
        ({"policy": "llm_only"}, "'llm_only' is no policy"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        PolicySettings(**given)
