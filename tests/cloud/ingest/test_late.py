"""Records that were declared lost and come after all, that are asked for again, and that nobody brings any more."""

from __future__ import annotations

import msgspec
import pytest

from cloud.ingest import orphans, wanted
from sync.frames import Batch, Loss
from tests.cloud.gateway import S, Start, state
from tests.cloud.ingest.conftest import HOUR, Hall, answer, stored

NOW = 1_790_000_000 * S


def again(chunk: tuple[Batch, bytes]) -> tuple[Batch, bytes]:
    return msgspec.structs.replace(chunk[0], again=True, losses=[]), chunk[1]


def nothing_there(start: Start, first: int, last: int) -> tuple[Batch]:
    end = start.last[2]
    return (
        Batch(
            nonce="",
            inc=start.inc,
            stream=2,
            first=1,
            count=0,
            last=end,
            losses=[Loss(first, last, "gone")],
            again=True,
        ),
    )


async def test_late_beats_lost(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    one, two, three = (start.facts(*(state(NOW + i, "EXECUTE") for i in range(3))) for _ in range(3))
    frame = msgspec.structs.replace(three[0], losses=[Loss(1, 6, "shed", 5, 9)])
    assert stored(await hall.store(start, (frame, three[1])), start) == 9
    done = await hall.store(start, again(two))
    assert (done.chunks, done.corrected, done.conflicts) == (1, 3, [])
    assert await hall.rows("select first, last, reason, t0, t1 from loss") == [(1, 3, "shed", 5, 9)]
    # A stray one that nobody asked for is taken as well, and none of them twice.
    done = await hall.store(start, one, again(two), one)
    assert (done.chunks, done.duplicates) == (1, 2)
    assert await hall.lost() == []
    assert await hall.rows("select rows, corrected, stored from ingest_stream") == [(9, 6, 9)]
    assert [seq for (seq,) in await hall.rows("select seq from fact order by seq")] == list(range(1, 10))


async def test_a_late_chunk_beyond_the_watermark_is_not_thrown_away(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    one, two = (start.facts(*(state(NOW + i, "EXECUTE") for i in range(3))) for _ in range(2))
    start.losses = {2: [Loss(4, 6, "shed")]}
    await hall.resume(start)
    done = await hall.store(start, two)
    assert (done.corrected, done.dead_letters, stored(done, start)) == (3, [], 0)
    assert (await hall.store(start, two)).duplicates == 1
    assert stored(await hall.store(start, one), start) == 6
    assert await hall.lost() == []


async def test_a_rejected_chunk_that_can_be_read_now_is_taken_when_it_is_asked_for(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    good = start.facts(state(NOW, "EXECUTE"))
    refused = await hall.do(*[_refused(start, good)])
    assert len(answer(refused, "").rejected) == 1
    assert (await hall.store(start, good)).duplicates == 1, "a resend alone changes nothing"
    assert (await hall.store(start, again(good))).corrected == 1
    assert await hall.rows("select count(*) from dead_letter") == [(0,)]
    assert await hall.lost() == []


def _refused(start: Start, chunk: tuple[Batch, bytes]):
    from cloud.ingest.items import Item

    return Item(start.address, *chunk, refused="a table was too small then")


async def test_of_two_boxes_with_one_identity_only_the_one_that_made_the_records_is_asked(hall: Hall) -> None:
    original = Start()
    await hall.resume(original)
    original.facts(state(NOW, "EXECUTE"))
    copy = Start(address=original.address, ord=2, previous=original.inc)
    copy.facts(state(NOW, "EXECUTE"))
    as_copied = Start(address=original.address, inc=original.inc, closed=True)
    await hall.resume(copy, as_copied)
    assert answer(await hall.resume(original)).identity == "conflict"
    now = hall.clock.at // 1_000_000
    await hall.database.write(lambda c: wanted.ask(c, original.address, original.inc, 2, (1, 1), by="kim", now_ms=now))
    assert answer(await hall.store(copy, (copy.heartbeat(),))).wanted == [], "it would say that they are gone"
    done = await hall.store(original, (original.heartbeat(),))
    assert [(w.inc, w.first, w.last) for w in answer(done).wanted] == [(original.inc, 1, 1)]


async def test_what_is_wanted_is_asked_for_until_it_is_answered(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    chunks = [start.facts(*(state(NOW + i, "EXECUTE") for i in range(3))) for _ in range(3)]
    start.losses = {2: [Loss(1, 9, "shed")]}
    await hall.resume(start)
    now = hall.clock.at // 1_000_000
    number = await hall.database.write(
        lambda c: wanted.ask(c, start.address, start.inc, 2, (1, 9), by="kim", now_ms=now)
    )
    start.losses = {}
    done = await hall.store(start, (start.heartbeat(),))
    assert [(w.stream, w.first, w.last) for w in answer(done).wanted] == [(2, 1, 9)]
    assert answer(await hall.store(start, (start.heartbeat(),))).wanted == [], "not every five seconds"
    await hall.store(start, again(chunks[1]))
    hall.clock.at += 31 * S
    done = await hall.store(start, (start.heartbeat(),))
    assert [(w.first, w.last) for w in answer(done).wanted] == [(1, 3), (7, 9)]
    await hall.store(start, again(chunks[0]))
    done = await hall.store(start, nothing_there(start, 7, 9))
    assert answer(done, "").receipt
    assert await hall.lost() == [(7, 9, "shed", "gateway")]
    ((done_ms,),) = await hall.rows("select done_ms from wanted where id=?", number)
    assert done_ms == hall.clock.at // 1_000_000
    hall.clock.at += HOUR
    assert answer(await hall.store(start, (start.heartbeat(),))).wanted == []
    with pytest.raises(KeyError):
        await hall.database.write(lambda c: wanted.ask(c, start.address, "0" * 32, 2, (1, 2), by="kim", now_ms=1))


async def test_what_is_gone_of_which_nobody_had_heard_does_not_come_to_exist(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    await hall.store(start, nothing_there(start, 1, 1_000)[:1])
    assert await hall.rows("select last, stored from ingest_stream") == [(1, 1)]
    assert await hall.lost() == []


async def test_an_orphan_is_closed_after_a_day(hall: Hall) -> None:
    old = Start()
    await hall.resume(old, box="a" * 32)
    await hall.store(old, old.facts(state(NOW, "EXECUTE")))
    waiting = old.facts(*(state(NOW + i, "EXECUTE") for i in range(4)))
    await hall.store(old, (old.heartbeat(),))
    new = Start(ord=1)
    await hall.resume(new, box="b" * 32)

    async def sweep() -> list[str]:
        return await hall.database.write(lambda c: orphans.sweep(c, hall.clock.at // 1_000_000))

    hall.clock.at += 23 * HOUR
    assert await sweep() == []
    hall.clock.at += HOUR
    assert len(await sweep()) == 1
    assert await sweep() == []
    assert await hall.lost() == [(2, 5, "gone", "cloud")]
    assert await hall.rows("select stored, last from ingest_stream") == [(5, 5)]
    assert (await hall.kinds())[-2:] == ["orphaned", "orphan closed"]
    # The old box is found in a cupboard and has it all: nothing is lost after all.
    old.held = {2: [(2, 5)]}
    done = await hall.resume(old, box="a" * 32)
    assert stored(done, old) == 1
    assert stored(await hall.store(old, waiting), old) == 5
    assert await hall.lost() == []


async def test_what_is_named_again_or_may_come_with_a_later_resume_is_no_orphan(hall: Hall) -> None:
    first = Start()
    first.facts(state(NOW, "EXECUTE"))
    await hall.resume(first)
    await hall.store(first, (first.heartbeat(),))
    first.closed = True
    second = Start(ord=2, previous=first.inc)
    from cloud.ingest.items import Item

    part = msgspec.structs.replace(second.resume(), complete=False)
    await hall.do(Item(second.address, part, inc=second.inc))
    suspects = "select count(*) from incarnation where suspect_ms is not null"
    assert await hall.rows(suspects) == [(0,)]
    await hall.resume(second)
    assert await hall.rows(suspects) == [(1,)]
    await hall.resume(second, first)
    assert await hall.rows(suspects) == [(0,)]


async def test_a_person_closes_an_orphan_at_once(hall: Hall) -> None:
    start = Start()
    start.facts(state(NOW, "EXECUTE"), state(NOW, "EXECUTE"))
    await hall.resume(start)
    lost = await hall.database.write(lambda c: orphans.close(c, start.address, start.inc, by="kim", now_ms=7))
    assert len(lost) == 1
    assert await hall.lost() == [(1, 2, "gone", "cloud")]
    ((detail,),) = await hall.rows("select detail from gateway_event where kind='orphan closed'")
    assert "by kim" in detail
    with pytest.raises(KeyError):
        await hall.database.write(lambda c: orphans.close(c, start.address, "0" * 32, by="kim", now_ms=7))
