"""How long a gateway's session waits, and for whom: the cloud's answer to a hello, and the link itself. Pure, ns."""

from __future__ import annotations

from typing import Final

from sync.sending import SECOND

HELLO_WAIT: Final = SECOND
LONGEST_HELLO_WAIT: Final = 4 * SECOND
HELLOS: Final = 5
HELLOS_AFTER_SILENCE: Final = 2
LINK_TIMEOUT: Final = 35 * SECOND
"""The broker has taken nothing and nothing came: the link is half open. A heartbeat's pause or a chunk's time-out (5 s) may
pass before there is something to be taken, so that it is noticed within 45 s; the largest chunk takes 33 s at 64 kbit/s."""


class Patience:
    """The waits of one connection."""

    def __init__(self) -> None:
        self.deadline = 0
        """When what is waited for in the present state should have come."""
        self._wait = HELLO_WAIT
        self._hellos, self._allowed = 0, HELLOS
        self._posting, self._sign_at = 0, 0

    # --- the cloud ---

    def begin(self, hellos: int = HELLOS) -> None:
        """Say hello so many times from here on, before the connection is given up."""
        self._hellos, self._allowed = 0, hellos

    def answered(self) -> None:
        """The cloud is there."""
        self._hellos, self._wait = 0, HELLO_WAIT

    def hello(self, now: int) -> bool:
        """Tell whether another hello may be said; it is then waited for."""
        if self._hellos >= self._allowed:
            return False
        self._hellos += 1
        self.deadline = now + self._wait
        return True

    def longer(self) -> None:
        """Nobody answered: wait longer for the next."""
        self._wait = min(LONGEST_HELLO_WAIT, self._wait * 3 // 2)

    def nobody_there(self, now: int) -> None:
        """No answer was to be expected: this hello does not count."""
        self.begin()
        self.deadline = now + self._wait
        self.longer()

    # --- the link ---

    def sign_of_life(self, now: int) -> None:
        """Something came over the link."""
        self._sign_at = now

    def posting(self, now: int) -> None:
        """Something is handed to the link."""
        if not self._posting:
            self._sign_at = now
        self._posting += 1

    def posted(self, now: int) -> None:
        """The broker has taken it, or refused it."""
        self._posting -= 1
        self._sign_at = now

    @property
    def link_due(self) -> int | None:
        """When the link is to be given up if nothing happens; None while it owes nothing."""
        return self._sign_at + LINK_TIMEOUT if self._posting else None
