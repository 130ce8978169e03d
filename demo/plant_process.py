"""The plant as one process: model, OPC UA server, Modbus servers, MES, and a control API that knows the truth.

    python -m demo.plant_process --folder .demo --opcua 48400 --modbus line-3=50203 --modbus line-4=50204 \
        --mes 8095 --control 8096

Control API (loopback): GET /status, GET /counters (true totals per work unit), POST /production {"on": false}.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from demo.mes import mes_app
from demo.mes_store import MesStore, iso
from demo.modbus_server import ModbusMachine
from demo.opcua_server import OpcUaHall
from demo.plant import Plant, load
from demo.plant_clock import PlantClock
from demo.plant_spec import LINE, MINUTE, SECOND
from demo.plant_tags import book
from demo.site_plan import MODBUS, OPCUA, PLANT_FILE
from edge.page.server import serve
from sync.clock import Clock, WallClock

TICK_S: Final = 0.1
SAVE_EVERY_S: Final = 2.0
LOOK_AHEAD: Final = 20 * MINUTE
"""While time runs fast, the plant goes at most so far beyond what its Modbus machines were last asked: a 16-bit
counter that rolled over unseen cannot be told from one that did not."""
LONG_GONE: Final = 30 * MINUTE
"""A plant that was killed goes on where it was if that is not longer ago; else it was closed in between."""


@dataclass(slots=True)
class Ports:
    """Where the plant listens, all on loopback."""

    opcua: int
    modbus: dict[str, int]
    mes: int
    control: int


@dataclass(slots=True)
class Hall:
    """The running plant: its model, its faces, its clock."""

    plant: Plant
    speed: float
    clock: Clock
    opcua: OpcUaHall
    modbus: dict[str, ModbusMachine]
    mes: MesStore
    plant_clock: PlantClock | None = None
    """None while a fast plant waits for its start."""
    orders: bool = field(default=True)
    caught_up: bool = False

    async def tick(self) -> None:
        """Bring everything to the plant's present; what changed on the way is shown with its own time."""
        for moment in self.plant.advance(self._target()):
            if moment.changed:
                self.orders = self.orders or moment.line.order_since == moment.at
                line = moment.line.spec.line
                if line in OPCUA:
                    await self.opcua.show(line, moment.line.observe(moment.at), moment.at)
        await self.show()

    async def show(self) -> None:
        """Show the present on every face."""
        now = self.plant.now
        for line in self.plant.lines:
            name = line.spec.line
            if name in OPCUA:
                await self.opcua.show(name, line.observe(now), now)
            else:
                self.modbus[name].show(line.observe(now), now)
        self.mes.update(self.plant, orders=self.orders)
        self.orders = False

    def _target(self) -> int:
        wall = self.clock.now()
        if self.plant_clock is None:
            return wall if self.speed == 1 else self.plant.now
        at = self.plant_clock.at(wall)
        if self.speed > 1 and not self.caught_up:
            self.caught_up = self.plant.now > wall - 2 * SECOND
            seen = min(machine.seen_at for machine in self.modbus.values())
            at = min(at, max(self.plant.now, seen + LOOK_AHEAD))
        return max(at, self.plant.now)

    def switch(self, *, on: bool) -> None:
        """Let the plant make something, or nothing."""
        if on and self.plant_clock is None:
            wall = self.clock.now()
            start = wall if self.speed == 1 else self.plant.now
            self.plant_clock = PlantClock(start=start, speed=self.speed, wall=wall)
        if on:
            self.plant.reopen()
        else:
            self.plant.close()

    def counters(self) -> dict[str, Any]:
        return {
            "at": self.plant.now,
            "lines": {
                unit: {
                    "produced": t.produced,
                    "good": t.good,
                    "scrap": t.scrap,
                    "defects": t.rejects,
                    "energy_wh": t.energy_wh,
                }
                for unit, t in self.plant.totals().items()
            },
        }

    def status(self) -> dict[str, Any]:
        return {
            "plant_time": iso(self.plant.now),
            "behind_s": round((self.clock.now() - self.plant.now) / SECOND, 1),
            "speed": self.speed,
            "producing": self.plant.open,
            "modbus_reads": {name: machine.reads for name, machine in self.modbus.items()},
            "lines": {
                line.spec.work_unit: {
                    "state": line.stage.state.name,
                    "reason": line.stage.reason,
                    "since": iso(line.stage.since),
                    "order": line.orders.running.order,
                    "product": line.orders.running.product,
                    "wear": round(line.wear, 3),
                }
                for line in self.plant.lines
            },
        }


