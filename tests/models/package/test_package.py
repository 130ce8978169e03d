"""A package is read whole or refused with a reason: layout, signature, hashes, manifest, golden rows."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.package import Golden, GoldenRow, PackageRefusedError, read, write
from models.package.archive import ENTRIES, pack, unpack
from models.package.signature import KeyFileError, load_key, make_key
from tests.models.package import specimens


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    signer, public = specimens.key(tmp_path_factory.mktemp("key"))
    return specimens.package(signer), public, signer


def refused(data: bytes, **how) -> PackageRefusedError:
    with pytest.raises(PackageRefusedError) as caught:
        read(data, **({"trusted": None} | how))
    assert caught.value.what
    return caught.value


def test_a_package_comes_back_as_it_was_written(signed):
    data, public, _ = signed
    package = read(data, trusted=[public.upper()])
    assert package.contract == specimens.contract()
    assert package.golden == specimens.golden()
    assert package.signer == public
    assert package.card("ko") == "# 마모\n"
    assert package.model == specimens.logistic()
    assert len(package.sha256) == len(package.digest) == len(package.model_sha256) == 64


def test_the_same_content_is_the_same_bytes_and_keeps_its_digest_under_another_signature(signed, tmp_path):
    data, _, signer = signed
    assert specimens.package(signer) == data
    other, public = specimens.key(tmp_path)
    again = write(read(data, trusted=None).entries, other)
    assert again != data
    assert read(again, trusted=[public]).digest == read(data, trusted=None).digest


def test_any_zip_program_can_open_it(signed, tmp_path):
    with zipfile.ZipFile(io.BytesIO(signed[0])) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(ENTRIES)


def test_a_stranger_and_nobody_are_refused(signed, tmp_path):
    data, _, _ = signed
    _, other = specimens.key(tmp_path)
    assert refused(data, trusted=[other]).code == "untrusted"
    assert refused(data, trusted=[]).code == "untrusted"
    assert refused(write(specimens.entries(), None), trusted=[other]).code == "unsigned"


def test_a_signature_of_another_package_is_refused(signed):
    data, public, signer = signed
    entries = unpack(data)
    other = unpack(specimens.package(signer, made=specimens.contract(version="1.0.1")))
    error = refused(pack(entries | {"signature": other["signature"]}), trusted=[public])
    assert "does not belong to this manifest" in error.what


def test_every_flipped_byte_is_noticed(signed):
    """No region of the file is free: a bit turned anywhere is refused, whatever it was part of."""
    data, public, _ = signed
    chance = random.Random(7)
    places = {*range(200), *range(len(data) - 700, len(data)), *chance.sample(range(len(data)), 400)}
    for at in sorted(places):
        damaged = bytearray(data)
        damaged[at] ^= 1 << chance.randrange(8)
        refused(bytes(damaged), trusted=[public])


def test_a_truncated_or_lengthened_file_is_refused(signed):
    data, public, _ = signed
    for length in [*range(120), *range(120, len(data), 97)]:
        refused(data[:length], trusted=[public])
    refused(data + b"\0", trusted=[public])
    refused(b"\0" + data, trusted=[public])


def test_a_changed_entry_is_refused_also_with_a_right_check_sum(signed):
    data, public, _ = signed
    entries = unpack(data)
    for name in entries:
        if name != "signature":
            changed = entries | {name: entries[name] + b" "}
            error = refused(pack(changed), trusted=[public])
            assert error.where in {name, "signature"}


def zipped(*items, comment=b"", **options) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for item, body in items:
            archive.writestr(item, body)
        archive.comment = comment
    return buffer.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = (stat.S_IFLNK | 0o777) << 16
    return made


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda e: zipped(*e.items(), compression=zipfile.ZIP_DEFLATED), id="compressed"),
        pytest.param(lambda e: zipped(*e.items(), comment=b"hello"), id="comment"),
        pytest.param(lambda e: zipped(*e.items(), ("../../etc/passwd", b"x")), id="path"),
        pytest.param(lambda e: zipped(*e.items(), ("/etc/passwd", b"x")), id="absolute path"),
        pytest.param(lambda e: zipped(*e.items(), ("extra", b"x")), id="extra entry"),
        pytest.param(lambda e: zipped(*list(e.items())[:-2]), id="missing entries"),
        pytest.param(lambda e: zipped(*reversed(e.items())), id="another order"),
        pytest.param(lambda e: zipped(*((link(name), body) for name, body in e.items())), id="links"),
        pytest.param(lambda e: zipped(*e.items()), id="another zip program"),
        pytest.param(
            lambda e: zipped(*((n, b"\0" * 50_000_000 if n == "model.onnx" else b) for n, b in e.items()),
                             compression=zipfile.ZIP_DEFLATED),
            id="zip bomb",
        ),
        pytest.param(lambda e: b"\0" * (37 * 1024 * 1024), id="too large"),
        pytest.param(lambda e: b"", id="empty"),
        pytest.param(lambda e: b"PK\x05\x06" + b"\0" * 18, id="empty zip"),
    ],
)  # fmt: skip
def test_a_zip_with_tricks_is_refused(signed, make):
    refused(make(unpack(signed[0])))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice_is_refused(signed):
    entries = unpack(signed[0])
    refused(zipped(*entries.items(), ("model.onnx", b"other")))


def test_an_encrypted_entry_is_refused(signed):
    data = bytearray(signed[0])
    data[6] |= 1
    assert "encrypted" in refused(bytes(data)).what


@settings(max_examples=300)
@given(st.binary(max_size=2_000))
def test_no_bytes_crash_the_reader(data):
    refused(data)
    refused(b"PK\x03\x04" + data)


@settings(max_examples=200)
@given(st.data())
def test_no_damage_to_a_package_crashes_the_reader(signed, data):
    good, public, _ = signed
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert", "copy"])):
            case "set":
                damaged[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del damaged[at : at + data.draw(st.integers(1, 400))]
            case "insert":
                damaged[at:at] = data.draw(st.binary(min_size=1, max_size=30))
            case _:
                damaged[at:at] = damaged[at : at + data.draw(st.integers(1, 400))]
        if not damaged:
            break
    if bytes(damaged) != good:
        refused(bytes(damaged), trusted=[public])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200)
@given(st.sampled_from(["manifest.json", "golden.json", "reference.json"]), JSON, st.data())
def test_no_json_crashes_the_reader_even_when_it_is_signed(signed, name, value, data):
    """A signer's mistake, too, is a reason: some part of a file becomes something else."""
    _, _, signer = signed
    entries = specimens.entries()
    tree = msgspec.json.decode(entries[name])
    spot, keys = tree, None
    for _ in range(data.draw(st.integers(0, 4))):
        choices = sorted(spot) if isinstance(spot, dict) else list(range(len(spot))) if isinstance(spot, list) else []
        if not choices:
            break
        keys = (spot, data.draw(st.sampled_from(choices)))
        spot = spot[keys[1]]
    if keys is None:
        tree = value
    else:
        keys[0][keys[1]] = value
    changed = msgspec.json.encode(tree, order="sorted")
    if name != "manifest.json":
        manifest = msgspec.json.decode(entries["manifest.json"])
        manifest["files"][name] = hashlib.sha256(changed).hexdigest()
        entries["manifest.json"] = msgspec.json.encode(manifest, order="sorted")
    with contextlib.suppress(PackageRefusedError):
        write(entries | {name: changed}, signer)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": "1.0"}, "three numbers"),
        ({"name": "Big Name"}, "no name of a model"),
        ({"title": {"en": "only"}}, "Korean"),
        ({"features": (specimens.FEATURES[0], specimens.FEATURES[0])}, "there twice"),
        ({"labels": specimens.contract().labels[:1]}, "at_least"),
        ({"labels": tuple(reversed(specimens.contract().labels))}, "at_least"),
        ({"window_s": (10.0, 5.0)}, "shortest"),
        ({"deadline_ms": 0.0}, "deadline_ms"),
    ],
)
def test_an_unsound_contract_is_refused_in_words(signed, change, told):
    # structs.replace checks nothing, as a stranger's tool would; reading does.
    entries = specimens.entries()
    manifest = msgspec.json.decode(entries["manifest.json"])
    manifest["contract"] |= msgspec.to_builtins(change)
    error = refused(pack(entries | {"manifest.json": msgspec.json.encode(manifest, order="sorted")}))
    assert told in error.what
    assert error.code == "contract"


