from __future__ import annotations

import msgspec
import pytest

from cloud.ingest.door import Door, Say
from cloud.ingest.items import Item
from cloud.ingest.orphans import sweep
from cloud.ingest.presence import keep
from cloud.plant import Plants
from sync.chain import follow
from sync.frames import Hello, seal
from sync.signing import Signer
from tests.cloud.gateway import KEY, S, Start, produced, state
from tests.cloud.ingest.conftest import HOUR, Hall, answer, stored

NOW = 1_790_000_000 * S
BOX_A, BOX_B = "a" * 32, "b" * 32


def child(of: Start, number: int | None = None) -> Start:
    of.closed = True
    return Start(address=of.address, ord=number or of.ord + 1, previous=of.inc)


async def identity(hall: Hall) -> str:
    return (await hall.rows("select identity from gateway"))[0][0]


async def test_a_reboot_is_a_start_and_nothing_else(hall: Hall) -> None:
    first = Start()
    await hall.resume(first, box=BOX_A)
    await hall.resume(first, box=BOX_A)
    second = child(first)
    done = await hall.resume(second, first, box=BOX_A)
    assert answer(done).identity == "ok"
    assert await hall.kinds() == ["started", "started"]
    assert await hall.rows("select appeared, resumed, box, software from incarnation order by id") == [
        (1, 2, BOX_A, "test 2.0"),
        (3, 3, BOX_A, "test 2.0"),
    ]


async def test_starts_without_a_link_are_no_fork(hall: Hall) -> None:
    """The second start never spoke and holds nothing any more: only its name stands in the third one's `previous`."""
    first = Start()
    await hall.resume(first, box=BOX_A)
    second = child(first)
    third = child(second)
    await hall.resume(third, box=BOX_A)
    assert await hall.kinds() == ["started", "started"]


async def test_a_restored_disk_forks_and_the_old_branch_is_silent(hall: Hall) -> None:
    first = Start()
    await hall.resume(first, box=BOX_A)
    lost = child(first)
    lost.facts(*(state(NOW + i, "EXECUTE") for i in range(3)))
    await hall.resume(lost, first, box=BOX_A)
    again = child(first, 2)
    done = await hall.resume(again, first, box=BOX_A)
    assert answer(done).identity == "ok"
    assert await hall.kinds() == ["started", "started", "restored", "orphaned"]
    assert await hall.rows("select count(*) from incarnation where suspect_ms is not null") == [(1,)]


async def test_another_box_without_alternation_is_a_replacement(hall: Hall) -> None:
    old = Start()
    await hall.resume(old, box=BOX_A, key="1" * 64)
    new = Start(ord=1)
    await hall.resume(new, box=BOX_B, key="2" * 64)
    assert await hall.kinds() == ["started", "replaced", "key changed"]
    moved = child(new)
    await hall.resume(moved, new, box="c" * 32, key="2" * 64)
    assert (await hall.kinds())[3:] == ["replaced"]
    assert await hall.rows("select box, public_key, identity from gateway") == [("c" * 32, "2" * 64, "ok")]


async def test_two_boxes_that_alternate_are_a_clone_kept_apart_until_a_person_keeps_one(hall: Hall) -> None:
    original = Start()
    await hall.resume(original, box=BOX_A)
    sent = original.facts(state(NOW, "EXECUTE"), produced(NOW, NOW + S, 3, 3))
    await hall.store(original, sent)
    copy = Start(address=original.address, ord=2, previous=original.inc)
    as_copied = Start(address=original.address, inc=original.inc, closed=True, last={2: 2}, held={2: [(1, 2)]})
    assert answer(await hall.resume(copy, as_copied, box=BOX_B)).identity == "ok"
    done = await hall.resume(original, box=BOX_A)
    assert answer(done).identity == "conflict"
    assert [kind for kind, _ in done.events] == ["cloned"]
    assert original.inc in done.events[0][1]
    assert BOX_B in done.events[0][1]
    # Both go on, and what both send is stored, each under its own name.
    await hall.store(copy, copy.facts(state(NOW, "HELD", "jam")))
    await hall.store(original, original.facts(state(NOW, "EXECUTE")))
    assert answer(await hall.resume(copy, as_copied, box=BOX_B)).identity == "conflict"
    assert await hall.rows("select count(*) from fact") == [(4,)]
    assert await identity(hall) == "conflict"
    assert await hall.kinds() == ["started", "replaced", "cloned"]
    ((number,),) = await hall.rows("select id from gateway")
    gone = await hall.database.write(lambda c: keep(c, number, "demo", original.inc, 1))
    assert gone == [copy.inc]
    assert answer(await hall.resume(original, box=BOX_A)).identity == "ok"
    # The other box and its later starts are heard, and never taken for the gateway again.
    assert answer(await hall.resume(copy, as_copied, box=BOX_B)).identity == "conflict"
    later = child(copy)
    assert answer(await hall.resume(later, copy, box=BOX_B)).identity == "conflict"
    assert await identity(hall) == "ok"
    rebooted = child(original)
    assert answer(await hall.resume(rebooted, original, box=BOX_A)).identity == "ok"
    assert await hall.kinds() == ["started", "replaced", "cloned", "kept", "started", "started"]


