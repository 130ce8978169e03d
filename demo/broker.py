"""The demo's broker: mosquitto where it is on the path, else the embedded one that comes from pip. Loopback only.

python -m demo.broker --port 18830 --folder .demo [--embedded]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Final

SBIN: Final = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian puts mosquitto, and where a user's path often does not look."""

MOSQUITTO_CONF: Final = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_packet_size 409600
max_queued_messages 1000
log_dest stderr
log_type error
log_type warning
"""
"""Nothing is kept, nobody asked for a name: frames are sealed with each gateway's key, and the protocol needs no more.
For production see `deploy/mosquitto/`."""

EMBEDDED_CONF: Final = """\
id = 0

[router]
id = 0
max_connections = 1010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "loopback"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 409600
max_inflight_count = 100
dynamic_filters = true
"""
"""One MQTT version per listener, so version 5; the library's own default would listen on all interfaces."""


def find_mosquitto() -> str | None:
    """Give the program's path, or None where it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=os.pathsep.join(SBIN))


def name() -> str:
    """Say which broker the demo will run here."""
    return "mosquitto" if find_mosquitto() else "iotcore (embedded)"


def run_mosquitto(program: str, port: int, folder: Path) -> None:
    """Become mosquitto: this process ends here."""
    config = folder / "mosquitto.conf"
    config.write_text(MOSQUITTO_CONF.format(port=port), encoding="utf-8")
    os.execv(program, [program, "-c", str(config)])  # noqa: S606 - no shell is meant


def run_embedded(port: int, folder: Path) -> None:
    """Run the embedded broker until SIGTERM or SIGINT."""
    from iotcore import Broker

    config = folder / "iotcore.toml"
    config.write_text(EMBEDDED_CONF.format(port=port), encoding="utf-8")
    stop = threading.Event()

    def end(number: int, frame: object) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with Broker(config_path=str(config)):
        stop.wait()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.broker", description="The demo's MQTT 5 broker.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where its configuration is written")
    parser.add_argument("--embedded", action="store_true", help="the embedded broker even where mosquitto is installed")
    arguments = parser.parse_args(argv)
    program = None if arguments.embedded else find_mosquitto()
    if program is not None:
        run_mosquitto(program, arguments.port, arguments.folder)
    run_embedded(arguments.port, arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