def test_golden_rows_of_another_width_or_label_are_refused():
    for row in (GoldenRow((1.0,), (0.1, 0.9), "sound"), GoldenRow((1.0, 2.0), (0.1, 0.9), "fine")):
        with pytest.raises(PackageRefusedError) as caught:
            write(specimens.entries(rows=Golden(rows=(row,))), None)
        assert "golden.json row 0" in caught.value.where


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe.tfm"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "none.tfm", Path("/dev/zero")):
        assert refused(path).code == "missing"


def test_labels_are_decided_by_the_thresholds_of_the_contract():
    contract = specimens.contract()
    assert contract.choose([0.5, 0.5]).label == "worn"
    assert contract.choose([0.4999999, 0.5]).decision == "normal"
    assert contract.choose([1.7, -0.7]).confidence == 1.0


def test_a_key_file_is_its_owners_alone_and_never_overwritten(tmp_path):
    path = tmp_path / "a.key"
    make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileError, match="never overwritten"):
        make_key(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="others may read"):
        load_key(path)
    path.chmod(0o600)
    path.write_text("no key", encoding="ascii")
    with pytest.raises(KeyFileError, match="64 hex digits"):
        load_key(path)
    with pytest.raises(KeyFileError, match="key new"):
        load_key(tmp_path / "none.key")


TOGETHER = """
import sys, threading
from models.package import read
sys.setswitchinterval(1e-6)
content, together = open(sys.argv[1], "rb").read(), threading.Barrier(4)
def look():
    together.wait()
    package = read(content)
    assert package.golden.rows and package.reference.features
threads = [threading.Thread(target=look) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_lines_that_look_at_a_package_at_the_same_time_do_not_end_the_process(tmp_path):
    """msgspec learns types as it meets them, and crashes when two threads teach it one: a third of the runs did."""
    package = tmp_path / "one.tfm"
    package.write_bytes(next(Path("models/library").glob("*/*.tfm")).read_bytes())
    for _ in range(6):
        ended = subprocess.run([sys.executable, "-c", TOGETHER, package], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
