"""Log lines for the journal (text) or a log shipper (JSON). Both sides use it, so that one search finds both."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

_LEVELS = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
"""Python level → syslog priority, which the journal reads from `<N>` in front of a line."""


class _Text(logging.Formatter):
    def __init__(self, journal: bool) -> None:
        super().__init__("%(name)s: %(message)s" if journal else "%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"<{_LEVELS.get(record.levelname, 6)}>{text}" if self._journal else text


class _Json(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "service": self._service,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(service: str, form: Literal["text", "json"], level: str, *, journal: bool) -> None:
    """Send all log lines to standard error in one form; `journal` when systemd reads it (it adds the time itself)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(service) if form == "json" else _Text(journal))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for chatty in ("asyncua", "pymodbus", "uvicorn.access", "uvicorn.error", "httpx", "httpcore", "apscheduler"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
