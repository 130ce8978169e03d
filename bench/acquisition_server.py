"""The OPC UA machine of the acquisition bench, in a process of its own: `python -m bench.acquisition_server PORT`."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime

from asyncua import Server, ua

URI = "urn:triflow:bench"
TAGS = 1000
PERIOD_S = 0.1


async def serve(port: int) -> None:
    """Give 1,000 doubles, all changing ten times a second, to whoever subscribes.

    The changes are put straight into the subscriptions' queues: writing each into the address space is what limits
    asyncua's server to 2-3 k changes/s, and it is the client that is measured here.
    """
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    for i in range(TAGS):
        await server.nodes.objects.add_variable(ua.NodeId(f"t{i}", index), f"t{i}", float(i))
    async with server:
        tick = 0
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            tick += 1
            now = datetime.now(UTC)
            for subscription in list(server.iserver.subscription_service.subscriptions.values()):
                items = subscription.monitored_item_srv._monitored_items  # noqa: SLF001  # see above
                if len(items) < TAGS:
                    continue
                value = ua.Variant(tick * 0.1, ua.VariantType.Double)
                changed = ua.DataValue(value, StatusCode=None, SourceTimestamp=now, ServerTimestamp=now)
                subscription._triggered_datachanges = {  # noqa: SLF001
                    mid: [ua.MonitoredItemNotification(item.client_handle, changed)] for mid, item in items.items()
                }
            due += PERIOD_S
            await asyncio.sleep(max(0.0, due - loop.time()))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
