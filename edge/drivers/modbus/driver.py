"""Modbus: registers polled in as few requests as the device allows, written and read back where the book allows it.

The ten rules: every request stands under the connection's timeout; a register the device refuses is a bad reading and
is tried again every 30 s, the others go on; a tag with role `clock` gives the machine's own time, without one the
middle of its request stands in (Modbus carries none); leaving closes the connection; only tags with `writable` are
written. A unit that does not answer is asked again after its siblings had their turn, once, and then now and then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

from edge.connections import Modbus
from edge.drivers.driver import DriverError, DriverHealth, Surroundings, Written
from edge.drivers.modbus.link import Link, RestingError, SilentError, WrongAnswerError
from edge.drivers.modbus.pdu import NOBODY_THERE
from edge.drivers.modbus.plan import Block
from edge.drivers.modbus.scan_class import ScanClass
from edge.drivers.modbus.units import Unit
from edge.drivers.modbus.write import Writing
from edge.tags import Tag
from sync.clock import Clock
from sync.quality import BAD_DECODING_ERROR, BAD_NO_COMMUNICATION, BAD_TIMEOUT
from sync.reading import Readings, Scalar, concatenate

SILENT_REQUESTS = 3
"""So many requests in a row without an answer, from no unit at all, and the connection counts as lost."""
RETRY_S = 30.0


class _Scan:
    """One scan of a class on its way."""

    def __init__(self, scan_class: ScanClass, blocks: Sequence[Block]) -> None:
        self.of = scan_class
        self.left = deque(blocks)
        """Blocks that are not asked for yet."""
        self.tries = 0
        """Requests for the first of them that stayed unanswered."""
        self.doubts = 0
        """The link's doubts of the unit when the scan began."""


