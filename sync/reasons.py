"""Every MQTT 5 reason code that says no: in a person's words, and what follows from it."""

from __future__ import annotations

import ssl
from typing import Final

from sync.frames import MAX_FRAME_BYTES
from sync.takeover import SuspectedCloneError
from sync.transport import BusyError, CloneError, QuotaError, RefusedError, TooLargeError, TransportError

NO_MATCHING_SUBSCRIBERS: Final = 0x10
SESSION_TAKEN_OVER: Final = 0x8E

PACKET_BYTES: Final = MAX_FRAME_BYTES + 4096
"""Largest MQTT packet we send or take: a frame, its topic and properties."""

_ACCESS = "check the broker's password file and access list for this gateway"
_SIZE = (
    f"let the broker accept {PACKET_BYTES} bytes (mosquitto: max_packet_size, EMQX: mqtt.max_packet_size,"
    " HiveMQ: packets/max-packet-size)"
)

REASONS: Final[dict[int, tuple[str, type[TransportError]]]] = {
    0x01: ("it speaks MQTT 3 only; use a listener that speaks MQTT 5", RefusedError),
    0x80: ("unspecified error; the broker's log may say more", TransportError),
    0x81: ("malformed packet; something between us and the broker changes bytes", TransportError),
    0x82: ("protocol error; the broker's log may say more", TransportError),
    0x83: ("implementation specific error; the broker's log may say more", TransportError),
    0x84: ("unsupported protocol version; use a listener that speaks MQTT 5", RefusedError),
    0x85: ("client identifier not valid; the broker does not allow ids like ours", RefusedError),
    0x86: ("bad user name or password", RefusedError),
    0x87: (f"not authorized; {_ACCESS}", RefusedError),
    0x88: ("server unavailable", BusyError),
    0x89: ("server busy", BusyError),
    0x8A: ("banned; the broker has shut this client out", RefusedError),
    0x8B: ("server shutting down", BusyError),
    0x8C: ("bad authentication method; the broker asks for one that we do not speak", RefusedError),
    0x8D: ("keep alive timeout; the broker heard nothing from us", TransportError),
    0x8E: (
        "session taken over by another client with the same id; is a clone of this gateway running?",
        TransportError,
    ),
    0x8F: ("topic filter invalid; the broker does not allow topics like ours", RefusedError),
    0x90: ("topic name invalid; the broker does not allow topics like ours", RefusedError),
    0x91: ("packet identifier in use", TransportError),
    0x92: ("packet identifier not found", TransportError),
    0x93: ("receive maximum exceeded; more on its way than the broker announced", TransportError),
    0x94: ("topic alias invalid", TransportError),
    0x95: (f"packet too large; {_SIZE}", TooLargeError),
    0x96: ("message rate too high; raise the broker's limit for this client", QuotaError),
    0x97: ("quota exceeded; the broker's queue or this client's allowance is full", QuotaError),
    0x98: ("administrative action; somebody ended this connection at the broker", BusyError),
    0x99: ("payload format invalid; the broker inspects payloads: switch that off for our topics", RefusedError),
    0x9A: ("retain not supported", RefusedError),
    0x9B: ("QoS not supported; the broker must grant QoS 1", RefusedError),
    0x9C: ("use another server", BusyError),
    0x9D: ("server moved", RefusedError),
    0x9E: ("shared subscriptions not supported", RefusedError),
    0x9F: ("connection rate exceeded", BusyError),
    0xA0: ("maximum connect time; the broker ends long connections", TransportError),
    0xA1: ("subscription identifiers not supported", RefusedError),
    0xA2: ("wildcard subscriptions not supported; the cloud needs them", RefusedError),
}
"""Code → (what it says and what to check, the error it becomes)."""

_MOVED: Final = frozenset({0x9C, 0x9D})


def refusal(where: str, what: str, code: int, *, reference: str = "", said: str = "") -> TransportError:
    """Give the error for a reason code that `where` answered: "{where}: {what}: {words}".

    `reference` is the broker's Server Reference and `said` its Reason String, where it sent them. A reference is shown
    and never followed: which broker is ours stands in our own configuration.
    """
    words, kind = REASONS.get(code, (f"reason code 0x{code:02x}", TransportError))
    if code in _MOVED:
        words += f" ({reference[:200]}); change uplink.host" if reference else "; ask who runs the broker which one"
    if said:
        words += f" (it says: {said[:200]!r})"
    return kind(f"{where}: {what}: {words}")


def too_large(where: str, topic: str, size: int, limit: int) -> TooLargeError:
    """Give the error for a message that the broker announced not to take."""
    return TooLargeError(f"{where}: a message of {size} bytes on {topic} is larger than its limit of {limit}; {_SIZE}")


def tls_failed(where: str, error: ssl.SSLError) -> TransportError:
    """Give the error for a broker that did not prove to be ours. A certificate that does not fit mends no retry."""
    what = f"{where}: TLS failed: {error}; check uplink.tls, uplink.ca and the name in its certificate"
    if not isinstance(error, ssl.SSLCertVerificationError):
        return TransportError(what)
    return RefusedError(f"{what}, and this machine's clock")


def not_let_in(where: str, heard: str, *, refused: bool) -> TransportError:
    """Give the error for a broker that hung up before it greeted us; TLS 1.3 judges our certificate only then."""
    check = "check uplink.certificate: that it has not run out or been revoked, and that the broker knows its CA"
    if refused:
        return RefusedError(f"{where}: does not take our certificate: {heard}; {check}")
    return TransportError(f"{where}: connection lost before its greeting ({heard or 'closed'}); {check}")


def clone(where: str, client_id: str, kind: type[CloneError]) -> CloneError:
    """Give the error for a connection that another client of our name keeps ending."""
    who = f"another client uses the id {client_id!r}: is a clone of this gateway running?"
    if kind is SuspectedCloneError:
        return kind(f"{where}: lets us in and hangs up, again and again: {who} (or the broker keeps restarting)")
    return kind(f"{where}: {who} Each connection ends the other one's")
