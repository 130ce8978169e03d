"""What a server remembers (OPC UA Part 11, raw history): many nodes at a time, page by page, with what is proved complete.

A server's word that there is no more is not proof: some cut an answer at the limit and say nothing (asyncua), some
forget what is old. So the range is asked with both ends in it. What was seen live at either end, or a bounding value
beyond it, shows that the history reaches that far; where neither comes, the stretch is missing, and said to be.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.status_codes import StatusCodes
from numpy.typing import NDArray

from edge.drivers.driver import DriverHealth, Missing, Recalled, RefusedError
from edge.drivers.opcua import pages
from edge.drivers.opcua.addresses import Refusal, path_of
from edge.drivers.opcua.structures import Structures
from edge.drivers.opcua.values import Target, Values, unix_ns
from edge.tags import Tag
from sync.reading import Readings, concatenate

REQUEST_S: Final = 20.0
"""A historian may have to go to its disk; live values do not wait for it."""
RELEASE_S: Final = 1.0
VALUES_PER_NODE: Final = 500
NODES_PER_CALL: Final = 20
TRIES: Final = 3
"""How often a node is asked again whose continuation point the server lost."""
_BOUND_NOT_FOUND: Final = StatusCodes.BadBoundNotFound
_NOTHING: Final = {StatusCodes.BadNoData, StatusCodes.GoodNoData}
_AGAIN: Final = {
    StatusCodes.BadContinuationPointInvalid,
    StatusCodes.BadNoContinuationPoints,
    StatusCodes.BadTooManyOperations,
}
_NO_BOUNDS: Final = {
    StatusCodes.BadInvalidArgument,
    StatusCodes.BadBoundNotSupported,
    StatusCodes.BadHistoryOperationInvalid,
}
_WHY: Final = {
    StatusCodes.BadHistoryOperationUnsupported: "the server keeps no history of it",
    StatusCodes.BadServiceUnsupported: "the server has no history at all",
    StatusCodes.BadNotImplemented: "the server has no history at all",
    StatusCodes.BadUserAccessDenied: "the server does not let this user read its history",
    StatusCodes.BadNotReadable: "the server does not let this user read its history",
    StatusCodes.BadNodeIdUnknown: "the server no longer has this node",
}
_CODE: Final = 0xFFFF_0000
NOT_HELD: Final = "the server's history does not reach back this far"
NOT_YET: Final = "the server's history does not reach up to the values that came live"

Send = Callable[[object, float], Awaitable[Buffer]]
"""Sends one request, with its time limit in seconds, and gives the body of the answer."""


@dataclass(slots=True)
class _Wanted:
    """A node on its way through its history."""

    handle: int
    node: ua.NodeId
    tags: list[int]
    """Positions of the tags it serves."""
    start: int
    """Where to ask from, ns; grows."""
    end: int
    continuation: bytes | None = None
    tries: int = 0
    alone: bool = False
    """Asked for in a request of its own."""


@dataclass(slots=True)
class History:
    """Reads the history of one connection's tags; made anew for every asking."""

    send: Send
    node_of: Callable[[str], ua.NodeId]
    tags: Sequence[Tag]
    health: DriverHealth
    structures: Structures | None = None
    """Of the connection: descriptions that were read already."""
    most: int = NODES_PER_CALL
    """Nodes in one request."""
    values_per_node: int = VALUES_PER_NODE
    _bounds: bool = field(default=True, init=False)
    _queue: deque[_Wanted] = field(default_factory=deque["_Wanted"], init=False)
    _open: dict[int, _Wanted] = field(default_factory=dict[int, "_Wanted"], init=False)

    async def recall(
        self, since: Mapping[int, int], until: Mapping[int, int], received: Callable[[], int]
    ) -> AsyncGenerator[Recalled]:
        """Give what the server remembers, tag index by tag index strictly between its two times (ns), in order of time.

        Raises UaError, OSError and TimeoutError when the connection is lost.
        """
        wanted, values, missing = self._plan(since, until)
        if missing:
            yield Recalled(missing=missing, finished=[m.tag for m in missing])
        span = _Span(self.tags, since, until)
        queue = self._queue = deque(sorted(wanted, key=lambda want: want.start))
        try:
            while queue:
                group = self._group(queue)
                try:
                    answers = await self._ask(group)
                except ua.UaStatusCodeError as error:
                    yield self._refused(group, int(error.code), span)
                    continue
                parts: list[Recalled] = []
                for want, page in zip(group, answers, strict=True):
                    if page.continuation and not page.status & 0x8000_0000:
                        self._open[want.handle] = want
                    else:
                        self._open.pop(want.handle, None)
                    want.continuation = page.continuation
                    parts.append(self._take(want, page, span, values, received()))
                yield _joined(parts)
        finally:
            await self._release()

    def _plan(self, since: Mapping[int, int], until: Mapping[int, int]) -> tuple[list[_Wanted], Values, list[Missing]]:
        """Give the nodes to ask for, what makes readings of their values, and the tags nobody can ask for."""
        missing: list[Missing] = []
        nodes: dict[ua.NodeId, list[Target]] = {}
        for position, tag in enumerate(self.tags):
            if tag.index not in since:
                continue
            try:
                node, path = self.node_of(tag.address), path_of(tag)
            except RefusedError as error:
                path, node = Refusal(0, str(error)), ua.NodeId()
            if isinstance(path, Refusal):
                missing.append(self._missing(tag, since[tag.index], until[tag.index], path.why))
            else:
                nodes.setdefault(node, []).append(Target(position, path))
        # Counters and refusals of the live connection are not to be touched by old values: a health of their own.
        values = Values(self.tags, DriverHealth())
        if self.structures is not None:
            values.structures = self.structures
        values.serve(list(nodes.values()))
        wanted = [
            _Wanted(
                handle,
                node,
                [target.position for target in targets],
                min(since[self.tags[t.position].index] for t in targets),
                max(until[self.tags[t.position].index] for t in targets),
            )
            for handle, (node, targets) in enumerate(nodes.items())
        ]
        return wanted, values, missing

    def _group(self, queue: deque[_Wanted]) -> list[_Wanted]:
        """Take nodes off the queue that can share a request: one range holds for all, so theirs must be alike.

        A range may grow by half to take a node along: more requests would cost more than a few values too many.
        """
        first = queue.popleft()
        group = [first]
        while queue and len(group) < self.most and not first.alone:
            after = queue[0]
            alike = (after.continuation is None) == (first.continuation is None)
            if first.continuation is not None:
                alike = alike and (after.start, after.end) == (first.start, first.end)
            near = after.start - first.start <= max(2_000_000_000, (after.end - after.start) // 2)
            if not (alike and near and after.start >= first.start) or after.alone:
                break
            group.append(queue.popleft())
        return group

    async def _ask(self, group: list[_Wanted]) -> list[pages.Page]:
        first, last = min(want.start for want in group), max(want.end for want in group)
        if group[0].continuation is None:
            for want in group:  # a continuation point belongs to the range it was given for
                want.start, want.end = first, last
        asked = [(want.node, want.continuation) for want in group]
        request = pages.ask(asked, first, last, most=self.values_per_node, bounds=self._bounds)
        self.health.requests += 1
        return pages.decode(bytes(await self.send(request, REQUEST_S)))

    def _refused(self, group: list[_Wanted], code: int, span: _Span) -> Recalled:
        """Say what becomes of a request that was refused as a whole: ask for less, ask otherwise, or give up on it."""
        if code in _NO_BOUNDS and self._bounds:
            self._bounds = False
            self._queue.extendleft(reversed(group))
            return Recalled()
        if code in {StatusCodes.BadTooManyOperations, StatusCodes.BadResponseTooLarge} and len(group) > 1:
            self.most = max(1, len(group) // 2)
            self._queue.extendleft(reversed(group))
            return Recalled()
        if len(group) > 1:
            for want in group:  # one of them may have spoilt it for the others
                want.alone = True
            self._queue.extendleft(reversed(group))
            return Recalled()
        return _joined([self._give_up(want, code, span) for want in group])

    def _give_up(self, want: _Wanted, code: int, span: _Span) -> Recalled:
        name = ua.StatusCode(ua.UInt32(code)).name
        why = f"{_WHY.get(code, 'the server refuses its history')} ({name})"
        missing = [
            self._missing(self.tags[position], int(span.low[position]), int(span.high[position]), why)
            for position in want.tags
        ]
        return Recalled(missing=missing, finished=[m.tag for m in missing])

    def _missing(self, tag: Tag, start: int, end: int, why: str) -> Missing:
        self.health.without_history[tag.index] = why
        return Missing(tag.index, start, end, why)

    def _take(self, want: _Wanted, page: pages.Page, span: _Span, values: Values, received: int) -> Recalled:
        """Make readings of one page, and decide how the node goes on."""
        code = page.status & _CODE
        if code in _NO_BOUNDS and self._bounds:
            self._bounds = False
            want.continuation = None
            self._queue.append(want)
            return Recalled()
        if code in _AGAIN and want.tries < TRIES:
            want.tries, want.continuation = want.tries + 1, None
            self.most = 1 if code != StatusCodes.BadContinuationPointInvalid else self.most
            want.start = int(min(span.low[want.tags]))
            self._queue.append(want)
            return Recalled()
        if page.status & 0x8000_0000 and code not in _NOTHING:
            return self._give_up(want, code, span)
        batch, newest, got = None, want.start, 0
        if page.changes is not None:
            changes = replace(page.changes, handle=np.full(len(page.changes.handle), want.handle, np.uint32))
            times = unix_ns(np.where(changes.source == 0, changes.server, changes.source))
            real = (changes.status & np.uint32(_CODE)) != _BOUND_NOT_FOUND
            span.cover(want.tags, times[real])
            newest, got = int(times.max(initial=want.start)), len(times)
            batch = span.inside(values.readings(changes, received))
        if want.continuation is not None:
            self._queue.appendleft(want)
            return Recalled(readings=batch)
        if got >= self.values_per_node and want.start < newest < want.end:
            want.start = newest  # as many as we asked for, and no word of more: ask on from there
            self._queue.append(want)
            return Recalled(readings=batch)
        ends = [span.verdict(position) for position in want.tags]
        missing = [m for each in ends for m in each]
        return Recalled(readings=batch, missing=missing, finished=[self.tags[p].index for p in want.tags])

    async def _release(self) -> None:
        """Give back the continuation points of what was not read to its end."""
        left, self._open = [want for want in self._open.values() if want.continuation], {}
        if left:
            with contextlib.suppress(OSError, TimeoutError, ua.UaError):  # the server forgets them with the session
                await self.send(pages.release([(want.node, want.continuation) for want in left]), RELEASE_S)


class _Span:
    """The open interval of each tag that is still to be filled, and what is proved of its ends; by position."""

    def __init__(self, tags: Sequence[Tag], since: Mapping[int, int], until: Mapping[int, int]) -> None:
        self._tags = tags
        self.low = np.array([since.get(tag.index, 0) for tag in tags], np.int64)
        self.high = np.array([until.get(tag.index, 0) for tag in tags], np.int64)
        self._since = self.low.copy()
        self._first = np.full(len(tags), np.iinfo(np.int64).max, np.int64)
        self._last = np.full(len(tags), -1, np.int64)
        self._place = np.full(max((tag.index for tag in tags), default=0) + 1, -1, np.intp)
        self._place[[tag.index for tag in tags]] = np.arange(len(tags))

    def cover(self, positions: Sequence[int], times: NDArray[np.int64]) -> None:
        """Note how far the node's history was seen to reach."""
        if len(times):
            self._first[positions] = np.minimum(self._first[positions], times.min())
            self._last[positions] = np.maximum(self._last[positions], times.max())

    def inside(self, batch: Readings) -> Readings:
        """Give the rows inside their tag's interval, marked, and move its lower end up to the newest of them."""
        place = self._place[batch.tag]
        keep = (batch.source_time > self.low[place]) & (batch.source_time < self.high[place])
        kept = batch.take(keep)
        np.maximum.at(self.low, place[keep], kept.source_time)
        return replace(kept, historical=True)

    def verdict(self, position: int) -> list[Missing]:
        """Give the stretches of a finished tag that its history does not prove to hold."""
        tag, since, high = self._tags[position].index, int(self._since[position]), int(self.high[position])
        first, last = int(self._first[position]), int(self._last[position])
        found: list[Missing] = []
        if first > since:
            found.append(Missing(tag, since, min(first, high), NOT_HELD, late=last < 0))
        if last < high and first < high:
            found.append(Missing(tag, max(last, since), high, NOT_YET, late=True))
        return found


def _joined(parts: list[Recalled]) -> Recalled:
    batches = [part.readings for part in parts if part.readings is not None and len(part.readings)]
    return Recalled(
        readings=concatenate(batches) if batches else None,
        missing=[m for part in parts for m in part.missing],
        finished=[tag for part in parts for tag in part.finished],
    )
