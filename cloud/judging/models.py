"""Models as the fleet runs them: per line version, state, breaker and drift, and by model over all lines.

Drift on one line alone speaks for a bad sensor there, drift on several for a process that changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from cloud.bi.times import iso_ns
from cloud.database import Connection
from cloud.judging.fleet import named
from sync.judgment import DriftMeasured, ModelChanged

DAY_NS: Final = 86_400_000_000_000
DRIFT_DAYS: Final = 30
"""A drift measured longer ago says nothing about now."""

_FACT: Final = (
    "select s.site, g.name, f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
    " join gateway g on g.id=s.gateway where s.tenant=? and s.kind=?"
)
_NEWEST: Final = (
    " and s.at>=? and s.at=(select max(x.at) from fact_subject x where x.tenant=s.tenant and x.kind=s.kind and"
    " x.subject=s.subject and x.gateway=s.gateway and x.work_unit=s.work_unit)"
)
_changed: Final = msgspec.json.Decoder(ModelChanged)
_drift: Final = msgspec.json.Decoder(DriftMeasured)

HINTS: Final = {
    "ok": {"ko": "드리프트가 없습니다.", "en": "No drift."},
    "unmeasured": {"ko": "아직 측정된 드리프트가 없습니다.", "en": "No drift was measured yet."},
    "one_line": {
        "ko": "한 라인에서만 다릅니다. 그 라인의 센서와 설비를 먼저 확인하세요.",
        "en": "One line alone differs: look at its sensors and machine first.",
    },
    "process": {
        "ko": "여러 라인이 함께 다릅니다. 원료나 공정이 바뀌었을 수 있으니 모델을 다시 학습할지 검토하세요.",
        "en": "Several lines differ together: material or process may have changed; consider training the model anew.",
    },
    "cannot_tell": {
        "ko": "측정된 라인이 하나뿐이라 센서 문제인지 공정 변화인지 구분할 수 없습니다.",
        "en": "Only one line is measured: a bad sensor and a changed process cannot be told apart.",
    },
}


def models(connection: Connection, tenant: str, now_ns: int) -> dict[str, Any]:
    """Give every line's models as last told, and every model over the lines that run it."""
    lines: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for site, gateway, body in connection.execute(f"{_FACT} order by s.at, s.inc, s.seq", (tenant, "model")):
        fact = _changed.decode(body)
        one = lines.setdefault((site, gateway, fact.work_unit, fact.model), _line(site, gateway, fact))
        if fact.state.startswith("breaker_"):
            one["breaker"] = fact.state.removeprefix("breaker_")
        else:
            one |= {"version": fact.version, "sha256": fact.sha256, "state": fact.state, "breaker": "closed"}
        one |= {"since": iso_ns(fact.at), "why": fact.why}
    for site, gateway, body in connection.execute(f"{_FACT}{_NEWEST}", (tenant, "drift", now_ns - DRIFT_DAYS * DAY_NS)):
        fact = _drift.decode(body)
        one = lines.get((site, gateway, fact.work_unit, fact.model))
        if one is not None and one["sha256"] == fact.sha256:
            one["drift"] = {
                "level": fact.level,
                "at": iso_ns(fact.at),
                "samples": fact.samples,
                "alarmed": fact.alarmed,
                "psi": fact.psi,
                "missing": fact.missing,
                "out_of_range": fact.out_of_range,
                "shift": fact.shift,
            }
    told = [lines[key] for key in sorted(lines)]
    names = sorted({one["model"] for one in told})
    return {
        "lines": told,
        "models": [over_lines(name, [one for one in told if one["model"] == name]) for name in names],
    }


def _line(site: str, gateway: str, fact: ModelChanged) -> dict[str, Any]:
    return {
        "site": site,
        "gateway": gateway,
        "work_unit": fact.work_unit,
        "model": fact.model,
        "version": fact.version,
        "sha256": fact.sha256,
        "state": "active",
        "breaker": "closed",
        "drift": None,
    }


def over_lines(model: str, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give one model over the lines where it is active, and what its drift speaks for."""
    active = [one for one in lines if one["state"] == "active"]
    measured = [one for one in active if one["drift"] is not None]
    drifted = [one for one in measured if one["drift"]["level"] != "ok"]
    if not measured:
        hint = "unmeasured"
    elif not drifted:
        hint = "ok"
    elif len(measured) == 1:
        hint = "cannot_tell"
    else:
        hint = "process" if 2 * len(drifted) >= len(measured) and len(drifted) > 1 else "one_line"
    return {
        "model": model,
        "versions": sorted({one["version"] for one in active}),
        "active": len(active),
        "measured": len(measured),
        "drifted": named(drifted, lines),
        "features": sorted({name for one in drifted for name in one["drift"]["alarmed"]}),
        "breakers_open": named([one for one in active if one["breaker"] == "open"], lines),
        "hint": hint,
        "text": HINTS[hint],
    }
