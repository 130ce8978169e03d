"""Every reason code of MQTT 5 that says no has words and a consequence."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from sync.reasons import REASONS, refusal
from sync.transport import BusyError, QuotaError, RefusedError, TooLargeError, TransportError

CODES = sorted({code for code in ReasonCode(PacketTypes.DISCONNECT, "Unspecified error").names if code >= 0x80})


@pytest.mark.parametrize("code", CODES, ids=hex)
def test_every_code_that_says_no_is_known(code: int):
    words, kind = REASONS[code]
    assert words
    assert issubclass(kind, TransportError)


def test_there_are_as_many_as_the_standard_has():
    assert len(CODES) == 35
    assert set(REASONS) - {0x01} == set(CODES)


def test_an_unknown_code_is_an_ordinary_loss_that_names_it():
    error = refusal("broker b:1", "connection lost", 0xEE)
    assert type(error) is TransportError
    assert str(error) == "broker b:1: connection lost: reason code 0xee"


@pytest.mark.parametrize(
    ("code", "kind", "least_s"),
    [
        (0x87, RefusedError, 60), (0x86, RefusedError, 60), (0x84, RefusedError, 60), (0x9D, RefusedError, 60),
        (0x95, TooLargeError, 60), (0x89, BusyError, 5), (0x8B, BusyError, 5), (0x9C, BusyError, 5),
        (0x97, QuotaError, 10), (0x96, QuotaError, 10), (0x8D, TransportError, 0), (0x80, TransportError, 0),
    ],
    ids=str,
)  # fmt: skip
def test_what_follows_from_it(code: int, kind: type[TransportError], least_s: float):
    error = refusal("b", "w", code)
    assert type(error) is kind
    assert error.wait_s == least_s


def test_another_server_is_named_and_never_followed():
    said = str(refusal("b", "refused", 0x9D, reference="broker2.plant.example:8883", said="moved on Monday"))
    assert "broker2.plant.example:8883" in said
    assert "change uplink.host" in said
    assert "moved on Monday" in said


def test_the_limit_of_a_packet_says_which_setting():
    assert "max_packet_size" in str(refusal("b", "w", 0x95))
