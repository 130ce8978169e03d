"""An OPC UA server in a process of its own, so that a test can stop it dead: `python -m … PORT`."""

from __future__ import annotations

import asyncio
import sys

from asyncua import ua

from tests.edge.drivers.machines import OpcUaMachine


async def main() -> None:
    machine = OpcUaMachine({"count": ua.Variant(0, ua.VariantType.UInt32)}, [])
    machine.port = int(sys.argv[1])
    machine.shared = False
    await machine.start()
    count = 0
    while True:
        count += 1
        await machine.write("count", count, ua.VariantType.UInt32)
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
