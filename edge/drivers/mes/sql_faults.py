"""What a database's error means, as a sentence: whether the connection is lost or one question is at fault."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from edge.drivers.mes.question import Explained

_STATES: Final = {
    "28": "the database refuses us; check the user in the url and the password",
    "3D": "there is no such database; check the url's last part",
    "53": "the database has no room for us (connections, memory); check its log",
    "57P": "the database is shutting down or ended our session; it is tried again",
    "08": "the connection broke; check the host and the network",
}
"""SQLSTATE's beginning → what is lost (PostgreSQL's appendix A)."""
_QUESTION: Final = {
    "42P01": ("table_deleted", "a table is missing"),
    "42703": ("column_deleted", "a column is missing"),
    "42501": ("", "our user may not read this; grant it select"),
    "25006": ("", "the statement would write; only reading is possible here"),
    "57014": ("timed_out", "takes too long; add an index on the watermark, or raise timeout_s"),
}
_SQLITE: Final = (
    (r"no such table", "table_deleted", "a table is missing"),
    (r"no such column", "column_deleted", "a column is missing"),
    (r"interrupted", "timed_out", "takes too long; add an index on the watermark, or raise timeout_s"),
    (r"readonly|query_only", "", "the statement would write; only reading is possible here"),
)
_SQLITE_LOST: Final = r"unable to open|disk I/O|not a database|malformed|locked"


def explain(error: SQLAlchemyError) -> Explained:
    """Say what an error of the database means, and what to check."""
    text = _first_line(error)
    if not isinstance(error, DBAPIError):
        return Explained(lost=False, what=f"{text}; check the query")
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str):
        for start, what in _STATES.items():
            if state.startswith(start):
                return Explained(lost=True, what=f"{what} ({text})")
        kind, what = _QUESTION.get(state, ("", "the database refuses the query"))
        return Explained(lost=False, what=f"{what} ({text})", kind=kind)
    if type(error.orig).__module__.startswith("sqlite3"):
        return _of_sqlite(text)
    for pattern, start in (
        (r"password|authentication|role .* does not exist|not permitted to log in", "28"),
        (r"database .* does not exist", "3D"),
    ):
        if re.search(pattern, text):
            return Explained(lost=True, what=f"{_STATES[start]} ({text})")
    return Explained(lost=True, what=f"{text}; check the host, the port and that the database runs")


def _of_sqlite(text: str) -> Explained:
    for pattern, kind, what in _SQLITE:
        if re.search(pattern, text):
            return Explained(lost=False, what=f"{what} ({text})", kind=kind)
    if re.search(_SQLITE_LOST, text):
        return Explained(lost=True, what=f"{text}; check the path, and that this user may read file and folder")
    return Explained(lost=False, what=f"the database refuses the query ({text})")


def _first_line(error: SQLAlchemyError) -> str:
    """Give what the database said, without SQLAlchemy's addenda: no statement and no parameter gets into a log."""
    said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = next((line for line in lines if "FATAL" in line), lines[0] if lines else type(error).__name__)
    return fatal[:300]
