"""The loops that send, one for mail and one for the webhook, so that neither waits for the other's server.

Each waits, tries again with growing waits, and says once when its server is gone and once when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Final

from cloud.config import Settings
from cloud.database import Database, DatabaseError
from cloud.outgoing import mail, queue, webhook
from cloud.outgoing.queue import Channel, Outcome, Taken

log = logging.getLogger(__name__)

CHANNELS: Final[tuple[Channel, ...]] = ("mail", "webhook")
LOOK_S: Final = 1.0
SERVER_WAIT_S: Final = (5.0, 300.0)
"""First and longest wait after a server could not be used."""
HOUR_MS: Final = 3_600_000
TIDY_S: Final = 600.0


class Sender:
    """Sends what is queued for a channel, letter by letter. Several processes may do so at once; each letter is held by one."""

    def __init__(
        self, database: Database, settings: Settings, *, channel: Channel = "mail", lease_ms: int | None = None
    ) -> None:
        self._channel: Channel = channel
        self._database = database
        self._settings = settings
        self._server = mail.server_of(settings)
        self._hook = webhook.hook_of(settings)
        longest = max([one.timeout_s for one in (self._server, self._hook) if one is not None], default=10.0)
        self._lease_ms = round(5_000 * longest + 60_000) if lease_ms is None else lease_ms
        self._holder = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._gone_since: float | None = None
        self._waits = SERVER_WAIT_S[0]

    async def once(self, now_ms: int) -> bool | None:
        """Send one letter: True when a server dealt with it, False when none could be used, None when nothing is due.

        Raises DatabaseError.
        """
        if not await self._database.read(lambda c: queue.due(c, now_ms, self._channel)):
            return None
        taken = await self._database.write(lambda c: queue.take(c, self._holder, now_ms, self._lease_ms, self._channel))
        if taken is None:
            return None
        usable, began = True, time.monotonic()
        try:
            outcomes = await self._send(taken)
        except mail.ServerError as error:
            usable, words = False, str(error)
            outcomes = dict.fromkeys(taken.letter.readers, Outcome("queued", words))
            if self._gone_since is None:
                self._gone_since = time.monotonic()
                log.warning("letters wait: %s", words)
        else:
            self._back()
        give_up_ms = round((self._settings.file.mail.give_up_h if self._settings.file.mail else 48.0) * HOUR_MS)
        ended = now_ms + round((time.monotonic() - began) * 1000)
        if not await self._database.write(
            lambda c: queue.settle(c, taken, self._holder, outcomes, now_ms=ended, give_up_ms=give_up_ms)
        ):
            log.warning("letter %s took longer than its lease; it may arrive twice, as one message", taken.letter.name)
        for address, outcome in outcomes.items():
            if outcome.state == "failed":
                log.warning(
                    "letter refused for good: name=%s reader=%s why=%s", taken.letter.name, address, outcome.said
                )
        return usable

    async def _send(self, taken: Taken) -> dict[str, Outcome]:
        if self._channel == "webhook":
            if self._hook is None:
                return dict.fromkeys(taken.letter.readers, Outcome("failed", "there is no [webhook] any more"))
            return await webhook.send(self._hook, taken)
        if self._server is None:
            return dict.fromkeys(taken.letter.readers, Outcome("failed", "there is no [mail] any more"))
        return await mail.send(self._server, taken)

    def _back(self) -> None:
        if self._gone_since is not None:
            log.info("letters are taken again after %.0f s", time.monotonic() - self._gone_since)
        self._gone_since, self._waits = None, SERVER_WAIT_S[0]

    async def run(self) -> None:
        """Send for ever; a database that is away is waited for."""
        tidied, silent = 0.0, False
        while not _cancelled():
            wait_s = LOOK_S
            try:
                match await self.once(time.time_ns() // 1_000_000):
                    case True:
                        wait_s = 0.0
                    case False:
                        wait_s, self._waits = self._waits, min(2 * self._waits, SERVER_WAIT_S[1])
                    case None:
                        pass
                if self._channel == "mail" and time.monotonic() - tidied > TIDY_S:
                    days = self._settings.file.keep.letter_days
                    before = time.time_ns() // 1_000_000 - days * 24 * HOUR_MS
                    await self._database.write(lambda c, before=before: queue.forget(c, before))
                    tidied = time.monotonic()
                silent = False
            except DatabaseError as error:
                if not silent:
                    log.warning("letters wait for the database: %s", error)
                silent, wait_s = True, SERVER_WAIT_S[0]
            await asyncio.sleep(wait_s)


def _cancelled() -> bool:
    """Tell whether this task was told to end: Python 3.11's wait_for forgets that when the awaited answer comes with it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def run_sending(database: Database, settings: Settings) -> None:
    """Send letters for ever."""
    async with asyncio.TaskGroup() as tasks:
        for channel in CHANNELS:
            tasks.create_task(Sender(database, settings, channel=channel).run(), name=f"sending {channel}")
