"""An asyncua server that counts as `tests/node/plant.mjs` does, in a process: `python -m … '{"port": 48000, …}'`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from asyncua import ua

from tests.edge.drivers.machines import URI, OpcUaMachine

MILLION = 1_000_000


async def main(
    *, port: int, standard: str, tags: int, period_ms: float = 50, missing: tuple = (), namespaces: tuple = ()
) -> None:
    machine = OpcUaMachine({}, [], namespaces=(*namespaces, URI))
    machine.port = port
    machine.shared, machine.standard = False, Path(standard)
    present: list[int] = []
    missing = list(missing)
    count = 0
    await machine.start()

    async def add(i: int) -> None:
        await machine.add(f"t{i}", ua.Variant(float(i * MILLION + count), ua.VariantType.Double))
        present.append(i)

    for i in range(tags):
        if i not in missing:
            await add(i)
    late = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, late.set)
    while True:
        await asyncio.sleep(period_ms / 1000)
        if late.is_set():
            late.clear()
            while missing:
                await add(missing.pop())
        count += 1
        for i in present:
            await machine.write(f"t{i}", float(i * MILLION + count), ua.VariantType.Double)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
