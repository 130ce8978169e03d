"""The file around a package: a zip of a fixed list of stored entries, in one possible layout only.

Entries are read by walking the local headers; then the zip is built again from what was read, and must be the same
bytes. So there is no second directory, no compression, no link, no path, no comment and no gap to play tricks with,
and nothing is ever extracted to a name that the file chose. `unzip` and every archive viewer can open it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final

ENTRIES: Final = {
    "manifest.json": 256 * 1024,
    "model.onnx": 32 * 1024 * 1024,
    "golden.json": 1024 * 1024,
    "reference.json": 1024 * 1024,
    "card.en.md": 128 * 1024,
    "card.ko.md": 128 * 1024,
    "signature": 4 * 1024,
}
"""Name → most bytes; in this order, each once, and nothing else."""
OPTIONAL: Final = frozenset({"signature"})
"""A package that nobody has signed yet lacks it."""
MOST_BYTES: Final = 36 * 1024 * 1024

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_DATE: Final = (1980 - 1980) << 9 | 1 << 5 | 1
"""1 January 1980: a package says nothing about when it was built, so that a build can be repeated."""
_VERSION: Final = 20


class PackageRefusedError(Exception):
    """A package that must not be run: what is wrong, where in it, and what to check. Show it, record it, go on."""

    def __init__(self, what: str, *, where: str = "", check: str = "", code: str = "damaged") -> None:
        """code: one word for facts and counters: damaged, unsigned, untrusted, contract, golden, slow, model, limits."""
        self.what, self.where, self.check, self.code = what, where, check, code
        super().__init__("".join((f"{where}: " if where else "", what, f"; {check}" if check else "")))


def pack(entries: Mapping[str, bytes]) -> bytes:
    """Give the one zip that holds these entries. Raises PackageRefusedError for a missing, foreign or too large one."""
    _complete(entries)
    return _zip(entries)


def unpack(data: bytes) -> dict[str, bytes]:
    """Give the entries of a package, each within its limit. Raises PackageRefusedError for anything else than one."""
    if len(data) > MOST_BYTES:
        raise PackageRefusedError(
            f"{len(data)} bytes; a package has at most {MOST_BYTES}", check="is this a model package?", code="limits"
        )
    if not data.startswith(b"PK\x03\x04"):
        raise PackageRefusedError("this is no zip file", where="byte 0", check="copy the package again")
    entries: dict[str, bytes] = {}
    at = 0
    while data[at : at + 4] == b"PK\x03\x04":
        name, body, at = _entry(data, at)
        if name in entries:
            raise PackageRefusedError("the entry is there twice", where=name, check="pack it anew")
        entries[name] = body
    _complete(entries)
    again = _zip(entries)
    if again != data:
        where = next(
            (i for i, (a, b) in enumerate(zip(again, data, strict=False)) if a != b), min(len(again), len(data))
        )
        raise PackageRefusedError(
            "the file is not laid out as `triflow model pack` does it", where=f"byte {where}", check="copy it again"
        )
    return entries


def _entry(data: bytes, at: int) -> tuple[str, bytes, int]:
    """Read the entry whose header begins at `at`; gives its name, its bytes and where the next thing begins."""
    if at + _LOCAL.size > len(data):
        raise PackageRefusedError("the file ends within a header", where=f"byte {at}", check="copy it again")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra = _LOCAL.unpack_from(data, at)
    begin = at + _LOCAL.size
    name = data[begin : begin + name_length].decode("ascii", "replace")
    most = ENTRIES.get(name)
    if most is None:
        raise PackageRefusedError(
            f"an entry {name[:60]!r} does not belong into a package", where=f"byte {at}", check="pack it anew"
        )
    if flags & 1:
        raise PackageRefusedError("the entry is encrypted", where=name, check="packages are signed, never encrypted")
    if method != 0 or packed != size:
        raise PackageRefusedError(
            "the entry is compressed", where=name, check="use `triflow model pack`", code="limits"
        )
    if size > most:
        raise PackageRefusedError(f"{size} bytes; at most {most} are allowed", where=name, code="limits")
    begin += name_length + extra
    body = data[begin : begin + size]
    if len(body) != size:
        raise PackageRefusedError("the file ends within the entry", where=name, check="copy it again")
    if zlib.crc32(body) != crc:
        raise PackageRefusedError(
            "the entry's check sum is wrong: its bytes changed", where=name, check="copy it again"
        )
    return name, body, begin + size


def _complete(entries: Mapping[str, bytes]) -> None:
    for name, body in entries.items():
        most = ENTRIES.get(name)
        if most is None:
            raise PackageRefusedError(f"an entry {name[:60]!r} does not belong into a package")
        if len(body) > most:
            raise PackageRefusedError(f"{len(body)} bytes; at most {most} are allowed", where=name, code="limits")
    missing = [name for name in ENTRIES if name not in entries and name not in OPTIONAL]
    if missing:
        raise PackageRefusedError(f"{', '.join(missing)} is missing", check="pack it anew")


def _zip(entries: Mapping[str, bytes]) -> bytes:
    bodies, directory = bytearray(), bytearray()
    names = [name for name in ENTRIES if name in entries]
    for name in names:
        raw, body = name.encode("ascii"), entries[name]
        about = (_VERSION, 0, 0, 0, _DATE, zlib.crc32(body), len(body), len(body), len(raw))
        # made by: Unix (3), so that the file mode (a plain file, 0644) means something to unzip
        directory += _CENTRAL.pack(b"PK\x01\x02", 3 << 8 | _VERSION, *about, 0, 0, 0, 0, 0o100644 << 16, len(bodies))
        directory += raw
        bodies += _LOCAL.pack(b"PK\x03\x04", *about, 0) + raw + body
    end = _END.pack(b"PK\x05\x06", 0, 0, len(names), len(names), len(directory), len(bodies), 0)
    return bytes(bodies + directory + end)
