"""The shipped command makes certificates that openssl itself finds right, and overwrites nothing."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.broker import SHIPPED, authority, certificates


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in (sys.executable, SHIPPED / "certificates.py", *arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def openssl(folder: Path, *arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("ca") / "plant", "demo/seoul/gw-1")


def test_each_has_its_purpose_and_its_name(plant: Path):
    for file, purpose, name in (
        ("broker", "sslserver", "localhost"),
        ("cloud", "sslclient", "cloud"),
        ("demo_seoul_gw-1", "sslclient", "demo/seoul/gw-1"),
    ):
        verified = openssl(plant, "verify", "-x509_strict", "-CAfile", "ca.crt", "-purpose", purpose, f"{file}.crt")
        assert verified.strip() == f"{file}.crt: OK"
        said = openssl(plant, "x509", "-in", f"{file}.crt", "-noout", "-text")
        assert f"Subject: CN = {name}" in said
        assert "prime256v1" in said
        assert "CA:FALSE" in said
    names = openssl(plant, "x509", "-in", "broker.crt", "-noout", "-ext", "subjectAltName")
    assert "DNS:localhost, IP Address:127.0.0.1" in names


def test_nobody_else_reads_the_keys(plant: Path):
    for key in (*plant.glob("*.key"), plant):
        assert stat.S_IMODE(key.stat().st_mode) & 0o077 == 0, key


def test_a_second_authority_is_refused(plant: Path):
    before = (plant / "ca.crt").read_bytes()
    again = command("init", plant)
    assert again.returncode == 1
    assert "a second CA would shut everybody out" in again.stderr
    assert (plant / "ca.crt").read_bytes() == before


def test_a_gateways_key_may_stay_on_the_gateway(plant: Path, tmp_path: Path):
    """What the request asks for beside its key (a name, the right to sign) is not given."""
    openssl(tmp_path, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "own.key",
            "-out", "own.csr", "-subj", "/CN=cloud", "-addext", "basicConstraints=CA:TRUE")  # fmt: skip
    certificates(plant, "gateway", "demo/seoul/gw-9", "--csr", str(tmp_path / "own.csr"))
    said = openssl(plant, "x509", "-in", "demo_seoul_gw-9.crt", "-noout", "-text")
    assert "Subject: CN = demo/seoul/gw-9" in said
    assert "CA:FALSE" in said
    assert "CA:TRUE" not in said
    assert not (plant / "demo_seoul_gw-9.key").exists()
    public = openssl(tmp_path, "pkey", "-in", "own.key", "-pubout")
    assert openssl(plant, "x509", "-in", "demo_seoul_gw-9.crt", "-noout", "-pubkey") == public


def test_a_renewed_one_replaces_the_file_and_the_old_one_stays_valid(plant: Path):
    certificates(plant, "gateway", "demo/seoul/gw-7")
    old = (plant / "demo_seoul_gw-7.crt").read_bytes()
    certificates(plant, "gateway", "demo/seoul/gw-7")
    assert (plant / "demo_seoul_gw-7.crt").read_bytes() != old
    (plant / "old.crt").write_bytes(old)
    checked = openssl(plant, "verify", "-crl_check", "-CRLfile", "revoked.pem", "-CAfile", "ca.crt", "old.crt")
    assert checked.strip() == "old.crt: OK"
    certificates(plant, "revoke", "old.crt")
    with pytest.raises(subprocess.CalledProcessError):
        openssl(plant, "verify", "-crl_check", "-CRLfile", "revoked.pem", "-CAfile", "ca.crt", "old.crt")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("gateway", "PLANT", "demo/seoul"), "tenant/site/gateway"),
        (("gateway", "PLANT", "demo/seoul/+"), "tenant/site/gateway"),
        (("gateway", "PLANT", "demo/seoul/gw/1"), "tenant/site/gateway"),
        (("gateway", "PLANT", f"demo/seoul/{'g' * 60}"), "at most 64 characters"),
        (("gateway", "/nowhere", "demo/seoul/gw-1"), "begin with `init`"),
        (("server", "PLANT", "../broker", "--host", "x"), "letters, digits"),
        (("server", "PLANT", "broker2"), "--host"),
        (("revoke", "PLANT", "missing.crt"), "missing.crt"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said(plant: Path, arguments: tuple[str, ...], why: str):
    done = command(*(str(plant) if word == "PLANT" else word for word in arguments))
    assert done.returncode != 0
    assert why in done.stderr
    assert "Traceback" not in done.stderr
