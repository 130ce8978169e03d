"""A Modbus connection examined: the way there, each unit, and each register read once with every byte order shown.

Asks through the driver's own link, one tag a request and one request at a time, so that what is wrong with a tag is
said of this tag. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.addresses import AddressError, order_of
from edge.connections import Modbus
from edge.drivers.appraisal import engineering, off_by, plausible, shown, tally, valued, within
from edge.drivers.driver import DriverError, DriverHealth, Surroundings
from edge.drivers.finding import Finding, fault, ok, warning
from edge.drivers.modbus.address import Item, parse
from edge.drivers.modbus.link import Link, SilentError, WrongAnswerError
from edge.drivers.modbus.pdu import read
from edge.drivers.modbus.plan import FUNCTION
from edge.drivers.modbus.registers import DIGITS, NUMBERS, decode, value_of
from edge.drivers.modbus.transports import tls_context
from edge.drivers.reach import greet, reach
from edge.tags import Tag, WordOrder
from sync.clock import Clock
from sync.reading import Scalar

GIVE_UP: Final = 2
"""So many requests without an answer and nothing before them, and the unit counts as silent."""
READ_S: Final = 60.0
"""For all tags together: a slow line with a thousand tags is read as far as that goes."""
BREATH_S: Final = 0.2
"""Between trying the port and connecting: a device that takes one connection must notice that the first is over."""
FOUR: Final[tuple[WordOrder, ...]] = ("ABCD", "CDAB", "BADC", "DCBA")
EIGHT: Final[tuple[WordOrder, ...]] = (
    "ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA", "EFGHABCD", "CDABGHEF", "FEHGBADC", "DCBAHGFE"
)  # fmt: skip
_SAID: Final = {1, 2, 3, 4, 5, 6, 8, 10, 11}
"""Exception codes that have a sentence of their own."""
_EMPTY: Final = {0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF}
"""Registers by which devices say that there is no value: the ends of the integers' ranges."""


async def examine(
    connection: Modbus, tags: Sequence[Tag], clock: Clock, around: Surroundings
) -> AsyncGenerator[Finding]:
    """Examine the connection and read each tag once; stops at what makes the rest pointless."""
    async for finding in _way(connection, around):
        yield finding
        if finding.severity == "fault":
            return
    if not tags:
        yield warning("tags", "tag.none")
        return
    await clock.sleep(BREATH_S)
    for finding in await _ask(connection, tags, clock, around):
        yield finding


async def _way(connection: Modbus, around: Surroundings) -> AsyncGenerator[Finding]:
    if connection.serial is not None:
        yield _line(connection.serial.device)
        return
    host, port = connection.host or "", connection.tcp_port
    for finding in await reach(host, port):
        yield finding
        if finding.severity == "fault":
            return
    if connection.transport == "tls":
        try:
            context = tls_context(connection, around)
        except ValueError as error:
            yield fault("tls", "modbus.tls_files", why=str(error))
            return
        said, _ = await greet(host, port, context, connection.server_name)
        yield said


def _line(device: str) -> Finding:
    """Judge a serial line by its file; it is opened when it is asked."""
    if not Path(device).exists():
        return fault("port", "modbus.line_missing", device=device)
    if not os.access(device, os.R_OK | os.W_OK):
        return fault("port", "modbus.line_forbidden", device=device)
    return ok("port", "modbus.line", device=device)


async def _ask(connection: Modbus, tags: Sequence[Tag], clock: Clock, around: Surroundings) -> list[Finding]:
    asking = _Asking(connection, tags, clock)
    try:
        async with Link(connection, clock, around, DriverHealth()) as link:
            await asking.all(link)
    except DriverError as error:
        key = "modbus.closed" if not asking.answers else "modbus.lost"
        why = str(error).partition("): ")[2] or str(error)
        asking.found.insert(0, fault("device", key, target=connection.target, why=why))
    tagged = [finding for finding in asking.found if finding.tag is not None]
    return [*asking.found, tally(tagged)] if tagged else asking.found


