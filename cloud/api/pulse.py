"""Sends the overview to open pages: when something changed, at most every half second, and now and then anyway."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cloud.api.answers import Answers
from cloud.database import DatabaseError

log = logging.getLogger(__name__)

AT_MOST_EVERY_S: Final = 0.5
AT_LEAST_EVERY_S: Final = 3.0
"""Ages and silence show by themselves."""


async def run_pulse(answers: Answers) -> None:
    """Push for ever; nothing is built while nobody looks. Alerts are kept up to date whether or not."""
    bus = answers.bus
    while True:
        try:
            async with asyncio.timeout(AT_LEAST_EVERY_S):
                await bus.changed.wait()
        except TimeoutError:  # nothing changed but the time
            pass
        bus.changed.clear()
        await answers.oversight.watch()
        for tenant in answers.plants.tenants:
            if bus.listeners(tenant):
                try:
                    bus.overview(tenant, await answers.overview_bytes(tenant))
                except DatabaseError as error:  # the page keeps what it has and says how old it is
                    log.warning("overview cannot be read: %s", error)
        await asyncio.sleep(AT_MOST_EVERY_S)
