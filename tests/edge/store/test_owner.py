"""One gateway, one file, one key: what a second process, a removed file or a long reader can do about it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from edge.store import StoreError, StoreRefusedError
from edge.store.identity import own_signer
from sync.signing import genuine
from tests.edge.stores import batch, dictionary, state, store_in, until
from tests.servers import ROOT

SECOND = """
import asyncio, sys
from pathlib import Path
from edge.store import StoreError
from tests.edge.stores import state, store_in
async def main():
    try:
        async with store_in(Path(sys.argv[1])) as store:
            await store.commit(facts=[state(1)])
            print("opened")
    except StoreError as error:
        print(error)
asyncio.run(main())
"""


def second(folder: Path) -> str:
    """What another gateway process on the same folder says."""
    done = subprocess.run(
        [sys.executable, "-c", SECOND, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


async def test_a_second_process_is_refused_also_when_the_lock_file_is_gone(tmp_path: Path):
    async with store_in(tmp_path) as store:
        await store.commit(facts=[state(0)])
        assert f"in use by process {os.getpid()}" in await asyncio.to_thread(second, tmp_path)
        (tmp_path / "edge.lock").unlink()
        assert "is open in another gateway process" in await asyncio.to_thread(second, tmp_path)
        (tmp_path / "edge.lock").unlink()  # the second one has made a new one
        await store.commit(facts=[state(1)])
        with pytest.raises(StoreRefusedError, match="is open in another gateway process"):
            async with store_in(tmp_path):  # nor within this process
                pass
        await store.commit(facts=[state(2)])
        assert store.counts().waiting == 3
    assert await asyncio.to_thread(second, tmp_path) == "opened"


async def test_a_killed_process_leaves_nothing_locked(tmp_path: Path):
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SECOND.replace('print("opened")', 'print("opened", flush=True); await asyncio.sleep(60)'),
        str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert await child.stdout.readline() == b"opened\n"
    child.kill()
    await child.wait()
    async with store_in(tmp_path) as store:
        assert store.counts().waiting == 2  # the other's event, and the tally of its hour


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_file_that_goes_away_under_a_gateway_that_only_reads_is_noticed(tmp_path: Path, monkeypatch, how: str):
    monkeypatch.setattr("edge.store.writer.TIDY_S", 0.1)
    async with store_in(tmp_path) as store:
        await store.commit(facts=[state(0)])
        (tmp_path / "edge.db").rename(tmp_path / "old")
        if how == "replaced":
            (tmp_path / "edge.db").write_bytes((tmp_path / "old").read_bytes())

        async def read() -> None:
            while True:  # as the heartbeat does: nothing is ever idle
                await store.holdings()
                await asyncio.sleep(0.01)

        with pytest.raises(StoreError, match=f"{how} under the running gateway"):
            await asyncio.wait_for(read(), 20)


async def test_a_reader_that_holds_a_snapshot_delays_no_commit_and_its_log_is_an_alarm(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("edge.store.disk.WAL_ALARM_BYTES", 3 << 20)
    monkeypatch.setattr("edge.store.disk.WAL_PAGES_MAX", 100)
    monkeypatch.setattr("edge.store.disk.WAL_PAGES_MIN", 50)
    async with store_in(tmp_path, group_ms=1) as store:
        await store.commit(dictionary=dictionary())
        with contextlib.closing(apsw.Connection(str(tmp_path / "edge.db"))) as reader:
            reader.execute("BEGIN; SELECT count(*) FROM chunk")
            done = 0
            while not store.counts().alarms:
                await store.commit(readings=[batch(1000, noise=True, start=done)])
                done += 1
                assert done < 2_000
            (alarm,) = store.counts().alarms.values()
            assert "another process has been reading the file for long" in alarm
            reader.execute("COMMIT")

        async def quiet() -> bool:
            await store.commit(readings=[batch(1000, noise=True)])
            return not store.counts().alarms

        while not await quiet():
            done += 1
            assert done < 4_000
        assert (tmp_path / "edge.db-wal").stat().st_size <= 16 << 20


async def test_readings_wait_for_company_as_long_as_the_site_says(tmp_path: Path):
    async with store_in(tmp_path, group_ms=2_000) as store:
        await store.commit(facts=[state(0)], dictionary=dictionary())
        waiting = [asyncio.ensure_future(store.commit(readings=[batch(1)])) for _ in range(5)]
        await asyncio.sleep(0.2)
        assert not any(one.done() for one in waiting)
        await store.commit(facts=[state(1)])  # an event does not wait, and takes them along
        await until(lambda: all(one.done() for one in waiting), "they went along")
        assert store.counts().commits == 7


# --- the gateway's own key ---


async def test_the_key_is_made_once_and_only_for_its_owners_eyes(tmp_path: Path):
    async with store_in(tmp_path) as store:
        key = store.signer.public_key
        assert genuine(key, b"x", store.signer.sign(b"x"))
    assert stat.S_IMODE((tmp_path / "identity.key").stat().st_mode) == 0o600
    async with store_in(tmp_path) as store:
        assert store.signer.public_key == key
        await store.turn("test")
        assert store.signer.public_key == key


@pytest.mark.parametrize("content", ["", "no key at all", "00" * 31, "zz" * 32])
async def test_a_key_file_that_holds_none_is_refused_with_what_to_do(tmp_path: Path, content: str):
    (tmp_path / "identity.key").write_text(content)
    with pytest.raises(StoreRefusedError, match=r"holds no key .* put the right file back .* or move it away"):
        async with store_in(tmp_path):
            pass
    assert (tmp_path / "identity.key").read_text() == content


def test_without_room_for_a_key_the_gateway_goes_on_unsigned_and_says_so(tmp_path: Path, caplog, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.durable.put", full)
    assert own_signer(tmp_path) is None
    assert "chunks go unsigned" in caplog.text
