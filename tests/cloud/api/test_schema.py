"""Every route of /openapi.json with inputs nobody would think of, on a real server with real figures behind it."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS

ENDLESS = {"/api/v1/stream"}
"""Streams, tested in test_api.py."""
EXAMPLES = 3
ONCE = (".csv", "/replay/batch")
"""A file reads as its list does; a batch is a process of its own."""
OURS = {
    # a plan in an address is JSON in a text: a text that is none is refused, and the schema cannot say so
    "negative_data_rejection",
    "positive_data_acceptance",
    # checks of how a sign-in behaves, which there is none of
    "ignored_auth",
}


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_every_route_answers_whatever_it_is_asked_as_the_schema_says(served):
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    checks = [check for name, check in ((one.__name__, one) for one in CHECKS.get_all()) if name not in OURS]
    looked: list[str] = []
    faults: list[str] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS:
            continue
        looked.append(operation.label)
        try:
            _ask(operation, checks)
        except (Exception, BaseExceptionGroup) as fault:  # noqa: BLE001 - all routes are looked at, then all told
            faults.append(f"{operation.label}: {str(fault)[:1500]}")
    assert len(looked) > 50, looked
    assert not faults, "\n\n".join(faults)


def _ask(operation, checks) -> None:
    @given(case=operation.as_strategy())
    @settings(
        max_examples=1 if operation.path.endswith(ONCE) else EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case) -> None:
        answer = case.call(timeout=20)
        case.validate_response(answer, checks=checks)

    ask()