def control_app(hall: Hall, save: Path) -> Starlette:
    """Give the control API; for the demo's own orchestrator, loopback only."""

    async def status(_: Request) -> JSONResponse:
        return JSONResponse(hall.status())

    async def counters(_: Request) -> JSONResponse:
        return JSONResponse(hall.counters())

    async def production(request: Request) -> JSONResponse:
        wish: Any = await request.json()
        if not isinstance(wish, dict) or not isinstance(wish.get("on"), bool):
            return JSONResponse({"error": 'send {"on": true} or {"on": false}'}, status_code=400)
        await hall.tick()
        hall.switch(on=wish["on"])
        await hall.show()
        hall.plant.save(save)
        return JSONResponse(hall.counters())

    return Starlette(
        routes=[
            Route("/status", status),
            Route("/counters", counters),
            Route("/production", production, methods=["POST"]),
        ]
    )


def wake(plant: Plant, wall: int, speed: float) -> None:
    """Bring a plant that was saved to the present: it goes on, or was closed when it is long ago."""
    if speed > 1 or not plant.open or wall - plant.now < LONG_GONE:
        return
    plant.run_to(plant.now + 10 * SECOND)  # beyond what anyone can have read before it was killed
    plant.close()
    plant.run_to(wall)
    plant.reopen()


async def run(folder: Path, ports: Ports, *, seed: int, speed: float, start: int | None, hold: bool) -> None:
    """Run the plant until SIGTERM or SIGINT. Raises OSError or RuntimeError when a port is taken."""
    clock = WallClock()
    wall = clock.now()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    saved = folder / PLANT_FILE
    plant = load(saved)
    if plant is None:
        plant = Plant(seed=seed, start=start or wall)
        plant.close()
    else:
        wake(plant, wall, speed)
    async with AsyncExitStack() as stack:
        mes = stack.enter_context(MesStore(folder / "mes.db"))
        opcua = await stack.enter_async_context(OpcUaHall({n: book(b) for n, b in OPCUA.items()}, ports.opcua, clock))
        machines = {
            name: await stack.enter_async_context(
                ModbusMachine(
                    book(m.book), unit=m.unit, word_order=m.word_order, offset=m.offset, port=ports.modbus[name]
                )
            )
            for name, m in MODBUS.items()
        }
        hall = Hall(plant, speed, clock, opcua, machines, mes)
        if not hold:
            hall.switch(on=True)
        await hall.tick()
        stop_waiting = asyncio.create_task(stop.wait(), name="stop")
        parts = [
            asyncio.create_task(_live(hall, saved), name="plant"),
            asyncio.create_task(serve(mes_app(mes), "127.0.0.1", ports.mes), name="mes"),
            asyncio.create_task(serve(control_app(hall, saved), "127.0.0.1", ports.control), name="control"),
        ]
        await asyncio.wait([*parts, stop_waiting], return_when=asyncio.FIRST_COMPLETED)
        for task in (*parts, stop_waiting):
            task.cancel()
        for broken in await asyncio.gather(*parts, return_exceptions=True):
            if isinstance(broken, Exception):
                raise broken
        hall.plant.close()
        hall.plant.save(saved)


async def _live(hall: Hall, saved: Path) -> None:
    next_save = 0
    while True:
        await hall.tick()
        now = hall.clock.monotonic()
        if now >= next_save:
            hall.plant.save(saved)
            next_save = now + round(SAVE_EVERY_S * 1e9)
        await hall.clock.sleep(TICK_S)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.plant_process", description="The simulated bottling hall.")
    parser.add_argument("--folder", type=Path, required=True, help="where the plant keeps its state")
    parser.add_argument("--opcua", type=int, required=True, help="port of the OPC UA server")
    parser.add_argument("--modbus", action="append", default=[], metavar="LINE=PORT", help="port of a Modbus machine")
    parser.add_argument("--mes", type=int, required=True, help="port of the MES")
    parser.add_argument("--control", type=int, required=True, help="port of the control API")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--start", type=int, help="plant time to begin at, ns since 1970 UTC; only for a new plant")
    parser.add_argument(
        "--hold",
        action="store_true",
        help="wait for POST /production: a new plant makes nothing before, a fast one stands still",
    )
    arguments = parser.parse_args(argv)
    modbus = {name: int(port) for name, port in (entry.split("=") for entry in arguments.modbus)}
    if set(modbus) != set(MODBUS) or not set(modbus) <= set(LINE):
        parser.error(f"--modbus is needed once for each of {', '.join(MODBUS)}")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncua").setLevel(
        logging.ERROR
    )  # it warns that there is no security: there is none, on purpose
    ports = Ports(arguments.opcua, modbus, arguments.mes, arguments.control)
    try:
        asyncio.run(
            run(
                arguments.folder,
                ports,
                seed=arguments.seed,
                speed=arguments.speed,
                start=arguments.start,
                hold=arguments.hold,
            )
        )
    except (OSError, RuntimeError) as error:
        print(f"plant: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
