"""Places where a test may have the process killed, -9, as a power cut would. Nothing happens unless it is asked for.

`TRIFLOW_FAILPOINT=name:3` kills the process the third time it comes by `name`.
"""

from __future__ import annotations

import os
import signal
from typing import Final

PLACES: Final = {
    "edge.migrate": "a step of the schema is done, not committed",
    "edge.before_begin": "the incarnation of this start is not committed yet",
    "edge.after_begin": "it is, and nobody was told",
    "edge.before_commit": "rows are written, the transaction is open",
    "edge.after_commit": "it is on the disk, and nobody was told",
    "edge.before_apply": "a receipt was taken in, not committed",
    "edge.after_apply": "it is committed, and nobody was told",
    "edge.before_prune": "what is safe is about to leave the outbox",
    "edge.ring": "it stands in the ring's segment, and still in the outbox",
    "edge.before_turn": "a new incarnation in the running process, not committed",
    "edge.after_turn": "it is committed, and nobody was told",
    "edge.before_checkpoint": "the log is about to be copied into the file",
    "edge.backfill": "values of a machine's own history are about to be recorded",
    "edge.backfilled": "they are on record, the place in the history is not",
    "edge.act_intent": "an action is about to begin, its intent not committed",
    "edge.act_write": "the intent is on the disk, nothing was written to the machine",
    "edge.act_written": "the machine has it, the outcome is not on the disk",
    "edge.act_ended": "the outcome is committed, and nobody was told",
    "edge.before_publish": "a chunk is about to be handed to the broker",
    "edge.after_publish": "it was",
    "cloud.migration": "within a migration",
    "cloud.before_commit": "rows are written, the transaction is open",
    "cloud.after_commit_before_receipt": "chunks are stored, the receipt is not out",
    "cloud.after_welcome": "a resume is stored, the welcome is not out",
}
"""Every place there is, and what is true there. Each is killed at by a test."""

_name, _, _count = os.environ.get("TRIFLOW_FAILPOINT", "").partition(":")
_left = int(_count) if _count.isdigit() else 1


def reach(name: str) -> None:
    """Say that this place was reached; does not return when this is where the process shall die."""
    global _left  # noqa: PLW0603 - one count per process is the point
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
