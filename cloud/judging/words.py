"""What people say of verdicts: on record once the gateway has written it down, until then a command that waits for it.

A word said in the cloud is a command `feedback` to the verdict's gateway, and its id is the id of the fact that the gateway
writes: so it is one fact, counts in the ruleset's history there too, and is counted once. Until that fact has come up the
word is shown with the state of its command (given, refused, expired) and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cloud.bi.times import iso, iso_ns
from cloud.database import Connection
from edge.judgment import history
from sync.judgment import FeedbackGiven

MOST: Final = 200_000
"""Words of a tenant that are looked through."""
DAY_NS: Final = 86_400_000_000_000
MONTH: Final = 30

_word: Final = msgspec.json.Decoder(FeedbackGiven)
_SQL: Final = (
    "select f.body, s.site, g.name from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
    " join gateway g on g.id=s.gateway where s.tenant=? and s.kind='feedback'"
)
_PENDING: Final = (
    "select command, site, gateway, arguments, actor, given_ms, expires_ms, state, detail from command"
    " where tenant=? and kind='feedback'"
)


class TooManyError(ValueError):
    """More words than can be looked through."""


@dataclass(frozen=True, slots=True)
class Word:
    """A person's word on a verdict, as a gateway recorded it."""

    fact: FeedbackGiven
    site: str
    gateway: str

    def told(self) -> dict[str, Any]:
        """Give it as the API says it."""
        fact = self.fact
        return {
            "feedback": fact.feedback,
            "verdict_id": fact.target,
            "type": fact.type,
            "reason": fact.reason,
            "corrected": fact.corrected,
            "comment": fact.comment,
            "actor": fact.actor,
            "at": iso_ns(fact.at),
            "offline": fact.offline,
            "ruleset": fact.ruleset,
            "ruleset_version": fact.ruleset_version,
            "decision": fact.decision,
            "site": self.site,
            "gateway": self.gateway,
            "work_unit": fact.work_unit,
            "state": "recorded",
            "why": "",
        }


def latest(words: Iterable[Word]) -> list[Word]:
    """Give what stands: of every person and verdict the newest word, newest first. words: oldest first."""
    standing: dict[tuple[str, str], Word] = {}
    for word in words:
        key = (word.fact.actor, word.fact.target)
        standing.pop(key, None)
        standing[key] = word
    return list(reversed(standing.values()))


def recorded(
    connection: Connection, tenant: str, *, verdict_id: str | None = None, since: int = 0, until: int = 2**62
) -> Iterator[Word]:
    """Give words as recorded, oldest first; of one verdict or of all. Raises TooManyError."""
    narrower, values = ("", ()) if verdict_id is None else (" and s.subject=?", (verdict_id,))
    rows = connection.execute(
        f"{_SQL}{narrower} and s.at>=? and s.at<? order by s.at, s.inc, s.seq limit {MOST + 1}",
        (tenant, *values, since, until),
    )
    if len(rows) > MOST:
        raise TooManyError(f"more than {MOST:,} words of people are meant; ask for a shorter time")
    return (Word(_word.decode(body), site, gateway) for body, site, gateway in rows)


def pending(connection: Connection, tenant: str, now_ms: int, known: set[str]) -> list[dict[str, Any]]:
    """Give words said here that no gateway has recorded yet, newest first. known: ids of those that were."""
    found: list[dict[str, Any]] = []
    for command, site, gateway, arguments, actor, given_ms, expires_ms, state, detail in connection.execute(
        f"{_PENDING} order by given_ms desc, command limit {MOST}", (tenant,)
    ):
        if command in known:
            continue
        said: Mapping[str, Any] = msgspec.json.decode(arguments)
        late = state == "given" and expires_ms <= now_ms
        found.append(
            {
                "feedback": command,
                "verdict_id": said.get("target", ""),
                "type": said.get("type", ""),
                "reason": said.get("reason"),
                "corrected": said.get("corrected"),
                "comment": said.get("comment", ""),
                "actor": actor,
                "at": iso(given_ms),
                "offline": False,
                "ruleset": said.get("ruleset", ""),
                "ruleset_version": said.get("ruleset_version", ""),
                "decision": said.get("decision", ""),
                "site": site,
                "gateway": gateway,
                "work_unit": said.get("work_unit", ""),
                "state": "expired" if late else state,
                "why": detail,
            }
        )
    return found


def of_verdict(connection: Connection, tenant: str, verdict_id: str, now_ms: int) -> list[dict[str, Any]]:
    """Give what stands of one verdict, newest first: what waits for its gateway before what that recorded."""
    everything = list(recorded(connection, tenant, verdict_id=verdict_id))
    known = {word.fact.feedback for word in everything}
    waiting = [one for one in pending(connection, tenant, now_ms, known) if one["verdict_id"] == verdict_id]
    # A command that its gateway has carried out and whose fact is still on its way says `done`: it is recorded there.
    return waiting + [word.told() for word in latest(everything)]


def stats(words: Iterable[Word], now_ns: int) -> list[dict[str, Any]]:
    """Give by ruleset how often its rated verdicts of 30 days were right; words: what stands (`latest`).

    `history` is what the confidence of a verdict is made with (fewer than ten words weigh less).
    """
    counted: dict[str, list[int]] = {}
    for word in words:
        if word.fact.ruleset and word.fact.at > now_ns - MONTH * DAY_NS:
            positive, rated = counted.get(word.fact.ruleset, [0, 0])
            counted[word.fact.ruleset] = [positive + (word.fact.type == "positive"), rated + 1]
    return [
        {
            "ruleset": ruleset,
            "days": MONTH,
            "positive": positive,
            "rated": rated,
            "accuracy": round(positive / rated, 4),
            "history": round(history(positive, rated), 4),
        }
        for ruleset, (positive, rated) in sorted(counted.items())
    ]
