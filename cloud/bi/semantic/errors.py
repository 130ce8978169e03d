"""A question that has no answer, and why."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

from sync.settings import nearest

Code = Literal["ERR_BI_METRIC_NOT_FOUND", "ERR_BI_DATASET_NOT_FOUND", "ERR_BI_PLAN_FAILED", "ERR_VALIDATION"]


class PlanError(Exception):
    """A plan that cannot be answered: `message` says what is wrong, `check` what to do about it."""

    def __init__(self, message: str, check: str, code: Code = "ERR_BI_PLAN_FAILED", near: str = "") -> None:
        super().__init__(f"{message}; {check}")
        self.message, self.check, self.code = message, check, code
        self.near = near
        """The name that was probably meant; empty where none comes near."""
        self.field = ""
        """Which part of the plan is at fault: `metrics.0`, `filters.1.values.0`, `period`, …"""

    def at(self, field: str) -> PlanError:
        """Say which part of the plan is at fault; the first to know it is right."""
        self.field = self.field or field
        return self


class QueryTimeoutError(Exception):
    """The database took longer than a question may take."""


def unknown(what: str, name: str, known: Iterable[str], code: Code = "ERR_BI_PLAN_FAILED") -> PlanError:
    """Say that there is no such name, and which one was probably meant; `known` holds only what the asker may see."""
    names = sorted({one for one in known if one})[:500]
    close = difflib.get_close_matches(name[:80], names, 1)
    check = nearest(name[:80], names if close else names[:20])
    return PlanError(f"there is no {what} {name[:80]!r}", check, code, close[0] if close else "")
