"""Which server certificates pass, which wait for a person, and which nobody can wave through."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from edge.drivers.opcua.certificates import read
from edge.drivers.opcua.trust import Note, TrustList
from edge.drivers.opcua.validation import Shown, UnknownError, UntrustedError, judge
from tests.edge.drivers.opcua.issuing import NOW, Issued, curve, issue, key, revoke


def shown(*chain: Issued, **more) -> Shown:
    about = {"application_uri": "urn:test:press", "connection": "press", "host": "127.0.0.1"} | more
    return Shown(chain=[one.described for one in chain], **about)


@pytest.fixture
def trust(tmp_path) -> TrustList:
    return TrustList(tmp_path)


def approve(trust: TrustList, one: Issued, connection: str = "press") -> None:
    trust.quarantine(one.described, Note(connections=[connection], seen=1))
    trust.approve(one.thumbprint, by="kim", now=2)


def test_nobody_is_trusted_to_begin_with(trust):
    with pytest.raises(UnknownError, match="not known yet"):
        judge(shown(issue()), trust, NOW)


def test_the_very_certificate_a_person_approved_passes(trust):
    press = issue()
    approve(trust, press)
    judge(shown(press), trust, NOW)


def test_another_certificate_of_the_same_server_is_a_change_and_names_the_old_one(trust):
    old, new = issue(), issue(with_key=key(1))
    approve(trust, old)
    with pytest.raises(UnknownError, match="has changed") as change:
        judge(shown(new), trust, NOW)
    assert change.value.replaces == old.thumbprint
    with pytest.raises(UnknownError, match="has changed"):  # known by its ApplicationUri, on another connection
        judge(shown(new, connection="press-2"), trust, NOW)


def test_a_rejected_certificate_is_refused_even_if_a_ca_vouches_for_it(trust):
    ca = issue("CA", ca=True, with_key=key(1))
    press = issue(by=ca)
    trust.add(ca.described, by="kim", now=1)
    judge(shown(press), trust, NOW)
    trust.quarantine(press.described, Note(connections=["press"], seen=1))
    trust.reject(press.thumbprint, by="lee", now=2)
    with pytest.raises(UntrustedError, match="rejected by lee") as refusal:
        judge(shown(press), trust, NOW)
    assert not isinstance(refusal.value, UnknownError)


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ({"ends": NOW - timedelta(hours=1)}, "expired on"),
        ({"begins": NOW + timedelta(hours=1)}, "not valid before"),
        ({"uri": "urn:test:other"}, "'urn:test:other'"),
        ({"uri": None}, "stands for nothing"),
        ({"with_key": key(7, 1024)}, "1024 bits"),
        ({"with_key": curve()}, "no RSA key"),
    ],
    ids=["expired", "not yet valid", "other ApplicationUri", "no ApplicationUri", "short key", "no RSA key"],
)
def test_what_approval_cannot_mend(trust, what, match):
    press = issue(**what)
    approve(trust, press)
    with pytest.raises(UntrustedError, match=match) as refusal:
        judge(shown(press), trust, NOW)
    assert not isinstance(refusal.value, UnknownError)


def test_a_signature_by_sha_1_is_refused(trust, tmp_path):
    pem = tmp_path / "old.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1", "-keyout", str(tmp_path / "old.key"), "-out",
         str(pem), "-subj", "/CN=Old", "-addext", "subjectAltName=URI:urn:test:press,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(UntrustedError, match="signed with SHA1"):
        judge(dataclasses.replace(shown(issue()), chain=read(pem.read_bytes())), trust, NOW)


def test_a_forged_self_signature_is_refused(trust):
    honest = issue()
    der = bytearray(honest.der)
    der[-1] ^= 1
    forged = dataclasses.replace(honest.described, der=bytes(der))
    forged = dataclasses.replace(forged, x509=x509.load_der_x509_certificate(bytes(der)))
    with pytest.raises(UntrustedError, match="signature does not fit"):
        judge(dataclasses.replace(shown(honest), chain=[forged]), trust, NOW)


def test_clocks_may_differ_by_some_minutes(trust):
    press = issue(begins=NOW + timedelta(minutes=3))
    approve(trust, press)
    judge(shown(press), trust, NOW)


def test_a_box_without_a_clock_keeps_talking_to_whom_it_trusts(trust):
    press, stranger = issue(), issue(with_key=key(1), uri="urn:test:stranger")
    approve(trust, press)
    boot = datetime(1970, 1, 1, tzinfo=UTC)
    judge(shown(press), trust, boot)
    with pytest.raises(UnknownError):
        judge(shown(stranger, application_uri="urn:test:stranger", connection="other"), trust, boot)


@pytest.mark.parametrize("host", ["127.0.0.1", "press.plant.local", "PRESS.plant.local", "press.plant.local."])
def test_names_and_addresses_of_the_certificate_fit_the_url(trust, host):
    ca = issue("CA", ca=True, with_key=key(1))
    trust.add(ca.described, by="kim", now=1)
    judge(shown(issue(by=ca, hosts=("127.0.0.1", "press.plant.local")), host=host), trust, NOW)
    with pytest.raises(UnknownError):
        judge(shown(issue(by=ca, hosts=("127.0.0.2", "press.plant.locale")), host=host), trust, NOW)


def test_an_approved_certificate_may_name_other_hosts_but_only_where_it_was_approved(trust):
    press = issue(hosts=("PLC-1",))
    approve(trust, press)
    judge(shown(press, host="10.0.1.5"), trust, NOW)
    with pytest.raises(UnknownError, match="'PLC-1'") as refusal:  # a stolen key must not stand for every machine
        judge(shown(press, host="10.0.1.6", connection="oven"), trust, NOW)
    assert "'press'" in str(refusal.value)


def test_a_ca_vouches_for_a_certificate_but_not_for_other_hosts(trust):
    ca = issue("CA", ca=True, with_key=key(1))
    trust.add(ca.described, by="kim", now=1)
    judge(shown(issue(by=ca)), trust, NOW)
    with pytest.raises(UnknownError, match=r"not for '10\.0\.1\.6'"):
        judge(shown(issue(by=ca), host="10.0.1.6"), trust, NOW)


def test_intermediates_are_taken_from_what_the_server_sends(trust):
    root = issue("Root", ca=True, with_key=key(1))
    middle = issue("Middle", ca=True, by=root, with_key=key(2))
    press = issue(by=middle)
    trust.add(root.described, by="kim", now=1)
    judge(shown(press, middle), trust, NOW)
    with pytest.raises(UnknownError):
        judge(shown(press), trust, NOW)
    trust.quarantine(middle.described, Note(seen=1))
    trust.reject(middle.thumbprint, by="lee", now=2)
    with pytest.raises(UnknownError):
        judge(shown(press, middle), trust, NOW)


def test_what_a_server_sends_along_vouches_for_nothing_by_itself(trust):
    root = issue("Root", ca=True, with_key=key(1))
    press = issue(by=root)
    with pytest.raises(UnknownError):
        judge(shown(press, root), trust, NOW)


def test_a_ca_of_the_same_name_with_another_key_vouches_for_nothing(trust):
    real, false = issue("Root", ca=True, with_key=key(1)), issue("Root", ca=True, with_key=key(2))
    trust.add(real.described, by="kim", now=1)
    with pytest.raises(UnknownError):
        judge(shown(issue(by=false), false), trust, NOW)


def test_a_trusted_server_vouches_for_nobody(trust):
    press = issue(ca=True)  # some servers make their own certificate a CA
    approve(trust, press)
    child = issue("Child", by=press, with_key=key(1), uri="urn:test:child")
    with pytest.raises(UnknownError):
        judge(shown(child, press, application_uri="urn:test:child", connection="child"), trust, NOW)
    leaf = issue("Leaf", with_key=key(2))
    trust.add(leaf.described, by="kim", now=1)
    grandchild = issue("Child", by=leaf, with_key=key(1), uri="urn:test:child")
    with pytest.raises(UnknownError):
        judge(shown(grandchild, application_uri="urn:test:child", connection="child"), trust, NOW)


def test_a_ca_may_limit_what_is_below_it(trust):
    root = issue("Root", ca=True, depth=0, with_key=key(1))
    middle = issue("Middle", ca=True, by=root, with_key=key(2))
    trust.add(root.described, by="kim", now=1)
    judge(shown(issue(by=root)), trust, NOW)
    with pytest.raises(UnknownError):
        judge(shown(issue(by=middle), middle), trust, NOW)


def test_an_expired_ca_is_named(trust):
    ca = issue("Old CA", ca=True, with_key=key(1), ends=NOW - timedelta(hours=1))
    trust.add(ca.described, by="kim", now=1)
    with pytest.raises(UntrustedError, match="Old CA"):
        judge(shown(issue(by=ca)), trust, NOW)


def test_a_certificate_for_clients_is_no_server(trust):
    ca = issue("CA", ca=True, with_key=key(1))
    trust.add(ca.described, by="kim", now=1)
    with pytest.raises(UntrustedError, match="not certified for a server"):
        judge(shown(issue(by=ca, server=False)), trust, NOW)


def test_what_the_ca_revoked_is_refused_and_what_another_ca_of_its_name_revoked_is_not(trust, tmp_path):
    ca, other = issue("CA", ca=True, with_key=key(1)), issue("CA", ca=True, with_key=key(2))
    trust.add(ca.described, by="kim", now=1)
    press, oven = issue(by=ca), issue("Oven", by=ca)
    folder = tmp_path / "pki" / "crl"
    folder.mkdir()
    (folder / "ca.crl").write_bytes(revoke(ca, oven))
    (folder / "other.crl").write_bytes(revoke(other, press))
    judge(shown(press), trust, NOW)
    with pytest.raises(UntrustedError, match="revoked by CN=CA"):
        judge(shown(oven), trust, NOW)
    (folder / "ca.crl").write_text("damaged")
    with pytest.raises(UntrustedError, match=r"ca\.crl is no revocation list"):
        judge(shown(press), trust, NOW)
