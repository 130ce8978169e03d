"""What a cloud's command is signed under: everything it says, and for which gateway. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from sync.frames import Command
from sync.topics import Address

DOMAIN: Final = "triflow-command/1"


def statement(address: Address, command: Command) -> bytes:
    """Give the bytes the cloud signs; the session's nonce is not among them, a command outlives its session."""
    said = [
        DOMAIN, str(address), command.command, command.kind, command.arguments, command.actor, command.issued,
        command.expires,
    ]  # fmt: skip
    return msgspec.json.encode(said, order="sorted")
