"""The production broker as shipped: deploy/mosquitto with its paths put into a test's folder, and its certificates."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sync.mqtt import Mqtt
from tests.servers import ROOT, free_port, listens, wait_until

SHIPPED = ROOT / "deploy" / "mosquitto"


def certificates(folder: Path, *arguments: str) -> None:
    """Run the shipped command: certificates("init"), certificates("gateway", "demo/seoul/gw-1")…"""
    command, *rest = arguments
    subprocess.run([sys.executable, SHIPPED / "certificates.py", command, folder, *rest], check=True)


def authority(folder: Path, *gateways: str) -> Path:
    """Make a plant's CA with broker, cloud and gateways; gives the folder."""
    certificates(folder, "init")
    certificates(folder, "server", "broker", "--host", "localhost", "--host", "127.0.0.1")
    certificates(folder, "cloud")
    for gateway in gateways:
        certificates(folder, "gateway", gateway)
    return folder


def forge(folder: Path, file: str, *, subject: str, extensions: str = "client", start: str = "", end: str = "") -> None:
    """Have the CA sign what the shipped command would not: an odd name, or dates of the past (YYYYMMDDHHMMSSZ)."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{file}.key")
    dates = ("-startdate", start, "-enddate", end) if start else ("-days", "2")
    environment = {"TRIFLOW_SAN": "DNS:localhost", "PATH": "/usr/bin:/bin"}
    for command in (
        ("req", "-config", "ca.conf", "-new", *key, "-out", f"{file}.csr", "-subj", "/CN=x"),
        ("ca", "-config", "ca.conf", "-batch", "-notext", "-in", f"{file}.csr", "-out", f"{file}.crt",
         *dates, "-subj", subject, "-extensions", extensions),
    ):  # fmt: skip
        subprocess.run(["openssl", *command], cwd=folder, env=environment, check=True, capture_output=True)


class Production:
    """A mosquitto with the shipped configuration."""

    def __init__(self, folder: Path, ca: Path) -> None:
        self.port, self.ca, self.log = free_port(), ca, folder / "mosquitto.log"
        place = folder / "triflow"
        place.mkdir(parents=True)
        for name in ("ca.crt", "broker.crt", "broker.key", "revoked.pem"):
            shutil.copy(ca / name, place / name)
        shutil.copy(SHIPPED / "acl", place / "acl")
        text = (SHIPPED / "mosquitto.conf").read_text("utf-8")
        text = text.replace("/etc/mosquitto/triflow/", f"{place}/").replace(
            "listener 8883", f"listener {self.port} 127.0.0.1"
        )
        self.config = folder / "mosquitto.conf"
        self.config.write_text(f"{text}\nuser {getpass.getuser()}\n")
        self.place = place
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([program, "-c", self.config], stderr=log)
        wait_until(lambda: listens(self.port), f"mosquitto listens: {self.log.read_text()}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def identity(self, name: str) -> tuple[Path, Path]:
        return self.ca / f"{name}.crt", self.ca / f"{name}.key"

    def client(self, name: str | None, *subscriptions: str, **more: object) -> Mqtt:
        """Give a connection with a certificate of the CA's folder; None for none."""
        words: dict[str, object] = {
            "client_id": f"{name}-{free_port()}",
            "subscriptions": subscriptions,
            "tls": True,
            "ca": self.ca / "ca.crt",
            "certificate": None if name is None else self.identity(name),
        }
        return Mqtt("localhost", self.port, **{**words, **more})  # type: ignore[arg-type]


@contextlib.contextmanager
def production(folder: Path, ca: Path) -> Iterator[Production]:
    broker = Production(folder, ca)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
