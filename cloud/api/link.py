"""The demo's link switch, where cloud.toml names one: ask it, set it. Loopback only."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from typing import Any, Final

import orjson

from cloud.api.errors import ApiError

FRESH_S: Final = 1.0
TIMEOUT_S: Final = 1.0


class LinkSwitch:
    """Forwards to the switch's own address; remembers its last answer for a second."""

    def __init__(self, control: str | None) -> None:
        self._control = control
        self._cut: bool | None = None
        self._asked = -FRESH_S

    async def state(self) -> dict[str, Any]:
        """Give {controllable, cut}; cut is None while the switch does not answer."""
        if self._control is None:
            return {"controllable": False, "cut": None}
        if time.monotonic() - self._asked >= FRESH_S:
            self._asked = time.monotonic()
            try:
                self._cut = await asyncio.to_thread(self._call, None)
            except (OSError, ValueError):  # the page says "unknown"
                self._cut = None
        return {"controllable": True, "cut": self._cut}

    async def set(self, cut: bool) -> dict[str, Any]:
        """Cut or heal; raises ApiError when there is no switch or it does not answer."""
        if self._control is None:
            raise ApiError(409, "CONFLICT", "this installation has no link switch", "set link_control in cloud.toml")
        try:
            self._cut = await asyncio.to_thread(self._call, cut)
        except (OSError, ValueError) as error:
            raise ApiError(
                503,
                "SERVICE_UNAVAILABLE",
                f"the link switch does not answer: {error}",
                f"is it running at {self._control}?",
            ) from error
        self._asked = time.monotonic()
        return {"controllable": True, "cut": self._cut}

    def _call(self, cut: bool | None) -> bool:
        body = None if cut is None else orjson.dumps({"cut": cut})
        request = urllib.request.Request(  # noqa: S310 - the configuration allows http on loopback only
            f"{self._control}/link", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            said = orjson.loads(answer.read(4096))
        if not isinstance(said, dict) or not isinstance(said.get("cut"), bool):
            raise ValueError(f"unexpected answer {said!r}")  # noqa: TRY004 - bad content, whatever its type
        return said["cut"]
