"""Link faults in the kernel: the broker in a network namespace of its own, nftables between it and the gateway.

Where this may not be done (no root, no `ip`, no `nft`, a kernel without namespaces) `why_not` says so, and the stack is
driven through the proxy instead; the campaign counts which of the two it was.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Self

GATEWAY_PORT, CLOUD_PORT = 18_831, 18_832
"""The broker listens twice, so that a rule can mean the gateway alone."""


def why_not() -> str:
    """Give "" where namespaces and nftables work here, else the sentence that says why not."""
    if os.getuid() != 0:
        return "not root"
    for program in ("ip", "nft"):
        if _find(program) is None:
            return f"no {program}"
    name = f"tfx{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces ({tried.stderr.strip()})"
    tried = subprocess.run(
        ["ip", "netns", "exec", name, _find("nft") or "nft", "add table inet triflow"],
        capture_output=True,
        text=True,
        check=False,
    )
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return f"no nftables ({tried.stderr.strip()})" if tried.returncode else ""


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Namespace:
    """A network namespace joined to ours by a cable of its own; rules live in it and end with it."""

    def __init__(self, number: int) -> None:
        """number: 0 … 16,383, not in use by anybody else on this machine."""
        self.name = f"tfk{number}"
        self._near, self._far = f"tfn{number}", f"tff{number}"
        third, fourth = divmod(number * 4, 256)
        self._here, self.host = f"10.213.{third}.{fourth + 1}", f"10.213.{third}.{fourth + 2}"

    def __enter__(self) -> Self:
        self._clear()
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
        _run("ip", "addr", "add", f"{self._here}/30", "dev", self._near)
        _run("ip", "link", "set", self._near, "up")
        for words in (("addr", "add", f"{self.host}/30", "dev", self._far), ("link", "set", self._far, "up"), ("link", "set", "lo", "up")):  # fmt: skip
            _run("ip", "-n", self.name, *words)
        self._nft("add table inet triflow")
        self._nft("add chain inet triflow up { type filter hook input priority 0; }")
        self._nft("add chain inet triflow down { type filter hook output priority 0; }")
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def _clear(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._near], capture_output=True, check=False)

    def command(self, *words: str) -> list[str]:
        """Give the command line that runs a program inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def heal(self) -> None:
        self._nft("flush chain inet triflow up")
        self._nft("flush chain inet triflow down")

    def drop(self, *, up: bool = True, down: bool = True, percent: int = 100) -> None:
        """Lose packets between gateway and broker, silently: half-open, black hole one way, or a lossy line."""
        chance = "" if percent >= 100 else f"numgen random mod 100 < {percent} "
        if up:
            self._nft(f"add rule inet triflow up tcp dport {GATEWAY_PORT} {chance}drop")
        if down:
            self._nft(f"add rule inet triflow down tcp sport {GATEWAY_PORT} {chance}drop")

    def reset(self) -> None:
        """Answer every packet of the gateway's with a TCP reset."""
        self._nft(f"add rule inet triflow up tcp dport {GATEWAY_PORT} reject with tcp reset")

    def _nft(self, rule: str) -> None:
        _run(*self.command(_find("nft") or "nft", rule))


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
