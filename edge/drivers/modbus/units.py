"""One unit behind a connection: whether it answers, and what was learnt of it. Pure; time comes in.

The breaker: after so many unanswered requests in a row the unit is left alone, but for one probe now and then. So a
unit without power costs its siblings a probe, not a timeout for every block of every scan.
"""

from __future__ import annotations

from datetime import UTC, datetime

from edge.connections import Modbus
from edge.drivers.modbus.plan import RoundTrips, Seam
from edge.drivers.modbus.serial_line import character_s

SOCKET_GAP = 48
"""Registers read along over a network until the device's own times are known: there a request costs most."""
LINE_GAP = 16
"""The same where a serial line of unknown speed lies behind the socket."""
TURNAROUND_S = 0.01
"""What a device on a serial line usually takes to begin its answer."""


class Unit:
    """A unit's state for the life of a connection."""

    def __init__(self, number: int, config: Modbus) -> None:
        self.number = number
        self.met = False
        """Whether it ever answered on this connection."""
        self.fails = 0
        """Requests without an answer, in a row."""
        self.silent_since = 0
        """Wall clock of the first of them, ns."""
        self.probe_at: int | None = None
        """When the breaker is open: the next probe, monotonic ns."""
        self.max_registers = config.max_registers
        self.max_bits = config.max_bits
        self.seams: set[Seam] = set()
        self.refuses: set[int] = set()
        """Functions for writing that the device does not know."""
        self.round_trips = RoundTrips(_first_gap(config))
        self._fixed_gap = config.max_gap
        self._breaker_fails = config.breaker_fails
        self._probe_ns = round(config.breaker_probe_s * 1e9)

    @property
    def gap(self) -> int:
        """Registers nobody asked for that may be read along to save a request."""
        return self.round_trips.gap if self._fixed_gap is None else self._fixed_gap

    @property
    def open(self) -> bool:
        """Whether the breaker is open: the unit counts as gone."""
        return self.probe_at is not None

    def may_be_asked(self, now: int) -> bool:
        """Tell whether a request may go out at `now` (monotonic, ns)."""
        return self.probe_at is None or now >= self.probe_at

    def answered(self) -> bool:
        """Take note of an answer (a refusal is one too); tell whether the breaker was open."""
        was_open, self.probe_at, self.fails, self.met = self.open, None, 0, True
        return was_open

    def unanswered(self, now: int, wall: int) -> None:
        """Take note that an answer did not come. now: monotonic, ns; wall: ns since 1970 UTC."""
        if not self.fails:
            self.silent_since = wall
        self.fails += 1
        if self.fails >= self._breaker_fails:
            self.probe_at = now + self._probe_ns

    def said(self) -> str:
        """Say what people should know of the unit while its breaker is open."""
        since = datetime.fromtimestamp(self.silent_since / 1e9, UTC)
        return (
            f"silent since {since:%Y-%m-%d %H:%M:%S} UTC, asked again every {self._probe_ns / 1e9:g} s; "
            "check its power, its cable and the unit id"
        )


def _first_gap(config: Modbus) -> int:
    """Give the gap to begin with: from the line's speed where it is known."""
    if config.serial is not None:
        character = character_s(config.serial)
        return min(RoundTrips.MOST, int((20 * character + TURNAROUND_S) / (2 * character)))
    return LINE_GAP if config.transport == "rtu_over_tcp" else SOCKET_GAP