class ModbusDriver:
    """One connection to Modbus devices, from connect to loss."""

    def __init__(
        self, config: Modbus, tags: Sequence[Tag], clock: Clock, around: Surroundings, *, retry_s: float = RETRY_S
    ) -> None:
        self.health = DriverHealth()
        self._config = config
        self._clock = clock
        self._link = Link(config, clock, around, self.health)
        self._units: dict[int, Unit] = {}
        self._classes = self._classify(tags, retry_s)
        for scan_class in self._classes:
            self._link.uses[scan_class.unit.number] |= scan_class.functions
        self._standing: deque[_Scan] = deque()
        """Scans whose unit did not answer: they wait until its siblings had their turn."""
        self._unanswered = 0
        """Requests in a row without an answer from any unit."""
        self._waited = False
        """Whether a unit was waited for in vain in this turn."""
        self._patience = max(1, min(SILENT_REQUESTS, int(5 / config.timeout_s)))
        self._writing = asyncio.Lock()

    def _classify(self, tags: Sequence[Tag], retry_s: float) -> list[ScanClass]:
        """Give a class for each unit and rate, with the clocks of the work units in it."""
        config = self._config
        members: dict[tuple[int, float], list[Tag]] = {}
        for tag in tags:
            members.setdefault((self._number(tag), tag.spec.period_ms or config.period_ms), []).append(tag)
        clocks = [tag for tag in tags if tag.spec.role == "clock"]
        return [
            ScanClass(
                self._unit(number),
                period_ms,
                mine,
                [
                    clock
                    for clock in clocks
                    if clock not in mine
                    and self._number(clock) == number
                    and any(clock.work_unit == tag.work_unit for tag in mine)
                ],
                config=config,
                health=self.health,
                retry_s=retry_s,
            )
            for (number, period_ms), mine in members.items()
        ]

    def _number(self, tag: Tag) -> int:
        return self._config.unit if tag.unit is None else tag.unit

    def _unit(self, number: int) -> Unit:
        return self._units.setdefault(number, Unit(number, self._config))

    async def __aenter__(self) -> Self:
        await self._link.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.__aexit__(kind, error, trace)

    async def write(self, tag: Tag, value: Scalar) -> Written:
        """Write one value and read it back, before polls that wait. Raises RefusedError and DriverError."""
        writing = Writing(self._link, self._unit(self._number(tag)), tag, self._config, self._clock)
        async with self._writing:
            return await writing.write(value)

    # ── polling ──

    async def readings(self) -> AsyncGenerator[Readings]:
        """Give a batch of the classes that were due, every tag of them once, bad ones included."""
        while True:
            now = self._clock.monotonic()
            waiting = {scan.of for scan in self._standing}
            due = [scan_class for scan_class in self._classes if scan_class.due <= now and scan_class not in waiting]
            if due:
                batch, lost = await self._turn([self._begin(scan_class, now) for scan_class in due])
                if batch is not None:
                    yield batch
                if lost is not None:
                    raise lost
            if self._standing:
                batch, lost = await self._turn([self._standing.popleft()], again=True)
                if batch is not None:
                    yield batch
                if lost is not None:
                    raise lost
            elif not due:
                beat = min((c.due for c in self._classes), default=now + round(self._config.period_ms * 1e6))
                await self._clock.sleep((beat - now) / 1e9)

    def _begin(self, scan_class: ScanClass, now: int) -> _Scan:
        self.health.overruns += scan_class.beat(now)
        return _Scan(scan_class, scan_class.begin(now, self._clock.now()))

    async def _turn(self, scans: list[_Scan], *, again: bool = False) -> tuple[Readings | None, DriverError | None]:
        """Ask for what is left of scans; give what ended, and the loss of the connection.

        again: also ask a unit that left its last request unanswered, once.
        """
        link, lost, self._waited = self._link, None, False
        try:
            if link.serial:
                await link.hush()
                for scan in scans:
                    scan.doubts = link.doubts[scan.of.unit.number]
            await self._ask_all(scans, again=again)
            if link.serial:
                await link.hush()
        except DriverError as error:
            lost = error
        ended_any = any(not scan.left for scan in scans)
        units = self._units.values()
        if lost is None and ended_any and self._unanswered and all(unit.fails and not unit.met for unit in units):
            return None, self._silence()
        received = self._clock.now()
        ended: list[Readings] = []
        for scan in scans:
            if not scan.left:
                if link.doubts[scan.of.unit.number] != scan.doubts:
                    scan.of.doubt_all(BAD_DECODING_ERROR)  # an answer too many: who knows which was whose
                ended.append(scan.of.batch(received))
            elif lost is None:
                self._standing.append(scan)
        if link.strays:
            self.health.notes["strays"] = f"{link.strays} answers came too late or to nobody's question, none was used"
        return concatenate(ended) if ended else None, lost

    async def _ask_all(self, scans: Sequence[_Scan], *, again: bool) -> None:
        async def ask() -> None:
            for scan in scans:
                await self._ask(scan, again=again)

        workers = min(self._config.in_flight, sum(len(scan.left) for scan in scans))
        if workers <= 1:
            await ask()
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(workers):
                    tasks.create_task(ask(), name=f"modbus {self._config.name}")
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _ask(self, scan: _Scan, *, again: bool) -> None:
        """Ask for the blocks of a scan, until one stays unanswered."""
        unit = scan.of.unit
        while scan.left:
            if not unit.may_be_asked(self._clock.monotonic()):
                self._give_up(scan, BAD_NO_COMMUNICATION)
                return
            if not again and (unit.fails or (self._waited and not unit.met)):
                return  # its siblings first
            block = scan.left.popleft()
            if await self._read(scan, block):
                if unit.fails:
                    return  # so a gateway says
                continue
            scan.tries += 1
            if scan.tries > self._config.retries:
                scan.of.unanswered(block, self._clock.monotonic())
                scan.tries = 0
            else:
                scan.left.appendleft(block)
            return

    async def _read(self, scan: _Scan, block: Block) -> bool:
        """Ask for one block; tell whether an answer came. Raises DriverError when the connection is lost."""
        unit = scan.of.unit
        try:
            answer = await self._link.ask(scan.of.request(block))
        except DriverError:
            scan.left.appendleft(block)
            raise
        except RestingError:
            scan.left.appendleft(block)
            self._give_up(scan, BAD_TIMEOUT)
            return True
        except SilentError:
            self._went_unanswered(unit)
            return False
        except WrongAnswerError:
            scan.of.doubt(block, BAD_DECODING_ERROR)
        else:
            scan.left.extendleft(reversed(scan.of.take(block, answer)))
            if answer.code in NOBODY_THERE:
                self._unanswered = 0
                self._failed(unit)
                return True
        self._unanswered = scan.tries = 0
        if unit.answered():
            self.health.notes.pop(f"unit {unit.number}", None)
        return True

    def _failed(self, unit: Unit) -> None:
        """Take note that a unit did not answer."""
        unit.unanswered(self._clock.monotonic(), self._clock.now())
        self._waited = True
        if unit.open:
            self.health.notes[f"unit {unit.number}"] = unit.said()

    def _went_unanswered(self, unit: Unit) -> None:
        """Take note that nobody answered at all. Raises DriverError when that says that the connection is dead."""
        self._failed(unit)
        self._unanswered += 1
        units = self._units.values()
        patience = min(self._patience, len(units)) if all(u.open for u in units) else self._patience
        if self._unanswered >= patience and all(u.fails for u in units):
            raise self._silence()

    def _silence(self) -> DriverError:
        config, link = self._config, self._link
        units = ", ".join(str(number) for number in self._units)
        strays = f" (but {link.strays} answers that were none to our requests)" if link.strays else ""
        after = (
            "silent for"
            if any(unit.met for unit in self._units.values())
            else "takes the connection and answers nothing for"
        )
        return DriverError(
            f"{config.name} (modbus {config.target} unit {units}): {after} "
            f"{self._unanswered * config.timeout_s:g} s{strays}; check the unit id, the device and the network"
        )

    @staticmethod
    def _give_up(scan: _Scan, status: int) -> None:
        for block in scan.left:
            scan.of.doubt(block, status)
        scan.left.clear()
