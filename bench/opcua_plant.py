"""A fast OPC UA machine, in a process of its own: `python -m bench.opcua_plant PORT TAGS RATE_HZ [uniform|mixed]`.

The server is open62541 (C, by way of its Python binding `o6`), which shares no line with the client under test and
changes more than 100,000 values a second. Without a licence the binding ends the process after ten minutes.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from typing import Any

URI = "urn:open62541:bench"
SLOTS = 5
"""A period's writes are spread over so many bursts."""
FRACTIONS = 1000
"""Values carry three decimals that differ from tag to tag, so that they compress as measured values do."""
MIXED = ("Double", "Float", "Int32", "UInt16", "Boolean", "Int64", "Double", "Float", "Int16", "String")
"""Types by `index % 10` in a mixed plant."""


def main(port: int, tags: int, rate_hz: float, kind: str) -> None:
    """Give variables `t0` … of namespace URI; the value of each is the number of the write, and it never skips one.

    Each number is printed when its writes begin, so that a bench knows what was offered.
    """
    import o6  # here, because it prints a banner and may end the process that loads it

    logging.getLogger("o6.server").setLevel(logging.ERROR)
    server = o6.Server(port=port, applicationUri=URI)
    types = [MIXED[i % len(MIXED)] if kind == "mixed" else "Double" for i in range(tags)]
    nodes = [o6.NodeId(f"ns=1;s=t{i}") for i in range(tags)]
    for i, node in enumerate(nodes):
        server.addVariable(f"t{i}", server.objectsNode, _value(o6, types[i], 0, i).value, nodeId=node)
    slices = [range(slot, tags, SLOTS) for slot in range(SLOTS)]
    targets = [[nodes[i] for i in part] for part in slices]
    with server:
        step, began = SLOTS, time.monotonic()
        while True:
            number, slot = divmod(step, SLOTS)
            if slot == 0:
                print(number, flush=True)
            made: dict[tuple[str, int], Any] = {}
            values: list[Any] = []
            for i in slices[slot]:
                key = types[i], i % FRACTIONS
                if key not in made:
                    made[key] = _value(o6, types[i], number, i)
                values.append(made[key])
            server.write(targets[slot], values)
            step += 1
            time.sleep(max(0.0, began + (step - SLOTS) / (SLOTS * rate_hz) - time.monotonic()))


def _value(o6: Any, kind: str, number: int, i: int) -> Any:
    """Give the DataValue of a tag's write of this number: a new value each time."""
    match kind:
        case "Double" | "Float":
            value: Any = number + i % FRACTIONS / FRACTIONS
        case "Boolean":
            value = bool(number % 2)
        case "String":
            value = f"recipe {number}"
        case _:
            value = number % 30_000
    return o6.DataValue(value=getattr(o6, kind)(value))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "uniform")
