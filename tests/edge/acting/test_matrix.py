"""The decision matrix against its table, all four conditions, and risks by name, glob and default."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acting.matrix import DEFAULT, HALTING, RISKS, STRICTER, Cell, RiskRow, Standing, decide, risk_of

TABLE = """
0 approval approval approval reject
1 approval approval approval reject
2 auto     approval approval reject
3 auto     auto     approval approval
"""
WORDS = {"auto": "auto_execute", "approval": "require_approval", "reject": "reject"}
GOOD = {"score": 1.0, "failures": 0, "executed_s": None, "succeeded_s": 0.0}


def test_the_default_matrix_is_the_table():
    for row in TABLE.strip().splitlines():
        level, *cells = row.split()
        for risk, word in zip(RISKS, cells, strict=True):
            ruling = decide(DEFAULT, "parameter_adjust", risk, Standing(level=int(level), **GOOD))
            assert ruling.decision == WORDS[word], (level, risk)
            assert ruling.reasons


def test_a_cell_that_is_not_there_asks_a_person():
    assert decide({}, "anything", "LOW", Standing(level=3, **GOOD)).decision == "require_approval"
    assert decide(DEFAULT, "anything", "LOW", Standing(level=7, **GOOD)).decision == "require_approval"


def brute(cell, standing, halting) -> str:
    """What the four conditions and the guard rail mean, said once more."""
    decision = cell.decision
    asks = (
        standing.score < cell.min_trust_score
        or (cell.max_consecutive_failures is not None and standing.failures >= cell.max_consecutive_failures)
        or (
            cell.require_recent_success
            and not (standing.failures == 0 and standing.succeeded_s is not None and standing.succeeded_s <= 7 * 86_400)
        )
        or halting
    )
    if decision == "auto_execute" and asks:
        decision = "require_approval"
    if standing.executed_s is not None and standing.executed_s < cell.cooldown_s:
        decision = "reject"
    return decision


def test_every_combination_of_conditions():
    for decision, least, most, recent, cooldown in itertools.product(
        STRICTER, (0.0, 0.7), (None, 1, 3), (False, True), (0.0, 60.0)
    ):
        cell = Cell(
            decision=decision, min_trust_score=least, max_consecutive_failures=most, require_recent_success=recent,
            cooldown_s=cooldown,
        )  # fmt: skip
        for score, failures, executed, succeeded, name in itertools.product(
            (0.69, 0.7), (0, 1, 3), (None, 59.0, 60.0), (None, 10.0, 8e5), ("parameter_adjust", "production_line_stop")
        ):
            standing = Standing(level=2, score=score, failures=failures, executed_s=executed, succeeded_s=succeeded)
            ruling = decide({(2, "LOW"): cell}, name, "LOW", standing)
            assert ruling.decision == brute(cell, standing, name == "production_line_stop"), (cell, standing, name)


def test_every_reason_is_said_not_only_the_first():
    cell = Cell(
        decision="auto_execute", min_trust_score=0.9, max_consecutive_failures=1, require_recent_success=True,
        cooldown_s=60,
    )  # fmt: skip
    ruling = decide({(3, "LOW"): cell}, "stop", "LOW", Standing(level=3, score=0.1, failures=2, executed_s=1))
    text = " | ".join(ruling.reasons)
    for part in ("score 0.1000", "2 failures", "no success", "cool-down: 1 s"):
        assert part in text


@given(st.sampled_from(HALTING).map(lambda name: name.replace("*", "stop")), st.integers(0, 3), st.sampled_from(RISKS))
def test_what_stops_a_line_is_never_done_without_a_person_whatever_the_site_says(name, level, risk):
    careless = {(trust, each): Cell(decision="auto_execute") for trust in range(4) for each in RISKS}
    assert decide(careless, name, risk, Standing(level=level, **GOOD)).decision != "auto_execute"


@given(st.integers(0, 3), st.sampled_from(RISKS), st.floats(0, 1), st.integers(0, 9))
def test_a_condition_only_ever_takes_away(level, risk, least, failures):
    standing = Standing(level=level, score=0.5, failures=failures, executed_s=5, succeeded_s=5)
    plain = DEFAULT[(level, risk)].decision
    cell = Cell(decision=plain, min_trust_score=least, max_consecutive_failures=2, cooldown_s=3)
    ruled = decide({(level, risk): cell}, "parameter_adjust", risk, standing).decision
    assert STRICTER.index(ruled) >= STRICTER.index(plain)


@pytest.mark.parametrize(
    ("action", "writes", "risk"),
    [
        ("notification_slack", False, "LOW"), ("report_generate", False, "LOW"), ("parameter_adjust", True, "MEDIUM"),
        ("data_write_mes", False, "MEDIUM"), ("mes_equipment_control", True, "HIGH"), ("quality_hold", False, "HIGH"),
        ("production_line_stop", True, "CRITICAL"), ("emergency_cooling", True, "CRITICAL"),
        ("financial_booking", False, "CRITICAL"), ("stop", False, "CRITICAL"), ("alert", False, "LOW"),
        ("something_new", False, "MEDIUM"), ("something_new", True, "HIGH"), ("report_generator", False, "MEDIUM"),
    ],
)  # fmt: skip
def test_risks_of_the_default_table(action, writes, risk):
    assert risk_of(action, writes=writes) == risk


def test_the_sites_table_goes_first_exact_before_glob_and_globs_by_priority():
    table = (
        RiskRow("mes_*", "MEDIUM", priority=1),
        RiskRow("mes_equipment_*", "LOW"),
        RiskRow("mes_equipment_control", "CRITICAL"),
        RiskRow("data_*", "HIGH"),
    )
    assert risk_of("mes_equipment_control", table, writes=False) == "CRITICAL"
    assert risk_of("mes_equipment_halting", table, writes=False) == "MEDIUM"
    assert risk_of("data_read_shift", table, writes=False) == "HIGH"
    assert risk_of("log_shift", table, writes=False) == "LOW"


def test_a_harmless_name_makes_no_write_harmless():
    assert risk_of("alert", writes=True, least="HIGH") == "HIGH"
    assert risk_of("production_line_stop", writes=True, least="LOW") == "CRITICAL"
    assert risk_of("alert", writes=False, least="HIGH") == "LOW"