async def test_the_copy_may_be_kept_instead(hall: Hall) -> None:
    original = Start()
    await hall.resume(original, box=BOX_A)
    copy = Start(address=original.address, ord=2, previous=original.inc)
    closed = Start(address=original.address, inc=original.inc, closed=True)
    await hall.resume(copy, closed, box=BOX_B)
    await hall.resume(original, box=BOX_A)
    ((number,),) = await hall.rows("select id from gateway")
    assert await hall.database.write(lambda c: keep(c, number, "demo", copy.inc, 1)) == [original.inc]
    assert answer(await hall.resume(copy, closed, box=BOX_B)).identity == "ok"
    assert answer(await hall.resume(original, box=BOX_A)).identity == "conflict"
    with pytest.raises(KeyError):
        await hall.database.write(lambda c: keep(c, number, "demo", "0" * 32, 1))


async def test_the_box_that_was_not_kept_is_waited_for_a_day_and_no_longer(hall: Hall) -> None:
    original = Start()
    await hall.resume(original, box=BOX_A)
    copy = Start(address=original.address, ord=2, previous=original.inc)
    await hall.resume(copy, Start(address=original.address, inc=original.inc, closed=True), box=BOX_B)
    copy.facts(state(NOW, "EXECUTE"), state(NOW, "EXECUTE"))
    await hall.store(copy, (copy.heartbeat(),))
    await hall.resume(original, box=BOX_A)
    ((number,),) = await hall.rows("select id from gateway")
    await hall.database.write(lambda c: keep(c, number, "demo", original.inc, hall.clock.at // 1_000_000))

    async def sweep_after(hours: int) -> list[str]:
        hall.clock.at += hours * HOUR
        return await hall.database.write(lambda c: sweep(c, hall.clock.at // 1_000_000))

    assert await sweep_after(20) == []
    await hall.store(copy, (copy.heartbeat(),))  # it is not scrapped yet
    await hall.resume(original, box=BOX_A)
    assert await sweep_after(20) == []
    assert len(await sweep_after(4)) == 1
    assert await hall.lost() == [(1, 2, "gone", "cloud")]


async def test_a_clone_that_is_started_does_not_make_the_original_forget(hall: Hall) -> None:
    original = Start()
    await hall.resume(original, box=BOX_A)
    await hall.store(original, original.facts(state(NOW, "EXECUTE")))
    waiting = original.facts(*(state(NOW + i, "EXECUTE") for i in range(9)))
    await hall.store(original, (original.heartbeat(),))
    copied = Start(address=original.address, inc=original.inc, closed=True, last={2: 1}, held={})
    copy = Start(address=original.address, ord=2, previous=original.inc)
    done = await hall.resume(copy, copied, box=BOX_B)
    assert stored(done, original) == 10  # what the copy does not hold is thought lost …
    assert await hall.lost() == [(2, 10, "rollback", "cloud")]
    original.held = {2: [(2, 10)]}
    done = await hall.resume(original, box=BOX_A)
    assert stored(done, original) == 1  # … until the original says that it has it
    assert await hall.lost() == []
    assert stored(await hall.store(original, waiting), original) == 10
    assert await hall.rows("select count(*) from fact") == [(10,)]
    # While two speak, neither's word closes the other's records.
    original.facts(state(NOW, "HELD", "jam"))
    await hall.store(original, (original.heartbeat(),))
    await hall.resume(copy, copied, box=BOX_B)
    assert await hall.lost() == []


async def test_a_memory_image_is_told_to_go_on_under_new_numbers(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    for i in range(3):
        await hall.store(start, start.facts(state(NOW + i, "EXECUTE")))
    image = Start(address=start.address, inc=start.inc, last={2: 1}, held={})
    done = await hall.resume(image)
    assert answer(done).reincarnate is not None
    assert answer(done).reincarnate[0] == start.inc
    assert "memory" in await hall.kinds()
    # One that has caught up meanwhile contradicts what is stored.
    other = image.facts(state(NOW + 50, "ABORTED"))
    done = await hall.store(start, other)
    assert answer(done, "").reincarnate is not None
    assert len(done.conflicts) == 1
    # A closed incarnation makes no new numbers.
    image.closed = True
    turned = Start(address=start.address, ord=2, previous=start.inc)
    await hall.resume(turned, image)
    await hall.store(start, other)
    assert answer(await hall.store(start, other), "").reincarnate is None


async def test_a_memory_image_of_before_its_first_record_is_found_out_too(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    assert answer(await hall.resume(Start(inc=start.inc))).reincarnate is not None


async def test_a_chunk_that_contradicts_and_goes_beyond_does_not_block_its_lane(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    await hall.store(start, start.facts(state(NOW, "EXECUTE"), state(NOW, "EXECUTE")))
    other = Start(inc=start.inc)
    chunk = other.facts(*(state(NOW, "ABORTED") for _ in range(3)))
    done = await hall.store(start, chunk)
    assert (stored(done, start), len(done.conflicts), len(answer(done, "").rejected)) == (3, 1, 1)
    assert await hall.lost() == [(3, 3, "rejected", "cloud")]
    assert (await hall.store(start, chunk)).conflicts == []


async def test_holdings_of_both_boxes_stay_in_the_account(hall: Hall) -> None:
    original = Start()
    await hall.resume(original, box=BOX_A)
    copy = Start(address=original.address, ord=2, previous=original.inc)
    await hall.resume(copy, Start(address=original.address, inc=original.inc, closed=True), box=BOX_B)
    await hall.resume(original, box=BOX_A)
    await hall.store(copy, (copy.heartbeat(),))
    await hall.store(original, (original.heartbeat(),))
    ((said,),) = await hall.rows("select holdings from gateway")
    assert copy.inc in said
    assert original.inc in said


async def test_what_a_copy_holds_under_numbers_that_were_used_is_not_confirmed_before_it_has_come(
    hall: Hall, plants: Plants
) -> None:
    """A memory image turned before it resumed: its lane is closed, and the cloud has the original's records there."""
    signer = Signer(bytes([7] * 32))
    start = Start(signer=signer)
    await hall.resume(start)
    common = start.facts(state(NOW, "EXECUTE"))
    await hall.store(start, common, *(start.facts(state(NOW + i, "EXECUTE")) for i in range(1, 6)))
    image = Start(inc=start.inc, closed=True, last={2: 1}, signer=signer, links={2: bytes.fromhex(_link(common))})
    others = [image.facts(state(NOW + i, "ABORTED"), state(NOW + i, "ABORTED")) for i in range(2)]
    turned = Start(ord=2, previous=start.inc)

    door = Door({start.address: KEY}, clock=hall.clock, token=lambda: "c" * 32)

    async def say(frame, body: bytes = b"", what: str = "ctl"):
        found = door.take(start.address.up(what), seal(frame, KEY, body))
        done = await hall.do(*(one for one in found if isinstance(one, Item)))
        return [one.frame for one in found if isinstance(one, Say)] + [one.frame for one in door.told(done)]

    await say(Hello(session="ab" * 8, inc=turned.inc))
    (welcome,) = await say(turned.resume(image, nonce="c" * 32))
    marks = {(mark.inc, mark.stream): mark for mark in welcome.watermarks}
    assert marks[start.inc, 2].stored == 1
    told = []
    for frame, body in (others[1], others[0]):  # the first one is late: nothing is confirmed over it
        (receipt,) = await say(msgspec.structs.replace(frame, nonce="c" * 32), body, "b/2")
        told.append(receipt.watermarks[0].stored)
    assert told == [1, 6]
    assert await hall.rows("select first, count from conflict order by first") == [(2, 2), (4, 2)]
    # A disk that was restored holds the same history, only less of it: that is confirmed at once.
    restored = Start(
        inc=start.inc, closed=True, last={2: 1}, held={2: [(1, 1)]}, links={2: bytes.fromhex(_link(common))}
    )
    await say(Hello(session="ab" * 8, inc=turned.inc))
    (welcome,) = await say(turned.resume(restored, nonce="c" * 32))
    assert [mark.stored for mark in welcome.watermarks if mark.inc == start.inc] == [6]


def _link(chunk) -> str:
    frame, _ = chunk
    return follow(bytes.fromhex(frame.before), bytes.fromhex(frame.digest)).hex()
