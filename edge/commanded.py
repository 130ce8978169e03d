"""What the cloud may ask, and who does it: its commands' words → acting, models and feedback. The gateway decides.

From afar an action can be asked for, never done: a person here approves it. The kill switch can be thrown from
anywhere; it is lifted at the gateway only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast, get_args

import msgspec

from edge.acting.acting import Acting
from edge.acting.hands import Asked
from edge.acting.refusal import OrderRefusedError
from edge.permits import Mode
from edge.recording import Recording
from edge.remote import CommandRefusedError, Commands
from edge.scoring import Scoring
from edge.scoring.orders import Order
from sync.judgment import FeedbackGiven

MODES: Final = get_args(Mode)
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


def serve(commands: Commands, recording: Recording, acting: Acting, scoring: Scoring) -> None:
    """Let the parts of a gateway take the cloud's commands."""
    asked = _Asked(recording, acting, scoring)
    commands.serve("approve", asked.approve)
    commands.serve("reject", asked.reject)
    commands.serve("act", asked.act)
    commands.serve("mode", asked.mode)
    commands.serve("kill", asked.kill)
    commands.serve("trust", asked.trust)
    commands.serve("model", asked.model)
    commands.serve("feedback", asked.feedback)


class _Asked:
    def __init__(self, recording: Recording, acting: Acting, scoring: Scoring) -> None:
        self._recording, self._acting, self._scoring = recording, acting, scoring

    async def approve(self, _: str, said: Mapping[str, Any], actor: str) -> str:
        """`action`, `comment`?: yes to an action that waits."""
        return await self._answer(said, actor, approved=True)

    async def reject(self, _: str, said: Mapping[str, Any], actor: str) -> str:
        """`action`, `comment`?: no to an action that waits."""
        return await self._answer(said, actor, approved=False)

    async def _answer(self, said: Mapping[str, Any], actor: str, *, approved: bool) -> str:
        action = _text(said, "action")
        with _refusals():
            told = await self._acting.answer(
                action, approved=approved, actor=actor, place="cloud", comment=_text(said, "comment", "")
            )
        if told == "unknown":
            raise CommandRefusedError(f"no action {action!r} waits here; it is over, or was never asked for")
        return told

    async def act(self, name: str, said: Mapping[str, Any], actor: str) -> str:
        """`work_unit`, `action_type`, `tag`, `value`: asks for a write; a person at the gateway has to approve it."""
        work_unit, tag = _text(said, "work_unit"), _text(said, "tag")
        self._line(work_unit)
        action_type = _text(said, "action_type", "parameter_adjust")
        for what, word in (("tag", tag), ("action_type", action_type)):
            if not NAME.fullmatch(word):
                raise CommandRefusedError(f"{what!r} is {word[:64]!r}; give a name of small letters, digits and _")
        value = said.get("value")
        if not isinstance(value, bool | int | float):
            raise CommandRefusedError(f"'value' is {value!r}; give a number, or true or false")
        asked = Asked(
            action=name,
            work_unit=work_unit,
            action_type=action_type,
            target=f"{work_unit}/{tag}",
            value=value if isinstance(value, bool) else float(value),
            asker=f"cloud:{actor}",
            actor=actor,
        )
        with _refusals():
            return "" if await self._acting.request(asked) else "it was asked for before"

    async def mode(self, _: str, said: Mapping[str, Any], actor: str) -> str:
        """`mode`, `reason`, `work_unit`?: how far the gateway, or one line, may go."""
        mode = _text(said, "mode")
        if mode not in MODES:
            raise CommandRefusedError(f"there is no mode {mode!r}; there are {', '.join(MODES)}")
        with _refusals():
            await self._acting.set_mode(
                cast("Mode", mode),
                actor=actor,
                reason=_text(said, "reason"),
                work_unit=_text(said, "work_unit", ""),
                place="cloud",
            )
        return ""

    async def kill(self, _: str, said: Mapping[str, Any], actor: str) -> str:
        """`reason`, `models`?: throw the kill switch, or switch all models off."""
        with _refusals():
            await self._acting.throw(actor=actor, reason=_text(said, "reason"), models=said.get("models") is True)
        return "it is lifted at the gateway only"

    async def trust(self, _: str, said: Mapping[str, Any], actor: str) -> str:
        """`ruleset`, `level`, `reason`, `confirmed`?: a ruleset's trust level."""
        level = said.get("level")
        if not isinstance(level, int) or isinstance(level, bool):
            raise CommandRefusedError(f"'level' is {level!r}; give 0, 1, 2 or 3")
        with _refusals():
            await self._acting.set_trust(
                _text(said, "ruleset"),
                level,
                actor=actor,
                reason=_text(said, "reason"),
                confirmed=said.get("confirmed") is True,
                triggered_by=_text(said, "triggered_by", "manual"),
            )
        return ""

    async def model(self, name: str, said: Mapping[str, Any], actor: str) -> str:
        """`what` activate, rollback or retire, `line`, `package`? (SHA-256): which package a line's model is."""
        told = {"what": said.get("what"), "line": said.get("line"), "package": said.get("package", "")}
        try:
            order = msgspec.convert(
                {**told, "order": name, "at": self._recording.clock.now(), "actor": actor, "place": "cloud"}, Order
            )
        except msgspec.ValidationError as error:
            raise CommandRefusedError(f"no order for models: {error}") from error
        answer = await self._scoring.obey(order)
        if not answer.done:
            raise CommandRefusedError(answer.told)
        return answer.told

    async def feedback(self, name: str, said: Mapping[str, Any], actor: str) -> str:
        """The fields of a FeedbackGiven that was said in the cloud: it counts for the ruleset's history here, too."""
        try:
            fact = msgspec.convert(
                {"kind": "feedback", "feedback": name, **said, "at": self._recording.clock.now(), "actor": actor},
                FeedbackGiven,
            )
        except msgspec.ValidationError as error:
            raise CommandRefusedError(f"no feedback: {error}") from error
        if fact.type not in {"positive", "negative", "correction"} or (fact.type == "correction") != bool(
            fact.corrected
        ):
            raise CommandRefusedError(
                f"no feedback: {fact.type[:64]!r}; give positive, negative, or correction with what it should have been"
            )
        if len(fact.target) > 64 or (fact.work_unit and fact.work_unit not in self._recording.pipelines):
            raise CommandRefusedError("no feedback: it speaks of no verdict of this gateway")
        await self._recording.commit([], [fact])
        return ""

    def _line(self, work_unit: str) -> None:
        if work_unit not in self._recording.pipelines:
            known = ", ".join(self._recording.pipelines) or "none"
            raise CommandRefusedError(f"no line {work_unit!r} here; there are: {known}")


class _refusals:  # noqa: N801 - used as a with statement
    """Turns what a part of ours refuses into the command's refusal."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OrderRefusedError):
            raise CommandRefusedError(str(error)) from error


def _text(said: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = said.get(name, default)
    if not isinstance(value, str):
        raise CommandRefusedError(f"{name!r} is missing or no text; the command needs it")
    return value