class _Asking:
    """One round of questions, and what came of it."""

    def __init__(self, connection: Modbus, tags: Sequence[Tag], clock: Clock) -> None:
        self.found: list[Finding] = []
        self.answers = 0
        self._connection, self._tags, self._clock = connection, tags, clock
        self._end = clock.monotonic() + round(READ_S * 1e9)

    async def all(self, link: Link) -> None:
        units: dict[int, list[int]] = {}
        for position, tag in enumerate(self._tags):
            units.setdefault(self._connection.unit if tag.unit is None else tag.unit, []).append(position)
        for unit, positions in units.items():
            await self._unit(link, unit, positions)

    async def _unit(self, link: Link, unit: int, positions: Sequence[int]) -> None:
        """Ask one unit for its tags; a unit that never answers is given up soon, the others are still asked."""
        said: list[Finding] = []
        took: list[int] = []
        silent = 0
        try:
            for position in positions:
                if self._clock.monotonic() > self._end or (silent >= GIVE_UP and not took):
                    break
                finding, time = await self._tag(link, unit, position)
                said.append(finding)
                took += [] if time is None else [time]
                silent = silent + 1 if finding.key == "modbus.silent" else 0
        finally:  # the connection may have been lost on the way: what was found until then stands
            self.found += self._told(unit, said, took, len(positions))

    def _told(self, unit: int, said: list[Finding], took: list[int], tags: int) -> list[Finding]:
        """Sum up a unit: trouble that all its tags share is said once."""
        if took:
            found = [ok("unit", "modbus.unit", unit=unit, took_s=sorted(took)[len(took) // 2] / 1e9), *said]
            late = self._clock.monotonic() > self._end and len(said) < tags
            return [*found, warning("unit", "modbus.unread", unit=unit, tags=tags - len(said))] if late else found
        if said and all(finding.key == "modbus.silent" for finding in said):
            return [fault("unit", "modbus.silent_unit", unit=unit, timeout_s=self._connection.timeout_s, tags=tags)]
        codes = {finding.words.get("code") for finding in said}
        if tags > 1 and len(codes) == 1 and len(said) == tags and None not in codes:
            return [fault("unit", "modbus.refusing_unit", unit=unit, tags=tags, first=said[0], code=codes.pop())]
        return said

    async def _tag(self, link: Link, unit: int, position: int) -> tuple[Finding, int | None]:
        """Read one tag: what is to be said of it, and how long an answer with data took, ns."""
        tag, connection = self._tags[position], self._connection
        try:
            item = parse(
                0,
                tag.address,
                tag.spec,
                base=connection.address_base,
                element=tag.element,
                order=connection.word_order,
            )
        except AddressError as error:
            return fault("tag", "modbus.address", tag=tag.id, why=str(error)), None
        words: dict[str, Any] = {"address": tag.address, "unit": unit}
        try:
            answer = await self._patiently(link, unit, item)
        except SilentError:
            return fault("tag", "modbus.silent", tag=tag.id, timeout_s=connection.timeout_s, **words), None
        except WrongAnswerError as error:
            return fault("tag", "modbus.wrong_answer", tag=tag.id, why=str(error), **words), None
        data, code, took = answer
        self.answers += 1
        if code:
            key = f"modbus.exception_{code}" if code in _SAID else "modbus.exception"
            return fault("tag", key, tag=tag.id, code=code, **words), None
        return self._value(tag, item, data, words), took

    async def _patiently(self, link: Link, unit: int, item: Item) -> tuple[bytes, int, int]:
        """Ask as often as the driver would."""
        request = read(unit, FUNCTION[item.table], item.address, item.width)
        for left in range(self._connection.retries, -1, -1):
            try:
                answer = await link.ask(request)
            except SilentError:
                if not left:
                    raise
                continue
            return answer.data[2:], answer.code, answer.took
        raise SilentError

    def _value(self, tag: Tag, item: Item, data: bytes, words: dict[str, Any]) -> Finding:
        spec, order = tag.spec, order_of(tag.spec, self._connection.word_order)
        raw = _decoded(item, tag, data, order)
        registers = np.frombuffer(data, ">u2").astype(np.uint16) if item.table in {"holding", "input"} else None
        held = "" if registers is None else " ".join(f"{word:04X}" for word in registers)
        numeric = item.bit is None and (spec.type in NUMBERS or spec.type in DIGITS)
        ways = orders(registers, tag) if registers is not None and numeric else {}
        value = engineering(raw, spec)
        seen: dict[str, Any] = {**words, "registers": held, "order": order, "orders": ways}
        seen["more"] = f"  ({tag.address} = {held})" if held else f"  ({tag.address})"
        if len(ways) > 2:
            seen["detail"] = _side_by_side(order, ways, tag)
        if raw is None:
            return fault("tag", "modbus.senseless", tag=tag.id, type=spec.type, **seen)
        if spec.role == "clock" and isinstance(value, int | float):
            offset = value / 1000 - self._clock.now() / 1e9
            judged = off_by(offset, tag.id)
            if judged.severity != "ok":
                return Finding(
                    severity=judged.severity, check="tag", key=judged.key, words={**seen, **judged.words}, tag=tag.id
                )
        if plausible(raw, spec) is False:
            better = [way for way, other in ways.items() if other != raw and plausible(other, spec)]
            if better and item.width > 1:
                other = shown(engineering(ways[better[0]], spec), spec)
                return fault(
                    "tag", "modbus.order", tag=tag.id, value=shown(value, spec), better=better[0], other=other, **seen
                )
        if not within(value, spec) and registers is not None and _number(registers) in _EMPTY:
            return warning("tag", "modbus.no_value", tag=tag.id, value=shown(value, spec), **seen)
        return valued(value, spec, tag.id, **seen)


def _decoded(item: Item, tag: Tag, data: bytes, order: WordOrder) -> Scalar:
    """Give the raw value of an answer's data; None when it makes none (no UTF-8, no BCD)."""
    if item.table in {"coil", "discrete"}:
        return bool(data[0] & 1)
    try:
        return value_of(item, tag.spec, np.frombuffer(data, ">u2").tolist(), order)
    except ValueError:
        return None


def orders(registers: NDArray[np.uint16], tag: Tag) -> dict[str, Scalar]:
    """Give the raw number that the same registers make in every order that differs."""
    names: Sequence[WordOrder] = EIGHT if len(registers) == 4 else FOUR if len(registers) == 2 else ("ABCD", "BADC")
    ways: dict[str, Scalar] = {}
    with np.errstate(invalid="ignore"):  # a signalling NaN is what a wrong order often gives
        for order in names:
            ways[order] = decode(registers[np.newaxis, :], tag.spec.type, order)[0].item()
    return ways


def _side_by_side(order: WordOrder, ways: dict[str, Scalar], tag: Tag) -> Finding:
    """Show what every order makes of the same registers: the configured one in brackets, plausible ones marked."""
    short = ways if len(ways) < len(EIGHT) else {name: ways[long] for name, long in zip(FOUR, EIGHT[:4], strict=True)}
    if order not in short:
        short = {order: ways[order], **short}
    said = [
        f"{f'[{name}]' if name == order else name} {_brief(engineering(value, tag.spec))}"
        f"{'*' if plausible(value, tag.spec) else ''}"
        for name, value in short.items()
    ]
    return ok("tag", "modbus.orders", ways="   ".join(said))


def _brief(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(registers: NDArray[np.uint16]) -> int:
    number = 0
    for word in registers.tolist():
        number = number << 16 | int(word)
    return number
