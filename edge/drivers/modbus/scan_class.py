"""The tags of one unit that are read at one rate: their requests, and what the answers make of them. Pure; time comes in.

The time of a value is the middle between its block's request and answer, unless the machine has a clock of its own (a
tag with role `clock`): the value was taken somewhere in between, so the error is at most half the round trip. The
batch's server time is when the answer came: twice the difference to the source time is the round trip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.connections import Modbus
from edge.drivers.columns import TagColumns
from edge.drivers.driver import DriverHealth
from edge.drivers.modbus.address import AddressError, Item, parse
from edge.drivers.modbus.image import Image
from edge.drivers.modbus.pdu import EXCEPTIONS, ILLEGAL_VALUE, Answer, Request, read
from edge.drivers.modbus.plan import FUNCTION, Block, halves, plan, seam
from edge.drivers.modbus.units import Unit
from edge.tags import Tag
from sync.quality import (
    BAD,
    BAD_CONFIGURATION_ERROR,
    BAD_DECODING_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_NO_COMMUNICATION,
    BAD_TIMEOUT,
)
from sync.reading import Readings

CHANCES = 8
"""So many requests of one scan may go to registers that were refused before."""
PIECES = 64
"""So many times may refused blocks be halved in one scan; a device that refuses everything is not stormed."""
SHORTEST_LIMIT = 16
"""Registers: no device is known that gives fewer at a time, so a refusal of fewer has another reason."""
REPLAN_AFTER = 64
"""Answers, before a gap that was learnt anew changes the requests."""

_STATUS = {
    4: BAD_DEVICE_FAILURE, 5: BAD_DEVICE_FAILURE, 6: BAD_DEVICE_FAILURE, 7: BAD_DEVICE_FAILURE, 8: BAD_DEVICE_FAILURE,
    10: BAD_NO_COMMUNICATION, 11: BAD_NO_COMMUNICATION,
}  # fmt: skip
"""Exception code → status for this scan: device failure, busy, memory parity; gateway without path, target silent."""


@dataclass(slots=True, eq=False)
class _Halves:
    """Two halves of a block the device refused."""

    first: Block
    second: Block
    too_long: bool
    """Whether the device said that the length was wrong."""
    given: int = 0
    """How many of them it gave."""


class ScanClass:
    """Tags of one unit and one rate; `requests` to send, `take` for what comes, `batch` for what became of it."""

    def __init__(
        self,
        unit: Unit,
        period_ms: float,
        tags: Sequence[Tag],
        clocks: Sequence[Tag],
        *,
        config: Modbus,
        health: DriverHealth,
        retry_s: float,
    ) -> None:
        """Plan the requests. clocks: clock tags of another rate that tell the time of work units here."""
        self.unit = unit
        self.size = len(tags)
        self.due = 0
        """Next beat, monotonic ns."""
        self._period = round(period_ms * 1e6)
        self._health = health
        self._retry_ns = round(retry_s * 1e9)
        every = (*tags, *clocks)
        self._columns = TagColumns(every)
        self._status = np.zeros(len(every), np.uint32)
        self._taken = np.zeros(len(every), np.int64)
        """When the value was taken, as far as we know, ns since 1970."""
        self._came = np.zeros(len(every), np.int64)
        self._fixed = np.zeros(len(every), np.uint32)
        """Status of tags that are not asked for: wrong address in the book, or refused by the device."""
        self._items: list[Item] = []
        for position, tag in enumerate(every):
            try:
                item = parse(
                    position,
                    tag.address,
                    tag.spec,
                    base=config.address_base,
                    element=tag.element,
                    order=config.word_order,
                )
            except AddressError as error:
                self._bar(position, str(error))
            else:
                self._items.append(item)
        self.functions = {FUNCTION[item.table] for item in self._items}
        """What the unit is read by."""
        self._image = Image(every, self._items, config.word_order)
        self._clocks = _clocks(every)
        self._refused: dict[int, Item] = {}
        self._chances: deque[Block] = deque()
        """Blocks of refused items whose time to be asked again has come."""
        self._chance: set[Block] = set()
        """Those of this scan."""
        self._mute: dict[Block, tuple[int, int]] = {}
        """Block that stays unanswered while its unit answers others → how often, and when to ask for it again."""
        self._mute_after, self._mute_ns = config.breaker_fails, round(config.breaker_probe_s * 1e9)
        self._halves: dict[Block, _Halves] = {}
        self._pieces = 0
        self._retry_at: int | None = None
        self._answers = 0
        self._gap = unit.gap
        self._blocks: list[Block] = []
        self._requests: dict[Block, tuple[Request, NDArray[np.intp]]] = {}
        self._replan = False
        self._plan()

    # ── when ──

    def beat(self, now: int) -> int:
        """Take the beat that is due at `now` (monotonic, ns); give how many were missed before it."""
        if not self.due:
            self.due = now
        missed = (now - self.due) // self._period
        self.due += (missed + 1) * self._period
        return missed

    # ── what to ask ──

    def begin(self, now: int, wall: int) -> list[Block]:
        """Begin a scan; give its blocks. now: monotonic, wall: since 1970, both ns."""
        self._status[:] = self._fixed
        self.doubt_all(BAD_NO_COMMUNICATION)  # until its block is read
        self._taken[:] = wall
        self._came[:] = wall
        if self._replan or (
            self._answers >= REPLAN_AFTER and not self._gap / 1.5 - 1 <= self.unit.gap <= self._gap * 1.5 + 1
        ):
            self._plan()
        if self._refused and self._retry_at is None:
            self._retry_at = now + self._retry_ns
        elif self._retry_at is not None and now >= self._retry_at:
            self._retry_at = now + self._retry_ns
            self._chances = deque(self._planned(list(self._refused.values()), [], max_gap=0))
        self._halves.clear()
        self._pieces = 0
        self._chance = {self._chances.popleft() for _ in range(min(CHANCES, len(self._chances)))}
        asked = self._blocks if not self._mute else [block for block in self._blocks if not self._is_mute(block, now)]
        return [*asked, *self._chance]

    def _is_mute(self, block: Block, now: int) -> bool:
        """Tell whether a block is left alone in this scan, and say so of its tags."""
        if now >= self._mute.get(block, (0, 0))[1]:
            return False
        self.doubt(block, BAD_TIMEOUT)
        return True

    def request(self, block: Block) -> Request:
        """Give the request of a block."""
        made = self._requests.get(block)
        if made is None:
            request = read(self.unit.number, FUNCTION[block.table], block.address, block.count)
            made = self._requests[block] = (request, self._image.target(block))
        return made[0]

    # ── what came ──

    def take(self, block: Block, answer: Answer) -> tuple[Block, ...]:
        """Take the answer to a block; give smaller blocks to ask for instead, where the device refuses it whole."""
        if not answer.code:
            self._image.fill(block, self._requests[block][1], answer.data[2:])
            positions = block.positions
            self._came[positions] = answer.came
            self._taken[positions] = answer.came - answer.took // 2
            self._status[positions] = 0
            self._answers += 1
            self.unit.round_trips.observe(block.words, answer.took / 1e9)
            if self._halves:
                self._came_whole(block)
            if self._mute:
                self._unmute(block)
            for item in block.items if block in self._chance else ():
                self._allow(item.position)
            return ()
        if answer.code in {2, 3} and len(block.items) > 1:
            return self._halve(block, answer.code)
        if answer.code in {1, 2, 3}:
            for item in block.items:
                self._refuse(item, answer.code)
        else:
            self.doubt(block, _STATUS.get(answer.code, BAD_DECODING_ERROR))
        return ()

    def _halve(self, block: Block, code: int) -> tuple[Block, ...]:
        first, second = halves(block)
        if block in self._chance:
            self._chances += (first, second)  # later: what is refused anyway has time
            return ()
        if self._pieces >= PIECES:
            self.doubt(block, BAD_CONFIGURATION_ERROR)
            return ()
        self._pieces += 1
        too_long = code == ILLEGAL_VALUE and block.registers and block.count > SHORTEST_LIMIT
        self._halves[first] = self._halves[second] = _Halves(first, second, too_long)
        return first, second

    def _came_whole(self, block: Block) -> None:
        """Learn from a half that was given: when both are, the device takes no request over the place between.

        Or none of that length, when it said so (exception 3).
        """
        pair = self._halves.pop(block, None)
        if pair is None:
            return
        pair.given += 1
        if pair.given < 2:
            return
        self._replan = True
        if pair.too_long:
            self.unit.max_registers = min(self.unit.max_registers, max(pair.first.count, pair.second.count))
        else:
            self.unit.seams.add(seam(pair.first, pair.second))

    def unanswered(self, block: Block, now: int) -> None:
        """Take note that a block stayed unanswered in this scan, however often it was asked for.

        Some devices take no notice of registers they do not have. Such a block is asked for now and then only, like a
        unit that is silent. now: monotonic, ns.
        """
        self.doubt(block, BAD_TIMEOUT)
        fails = self._mute.get(block, (0, 0))[0] + 1
        self._mute[block] = (fails, now + self._mute_ns if fails >= self._mute_after else 0)
        if fails == self._mute_after:
            for item in block.items:
                self._say(item.position, "no answer while others are answered; check the address and the table")

    def _unmute(self, block: Block) -> None:
        if self._mute.pop(block, (0, 0))[0] >= self._mute_after:
            for item in block.items:
                self._say(item.position, "")

    def doubt(self, block: Block, status: int) -> None:
        """Say of a block's tags why they have no value in this scan."""
        positions = block.positions
        self._status[positions] = np.where(self._fixed[positions] == 0, np.uint32(status), self._fixed[positions])

    def doubt_all(self, status: int) -> None:
        """Say of all tags that are asked for why they have no value in this scan."""
        self._status[:] = np.where(self._fixed == 0, np.uint32(status), self._fixed)

    def batch(self, received: int) -> Readings:
        """End the scan: every tag once, bad ones included."""
        value, other, senseless = self._image.decode()
        self._status[senseless] = np.where(self._status[senseless] == 0, BAD_DECODING_ERROR, self._status[senseless])
        bad = (self._status & np.uint32(BAD)) != 0
        value[bad] = np.nan
        if other:
            other = {position: held for position, held in other.items() if not bad[position]}
        taken = self._taken
        if self._clocks:
            taken = taken.copy()
            for clock, members in self._clocks:
                told = self._told(clock, value, other)
                if told:
                    taken[members] = told
        n = self.size
        return self._columns.readings(
            np.arange(n),
            value[:n],
            self._status[:n].copy(),
            source_time=taken[:n].copy(),
            server_time=self._came[:n].copy(),
            received=received,
            other={position: held for position, held in other.items() if position < n},
        )

    def _told(self, clock: int, value: NDArray[np.float64], other: dict[int, str | int]) -> int:
        """Give the machine's own time, exact to the microsecond; 0 when it tells none."""
        spec = self._columns.tags[clock].spec
        held = other.get(clock)
        milliseconds = (held if isinstance(held, int) else float(value[clock])) * spec.scale + spec.offset
        return round(milliseconds * 1000) * 1000 if 0 < milliseconds < 2**63 / 1e6 else 0

    # ── refusals ──

    def _refuse(self, item: Item, code: int) -> None:
        if item.position not in self._refused:
            self._refused[item.position] = item
            self._replan = True
        self._bar(item.position, f"{self._columns.tags[item.position].address}: {EXCEPTIONS[code]}")
        self._status[item.position] = BAD_CONFIGURATION_ERROR

    def _bar(self, position: int, why: str) -> None:
        self._fixed[position] = BAD_CONFIGURATION_ERROR
        self._say(position, why)

    def _say(self, position: int, why: str) -> None:
        """Tell people why a tag gives no value, or with nothing to say that it does again."""
        if position >= self.size:
            return
        index = int(self._columns.index[position])
        if why:
            self._health.bad_items[index] = why
        else:
            self._health.bad_items.pop(index, None)

    def _allow(self, position: int) -> None:
        self._refused.pop(position, None)
        self._replan = True
        self._fixed[position] = 0
        self._status[position] = 0
        self._say(position, "")

    def _plan(self) -> None:
        unit = self.unit
        self._replan = False
        self._answers = 0
        self._gap = unit.gap
        self._requests = {}
        self._mute = {}
        asked = [item for item in self._items if item.position not in self._refused]
        self._blocks = self._planned(asked, list(self._refused.values()), max_gap=unit.gap)

    def _planned(self, items: Sequence[Item], refused: Sequence[Item], *, max_gap: int) -> list[Block]:
        unit = self.unit
        return plan(
            items,
            max_gap=max_gap,
            max_registers=unit.max_registers,
            max_bits=unit.max_bits,
            refused=refused,
            seams=unit.seams,
        )


def _clocks(tags: Sequence[Tag]) -> list[tuple[int, NDArray[np.intp]]]:
    """Give for each clock tag its position and the positions of its work unit, whose time it tells."""
    return [
        (at, np.array([i for i, other in enumerate(tags) if other.work_unit == tag.work_unit], np.intp))
        for at, tag in enumerate(tags)
        if tag.spec.role == "clock"
    ]
