"""A question that has no answer, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from sync.settings import nearest

Code = Literal["ERR_BI_METRIC_NOT_FOUND", "ERR_BI_DATASET_NOT_FOUND", "ERR_BI_PLAN_FAILED", "ERR_VALIDATION"]


class PlanError(Exception):
    """A plan that cannot be answered: `message` says what is wrong, `check` what to do about it."""

    def __init__(self, message: str, check: str, code: Code = "ERR_BI_PLAN_FAILED") -> None:
        super().__init__(f"{message}; {check}")
        self.message, self.check, self.code = message, check, code


class QueryTimeoutError(Exception):
    """The database took longer than a question may take."""


def unknown(what: str, name: str, known: Iterable[str], code: Code = "ERR_BI_PLAN_FAILED") -> PlanError:
    """Say that there is no such name, and which one was probably meant; `known` holds only what the asker may see."""
    return PlanError(f"there is no {what} {name[:80]!r}", nearest(name[:80], sorted(set(known))[:200]), code)
