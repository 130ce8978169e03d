"""Writing one tag and reading it back, with the function the device knows.

Coils go by function 5 (15 where the device refuses that), one register by 6 (16), several by 23, which gives the result
in the same answer (16 and a read where the device does not know it), a part of a register by 22: the device itself
changes the bits. Where it does not know 22, the register is read, changed and written; what the machine's program does
to the other bits in between is then undone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from edge.addresses import order_of
from edge.connections import Modbus
from edge.drivers.columns import TagColumns
from edge.drivers.driver import RefusedError, Written
from edge.drivers.modbus import pdu
from edge.drivers.modbus.address import AddressError, parse
from edge.drivers.modbus.image import Image
from edge.drivers.modbus.link import Link, SilentError, WrongAnswerError
from edge.drivers.modbus.plan import BITS, FUNCTION, Block
from edge.drivers.modbus.registers import place_value
from edge.drivers.modbus.units import Unit
from edge.tags import Tag, WordOrder
from sync.clock import Clock
from sync.quality import BAD_DECODING_ERROR
from sync.reading import Scalar

WHOLE: Final = 0xFFFF
MAX_WRITTEN: Final = 123
MAX_READ_WRITTEN: Final = 121
READ_TRIES: Final = 2


class Writing:
    """One write to one tag, over one link."""

    def __init__(self, link: Link, unit: Unit, tag: Tag, config: Modbus, clock: Clock) -> None:
        """Check that the tag may be written at all. Raises RefusedError."""
        if not tag.spec.writable:
            raise RefusedError(f"{tag.id} is not written; say writable = true in its book if it may be")
        try:
            self._item = parse(
                0, tag.address, tag.spec, base=config.address_base, element=tag.element, order=config.word_order
            )
        except AddressError as error:
            raise RefusedError(str(error)) from None
        if self._item.table not in {"coil", "holding"}:
            raise RefusedError(f"{tag.id}: {tag.address} can only be read; coils and holding registers can be written")
        self._link = link
        self._unit = unit
        self._tag = tag
        self._order: WordOrder = order_of(tag.spec, config.word_order)
        self._config = config
        self._clock = clock

    async def write(self, value: Scalar) -> Written:
        """Write a value in the tag's engineering unit. Raises RefusedError and DriverError."""
        raw, exact = self._raw(value)
        item = self._item
        if item.table in BITS:
            if not isinstance(raw, str) and raw not in {0, 1}:
                raise RefusedError(f"{self._tag.id}: a coil is 0 or 1, not {value!r}")
            words, mask = [int(bool(raw))], WHOLE
        else:
            try:
                words, mask = place_value(raw, item, self._tag.spec, self._order)
            except ValueError as error:
                raise RefusedError(f"{self._tag.id}: {error}") from None
        try:
            data = await self._send(words, mask)
        except SilentError:
            data = None  # whether it was written is what the reading back tells
        if data is None or (item.table == "holding" and data != _bytes(words)):
            data = await self._read_back()
        return self._found(value, data, words, mask, exact=exact)

    # ── the value ──

    def _raw(self, value: Scalar) -> tuple[Scalar, bool]:
        """Give what the machine holds for a value, and whether it is exactly that."""
        tag, spec = self._tag, self._tag.spec
        if spec.type == "string":
            if not isinstance(value, str):
                raise RefusedError(f"{tag.id} is a text, not {value!r}")
            return value, True
        if isinstance(value, str):
            named = {name: number for number, name in spec.values.items()}
            if value not in named:
                raise RefusedError(f"{tag.id} is a number, not {value!r}")
            value = float(named[value])
        if value is None or not math.isfinite(value):
            raise RefusedError(f"{tag.id}: {value!r} is no number to write")
        if (spec.low is not None and value < spec.low) or (spec.high is not None and value > spec.high):
            raise RefusedError(f"{tag.id}: {value:g} is outside its range {_range(spec.low, spec.high)}")
        if spec.scale == 1 and not spec.offset:
            raw: Scalar = value
        elif not spec.scale:
            raise RefusedError(f"{tag.id}: its scale is 0, so no value can be told from another")
        else:
            raw = (value - spec.offset) / spec.scale
        whole = spec.type not in {"float16", "float32", "float64"}
        return raw, not whole or abs(raw - round(raw)) <= 1e-6 * max(1.0, abs(raw))

    def _found(self, asked: Scalar, data: bytes, words: Sequence[int], mask: int, *, exact: bool) -> Written:
        """Say what the device holds now."""
        local = replace(self._tag, index=0)
        item = self._item
        block = Block(item.table, item.address, item.width, (item,))
        image = Image([local], [item], self._config.word_order)
        image.fill(block, image.target(block), data)
        value, other, senseless = image.decode()
        now = np.full(1, self._clock.now(), np.int64)
        status = np.full(1, BAD_DECODING_ERROR if senseless else 0, np.uint32)
        batch = TagColumns([local]).readings(
            np.zeros(1, np.intp), value, status, source_time=now, server_time=now, received=int(now[0]), other=other
        )
        if item.table in BITS:
            same = bool(data[0] & 1) == bool(words[0])
        else:
            held = [int(word) for word in np.frombuffer(data, ">u2")]
            same = [word & mask for word in held] == [word & mask for word in words]
        found = asked if same and exact else batch.scalar(0)
        return Written(asked=asked, found=found, status=int(batch.status[0]))

    # ── the requests ──

    async def _send(self, words: Sequence[int], mask: int) -> bytes | None:
        """Write; give what stands in the registers now, where the device says it in the same answer."""
        number, at = self._unit.number, self._item.address
        if self._item.table in BITS:
            on = bool(words[0])
            if await self._try(pdu.write_coil(number, at, on)) is None:
                await self._must(pdu.write_coils(number, at, [on]))
        elif mask != WHOLE:
            if await self._try(pdu.mask_write(number, at, mask, words[0])) is None:
                held = int.from_bytes(await self._read_back(), "big")
                await self._single((held & ~mask & WHOLE) | (words[0] & mask))
        elif len(words) == 1:
            await self._single(words[0])
        elif len(words) > MAX_WRITTEN:
            raise RefusedError(f"{self._tag.id}: {len(words)} registers; {MAX_WRITTEN} can be written at a time")
        else:
            both = pdu.read_write(number, at, words) if len(words) <= MAX_READ_WRITTEN else None
            answer = None if both is None else await self._try(both)
            if answer is not None:
                return answer.data[2:]
            await self._must(pdu.write_registers(number, at, words))
        return None

    async def _single(self, word: int) -> None:
        number, at = self._unit.number, self._item.address
        if await self._try(pdu.write_register(number, at, word)) is None:
            await self._must(pdu.write_registers(number, at, [word]))

    async def _try(self, request: pdu.Request) -> pdu.Answer | None:
        """Ask by a function that not every device knows; None when this one does not, which is remembered.

        Functions 22 and 23 are so rare that a device may take no notice of them, or refuse them in its own way.
        """
        function, refuses = request.function, self._unit.refuses
        if function in refuses:
            return None
        rare = function in {pdu.MASK_WRITE, pdu.READ_WRITE}
        try:
            answer = await self._ask(request)
        except SilentError:
            if not rare:
                raise
            refuses.add(function)
            return None
        if not answer.code:
            return answer
        if answer.code == pdu.ILLEGAL_FUNCTION:
            refuses.add(function)
        elif not rare:
            raise self._refused(answer.code)
        return None

    async def _must(self, request: pdu.Request) -> None:
        answer = await self._ask(request)
        if answer.code:
            raise self._refused(answer.code)

    async def _ask(self, request: pdu.Request) -> pdu.Answer:
        try:
            return await self._link.ask(request, urgent=True)
        except WrongAnswerError as error:
            raise RefusedError(
                f"{self._tag.id}: the answer was none to this request ({error}); whether it was written is not known"
            ) from None

    async def _read_back(self) -> bytes:
        item = self._item
        request = pdu.read(self._unit.number, FUNCTION[item.table], item.address, item.width)
        for _ in range(READ_TRIES):
            try:
                answer = await self._ask(request)
            except SilentError:
                continue
            if answer.code:
                raise self._refused(answer.code)
            return answer.data[2:]
        raise RefusedError(
            f"{self._tag.id}: unit {self._unit.number} does not answer; whether it was written is not known, "
            "look at the device"
        )

    def _refused(self, code: int) -> RefusedError:
        why = pdu.EXCEPTIONS.get(code, f"the device refuses (exception {code}); look at the device's manual")
        return RefusedError(f"{self._tag.id} ({self._tag.address}): {why}")


def _bytes(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(2, "big") for word in words)


def _range(low: float | None, high: float | None) -> str:
    return f"{'…' if low is None else f'{low:g}'} to {'…' if high is None else f'{high:g}'}"
