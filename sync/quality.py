"""The OPC UA StatusCode alphabet: how much a value is to be trusted, and why not.

Codes are those of OPC UA Part 4 and Part 8; the top two bits are the severity, which is all that judges need.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

GOOD: Final = 0x0000_0000
UNCERTAIN: Final = 0x4000_0000
"""Doubtful without a finer code; used where the machine's clock is too far from ours."""
UNCERTAIN_LAST_USABLE_VALUE: Final = 0x4090_0000
"""The value is older than its max_age: it was true once."""
UNCERTAIN_UNITS_EXCEEDED: Final = 0x4094_0000
"""The value lies outside the tag's engineering range."""
BAD: Final = 0x8000_0000
BAD_DECODING_ERROR: Final = 0x8007_0000
BAD_TIMEOUT: Final = 0x800A_0000
BAD_NO_COMMUNICATION: Final = 0x8031_0000
BAD_WAITING_FOR_INITIAL_DATA: Final = 0x8032_0000
BAD_NODE_ID_UNKNOWN: Final = 0x8034_0000
BAD_OUT_OF_RANGE: Final = 0x803C_0000
BAD_TYPE_MISMATCH: Final = 0x8074_0000
BAD_CONFIGURATION_ERROR: Final = 0x8089_0000
BAD_NOT_CONNECTED: Final = 0x808A_0000
BAD_DEVICE_FAILURE: Final = 0x808B_0000
BAD_SENSOR_FAILURE: Final = 0x808C_0000

OVERFLOW: Final = 0x480
"""InfoType DataValue + Overflow: values before this one were dropped from a queue on the way."""

Severity = Literal["good", "uncertain", "bad"]


def severity(status: int) -> Severity:
    """Give the severity of one StatusCode: its top two bits (3 is reserved and counts as bad)."""
    return ("good", "uncertain", "bad", "bad")[(status >> 30) & 3]


def is_bad(status: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Tell for each StatusCode of a column whether it is bad."""
    return (status & np.uint32(BAD)) != 0


def sparkplug_quality(status: int) -> int:
    """Give Sparkplug's property `Quality`: 192 good, 500 stale or uncertain, 0 bad."""
    return (192, 500, 0, 0)[(status >> 30) & 3]
