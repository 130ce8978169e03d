"""What a verdict recommends: the actions of all its findings, merged into one list that does not contradict itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from edge.judgment.findings import Finding
from models.ruleset import Action

_PRIORITY: Final = ("immediate", "high", "medium", "low")
_RANK: Final[dict[str, int]] = {"warning": 1, "critical": 2}


def recommended(found: Sequence[Finding]) -> tuple[dict[str, str], ...]:
    """Give each action once at its highest priority, the most urgent first; of equals the one of the worse finding.

    Keys: action_type, priority, ko, en, and where they are known target, tag and value (JSON text) of a write. Who says
    stop is heard: nothing recommends to continue beside it.
    """
    merged: dict[tuple[str, ...], tuple[int, dict[str, str]]] = {}
    matched = [finding for finding in found if finding.actions and finding.matched and finding.suppressed_by is None]
    for finding in sorted(matched, key=lambda finding: -_RANK.get(finding.level, 0)):
        for action in finding.actions:
            told = _told(action)
            key = tuple(told.get(name, "") for name in ("action_type", "target", "tag", "value", "en"))
            urgency = _PRIORITY.index(action.priority)
            if key not in merged or urgency < merged[key][0]:
                merged[key] = (urgency, told)
    chosen = [told for _, told in sorted(merged.values(), key=lambda item: item[0])]
    if any(told["action_type"] == "stop" for told in chosen):
        chosen = [told for told in chosen if told["action_type"] != "continue"]
    return tuple(chosen)


def _told(action: Action) -> dict[str, str]:
    told = {"action_type": action.action_type, "priority": action.priority, **action.text}
    if action.target is not None:
        told["target"] = action.target
    if action.write is not None:
        told["tag"] = action.write.tag
        told["value"] = msgspec.json.encode(action.write.value).decode()
    return told
