"""Brokers and raw servers for the tests of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import iotcore
import pytest

from tests.servers import free_port

IOTCORE = """\
id = 0
[router]
id = 0
max_connections = 50
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
  [v5.1.connections]
  connection_timeout_ms = 5000
  max_payload_size = 1048576
  max_inflight_count = 100
  dynamic_filters = true
"""


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The embedded broker that the demo uses where there is no mosquitto: (host, port), MQTT 5 on loopback only."""
    port = free_port()
    config = tmp_path / "iotcore.toml"
    config.write_text(IOTCORE.format(port=port))
    running = iotcore.Broker(config_path=str(config))
    running.start()
    try:
        yield "127.0.0.1", port
    finally:
        running.stop()


@pytest.fixture(params=["mosquitto", "iotcore"])
def any_broker(request: pytest.FixtureRequest) -> tuple[str, int]:
    """Both brokers that we promise to work with, one after the other."""
    if request.param == "mosquitto":
        broker = request.getfixturevalue("broker")
        return broker.host, broker.port
    return request.getfixturevalue("embedded")
