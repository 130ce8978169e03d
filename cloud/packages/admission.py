"""Who may ask: enrolled gateways that prove it, each request once, and nobody who guesses.

Kept in this process's memory: with several API processes behind one name a header may be used once in each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from sync.ticket import Ticket, read_ticket
from sync.topics import Address

SLACK_S: Final = 300
"""How far a ticket's time may lie from ours."""
FAILURES: Final = 20
"""Refusals one peer may collect at once; one is forgiven every REFILL_S."""
REFILL_S: Final = 3.0
PEERS: Final = 10_000
NONCES: Final = 100_000
_NOBODY: Final = bytes(32)


class Denied(Exception):  # noqa: N818 - an answer, no fault of the program
    """The request is refused: 401 (prove who you are, the clock is told) or 429 (too many failures; wait)."""

    def __init__(self, status: int, retry_after_s: int = 0) -> None:
        super().__init__(f"{status}")
        self.status, self.retry_after_s = status, retry_after_s


class Admission:
    """Checks tickets. All refusals look the same: an unknown gateway, a wrong key and a used ticket tell nothing apart."""

    def __init__(self, keys: Mapping[Address, bytes]) -> None:
        self._keys = {str(address): (address, key) for address, key in keys.items()}
        self._used: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, header: str, method: str, path: str, peer: str, now: float) -> Address:
        """Give the gateway that asks; `now` in s since 1970. Raises Denied."""
        ticket = read_ticket(header)
        found = None if ticket is None else self._keys.get(ticket.gateway)
        genuine = (ticket or Ticket("", 0, "")).genuine(_NOBODY if found is None else found[1], method, path)
        if ticket is None or found is None or not genuine:
            raise self._failed(peer, now)
        if abs(now - ticket.at) > SLACK_S:  # genuine: a gateway with a wrong clock, which learns ours now
            raise Denied(401)
        if not self._first_use(ticket, now):
            raise self._failed(peer, now)
        return found[0]

    def _first_use(self, ticket: Ticket, now: float) -> bool:
        while self._used and (len(self._used) >= NONCES or next(iter(self._used.values())) < now - 2 * SLACK_S):
            self._used.popitem(last=False)
        use = (ticket.gateway, ticket.nonce)
        if use in self._used:
            return False
        self._used[use] = now
        return True

    def _failed(self, peer: str, now: float) -> Denied:
        """Count a refusal and give the answer. A genuine ticket is never held back by others behind the same address."""
        count, at = self._failures.pop(peer, (0.0, now))
        if len(self._failures) >= PEERS:
            self._failures.popitem(last=False)
        count = max(0.0, count - max(0.0, now - at) / REFILL_S)
        if count >= FAILURES:
            self._failures[peer] = (count, now)
            return Denied(429, max(1, round((count - FAILURES + 1) * REFILL_S)))
        self._failures[peer] = (count + 1, now)
        return Denied(401)
