from __future__ import annotations

import stat

import msgspec

from cloud.config import Settings, load
from cloud.ingest.witness import load_key
from sync.chain import follow, genesis, statement
from sync.chunk import digest
from sync.frames import Loss
from sync.signing import Signer, genuine, make_key
from tests.cloud.gateway import S, Start, state
from tests.cloud.ingest.conftest import Hall, answer

NOW = 1_790_000_000 * S
GATEWAY = Signer(bytes([7] * 32))
KEY = GATEWAY.public_key.hex()


async def findings(hall: Hall) -> list[tuple]:
    return await hall.rows("select stream, first, why from chain_finding order by id")


async def test_a_chain_is_kept_and_countersigned_after_a_minute(hall: Hall) -> None:
    start = Start(signer=GATEWAY)
    await hall.resume(start, key=KEY)
    sent = [start.facts(state(NOW + i, "EXECUTE")) for i in range(4)]
    done = await hall.store(start, *sent[:2])
    (first,) = answer(done, "").witnessed
    assert (await hall.store(start, sent[2])).answers[start.address, ""].witnessed == []
    hall.clock.at += 61 * S
    (witness,) = answer(await hall.store(start, sent[3]), "").witnessed
    assert (first.seq, witness.seq, witness.at) == (1, 4, hall.clock.at)
    link = genesis(start.inc, 2)
    for _, body in sent:
        link = follow(link, digest(body))
    assert witness.link == link.hex()
    said = statement("demo/seoul/gw-1", (start.inc, 2), 4, link, witness.at)
    assert genuine(hall.signer.public_key, said, bytes.fromhex(witness.signature))
    assert await findings(hall) == []
    rows = await hall.rows("select before, link, signature from ingest_chunk order by first")
    assert [bytes(before) for before, _, _ in rows] == [genesis(start.inc, 2), *(bytes(row[1]) for row in rows[:-1])]
    assert all(row[2] is not None for row in rows)
    assert await hall.rows("select seq from witness") == [(4,)]


async def test_every_signature_under_audit_records_is_kept_with_their_bodies(hall: Hall) -> None:
    start = Start(signer=GATEWAY)
    await hall.resume(start, key=KEY)
    bodies = []
    for i in range(3):
        many = [state(NOW + i, "EXECUTE")] * 256
        chunk = start.facts(*many, stream=1)
        bodies.append(chunk[1])
        assert len(answer(await hall.store(start, chunk), "").witnessed) == 1
    assert await hall.rows("select seq from witness order by seq") == [(256,), (512,), (768,)]
    kept = await hall.rows("select body from ingest_chunk order by first")
    assert [bytes(body) for (body,) in kept] == bodies


async def test_what_stands_still_is_countersigned_by_the_heartbeat(hall: Hall) -> None:
    start = Start(signer=GATEWAY)
    await hall.resume(start, key=KEY)
    await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    done = await hall.store(start, (start.heartbeat(),))
    assert not answer(done).receipt
    hall.clock.at += 61 * S
    done = await hall.store(start, (start.heartbeat(),))
    assert [one.seq for one in answer(done).witnessed] == [2]
    assert answer(done).watermarks == {}
    hall.clock.at += 61 * S
    assert not answer(await hall.store(start, (start.heartbeat(),))).receipt


async def test_a_broken_chain_is_found_and_the_facts_are_kept(hall: Hall) -> None:
    start = Start(signer=GATEWAY)
    await hall.resume(start, key=KEY)
    await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    start.links[2] = bytes(32)  # a history of its own from here on
    done = await hall.store(start, start.facts(state(NOW, "HELD", "jam")), start.facts(state(NOW, "EXECUTE")))
    assert len(done.findings) == 1
    assert answer(done, "").reincarnate is not None
    ((stream, first, why),) = await findings(hall)
    assert (stream, first) == (2, 2)
    assert "it follows link 0000" in why
    assert await hall.rows("select count(*) from fact") == [(3,)]


async def test_a_chain_that_does_not_begin_at_its_begin_is_found(hall: Hall) -> None:
    start = Start(signer=GATEWAY, links={2: bytes(32)})
    await hall.resume(start, key=KEY)
    await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    assert len(await findings(hall)) == 1


