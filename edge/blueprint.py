"""What a gateway was started with, whole: site file, every tag as it was bound, every rule. Kept in its own store.

Files change under a running gateway; this is what it really runs with, so that `triflow edge plan` compares with the
truth. Its digest is in the audit trail of every start. Secrets are in it by name only, as in the site file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
import zstandard
from pydantic import ValidationError

from edge.config import SiteFile
from edge.site import Site
from edge.tags import Tag, TagSpec

CHECKPOINT: Final = "blueprint"
"""Its name in the store."""
MAX_BYTES: Final = 256 << 20
_FORM: Final = 1


class BlueprintError(Exception):
    """What was kept cannot be read, as another version of the software wrote it. Compare with a site file instead."""


class _Kept(msgspec.Struct, frozen=True):
    """As it lies in the store."""

    form: int
    at: int
    software: str
    file: dict[str, Any]
    tags: list[dict[str, Any]]
    rules: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A configuration as it was loaded."""

    file: SiteFile
    tags: tuple[Tag, ...]
    rules: dict[str, str]
    """Work unit → its ruleset as written."""
    at: int = 0
    """When the gateway was started with it, ns; 0: it is not running, only read."""
    software: str = ""

    @staticmethod
    def of(site: Site, *, at: int = 0, software: str = "") -> Blueprint:
        """Take what a site is made of. Raises OSError when a ruleset has vanished since it was loaded."""
        rules = {
            line.work_unit: (site.folder / line.rules).read_text("utf-8") for line in site.file.lines if line.rules
        }
        return Blueprint(file=site.file, tags=site.table.tags, rules=rules, at=at, software=software)

    def encode(self) -> bytes:
        """Give it for the store."""
        return zstandard.compress(msgspec.json.encode(self._kept()))

    @property
    def digest(self) -> str:
        """Name it by its content: the same files give the same one, whenever and by whom they were loaded."""
        same = msgspec.structs.replace(self._kept(), at=0, software="")
        return hashlib.sha256(msgspec.json.encode(same)).hexdigest()[:16]

    def _kept(self) -> _Kept:
        return _Kept(
            form=_FORM,
            at=self.at,
            software=self.software,
            file=self.file.model_dump(mode="json"),
            tags=[tag_dict(tag) for tag in self.tags],
            rules=self.rules,
        )


def decode(data: bytes) -> Blueprint:
    """Read what `encode` gave. Raises BlueprintError."""
    try:
        kept = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_BYTES), type=_Kept)
        if kept.form != _FORM:
            raise BlueprintError(f"it has form {kept.form}, this software reads {_FORM}")
        tags = tuple(_tag(index, entry) for index, entry in enumerate(kept.tags))
        file = SiteFile.model_validate(kept.file)
    except (msgspec.MsgspecError, zstandard.ZstdError, ValidationError, KeyError, TypeError) as error:
        raise BlueprintError(
            f"it was written by another version of the software ({str(error).splitlines()[0]})"
        ) from error
    return Blueprint(file=file, tags=tags, rules=kept.rules, at=kept.at, software=kept.software)


def tag_dict(tag: Tag) -> dict[str, Any]:
    """Give a tag as settings: what a person wrote of it, and where it was bound."""
    bound = {
        "work_unit": tag.work_unit, "connection": tag.connection, "element": tag.element, "device": tag.unit,
        "bound": tag.address,
    }  # fmt: skip
    return tag.spec.model_dump(mode="json", exclude_defaults=True) | bound


def _tag(index: int, entry: dict[str, Any]) -> Tag:
    bound = {"work_unit", "connection", "element", "device", "bound"}
    spec = {name: value for name, value in entry.items() if name not in bound}
    return Tag(
        index=index,
        work_unit=str(entry["work_unit"]),
        connection=str(entry["connection"]),
        address=str(entry["bound"]),
        spec=TagSpec.model_validate(spec),
        element=int(entry["element"]),
        unit=cast("int | None", entry["device"]),
    )
