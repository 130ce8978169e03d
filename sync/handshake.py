"""How a gateway's session begins: hello under a new session id, holdings part by part, resume with the cloud's nonce. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from sync.effects import AskHoldings, Backlog, Say
from sync.frames import Hello, Incarnation, Resume

TURN_RECORDS: Final = 20_000
TURN_AGE: Final = 60_000_000_000


class Handshake:
    """What was said and asked at the beginning of the present session; one per connection."""

    def __init__(self, hello: Hello, token: Callable[[], str]) -> None:
        """Take what every hello says; `token` gives 16 hex digits, others at every call."""
        self._hello, self._token = hello, token
        self.session = ""
        self.nonce = ""
        """Of the cloud's challenge; empty before it."""
        self.resumed = False
        self.named_all = True
        """There are no incarnations beyond those that were named."""
        self._asking: AskHoldings | None = None
        self._turned = False
        self._after = self._named_upto = 0

    @property
    def inc(self) -> str:
        return self._hello.inc

    def turned(self, inc: str) -> None:
        """Speak as another incarnation from here on."""
        self._hello = msgspec.structs.replace(self._hello, inc=inc)

    def reset(self) -> None:
        """Forget the session: nothing that was asked in it counts in the next."""
        self.nonce = ""
        self.resumed, self._turned, self._asking = False, False, None

    def from_the_first(self) -> None:
        """Name all incarnations again: a cloud that was restored must hear of each."""
        self._after = 0

    def from_the_next(self) -> None:
        """Name those that did not fit: what was named so far is there."""
        self._after = self._named_upto

    def hello(self, wall: int) -> Say:
        self.session = self._token()
        return Say(msgspec.structs.replace(self._hello, session=self.session, wall=wall))

    def ask(self) -> AskHoldings:
        self._asking = AskHoldings(self.nonce, self._after)
        return self._asking

    def answered(self, asked: AskHoldings) -> bool:
        """Tell whether this is what was asked for last; once."""
        if asked != self._asking:
            return False
        self._asking = None
        return True

    def far_behind(self, backlog: Backlog | None) -> bool:
        """Tell whether to turn first, because a lane is strictly in order and what is read now would wait behind all this.

        Once per challenge, or a store that cannot help would never be resumed.
        """
        if backlog is None or self._turned or (backlog.records <= TURN_RECORDS and backlog.age <= TURN_AGE):
            return False
        self._turned = True
        return True

    def resume(self, incarnations: Sequence[Incarnation], complete: bool) -> Say:
        closed = [one.ord for one in incarnations if one.closed and one.ord > self._after]
        self._named_upto = max(closed, default=self._after)
        # A part that names nothing new is the last one, or we would ask for ever.
        self.named_all = complete or not closed
        self.resumed = True
        return Say(Resume(nonce=self.nonce, incarnations=list(incarnations), complete=self.named_all))
