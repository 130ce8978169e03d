"""What a machine writes into its events has an end: a record must fit a chunk whatever somebody put there."""

from __future__ import annotations

import msgspec
from asyncua import ua

from edge.drivers.opcua import notice
from edge.store.chunks import MAX_PLAIN_BYTES

HUGE = "가" * 400_000


def told(**fields: object) -> notice.Notice:
    return notice.Notice(1, dict(fields))


def test_an_event_with_texts_of_a_megabyte_is_a_record_that_fits():
    one = told(
        EventId=b"x" * 100_000, SourceName=HUGE, Message=ua.LocalizedText(HUGE, "ko"), Severity=500, ConditionName=HUGE,
        Retain=True, Active=True,
    )  # fmt: skip
    event = notice.event(one, "plc", "a/b/c", "DoorOpened", 1)
    alarm = notice.alarm(one, "plc", "a/b/c", 1)
    assert len(event.message) == notice.MOST_TEXT
    assert event.message.endswith("…")
    assert max(len(msgspec.json.encode(fact)) for fact in (event, alarm)) < MAX_PLAIN_BYTES


def test_a_text_people_write_stays_as_it_is():
    event = notice.event(
        told(Message=ua.LocalizedText("문이 열렸습니다", "ko"), SourceName="2:press"), "plc", "a/b/c", "T", 1
    )
    assert event.message == "문이 열렸습니다"
