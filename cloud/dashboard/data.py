"""Model of the data page: how current every mart is, what the auditor found, which records wait for a decision. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cloud.dashboard import views
from cloud.wording import formats
from cloud.wording.texts import Words

Json = Mapping[str, Any]
STATES: Final = ("open", "released", "corrected", "passed")
STATUS_ICON: Final = {"fresh": "check", "pending": "hourglass", "failed": "octagon", "empty": "question"}
STATUS_TONE: Final = {"fresh": "normal", "pending": "warning", "failed": "critical", "empty": "unknown"}
SEVERITY_TONE: Final = {"info": "normal", "warning": "warning", "error": "critical", "critical": "critical"}
JOB_TONE: Final = {"queued": "unknown", "running": "warning", "done": "normal", "failed": "critical"}
JOB_ICON: Final = {"queued": "hourglass", "running": "play", "done": "check", "failed": "octagon"}
LETTER_ROWS: Final = 20


def data(status: Json, letters: Json, state: str, words: Words) -> dict[str, Any]:
    """Give the model of the data page. state: of the letters that are shown."""
    now = status["as_of"]
    marts = [
        dict(one)
        | {
            "age_s": formats.age(one["refreshed"], now),
            "icon": STATUS_ICON.get(one["status"], "question"),
            "tone": STATUS_TONE.get(one["status"], "unknown"),
            "words": words.label("mart", one["name"]),
        }
        for one in status["marts"]
    ]
    counts, auditor = status["dead_letters"], status["auditor"]
    standing = [
        dict(one) | {key: _figure(one[key]) for key in ("stored", "recomputed")}
        for one in auditor["mismatches"]
        if one["mended"] is None
    ]
    return {
        "now": now,
        "groups": [
            (kind, [one for one in marts if one["kind"] == kind])
            for kind in ("mart", "view")
            if any(one["kind"] == kind for one in marts)
        ],
        "failed": sum(one["status"] == "failed" for one in marts),
        "pending": status["pending"],
        "oldest_s": formats.age(status["oldest_due"], now),
        "ingest": status["ingest"],
        "marks": views.marks(status["ingest"], "gateway"),
        "counts": counts,
        "warned": counts["open"] - counts["held"],
        "rules": [one for one in counts["by_rule"] if one["open"] or one["total"]],
        "auditor": auditor,
        "standing": standing,
        "letters": [_letter(one) for one in letters["items"]],
        "found": letters,
        "pages": -(-letters["total"] // letters["page_size"]),
        "state": state,
        "states": STATES,
        "jobs": [_job(one) for one in status["jobs"]],
    }


def _letter(one: Json) -> dict[str, Any]:
    fact = bool(one["seq"]) and str(one["id"]).startswith("f")
    return dict(one) | {
        "tone": SEVERITY_TONE.get(one["severity"], "unknown"),
        "record": f"{one['gateway']}/{one['stream']}/{one['seq']}" if one["seq"] else "",
        "fact": f"{one['inc']}/{one['stream']}/{one['seq']}" if fact else "",
        "details": [
            (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in one["detail"].items()
        ],
    }


def _figure(kept: str | None) -> str:
    """Give a figure or a word of a mart, as people read it. kept: its JSON; None where there is none."""
    value = None if kept is None else json.loads(kept)
    if isinstance(value, str):
        return value
    return formats.even(value) if isinstance(value, float) else formats.number(value)


def _job(one: Json) -> dict[str, Any]:
    buckets = one["buckets"] or 0
    return dict(one) | {
        "tone": JOB_TONE.get(one["state"], "unknown"),
        "icon": JOB_ICON.get(one["state"], "question"),
        "share": (one["done_buckets"] or 0) / buckets if buckets else None,
    }
