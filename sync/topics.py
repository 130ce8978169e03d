"""The topic grammar: `triflow/v1/{tenant}/{site}/{gateway}/{up|down}/{what}`.

Identity topics, not plant hierarchy: people rename areas and lines, and a receipt needs one place to go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROOT = "triflow/v1"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_TOPIC = re.compile(rf"triflow/v1/({_NAME})/({_NAME})/({_NAME})/(up|down)/([a-z]+(?:/[0-9]+)?)")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A gateway's place on the broker."""

    tenant: str
    site: str
    gateway: str

    def up(self, what: str) -> str:
        """Topic towards the cloud: ctl, b/<stream> (chunks), hb (heartbeat), lvc (last values), state (birth, will)."""
        return f"{ROOT}/{self.tenant}/{self.site}/{self.gateway}/up/{what}"

    def down(self, what: str) -> str:
        """Topic towards the gateway: ctl, ack, cmd."""
        return f"{ROOT}/{self.tenant}/{self.site}/{self.gateway}/down/{what}"

    def __str__(self) -> str:
        return f"{self.tenant}/{self.site}/{self.gateway}"


EVERYTHING_UP = f"{ROOT}/+/+/+/up/#"


def parse(topic: str) -> tuple[Address, str, str] | None:
    """Give (address, 'up' or 'down', what), or None for a topic that is none of ours."""
    match = _TOPIC.fullmatch(topic)
    if match is None:
        return None
    tenant, site, gateway, direction, what = match.groups()
    return Address(tenant, site, gateway), direction, what
