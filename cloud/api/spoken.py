"""What people say through the cloud: a word on a verdict, a yes or no to an action. Each is a command to the gateway.

The gateway decides and records; here it is only asked, once however often somebody taps.
"""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import Any, Final

from cloud.api.errors import ApiError, invalid, not_found, unusable
from cloud.bi import times
from cloud.bi.times import iso_ns, ms_of
from cloud.database import Connection, Database
from cloud.judging import actions, models, rulesets, trust, verdicts, words
from cloud.remote import commands
from sync.topics import Address

Json = dict[str, Any]
TRUST_MS: Final = 86_400_000
WORD_MS: Final = 30 * 86_400_000
"""A word waits so long for its gateway."""
_SAID: Final = ("type", "corrected", "reason", "comment")


class Spoken:
    """Words and answers of one cloud's people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def feedback(
        self, tenant: str, *, page: int, page_size: int, since_ms: int | None, until_ms: int | None
    ) -> Json:
        """Give what stands, newest first; what waits for a gateway; and by ruleset what 30 days say of it."""
        now_ms = times.now_ms()
        since, until = ((since_ms or 0) * 1_000_000, 2**62 if until_ms is None else until_ms * 1_000_000)

        def read(connection: Connection) -> Json:
            everything = list(words.recorded(connection, tenant, since=since, until=until))
            standing = words.latest(everything)
            known = {word.fact.feedback for word in everything}
            first = (page - 1) * page_size
            return {
                "items": [word.told() for word in standing[first : first + page_size]],
                "page": page,
                "page_size": page_size,
                "total": len(standing),
                "waiting": words.pending(connection, tenant, now_ms, known),
                "stats": words.stats(standing, now_ms * 1_000_000),
            }

        try:
            return await self._database.read(read)
        except words.TooManyError as error:
            raise invalid(str(error), "give `from` and `to`") from error

    async def say(self, tenant: str, said: Json) -> Json:
        """Ask a verdict's gateway to record a word. The same word of the same person again is the first one."""
        now_ms = times.now_ms()
        target, actor = said["target"], said["actor"]

        def write(connection: Connection) -> Json:
            one = verdicts.recorded(connection, tenant, target)
            if one is None:
                raise not_found(
                    f"there is no verdict {target!r}", "it may not have arrived yet; see /api/v1/completeness"
                )
            fact = one.fact
            if said["corrected"] == fact.decision:
                message = f"the verdict says {fact.decision} already; say positive instead"
                raise unusable([{"field": "corrected", "message": message}])
            before = next(
                (
                    word
                    for word in words.of_verdict(connection, tenant, target, now_ms)
                    if word["actor"] == actor and word["state"] in {"given", "done", "recorded"}
                ),
                None,
            )
            if before is not None and all(before[name] == said[name] for name in _SAID):
                return {"feedback": before["feedback"], "state": before["state"], "gateway": str(one.address)}
            name = uuid.uuid4().hex
            about = {
                "work_unit": fact.work_unit,
                "ruleset": fact.ruleset,
                "ruleset_version": fact.ruleset_version,
                "decision": fact.decision,
            }
            arguments = {key: value for key, value in said.items() if key != "actor" and value is not None} | about
            commands.give(
                connection, one.address, commands.Given(name, "feedback", arguments, actor, now_ms + WORD_MS), now_ms
            )
            return {"feedback": name, "state": "given", "gateway": str(one.address)}

        return await self._written(write)

    async def actions(self, tenant: str, state: actions.State | None, *, page: int, page_size: int) -> Json:
        """Give a page of actions, newest first."""
        now_ms, skipped = times.now_ms(), (page - 1) * page_size
        items, total = await self._database.read(
            lambda one: actions.page(one, tenant, state, limit=page_size, offset=skipped, now_ms=now_ms)
        )
        return {"items": items, "page": page, "page_size": page_size, "total": total}

    async def answer(self, tenant: str, action: str, *, approved: bool, actor: str, comment: str) -> Json:
        """Ask an action's gateway to take a yes or no; asked before and not answered yet, it is that one."""
        now_ms = times.now_ms()

        def write(connection: Connection) -> Json:
            known = None if "\0" in action else actions.one(connection, tenant, action, now_ms)
            if known is None:
                raise not_found(f"there is no action {action!r}", "GET /api/v1/actions lists them")
            if known["state"] != "waiting":
                what = f"the action does not wait any more: {known['state']}"
                raise ApiError(409, "CONFLICT", what, "GET /api/v1/actions shows what became of it")
            kind = "approve" if approved else "reject"
            for order in known["asked"]:
                if order["state"] == "given" and (order["kind"], order["actor"]) == (kind, actor):
                    return {"command": order["command"], "state": "given"}
            name, address = uuid.uuid4().hex, Address(tenant, known["site"], known["gateway"])
            arguments = {"action": action} | ({"comment": comment} if comment else {})
            expires_ms = max(now_ms + 10_000, _ms(known["expires"]))
            commands.give(connection, address, commands.Given(name, kind, arguments, actor, expires_ms), now_ms)
            return {"command": name, "state": "given"}

        return await self._written(write)

    async def models(self, tenant: str) -> Json:
        """Give every line's models and every model over its lines."""
        now_ns = time.time_ns()
        found = await self._database.read(lambda one: models.models(one, tenant, now_ns))
        return {"as_of": iso_ns(now_ns)} | found

    async def rulesets(self, tenant: str) -> Json:
        """Give every line's ruleset in force and every ruleset's versions."""
        now_ns = time.time_ns()
        found = await self._database.read(lambda one: rulesets.rulesets(one, tenant))
        return {"as_of": iso_ns(now_ns)} | found

    async def trust(self, tenant: str) -> Json:
        """Give every gateway's rulesets and how far they are trusted."""
        now_ns = time.time_ns()
        found = await self._database.read(lambda one: trust.trust(one, tenant, now_ns))
        return {"as_of": iso_ns(now_ns), "items": found}

    async def set_trust(self, tenant: str, said: Json) -> Json:
        """Ask a ruleset's gateways (one, or all that run it) for a level; each decides."""
        now_ms, now_ns = times.now_ms(), time.time_ns()

        def write(connection: Connection) -> Json:
            known = trust.trust(connection, tenant, now_ns)
            meant = [
                one for one in known if one["ruleset"] == said["ruleset"] and said["gateway"] in {None, one["gateway"]}
            ]
            if not meant:
                what = f"no gateway of yours judges by {said['ruleset']!r}"
                raise not_found(what, "GET /api/v1/trust lists rulesets and gateways")
            given: list[Json] = []
            for one in meant:
                name, address = uuid.uuid4().hex, Address(tenant, one["site"], one["gateway"])
                arguments = {key: said[key] for key in ("ruleset", "level", "reason", "confirmed")}
                order = commands.Given(name, "trust", arguments, said["actor"], now_ms + TRUST_MS)
                commands.give(connection, address, order, now_ms)
                given.append({"command": name, "gateway": str(address)})
            return {"given": given}

        return await self._written(write)

    async def _written(self, write: Any) -> Json:
        try:
            return await self._database.write(write)
        except commands.CommandError as error:
            raise invalid(str(error), "say it with fewer words") from error


def _ms(text: str | None) -> int:
    """Give ms since 1970 of a time as the API tells it."""
    return 0 if text is None else ms_of(datetime.fromisoformat(text))
