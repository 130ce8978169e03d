"""Places where a test may have the process killed, -9, as a power cut would. Nothing happens unless it is asked for.

`TRIFLOW_FAILPOINT=name:3` kills the process the third time it comes by `name`.
"""

from __future__ import annotations

import os
import signal

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
