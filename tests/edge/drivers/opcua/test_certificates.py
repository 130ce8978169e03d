"""Our own application certificate: what OPC UA asks of it, kept over restarts, renewed in time, whole after a power cut."""

from __future__ import annotations

import concurrent.futures
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge.drivers.opcua.certificates import EARLIEST, LIFE, CertificateFaultError, own, own_uri, read
from tests.edge.drivers.opcua.issuing import NOW, issue

URI = "urn:box-7:triflow:gw-1"


def test_it_is_what_part_6_asks_of_an_application_certificate(tmp_path):
    ours = own(tmp_path, URI, NOW, hosts=["box-7", "10.0.0.7"])
    made = ours.certificate
    assert made.application_uris == [URI]
    assert made.hosts == ["box-7", "10.0.0.7"]
    assert ours.key.key_size >= 2048
    assert made.ends - made.begins <= timedelta(days=5 * 365)
    assert not made.authority
    usage = made.x509.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.content_commitment
    assert usage.key_encipherment
    assert usage.data_encipherment
    assert usage.key_cert_sign  # self-signed
    purposes = set(made.x509.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    made.x509.verify_directly_issued_by(made.x509)


def test_openssl_agrees_about_both_files(tmp_path):
    ours = own(tmp_path, URI, NOW)
    said = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-in", str(ours.file), "-noout", "-text", "-fingerprint", "-sha256"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"URI:{URI}" in said
    assert ours.certificate.thumbprint in said.replace(":", "").lower()
    pem = ours.file.with_suffix(".pem")
    subprocess.run(["openssl", "rsa", "-in", str(pem), "-check", "-noout"], capture_output=True, check=True)


def test_the_key_is_readable_by_nobody_else(tmp_path):
    ours = own(tmp_path, URI, NOW)
    assert ours.file.with_suffix(".pem").stat().st_mode & 0o777 == 0o600
    assert ours.file.parent.stat().st_mode & 0o777 == 0o700


def test_it_stays_the_same_until_two_thirds_of_its_life_are_over(tmp_path):
    first = own(tmp_path, URI, NOW)
    again = own(tmp_path, URI, NOW + LIFE * 0.6)
    assert again.certificate.thumbprint == first.certificate.thumbprint
    assert again.previous is None
    renewed = own(tmp_path, URI, NOW + LIFE * 0.7)
    assert renewed.certificate.thumbprint != first.certificate.thumbprint
    assert renewed.certificate.application_uris == [URI]
    assert read(renewed.file.read_bytes())[0].thumbprint == renewed.certificate.thumbprint
    assert renewed.previous is not None
    assert renewed.previous.certificate.thumbprint == first.certificate.thumbprint
    after = own(tmp_path, URI, NOW + LIFE * 1.01)  # the old one has expired and is of no use any more
    assert after.previous is None


def test_each_application_uri_has_its_own_and_equal_ones_share(tmp_path):
    one = own(tmp_path, "urn:a:b", NOW)
    other = own(tmp_path, "urn:a-b", NOW)  # alike as a file name
    assert one.certificate.thumbprint != other.certificate.thumbprint
    assert own(tmp_path, "urn:a:b", NOW).certificate.thumbprint == one.certificate.thumbprint


def test_connections_that_start_together_make_one_certificate(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: own(tmp_path, URI, NOW).certificate.thumbprint, range(4)))
    assert len(set(made)) == 1


def test_another_host_name_makes_no_other_certificate(tmp_path, monkeypatch):
    first = own_uri(tmp_path, None, "gw-1")
    own(tmp_path, first, NOW)
    monkeypatch.setattr("socket.gethostname", lambda: "another-container")
    assert own_uri(tmp_path, None, "gw-1") == first
    assert own_uri(tmp_path, None, "gw-2") == "urn:another-container:triflow:gw-2"
    assert own_uri(tmp_path, "urn:said:aloud", "gw-1") == "urn:said:aloud"


def test_a_box_without_a_clock_makes_a_certificate_that_is_valid_when_the_clock_is_right(tmp_path):
    at_boot = datetime(1970, 1, 1, 0, 3, tzinfo=UTC)
    made = own(tmp_path, URI, at_boot)
    assert made.certificate.begins <= EARLIEST
    right = datetime(2026, 6, 1, tzinfo=UTC)
    assert made.certificate.begins < right < made.certificate.ends
    assert own(tmp_path, URI, right).certificate.thumbprint == made.certificate.thumbprint


def test_a_clock_that_falls_back_renews_nothing(tmp_path):
    made = own(tmp_path, URI, NOW)
    assert own(tmp_path, URI, datetime(1970, 1, 1, tzinfo=UTC)).certificate.thumbprint == made.certificate.thumbprint
    assert made.certificate.level(datetime(1970, 1, 1, tzinfo=UTC)) == "ok"


def test_a_damaged_file_is_named_and_not_replaced(tmp_path):
    ours = own(tmp_path, URI, NOW)
    pem = ours.file.with_suffix(".pem")
    pem.write_bytes(pem.read_bytes()[:400])
    with pytest.raises(CertificateFaultError, match="damaged"):
        own(tmp_path, URI, NOW)
    assert len(pem.read_bytes()) == 400


def test_a_key_of_another_certificate_is_found_out(tmp_path):
    ours, other = own(tmp_path, URI, NOW), own(tmp_path / "else", URI, NOW)
    pem = ours.file.with_suffix(".pem")
    marker = b"-----BEGIN PRIVATE KEY-----"
    theirs = other.file.with_suffix(".pem").read_bytes()
    pem.write_bytes(pem.read_bytes().partition(marker)[0] + marker + theirs.partition(marker)[2])
    with pytest.raises(CertificateFaultError, match="not the certificate's"):
        own(tmp_path, URI, NOW)


def test_a_lost_export_is_written_again(tmp_path):
    ours = own(tmp_path, URI, NOW)
    ours.file.unlink()
    assert read(own(tmp_path, URI, NOW).file.read_bytes())[0].thumbprint == ours.certificate.thumbprint


def test_an_application_uri_a_certificate_cannot_hold_is_refused(tmp_path):
    with pytest.raises(CertificateFaultError, match="ASCII"):
        own(tmp_path, "urn:공장:triflow", NOW)


@pytest.mark.parametrize(
    ("days", "level"),
    [(61, "ok"), (59, "notice"), (29, "warning"), (6, "critical"), (-1, "expired")],
)
def test_the_end_of_a_certificate_is_announced(days, level):
    assert issue(ends=NOW + timedelta(days=days)).described.level(NOW) == level


def test_a_chain_is_read_leaf_first_and_pem_too(tmp_path: Path):
    ca = issue("CA", ca=True)
    leaf = issue("Press", by=ca)
    assert [one.subject for one in read(leaf.der + ca.der)] == ["CN=Press", "CN=CA"]
    der = tmp_path / "leaf.der"
    der.write_bytes(leaf.der)
    pem = subprocess.run(
        [shutil.which("openssl"), "x509", "-inform", "DER", "-in", str(der)], capture_output=True, check=True
    )
    assert read(pem.stdout)[0].thumbprint == leaf.thumbprint
    for nonsense in (b"\x00" * 40, b"\x30\x82", b"\x30", leaf.der[:300], leaf.der + b"\x00"):
        with pytest.raises(CertificateFaultError):
            read(nonsense)