async def test_a_hole_covered_by_losses_is_no_break(hall: Hall) -> None:
    start = Start(signer=GATEWAY)
    await hall.resume(start, key=KEY)
    one, shed, three = (start.facts(state(NOW + i, "EXECUTE")) for i in range(3))
    await hall.store(start, one)
    frame = msgspec.structs.replace(three[0], losses=[Loss(2, 2, "shed")])
    await hall.store(start, (frame, three[1]))
    assert await findings(hall) == []
    # What was shed comes from the ring after all, and fits between the two.
    again = msgspec.structs.replace(shed[0], again=True)
    done = await hall.store(start, (again, shed[1]))
    assert done.corrected == 1
    assert await findings(hall) == []
    assert await hall.rows("select count(*) from fact") == [(3,)]


async def test_a_late_chunk_that_does_not_fit_between_its_neighbours_is_found(hall: Hall) -> None:
    start = Start(signer=GATEWAY)
    await hall.resume(start, key=KEY)
    one, _, three = (start.facts(state(NOW + i, "EXECUTE")) for i in range(3))
    frame = msgspec.structs.replace(three[0], losses=[Loss(2, 2, "shed")])
    await hall.store(start, one, (frame, three[1]))
    forged = Start(inc=start.inc, last={2: 1}, signer=GATEWAY, links={2: bytes.fromhex(three[0].before)})
    other = forged.facts(state(NOW + 7, "ABORTED"))
    await hall.store(start, (msgspec.structs.replace(other[0], again=True), other[1]))
    whys = [why for _, _, why in await findings(hall)]
    assert len(whys) == 2
    assert any("after it" in why for why in whys)


async def test_a_signature_of_nobody_is_found_and_every_key_the_gateway_came_with_counts(hall: Hall) -> None:
    start = Start(signer=GATEWAY)
    await hall.resume(start, key=KEY)
    frame, body = start.facts(state(NOW, "EXECUTE"))
    await hall.store(start, (msgspec.structs.replace(frame, signature="00" * 64), body))
    frame, body = start.facts(state(NOW, "EXECUTE"))
    await hall.store(start, (msgspec.structs.replace(frame, signature=""), body))
    assert [why for _, _, why in await findings(hall)] == [
        "its signature fits no key of this gateway",
        "it is not signed",
    ]
    # Its disk moved into another box: what was signed before is still signed by this gateway.
    waiting = start.facts(state(NOW, "EXECUTE"))
    start.closed = True
    other = Signer(make_key())
    moved = Start(ord=2, previous=start.inc, signer=other)
    await hall.resume(moved, start, key=other.public_key.hex())
    await hall.store(start, waiting)
    await hall.store(moved, moved.facts(state(NOW, "EXECUTE")))
    assert len(await findings(hall)) == 2
    assert "key changed" in await hall.kinds()


async def test_an_older_gateway_has_no_chain_and_no_finding(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    done = await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    assert answer(done, "").witnessed == []
    # It is updated in the middle of an incarnation's backlog: nothing to compare with, nothing to find.
    start.signer, start.links = GATEWAY, {2: bytes([5] * 32)}
    await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    assert await findings(hall) == []


async def test_a_welcome_says_where_the_chain_stands(hall: Hall) -> None:
    start = Start(signer=GATEWAY)
    await hall.resume(start, key=KEY)
    await hall.store(start, start.facts(state(NOW, "EXECUTE")))
    done = await hall.resume(start, key=KEY)
    assert answer(done).watermarks[start.inc, 2].link == start.links[2].hex()


def test_the_clouds_key_is_made_once_for_its_owner_alone(settings: Settings) -> None:
    key, said = load_key(settings)
    path = settings.folder / "witness.key"
    assert (len(key), stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    assert str(path) in said
    assert load_key(settings) == (key, "")


def test_the_clouds_key_may_be_a_credential(settings: Settings) -> None:
    (settings.folder / "credentials" / "witness").write_text("ab" * 32)
    path = settings.folder / "cloud.toml"
    path.write_text('witness_key = {credential = "witness"}\n' + path.read_text())
    assert load_key(load(path)) == (bytes.fromhex("ab" * 32), "")
    assert not (settings.folder / "witness.key").exists()
