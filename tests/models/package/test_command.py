"""`triflow model …`: exit status, one reason on stderr, JSON for programs."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from models.command import main
from models.package import read
from tests.models.package import specimens


@pytest.fixture
def plant(tmp_path):
    signer, public = specimens.key(tmp_path)
    path = tmp_path / "wear.tfm"
    path.write_bytes(specimens.package(signer))
    return tmp_path, path, public


def test_a_sound_package_verifies(plant, capsys):
    _, path, public = plant
    assert main(["verify", str(path), "--trust", public]) == 0
    assert capsys.readouterr().out.startswith("ok: wear 1.0.0, signed by ")
    assert main(["verify", str(path), "--trust", public, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["signed_by"] == public
    assert told["sha256"] == read(path, trusted=None).sha256


def test_any_damage_is_non_zero_with_one_reason(plant, capsys):
    folder, path, public = plant
    data = path.read_bytes()
    bad = folder / "bad.tfm"
    for at in (0, 40, 700, len(data) // 2, len(data) - 300, len(data) - 3):
        bad.write_bytes(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :])
        assert main(["verify", str(bad), "--trust", public]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("refused (")
        assert main(["verify", str(bad), "--trust", public, "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["ok"] is False


def test_without_trust_nothing_verifies(plant, capsys):
    _, path, _ = plant
    assert main(["verify", str(path)]) == 1
    assert "not trusted here" in capsys.readouterr().err


def test_trust_may_be_a_file_of_keys(plant, capsys):
    folder, path, public = plant
    keys = folder / "trusted.pub"
    keys.write_text(f"# ours\n{'0' * 64}\n{public}  # line 2\n", encoding="utf-8")
    assert main(["verify", str(path), "--trust", str(keys)]) == 0


def test_the_command_stands_on_its_own(plant):
    """As a process, as an operator's script would run it: the status is what counts."""
    _, path, public = plant
    command = [sys.executable, "-m", "models.command", "verify", str(path), "--trust"]
    assert subprocess.run([*command, public], capture_output=True, check=False).returncode == 0
    wrong = subprocess.run([*command, "00" * 32], capture_output=True, check=False, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("refused (untrusted)")


def test_show_says_what_is_inside(plant, capsys):
    _, path, public = plant
    assert main(["show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "vibration.mean  [0, 20] C16, refuse" in shown
    assert public in shown
    assert main(["show", str(path), "--card", "ko"]) == 0
    assert capsys.readouterr().out == "# 마모\n"
    assert main(["show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["contract"]["name"] == "wear"


def test_pack_sign_verify_by_hand(tmp_path, capsys):
    """What an integrator does with a model of their own: readable JSON in a folder, a key, a package."""
    folder = tmp_path / "wear"
    folder.mkdir()
    for name, value in (
        ("contract", specimens.contract()),
        ("golden", specimens.golden()),
        ("reference", specimens.reference(specimens.contract())),
    ):
        (folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))
    (folder / "model.onnx").write_bytes(specimens.logistic())
    for language in ("en", "ko"):
        (folder / f"card.{language}.md").write_text("# card\n", encoding="utf-8")
    out, key = tmp_path / "wear.tfm", tmp_path / "plant.key"
    assert main(["pack", str(folder), str(out)]) == 0
    assert main(["verify", str(out), "--trust", "00" * 32]) == 1
    assert "nobody has signed" in capsys.readouterr().err
    assert main(["key", "new", str(key)]) == 0
    public = capsys.readouterr().out.strip()
    assert main(["key", "show", str(key)]) == 0
    assert capsys.readouterr().out.strip() == public
    assert main(["sign", str(out), "--key", str(key)]) == 0
    assert main(["verify", str(out), "--trust", public]) == 0
    assert not list(tmp_path.glob(".*.new"))
    (folder / "contract.json").write_text('{"name": 1}', encoding="utf-8")
    capsys.readouterr()
    assert main(["pack", str(folder), str(out)]) == 1
    assert "contract.json" in capsys.readouterr().err
    (folder / "model.onnx").unlink()
    (folder / "contract.json").write_bytes(msgspec.json.encode(specimens.contract()))
    assert main(["pack", str(folder), str(out)]) == 66
    assert main(["key", "new", str(key)]) == 66
    assert main(["verify", str(tmp_path / "none.tfm"), "--trust", public]) == 1
