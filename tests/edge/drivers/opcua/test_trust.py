"""The trust list as files: quarantine, approval, rejection, what a person does by hand, and that all of it is on record."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from edge import audit
from edge.drivers.opcua.trust import MOST_WAITING, Note, TrustError, TrustList
from sync.clock import WallClock
from sync.facts import Audited, Fact
from tests.edge.drivers.opcua.issuing import issue, key


def noted(data: Path) -> list[Audited]:
    return [msgspec.json.decode(path.read_bytes(), type=Audited) for path in sorted((data / "audit").glob("*.json"))]


def waiting(data: Path, *names: str, connection: str = "press") -> list[str]:
    """Put certificates into quarantine; give their thumbprints."""
    thumbprints = []
    for i, name in enumerate(names):
        made = issue(name).described
        TrustList(data).quarantine(
            made, Note(connections=[connection], url="opc.tcp://press:4840", seen=i + 1, why="new")
        )
        thumbprints.append(made.thumbprint)
    return thumbprints


def test_a_certificate_goes_from_quarantine_to_trust_with_its_story(tmp_path):
    trust = TrustList(tmp_path)
    (thumbprint,) = waiting(tmp_path, "Press 1")
    assert trust.state_of(thumbprint).state == "quarantine"
    trust.approve(thumbprint, by="kim", now=77)
    entry = trust.state_of(thumbprint)
    assert entry.state == "trusted"
    assert entry.note == Note(connections=["press"], url="opc.tcp://press:4840", seen=1, by="kim", decided=77)
    assert not trust.entries("quarantine")
    names = [path.name for path in (tmp_path / "pki" / "trusted").iterdir()]
    assert sorted(names) == [f"Press-1-{thumbprint}.der", f"Press-1-{thumbprint}.json"]


def test_rejected_goes_before_trusted_until_it_is_approved_again(tmp_path):
    trust = TrustList(tmp_path)
    (thumbprint,) = waiting(tmp_path, "Press")
    trust.approve(thumbprint, by="kim", now=1)
    trust.reject(thumbprint, by="lee", now=2)
    assert trust.state_of(thumbprint).state == "rejected"
    assert not trust.entries("trusted")
    trust.approve(thumbprint, by="kim", now=3)
    assert trust.state_of(thumbprint).state == "trusted"
    assert not trust.entries("rejected")
    trust.remove(thumbprint, by="kim", now=4)
    assert trust.state_of(thumbprint) is None


def test_a_move_cut_short_leaves_the_safer_state(tmp_path):
    trust = TrustList(tmp_path)
    (thumbprint,) = waiting(tmp_path, "Press")
    trust.approve(thumbprint, by="kim", now=1)
    der = next((tmp_path / "pki" / "trusted").glob("*.der"))
    (tmp_path / "pki" / "rejected").mkdir()
    (tmp_path / "pki" / "rejected" / der.name).write_bytes(der.read_bytes())  # the crash before the old file went
    assert trust.state_of(thumbprint).state == "rejected"


def test_every_decision_is_on_record_before_it_is_made(tmp_path):
    trust = TrustList(tmp_path)
    (thumbprint,) = waiting(tmp_path, "Press")
    trust.approve(thumbprint, by="kim", now=1)
    trust.reject(thumbprint, by="lee", now=2)
    trust.remove(thumbprint, by="kim", now=3)
    trust.add(issue("CA", ca=True).described, by="kim", now=4)
    facts = noted(tmp_path)
    assert [(fact.action, fact.actor) for fact in facts] == [
        ("certificate.approved", "kim"),
        ("certificate.rejected", "lee"),
        ("certificate.removed", "kim"),
        ("certificate.approved", "kim"),
    ]
    assert facts[0].target == thumbprint
    assert facts[0].detail["subject"] == "CN=Press"
    assert facts[0].detail["connections"] == "press"


def test_what_cannot_be_put_on_record_is_not_done(tmp_path):
    trust = TrustList(tmp_path)
    (thumbprint,) = waiting(tmp_path, "Press")
    (tmp_path / "audit").write_text("in the way")
    with pytest.raises(OSError, match="audit"):
        trust.approve(thumbprint, by="kim", now=1)
    assert trust.state_of(thumbprint).state == "quarantine"


async def test_the_gateway_takes_notes_in_once_oldest_first_and_keeps_what_it_cannot_read(tmp_path):
    taken: list[Fact] = []
    enough = asyncio.Event()

    async def commit(facts: list[Fact]) -> None:
        taken.extend(facts)
        if len(taken) == 2:
            enough.set()

    for at, who in ((2, "lee"), (1, "kim")):
        audit.leave(tmp_path, Audited(at=at, actor=who, action="test"))
    (tmp_path / "audit" / "0.json").write_text("{")
    task = asyncio.create_task(audit.take_in(commit, tmp_path, WallClock()))
    async with asyncio.timeout(20):
        await enough.wait()
        while list((tmp_path / "audit").glob("*.json")):
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [fact.actor for fact in taken] == ["kim", "lee"]
    assert [path.name for path in (tmp_path / "audit").iterdir()] == ["0.unreadable"]


async def test_a_note_that_could_not_be_committed_stays(tmp_path):
    audit.leave(tmp_path, Audited(at=1, actor="kim", action="test"))

    async def commit(_: list[Fact]) -> None:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        await audit.take_in(commit, tmp_path, WallClock())
    assert len(noted(tmp_path)) == 1


def test_a_thumbprint_may_be_shortened_spaced_and_sha1_but_not_guessed(tmp_path):
    trust = TrustList(tmp_path)
    thumbprint, other = waiting(tmp_path, "Press", "Oven")
    assert trust.find(thumbprint[:12]).certificate.thumbprint == thumbprint
    spaced = ":".join(thumbprint[i : i + 2] for i in range(0, 20, 2)).upper()
    assert trust.find(spaced).certificate.thumbprint == thumbprint
    assert trust.find(trust.state_of(other).certificate.sha1).certificate.thumbprint == other
    with pytest.raises(TrustError, match="no certificate"):
        trust.find("ffffffffffffffffffff")
    with pytest.raises(TrustError, match="at least 4"):
        trust.find("ab")


def test_an_ambiguous_thumbprint_names_the_candidates(tmp_path, monkeypatch):
    trust = TrustList(tmp_path)
    waiting(tmp_path, "Press", "Oven")
    monkeypatch.setattr("edge.drivers.opcua.certificates.Certificate.sha1", "abcd1234")
    with pytest.raises(TrustError, match=r"could be .*(Oven|Press).*(Oven|Press)"):
        trust.find("abcd")


def test_seen_again_stays_as_it_was_seen_first(tmp_path):
    trust = TrustList(tmp_path)
    made = issue("Press").described
    trust.quarantine(made, Note(connections=["a"], seen=5, why="new"))
    trust.quarantine(made, Note(connections=["b"], seen=9, why="new"))
    (entry,) = trust.entries("quarantine")
    assert entry.note.seen == 5
    assert sorted(entry.note.connections) == ["a", "b"]


def test_a_server_with_a_new_certificate_at_every_start_does_not_fill_the_disk(tmp_path):
    thumbprints = waiting(tmp_path, *(f"Press {i}" for i in range(MOST_WAITING + 3)))
    waiting(tmp_path, "Oven", connection="oven")
    kept = [entry.certificate.thumbprint for entry in TrustList(tmp_path).entries("quarantine")]
    assert set(thumbprints[-MOST_WAITING:]) < set(kept)
    assert len(kept) == MOST_WAITING + 1


def test_files_put_there_by_hand_count_and_rubbish_is_named(tmp_path):
    trusted = tmp_path / "pki" / "trusted"
    trusted.mkdir(parents=True)
    made = issue("By hand")
    (trusted / "whatever.crt").write_bytes(made.der)
    (trusted / "rubbish.der").write_text("hello")
    (trusted / "two.der").write_bytes(made.der + issue("Other", with_key=key(1)).der)
    (trusted / "README.txt").write_text("not looked at")
    (tmp_path / "pki" / "crl").mkdir()
    (tmp_path / "pki" / "crl" / "empty.crl").write_text("nothing")
    trust = TrustList(tmp_path)
    assert trust.state_of(made.thumbprint).note.connections == []
    said = trust.faults()
    assert len(said) == 3
    assert any("rubbish.der" in one for one in said)
    assert any("two.der: 2 certificates" in one for one in said)
    assert any("empty.crl" in one for one in said)
    trust.reject(made.thumbprint, by="kim", now=1)
    assert not (trusted / "whatever.crt").exists()


def test_a_broken_note_does_not_hide_its_certificate(tmp_path):
    (thumbprint,) = waiting(tmp_path, "Press")
    note = next((tmp_path / "pki" / "quarantine").glob("*.json"))
    note.write_text(json.dumps({"connections": 7}))
    trust = TrustList(tmp_path)
    trust.approve(thumbprint, by="kim", now=1)
    assert trust.state_of(thumbprint).state == "trusted"
