"""`triflow edge trust` as people type it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge.__main__ import main
from edge.drivers.opcua.trust import Note, TrustList
from sync.facts import Audited
from tests.edge.drivers.opcua.issuing import issue

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
[[connection]]
name = "press"
driver = "opcua"
url = "opc.tcp://127.0.0.1:4840"
security = "Basic256Sha256"
[[connection]]
name = "oven"
driver = "opcua"
url = "opc.tcp://127.0.0.1:4841"
security = "Aes256_Sha256_RsaPss"
password = { credential = "not-there" }
user = "operator"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    (tmp_path / "data").mkdir()
    return path


def waiting(site: Path, name: str = "Press") -> str:
    made = issue(name).described
    note = Note(
        connections=["press"], url="opc.tcp://press:4840", seen=1, why="the server's certificate is not known yet"
    )
    TrustList(site.parent / "data").quarantine(made, note)
    return made.thumbprint


def test_what_waits_is_listed_first_and_approved_by_the_beginning_of_its_thumbprint(site, capsys):
    thumbprint = waiting(site)
    assert main(["trust", "list", str(site)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("quarantine (1)\n")
    assert f"{thumbprint[:16]}  CN=Press" in said
    assert "press at opc.tcp://press:4840" in said
    assert main(["trust", "approve", str(site), thumbprint[:16].upper()]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"trusted: CN=Press ({thumbprint[:16]}…)")
    assert "comes up by itself" in said
    (note,) = (site.parent / "data" / "audit").glob("*.json")
    fact = msgspec.json.decode(note.read_bytes(), type=Audited)
    assert fact.action == "certificate.approved"
    assert fact.actor.endswith("(command)")
    assert fact.target == thumbprint


def test_reject_show_and_remove(site, capsys):
    thumbprint = waiting(site)
    assert main(["trust", "reject", str(site), thumbprint[:8]]) == 0
    capsys.readouterr()
    assert main(["trust", "show", str(site), thumbprint[:8]]) == 0
    said = capsys.readouterr().out
    assert "state           rejected" in said
    assert "ApplicationUri  urn:test:press" in said
    assert " ".join(thumbprint[i : i + 4] for i in range(0, 64, 4)) in said
    assert main(["trust", "remove", str(site), thumbprint[:8]]) == 0
    assert "forgotten" in capsys.readouterr().out
    assert main(["trust", "show", str(site), thumbprint[:8]]) == 65
    assert "no certificate" in capsys.readouterr().err


def test_a_ca_is_added_from_its_file_and_rubbish_is_named(site, tmp_path, capsys):
    ca = issue("Plant CA", ca=True)
    (tmp_path / "ca.der").write_bytes(ca.der)
    assert main(["trust", "add", str(site), str(tmp_path / "ca.der")]) == 0
    assert "CA, vouches for what it signed" in capsys.readouterr().out
    (tmp_path / "data" / "pki" / "trusted" / "notes.der").write_text("rubbish")
    assert main(["trust", "list", str(site)]) == 0
    assert "! " in capsys.readouterr().out
    (tmp_path / "rubbish.der").write_text("rubbish")
    assert main(["trust", "add", str(site), str(tmp_path / "rubbish.der")]) == 65
    assert "not a certificate" in capsys.readouterr().err
    assert main(["trust", "add", str(site), str(tmp_path / "none.der")]) == 78


def test_own_is_made_before_the_first_connect_shared_and_exported(site, tmp_path, capsys):
    target = tmp_path / "for-the-plc.der"
    assert main(["trust", "own", str(site), "--export", str(target)]) == 0
    said = capsys.readouterr().out
    assert said.count("ApplicationUri") == 1  # both connections use one
    assert ":triflow:gw-1" in said
    (own,) = (tmp_path / "data" / "pki" / "own").glob("*.der")
    assert target.read_bytes() == own.read_bytes()
    assert main(["trust", "own", str(site)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == said.splitlines()[1]  # the same thumbprint


def test_several_application_uris_are_exported_to_a_folder(site, tmp_path, capsys):
    site.write_text(SITE + 'application_uri = "urn:oven:only"\n')
    assert main(["trust", "own", str(site), "--export", str(tmp_path / "out")]) == 0
    assert "urn:oven:only" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.der"))) == 2


def test_wrong_words_and_wrong_places_are_said(site, tmp_path, capsys):
    assert main(["trust", "list", str(tmp_path / "none.toml")]) == 78
    assert main(["trust", "approve", str(site), "abcd"]) == 65
    (tmp_path / "data").rmdir()
    assert main(["trust", "list", str(site)]) == 78
    assert "no gateway has run here yet" in capsys.readouterr().err
    site.write_text(SITE.replace("Basic256Sha256", "none").replace("Aes256_Sha256_RsaPss", "none"))
    assert main(["trust", "own", str(site)]) == 65
    with pytest.raises(SystemExit):
        main(["trust", "hug", str(site)])
