"""Both of the demo's brokers really carry MQTT 5, on loopback only. The production one: tests/deploy."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sync.mqtt import Mqtt
from tests.servers import ROOT, free_port, listens, process, wait_until


@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
async def test_the_demos_broker_carries_a_chunk_and_ends_when_told(kind: str, tmp_path: Path):
    port = free_port()
    more = ["--embedded"] if kind == "embedded" else []
    arguments = ["demo.broker", "--port", str(port), "--folder", str(tmp_path), *more]
    with process(*arguments, log=tmp_path / "log") as broker:
        wait_until(lambda: listens(port), "the broker listens")
        async with (
            Mqtt("127.0.0.1", port, client_id="cloud", subscriptions=["triflow/v1/+/+/+/up/#"]) as cloud,
            Mqtt("127.0.0.1", port, client_id="gateway", subscriptions=[]) as gateway,
        ):
            chunk = bytes(range(256)) * 1000
            await gateway.publish("triflow/v1/demo/seoul/gw/up/b/2", chunk)
            message = await anext(aiter(cloud.messages()))
            assert (message.topic, message.payload) == ("triflow/v1/demo/seoul/gw/up/b/2", chunk)
        broker.send_signal(signal.SIGTERM)
        broker.wait(10)
        wait_until(lambda: not listens(port), "the port is free again")


def test_the_demos_broker_listens_on_loopback_only(tmp_path: Path):
    port = free_port()
    arguments = ["demo.broker", "--port", str(port), "--folder", str(tmp_path), "--embedded"]
    with process(*arguments, log=tmp_path / "log"):
        wait_until(lambda: listens(port), "the broker listens")
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in addresses - {"127.0.0.1"}:
            if str(address).startswith("127."):
                continue
            with socket.socket() as probe:
                probe.settimeout(1)
                assert probe.connect_ex((str(address), port)) != 0


def test_a_port_in_use_ends_the_embedded_broker_with_a_reason(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "demo.broker", "--port", str(port), "--folder", str(tmp_path), "--embedded"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode != 0
    assert str(port) in done.stderr
