"""ThingsBoard's IoT Gateway from its package, as the alternative for whole gateways: same machines, same broker.

Set for speed, as fairness asks: its own SQLite storage, rate limits off, packets of 64 KB, statistics, remote
configuration and activity checks off, logs at WARNING, and the session limits it asks for answered. Its receipt is the
broker's word. It judges nothing; it brings a device model, attributes and RPC, which are not used here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psutil

from bench.stand import cpu_seconds
from tests.servers import ROOT, wait_until

VERSION = "3.8.5"
PARTS = ("asyncua==1.1.5", "pymodbus==3.9.2", "pyserial", "pyserial-asyncio")
"""What it installs by itself when it starts, in the versions that it pins."""
VENV = ROOT / "build" / "thingsboard"
START_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What it did in steady work."""

    points_s: float
    cpu_s_per_million: float
    cores: float
    """Share of a core."""
    rss_mb: float

    def __str__(self) -> str:
        return (
            f"ThingsBoard Gateway {VERSION}: {self.cpu_s_per_million:.0f} CPU-s/M at {self.points_s:,.0f}/s "
            f"({100 * self.cores:.0f} % of a core, {self.rss_mb:.0f} MB)"
        )


def install() -> str:
    """Install it beside the benches, once; give "" or the sentence that says why not."""
    python = VENV / "bin" / "python"
    if python.exists() and (VENV / "installed").exists():
        return ""
    uv = [sys.executable, "-m", "uv"]
    steps = [
        [*uv, "venv", "-q", "--clear", "--seed", "--python", sys.executable, str(VENV)],
        [*uv, "pip", "install", "-q", "--python", str(python), f"thingsboard-gateway=={VERSION}", *PARTS],
        # What it would fetch at its first start, so that the start is no part of the measure.
        [*uv, "pip", "install", "-q", "--python", str(python), "tb-mqtt-client"],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
            return f"ThingsBoard Gateway did not install here ({last[:120]})"
    (VENV / "installed").touch()
    return ""


def opcua(url: str, names: list[str]) -> dict[str, Any]:
    """Give its configuration for nodes of namespace 1, by subscription."""
    keys = [{"key": name, "type": "identifier", "value": f"${{ns=1;s={name}}}"} for name in names]
    server = {
        "url": url, "timeoutInMillis": 30_000, "scanPeriodInMillis": 3_600_000, "pollPeriodInMillis": 1000,
        "enableSubscriptions": True, "subCheckPeriodInMillis": 100, "subDataMaxBatchSize": 1000,
        "subDataMinBatchCreationTimeMs": 200, "subscriptionProcessBatchSize": 2000, "sessionTimeoutInMillis": 120_000,
        "showMap": False, "security": "None", "identity": {"type": "anonymous"},
    }  # fmt: skip
    device = {
        "deviceNodeSource": "path", "deviceNodePattern": "Root\\.Objects",
        "deviceInfo": {"deviceNameExpression": "machine", "deviceNameExpressionSource": "constant",
                       "deviceProfileExpression": "default", "deviceProfileExpressionSource": "constant"},
        "attributes": [], "timeseries": keys, "rpc_methods": [], "attributes_updates": [],
    }  # fmt: skip
    return {"server": server, "mapping": [device]}


def modbus(port: int, tags: int, rate_hz: float) -> dict[str, Any]:
    """Give its configuration for holding registers 0 … tags-1, one tag each."""
    timeseries = [
        {"tag": f"t{i}", "type": "16uint", "address": i, "objectsCount": 1, "functionCode": 3} for i in range(tags)
    ]
    slave = {
        "host": "127.0.0.1", "port": port, "type": "tcp", "method": "socket", "unitId": 1, "deviceName": "machine",
        "deviceType": "default", "timeout": 35, "byteOrder": "BIG", "wordOrder": "BIG", "retries": 3,
        "retryOnEmpty": True, "retryOnInvalid": True, "pollPeriod": round(1000 / rate_hz),
        "connectAttemptTimeMs": 5000, "connectAttemptCount": 5, "waitAfterFailedAttemptsMs": 300_000,
        "attributes": [], "timeseries": timeseries, "attributeUpdates": [], "rpc": [],
    }  # fmt: skip
    return {"master": {"slaves": [slave]}}


def measure(
    kind: str, connector: dict[str, Any], broker: int, folder: Path, *, settle_s: float, seconds: float
) -> Peer:
    """Run it in an empty folder and count what arrives at the broker. Raises AssertionError when nothing does."""
    _configure(folder, kind, connector, broker)
    with _counting(broker) as points, _running(folder) as process:
        wait_until(lambda: points() > 0 or process.poll() is not None, "the first value arrives", START_S)
        time.sleep(settle_s)
        watched = psutil.Process(process.pid)
        before, cpu, began = points(), cpu_seconds(watched), time.monotonic()
        time.sleep(seconds)
        wall, used, made = time.monotonic() - began, cpu_seconds(watched) - cpu, points() - before
        rss = watched.memory_info().rss / 1e6
    if not made:
        raise AssertionError("it sends nothing any more")
    return Peer(points_s=made / wall, cpu_s_per_million=used / made * 1e6, cores=used / wall, rss_mb=rss)


def _configure(folder: Path, kind: str, connector: dict[str, Any], broker: int) -> None:
    config = folder / "config"
    config.mkdir()
    (folder / "logs").mkdir()
    (folder / "data").mkdir()
    limits = ("rateLimits", "dpRateLimits", "messagesRateLimits", "deviceMessagesRateLimits", "deviceRateLimits",
              "deviceDpRateLimits")  # fmt: skip
    cloud = {
        "host": "127.0.0.1", "port": broker, "remoteShell": False, "remoteConfiguration": False,
        "statistics": {"enable": False}, "deviceFiltering": {"enable": False}, "maxPayloadSizeBytes": 65_536,
        "minPackSendDelayMS": 50, "minPackSizeToSend": 500, "checkConnectorsConfigurationInSeconds": 60,
        "handleDeviceRenaming": True, "security": {"type": "accessToken", "accessToken": "bench"}, "qos": 1,
        "reportStrategy": {"type": "DISABLED"}, "checkingDeviceActivity": {"checkDeviceInactivity": False},
        **dict.fromkeys(limits, "0:0,"),
    }  # fmt: skip
    storage = {
        "type": "sqlite", "data_file_path": f"{folder}/data/data.db", "max_read_records_count": 1000,
        "writing_batch_size": 1000, "size_limit": 1024, "max_db_amount": 10, "messages_ttl_in_days": 7,
    }  # fmt: skip
    gateway = {
        "thingsboard": cloud,
        "storage": storage,
        "grpc": {"enabled": False},
        "connectors": [{"type": kind, "name": "machine", "configuration": f"{kind}.json"}],
    }
    named = {"name": "machine", "logLevel": "WARNING", "enableRemoteLogging": False}
    (config / "tb_gateway.json").write_text(json.dumps(gateway))
    (config / f"{kind}.json").write_text(json.dumps(connector | named))
    found = next(VENV.glob("lib/python*/site-packages/thingsboard_gateway/config/logs.json"))
    logs = json.loads(found.read_text())
    for logger in [*logs["loggers"].values(), logs.get("root", {})]:
        logger["level"] = "WARNING"
    (config / "logs.json").write_text(json.dumps(logs))


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "out.log").open("ab") as out:
        process = subprocess.Popen(
            [str(VENV / "bin" / "python"), "-m", "thingsboard_gateway.tb_gateway"],
            cwd=folder, env={**os.environ, "TB_GW_CONFIG_DIR": f"{folder}/config/"}, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@contextlib.contextmanager
def _counting(broker: int) -> Iterator[Any]:
    """Stand in for its cloud: answer what it asks at the beginning, count what it sends."""
    seen = 0

    def arrived(client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        nonlocal seen
        if message.topic == "v1/gateway/telemetry":
            devices = json.loads(message.payload)
            seen += sum(len(said.get("values", said)) for sayings in devices.values() for said in sayings)
        elif message.topic.startswith("v1/devices/me/rpc/request/"):
            none = dict.fromkeys(("messages", "telemetryMessages", "telemetryDataPoints"), "0:0,")
            answer = {"maxPayloadSize": 65_536, "maxInflightMessages": 0, "rateLimits": none, "gatewayRateLimits": none}
            client.publish(message.topic.replace("request", "response"), json.dumps(answer), qos=1)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = arrived
    client.connect("127.0.0.1", broker)
    client.subscribe([("v1/gateway/telemetry", 0), ("v1/devices/me/rpc/request/+", 1)])
    client.loop_start()
    try:
        yield lambda: seen
    finally:
        client.loop_stop()
        client.disconnect()
