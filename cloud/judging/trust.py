"""How far rulesets are trusted: the level each gateway tells, and what the fleet's evidence would say by the line's tables.

A proposal, never a deed: a gateway takes trust away on its own, and a promotion is ordered by a person (command `trust`).
Evidence is the fleet's: verdicts and people's words on a ruleset of that name at every gateway of the tenant. How often the
same inputs were judged the same is known at the gateways only, and counts as not known here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from cloud.bi.times import iso_ns
from cloud.database import Connection
from cloud.judging import words
from edge.acting.trust import FULL, Metrics, evaluate, lacking, score
from sync.judgment import ActionDecided, ActionEnded, TrustChanged

DAY_NS: Final = 86_400_000_000_000
WEEK: Final = 7
HISTORY: Final = 20
"""Changes that are told of each gateway and ruleset."""

_FACTS: Final = (
    "select s.site, g.name, f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
    " join gateway g on g.id=s.gateway where s.tenant=? and s.kind=? and s.at>=? order by s.at, s.inc, s.seq"
)
_trust: Final = msgspec.json.Decoder(TrustChanged)
_decided: Final = msgspec.json.Decoder(ActionDecided)
_ended: Final = msgspec.json.Decoder(ActionEnded)


def trust(connection: Connection, tenant: str, now_ns: int) -> list[dict[str, Any]]:
    """Give every gateway's rulesets: level, score with its parts, what the next level lacks, what is proposed, history."""
    fleet = evidence(connection, tenant, now_ns)
    changes: dict[tuple[str, str, str], list[TrustChanged]] = {}
    for site, gateway, body in connection.execute(_FACTS, (tenant, "trust", 0)):
        fact = _trust.decode(body)
        changes.setdefault((site, gateway, fact.ruleset), []).append(fact)
    found: list[dict[str, Any]] = []
    for site, gateway, ruleset, first in connection.execute(
        "select j.site, g.name, j.ruleset, min(j.at) from judgment j join incarnation i on i.id=j.inc"
        " join gateway g on g.id=i.gateway where j.tenant=? group by j.site, g.name, j.ruleset order by 1, 2, 3",
        (tenant,),
    ):
        past = changes.get((site, gateway, ruleset), [])
        level = past[-1].level if past else 0
        risen = [fact.at for fact in past if fact.level > fact.previous]
        since = risen[-1] if risen else first
        metrics = replace(fleet[ruleset], level_days=max(0.0, (now_ns - since) / DAY_NS))
        step = evaluate(level, metrics)
        found.append({
            "site": site,
            "gateway": gateway,
            "ruleset": ruleset,
            "level": level,
            "score": score(metrics),
            "metrics": metrics.told(),
            "lacking": lacking(level, metrics),
            "proposed": None if step is None else {
                "level": step.level, "reason": step.reason, "needs_admin": step.level == FULL and step.previous < FULL,
            },
            "history": [
                {"at": iso_ns(fact.at), "previous": fact.previous, "level": fact.level, "reason": fact.reason,
                 "triggered_by": fact.triggered_by, "actor": fact.actor, "metrics": fact.metrics}
                for fact in reversed(past[-HISTORY:])
            ],
        })  # fmt: skip
    return found


def evidence(connection: Connection, tenant: str, now_ns: int) -> dict[str, Metrics]:
    """Give what the whole fleet knows of every ruleset that ever judged, but for `level_days`, which is each gateway's."""
    week = now_ns - WEEK * DAY_NS
    rows = connection.execute(
        "select ruleset, count(*), sum(case when at>? then 1 else 0 end), min(at) from judgment where tenant=?"
        " group by ruleset",
        (week, tenant),
    )
    standing = words.latest(words.recorded(connection, tenant))
    acted, failed = _automatic(connection, tenant, week)
    found: dict[str, Metrics] = {}
    for ruleset, runs, lately, first in rows:
        mine = [word.fact for word in standing if word.fact.ruleset == ruleset]  # newest first
        month = [fact for fact in mine if fact.at > now_ns - words.MONTH * DAY_NS]
        streak = next((count for count, fact in enumerate(mine) if fact.type == "positive"), len(mine))
        wrong = sum(fact.target in acted and fact.type != "positive" and fact.at > week for fact in mine)
        found[ruleset] = Metrics(
            runs=int(runs),
            accuracy=_positive(mine),
            runs_7d=int(lately),
            feedback=_positive(month),
            age_days=max(0.0, (now_ns - first) / DAY_NS),
            negatives_in_a_row=streak,
            critical_failures_7d=wrong + failed.get(ruleset, 0),
        )
    return found


def _automatic(connection: Connection, tenant: str, week: int) -> tuple[set[str], dict[str, int]]:
    """Give the verdicts on which something was done without a person, and by ruleset how often that failed in a week."""
    since = week - words.MONTH * DAY_NS
    own = {
        fact.action: fact
        for _, _, body in connection.execute(_FACTS, (tenant, "action_decision", since))
        if (fact := _decided.decode(body)).decision == "auto_execute"
    }
    failed: dict[str, int] = {}
    for _, _, body in connection.execute(_FACTS, (tenant, "action", week)):
        end = _ended.decode(body)
        if end.status in {"FAILED", "UNKNOWN"} and end.action in own:
            failed[own[end.action].ruleset] = failed.get(own[end.action].ruleset, 0) + 1
    return {fact.verdict_id for fact in own.values() if fact.verdict_id}, failed


def _positive(said: list[Any]) -> float | None:
    return sum(fact.type == "positive" for fact in said) / len(said) if said else None
