"""Orders of a command for the running gateway: notes in `<data>/acting/`, taken in within a second or at its next start.

Who may write into the gateway's folder may order: that is root and the gateway's own user. A note is forgotten after
its effect is on disk; a crash in between shows it again, and the same note again is no second order.
"""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from edge.acting.refusal import OrderRefusedError
from edge.durable import private_folder, put, sync_folder
from edge.permits import Mode

if TYPE_CHECKING:
    from edge.acting.acting import Acting

log = logging.getLogger(__name__)

TAKE_S: Final = 0.5
FOLDER: Final = "acting"


class ModeOrder(msgspec.Struct, frozen=True, tag_field="order", tag="mode"):
    """Let the gateway, or a line, go so far."""

    mode: Mode
    work_unit: str
    actor: str
    reason: str


class LiftOrder(msgspec.Struct, frozen=True, tag_field="order", tag="lift"):
    """Take the kill switch back, or switch models on again."""

    models: bool
    actor: str
    reason: str


class AnswerOrder(msgspec.Struct, frozen=True, tag_field="order", tag="answer"):
    """Say yes or no to an action that waits."""

    action: str
    approved: bool
    actor: str
    comment: str


class TrustOrder(msgspec.Struct, frozen=True, tag_field="order", tag="trust"):
    """Change a ruleset's level."""

    ruleset: str
    level: int
    confirmed: bool
    actor: str
    reason: str


Order = ModeOrder | LiftOrder | AnswerOrder | TrustOrder


def leave(data: Path, order: Order, now: int) -> Path:
    """Leave an order for the gateway whose folder `data` is. now: ns, for the order of notes. Raises OSError."""
    path = private_folder(data / FOLDER) / f"{now:020}-{uuid.uuid4().hex[:8]}.json"
    put(path, msgspec.json.encode(order))
    return path


class Orders:
    """Takes notes in, oldest first."""

    def __init__(self, acting: Acting, data: Path) -> None:
        self._acting, self._folder = acting, data / FOLDER
        self._done: set[str] = set()
        """Notes that were taken in and could not be cleared."""
        self._said = ""

    async def keep_taking(self) -> None:
        """Take orders in until cancelled."""
        while True:
            await self._acting.hands.clock.sleep(TAKE_S)
            await self.take_in()

    async def take_in(self) -> None:
        """Take in what is there, oldest first. A note that cannot be read, or be done, is put aside with the reason."""
        trouble = ""
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []:
            try:
                if path.name not in self._done:
                    await self._take(_read(path))
                    self._done.add(path.name)
                path.unlink()
                sync_folder(self._folder)
                self._done.discard(path.name)
            except (msgspec.MsgspecError, OrderRefusedError) as error:
                log.warning("an order is refused: file=%s why=%s", path.name, error)
                _put_aside(path, str(error))
            except OSError as error:
                trouble = f"{path}: {error.strerror}"
        if trouble and trouble != self._said:
            log.warning("orders cannot be taken in; give the folder to the gateway's user: %s", trouble)
        self._said = trouble

    async def _take(self, order: Order) -> None:
        acting = self._acting
        match order:
            case ModeOrder(mode, work_unit, actor, reason):
                ordered = acting.hands.modes.ordered(work_unit)
                if ordered is None or (ordered.mode, ordered.actor, ordered.reason) != (mode, actor, reason):
                    await acting.set_mode(mode, actor=actor, reason=reason, work_unit=work_unit)
            case LiftOrder(models, actor, reason):
                await acting.lift(actor=actor, reason=reason, models=models)
            case AnswerOrder(action, approved, actor, comment):
                said = await acting.answer(action, approved=approved, actor=actor, comment=comment)
                if said == "unknown":
                    raise OrderRefusedError(f"no action {action!r} waits or was heard of")
            case TrustOrder(ruleset, level, confirmed, actor, reason):
                record = acting.hands.evidence.records.get(ruleset)
                if record is None or record.level != level:
                    await acting.set_trust(ruleset, level, actor=actor, reason=reason, confirmed=confirmed)


def _read(path: Path) -> Order:
    return msgspec.json.decode(path.read_bytes(), type=Order)


def _put_aside(path: Path, why: str) -> None:
    path.with_suffix(".why").write_text(f"{why}\n", encoding="utf-8")
    path.rename(path.with_suffix(".refused"))
