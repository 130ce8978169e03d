"""One work unit's way from readings to facts: columns → window → verdict, and the machine's own tags → production.

No I/O and no clock: time arrives in the data, so that history, a replay and the live line run the very same code.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from edge.judgment import Given, State, dump, gather, judge, judged, restore
from edge.judgment.asked import Asked
from edge.judgment.room import left_out
from edge.machine_time import MachineTime, in_order
from edge.production import Production
from edge.tags import Tag
from edge.window import NEVER, TagColumns, rounds
from models.rulesets import Ruleset
from models.virtual import Virtual
from models.window import TagWindows, Window
from sync.facts import Context, EventNotified, Fact, Faulted, Judged
from sync.judgment import Scored
from sync.reading import Readings

log = logging.getLogger(__name__)

HEARTBEAT_NS: Final = 60_000_000_000
"""An unchanged value is recorded again after this long, so that a flat line can be told from silence."""
GRACE_NS: Final = 500_000_000
"""How long an open window waits for stragglers when nothing newer comes."""
MAX_STATE_BYTES: Final = 256 << 20
"""Of a checkpoint before compression; 5,000 tags take half a megabyte."""

_compressor = zstandard.ZstdCompressor(level=1)


class Waiting(msgspec.Struct, frozen=True):
    """A window that is over and waits for its model: it is in the checkpoint, so a crash does not lose its verdict."""

    given: Given
    """Without what the verdict before leaves behind: that is known when its turn comes."""
    asked: Asked


@dataclass(slots=True)
class Output:
    """What a step of the pipeline wants on disk, all in one transaction."""

    facts: list[Fact] = field(default_factory=list[Fact])
    readings: Readings | None = None

    @property
    def verdicts(self) -> int:
        return sum(isinstance(fact, Judged) for fact in self.facts)


class LinePipeline:
    """The state of one work unit; every method takes data and gives what is to be recorded."""

    def __init__(
        self,
        work_unit: str,
        tags: Sequence[Tag],
        ruleset: Ruleset | None,
        *,
        window_ns: int,
        report_ns: int,
        record_readings: bool = True,
        virtual: Virtual | None = None,
    ) -> None:
        self.work_unit = work_unit
        self.virtual = virtual
        self.tags = tuple(tags)
        self.ruleset = ruleset
        self.production = Production(work_unit, self.tags, report_ns)
        self.columns = TagColumns(self.tags)
        self.judged = 0
        self.shortened = 0
        """Verdicts that were too large for their record and left something out."""
        self.last_verdict: Judged | None = None
        self.time = MachineTime(len(self.tags))
        self.dumped_at = 0
        """When the state last went into a checkpoint; the owner's monotonic clock, ns."""
        self._ids = [tag.id for tag in self.tags]
        self._first = self.tags[0].index if self.tags else 0
        self._window_ns = window_ns
        self._start = NEVER
        self._alive_until = NEVER
        self._connected = False
        self._memory = State()
        self._waiting: deque[Waiting] = deque()
        self._fault = ""
        """Why the last window could not be judged."""
        self.prepare: Callable[[Window], Asked] = _nothing
        """Takes from a window what the line's model needs; set by who asks it."""
        self.history: Callable[[], float | None] = _unrated
        """How often rated verdicts of the ruleset were right; set by who counts."""
        self._record = record_readings
        self._watched = np.zeros(len(self.tags), np.bool_)
        self._watched[self.production.watched] = True

    @property
    def newest(self) -> int:
        """Newest source time seen, ns."""
        return self.time.newest

    def feed(self, batch: Readings, fed: int | None = None) -> Output:
        """Take a batch of this work unit's readings (table indexes), as it arrived.

        fed: when, by the clock that `tick` and `tell` go by and that never jumps, ns; `batch.received` if left out.
        """
        output = Output()
        if len(batch) == 0:
            return output
        self._connected = True
        local = batch.tag - np.int32(self._first)
        batch, back = self.time.take(local, batch, batch.received if fed is None else fed)
        if back:
            self._set_back(back, output)
        if self._start == NEVER:
            self._start = int(batch.source_time.min()) // self._window_ns * self._window_ns
        status = self.columns.judge_range(local, batch)
        keep = np.zeros(len(batch), np.bool_)
        when = in_order(local, batch.source_time)
        rest = np.arange(len(batch))
        while len(rest):
            inside = when[rest] < self._start + self._window_ns
            now = rest[inside]
            self._produce(now, local, batch, when, output)
            for k in rounds(local[now]):
                rows = now[k]
                part = batch.take(rows)
                keep[rows] = self.columns.changed(local[rows], part, status[rows], HEARTBEAT_NS)
                self.columns.add(local[rows], part, status[rows])
            rest = rest[~inside]
            if len(rest):
                begins = int(when[rest].min())
                self._alive_until = max(self._alive_until, begins)
                self._close(output)
                self._start = max(self._start, begins // self._window_ns * self._window_ns)
        if self._record and keep.any():
            kept = batch.take(keep)
            output.readings = Readings(
                tag=kept.tag,
                value=kept.value,
                status=status[keep],
                source_time=kept.source_time,
                server_time=kept.server_time,
                received=kept.received,
                other=kept.other,
            )
        return output

    def _produce(
        self,
        rows: NDArray[np.intp],
        local: NDArray[np.int32],
        batch: Readings,
        when: NDArray[np.int64],
        output: Output,
    ) -> None:
        watched = rows[self._watched[local[rows]]]
        if len(watched):
            ordered = watched[np.argsort(when[watched], kind="stable")]
            output.facts += self.production.take(
                [
                    (int(local[i]), batch.scalar(int(i)), int(batch.status[i]), int(batch.source_time[i]))
                    for i in ordered
                ]
            )

    def _set_back(self, back: int, output: Output) -> None:
        """The machine's clock was set back: what is open ends, and goes on in the machine's new time."""
        new = self.newest
        if self._start != NEVER:
            self._close(output)
        self._start = new // self._window_ns * self._window_ns
        self._alive_until = new
        self.columns.record_anew()
        self.production.set_back(new + back, new, output.facts)
        seconds = back / 1e9
        output.facts.append(
            EventNotified(
                at=new,
                work_unit=self.work_unit,
                source=self.tags[0].connection,
                event=hashlib.sha256(f"{self.work_unit} {new} {back}".encode()).hexdigest()[:32],
                type="ClockSetBack",
                severity=500,
                message=f"the clock of these readings went back by {seconds:.1f} s; windows and counts go on in its new time",
                fields={"seconds": seconds},
            )
        )

    def _close(self, output: Output) -> None:
        """Close the open window, judge it, and open the next."""
        end = self._start + self._window_ns
        tags = self.columns.close(end, max(self._alive_until, end) if self._connected else self._alive_until)
        window = self._window(end, tags, self.production.window_counts())
        self._start = end
        if (ruleset := self.ruleset) is not None:
            if ruleset.model is None:
                output.facts += self._overdue()
            output.facts += self._or_faulted(end, lambda: self._look_at(ruleset, window))

    def _look_at(self, ruleset: Ruleset, window: Window) -> list[Fact]:
        given = gather(ruleset, window, memory=self._memory, history=self.history())
        if ruleset.model is None:
            return self._judge(ruleset, given, None)
        self._waiting.append(Waiting(given, self.prepare(window)))
        return []

    def _window(self, end: int, tags: TagWindows, counts: dict[str, int]) -> Window:
        now = self.production.now
        window = Window(
            work_unit=self.work_unit,
            start=self._start,
            end=end,
            tags=tags,
            state=now.state,
            reason=now.reason,
            context=self.production.context,
            counts=counts,
        )
        return window if self.virtual is None else self.virtual.extend(window)

    def _judge(self, ruleset: Ruleset, given: Given, scored: Scored | None) -> list[Fact]:
        verdict = judge(ruleset, given, scored=scored)
        self._memory = verdict.state
        self.judged += 1
        self.last_verdict = judged(verdict)
        self.shortened += bool(left_out(self.last_verdict))
        return [self.last_verdict, *verdict.facts]

    def _or_faulted(self, at: int, look: Callable[[], list[Fact]]) -> list[Fact]:
        """Give what judging gives. A bug in it costs this window's verdict, and neither readings nor counts nor the next."""
        try:
            facts = look()
        except Exception as bug:  # the net under a judgment: told when it is another than before, and the line runs on
            why = f"judging: {bug!r}"[:500]
            if why == self._fault:
                return []
            log.exception("a window could not be judged: work_unit=%s", self.work_unit)
            self._fault = why
            return [Faulted(at=at, work_unit=self.work_unit, why=why)]
        self._fault = ""
        return facts

    @property
    def waiting(self) -> int:
        """Windows that are over and wait for their model."""
        return len(self._waiting)

    def next_up(self) -> Waiting | None:
        """Give the window to be judged next, with what the verdict before it left behind."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        return Waiting(msgspec.structs.replace(first.given, memory=self._memory), first.asked)

    def settle(self, scored: Scored | None) -> Output:
        """Judge the window that is next, with what its model said; None when the policy asks none."""
        up, ruleset = self.next_up(), self.ruleset
        if up is None or ruleset is None:
            return Output()
        self._waiting.popleft()
        return Output(facts=self._or_faulted(up.given.end, lambda: self._judge(ruleset, up.given, scored)))

    def _overdue(self) -> list[Fact]:
        """Judge what waited for a model when the rules of before asked one: with these rules nobody will answer it."""
        facts: list[Fact] = []
        while self._waiting:
            facts += self.settle(None).facts
        return facts

    def now(self, now: int) -> Window | None:
        """Give the open window as it stands; None before the first reading. now: of the clock `tick` goes by, ns."""
        if self._start == NEVER:
            return None
        end = max(self.time.estimate(now), self._start + 1)
        return self._window(
            end, self.columns.look(end, end if self._connected else self._alive_until), self.production.counts_so_far()
        )

    def tick(self, now: int) -> Output:
        """Let time pass without readings: close windows that are over, report counts that are due.

        now: of the same clock as `feed`'s `fed`, ns.
        """
        output = Output()
        if self._start == NEVER:
            return output
        estimate = self.time.estimate(now)
        if self._connected:
            self._alive_until = max(self._alive_until, estimate)
        output.facts += self.production.tick(estimate - GRACE_NS)
        behind = (estimate - GRACE_NS - self._start) // self._window_ns
        if behind > 3:  # we slept, or the clock jumped: what nobody saw is not judged window by window
            self._close(output)
            self._start = (estimate - GRACE_NS) // self._window_ns * self._window_ns
        while estimate - GRACE_NS >= self._start + self._window_ns:
            self._close(output)
        return output

    @property
    def span(self) -> tuple[int, int]:
        """First table index of this work unit's tags, and how many there are; they stand together."""
        return self._first, len(self.tags)

    def lost(self) -> Output:
        """The connection is gone: values begin to age, the machine's state is unknown."""
        if not self._connected or self.newest == NEVER:
            return Output()
        self._connected = False
        self._alive_until = max(self._alive_until, self.newest)
        return Output(facts=self.production.lost(self._alive_until))

    def tell(self, context: Context, ideal_cycle_ms: dict[str, float], now: int) -> Output:
        """Take what the MES says is being made."""
        at = self.time.estimate(now) if self.newest != NEVER else now
        return Output(facts=self.production.tell(context, ideal_cycle_ms, at))

    def dump(self) -> bytes:
        """Give the whole state for the checkpoint that is committed with the facts it led to.

        Compressed: with 5,000 tags it is half a megabyte, written every second to a disk that wears.
        """
        state = msgspec.msgpack.encode(
            {
                "tags": self._ids,
                "columns": self.columns.dump(),
                "production": self.production.dump(),
                "judge": dump(self._memory),
                "waiting": list(self._waiting),
                "start": self._start,
                "window_ns": self._window_ns,
                "newest": self.newest,
                "received": self.time.fed or 0,
                "judged": self.judged,
            }
        )
        return _compressor.compress(state)

    def restore(self, state: bytes) -> bool:
        """Take a checkpoint back; windows only if the tags are still the same. Tells whether windows resumed.

        Raises ValueError when it is no checkpoint of ours.
        """
        try:
            saved: dict[str, Any] = msgspec.msgpack.decode(_plain(state))
            self.production.restore(saved["production"])
            self._memory = restore(saved["judge"])
            waiting = msgspec.convert(saved.get("waiting", []), list[Waiting])
            self._waiting = deque(waiting if self.ruleset is not None else [])
            self.time.resume(int(saved["newest"]), int(saved["received"]), self.columns.time)
            self.judged = int(saved["judged"])
            self._alive_until = self.newest
            if saved["tags"] != [tag.id for tag in self.tags] or saved["window_ns"] != self._window_ns:
                return False
            self.columns.restore(saved["columns"])
            self.time.resume(int(saved["newest"]), int(saved["received"]), self.columns.time)
            self._start = int(saved["start"])
        except (msgspec.MsgspecError, zstandard.ZstdError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a checkpoint of {self.work_unit}: {error}") from error
        return True


def _nothing(_: Window) -> Asked:
    return Asked(failure="no_model")


def _unrated() -> None:
    return None


def _plain(state: bytes) -> bytes:
    """Give a checkpoint's content; those of earlier versions are not compressed."""
    if not state.startswith(zstandard.FRAME_HEADER):
        return state
    return zstandard.ZstdDecompressor().decompress(state, max_output_size=MAX_STATE_BYTES)
