"""The record of a line's model against the site file, at every kind of start; and the keys in the site file."""

from __future__ import annotations

import pytest

from edge.scoring.record import PREVIOUS, Named, Record, Version, activated, at_start, retired, rolled_back
from edge.site import load
from sync.settings import ConfigError
from tests.edge.scoring import moody
from tests.edge.scoring.gateway import lay_out

ONE = Named("a.tfm", "11")


@pytest.mark.parametrize(
    ("was", "named", "todo"),
    [
        (Named(), Named(), "keep"),  # never a model
        (Named(), ONE, "take"),
        (ONE, ONE, "keep"),
        (ONE, Named("a.tfm", "22"), "take"),  # another file under the same name
        (ONE, Named("b.tfm", "11"), "take"),
        (ONE, Named("a.tfm"), "keep"),  # the file is gone; the package is kept here
        (Named("a.tfm"), ONE, "take"),  # the file has come
        (ONE, Named(), "leave"),
        (Named(), Named("a.tfm"), "take"),  # and is refused, with its path
    ],
)
def test_what_a_start_does(was, named, todo):
    assert at_start(Record(named=was), named) == todo


def test_two_versions_can_be_gone_back_to_and_each_only_once():
    record = Record()
    versions = [Version("m", f"{i}.0.0", f"{i:02}") for i in range(1, 5)]
    for version in versions:
        record = activated(record, version, ONE)
    assert [one.version for one in record.previous] == ["3.0.0", "2.0.0"]
    assert len(record.previous) == PREVIOUS
    back = rolled_back(record, ONE)
    assert back.active == versions[2]
    assert back.previous == (versions[1],)
    assert activated(record, versions[3], ONE).previous == record.previous  # the same again is no change
    gone = retired(record, ONE)
    assert gone.active is None
    assert gone.previous == (versions[3], versions[2])
    assert rolled_back(gone, ONE).active == versions[3]


def test_keys_are_hex_or_files_and_faults_name_their_place(tmp_path):
    site = lay_out(tmp_path)
    assert load(site).trusted == [moody.TRUSTED]
    (tmp_path / "plant.pub").write_text(moody.TRUSTED + "\n")
    lay_out(tmp_path, key="plant.pub")
    assert load(site).trusted == [moody.TRUSTED]
    lay_out(tmp_path, key="gone.pub")
    with pytest.raises(ConfigError, match=r"models\.trusted.*neither 64 hex digits nor a file"):
        load(site)
    (tmp_path / "plant.pub").write_text("no key")
    lay_out(tmp_path, key="plant.pub")
    with pytest.raises(ConfigError, match="no public key in it"):
        load(site)


def test_a_model_without_a_trusted_key_or_without_rules_is_a_fault(tmp_path):
    site = lay_out(tmp_path)
    text = site.read_text()
    site.write_text(text.replace(f'trusted = ["{moody.TRUSTED}"]', ""))
    with pytest.raises(ConfigError, match="no key is trusted"):
        load(site)
    site.write_text(text.replace('rules = "press.rules.toml"\n', ""))
    with pytest.raises(ConfigError, match="a model is asked by rules"):
        load(site)
