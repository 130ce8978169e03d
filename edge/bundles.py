"""What judged, kept as long as its verdicts are: rulesets with the names they were compiled against, and model packages.

`<data>/bundles/<ruleset hash>/rules.json`, one `line-….json` beside it for every line it judged, and
`<data>/bundles/<sha256>` for a model package. Everything is on disk before the first verdict that names it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from edge import durable
from edge.judgment.archive import ArchiveError, Kept, activated
from edge.judgment.names import LineNames, type_of
from edge.production import counters_of
from edge.tags import Tag
from models.expression_checker import Value
from models.ruleset import Ruleset
from models.virtual import Virtual
from sync.judgment import RulesetActivated

FOLDER: Final = "bundles"
SPARE: Final = 64
"""So many that no stored verdict names stay all the same: the last one may be wanted back."""
_names: Final = msgspec.json.Decoder(LineNames)
"""Made at import: threads that meet a type first at the same time crash (see `models.package.content`)."""


class BundleError(ArchiveError):
    """What judged a verdict is not at hand; the message says what is missing, and where it should be."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What `Bundles.trim` left and let go."""

    kept: int
    named: int
    """Of those: named by stored verdicts."""
    gone: int


def line_names(work_unit: str, tags: Sequence[Tag], virtual: Virtual | None = None) -> LineNames:
    """Give what the rules of a line may name, from its tags and the virtual ones over them."""
    derived = () if virtual is None else virtual.tags
    ranges = {tag.spec.name: (tag.spec.low, tag.spec.high) for tag in tags} | {t.name: (t.low, t.high) for t in derived}
    return LineNames(
        work_unit=work_unit,
        tags={tag.spec.name: tag.spec.type for tag in tags} | ({} if virtual is None else virtual.types),
        counters=counters_of(tags),
        units={tag.spec.name: tag.spec.unit for tag in tags} | {tag.name: tag.unit for tag in derived},
        ranges={name: given for name, given in ranges.items() if given != (None, None)},
        required=sorted(
            {tag.spec.name for tag in tags if tag.spec.required} | {tag.name for tag in derived if tag.required}
        ),
    )


def path(data: Path, digest: str) -> Path:
    """Give where a model package (hex SHA-256 of its file) is kept, whether or not it is there."""
    return data / FOLDER / digest


def keep(data: Path, digest: str, content: bytes | Path) -> Path:
    """Keep a model package; on disk when this returns, and once however often. Raises OSError, BundleError."""
    target = path(data, digest)
    if target.is_file():
        os.utime(target)
        return target
    raw = content.read_bytes() if isinstance(content, Path) else content
    if hashlib.sha256(raw).hexdigest() != digest:
        raise BundleError(f"the package is not the one it is named: its SHA-256 is not {digest}")
    durable.private_folder(target.parent)
    durable.put(target, raw)
    return target


class Bundles:
    """The archive of one gateway. Reading needs no gateway and disturbs none."""

    def __init__(self, data: Path) -> None:
        """data: the gateway's data folder."""
        self.data = data
        self.folder = data / FOLDER

    # --- keeping

    def keep(self, ruleset: Ruleset, names: LineNames, at: int) -> list[RulesetActivated]:
        """Keep a ruleset for a line; on disk when this returns. Raises OSError.

        at: now, ns. Gives the facts that tell the cloud, to be committed before or with its first verdict.
        """
        folder = self.folder / ruleset.hash
        durable.private_folder(folder)
        durable.sync_folder(self.folder)
        line = folder / f"line-{names.digest[:16]}.json"
        if line.is_file():
            os.utime(line)  # the newest is the one that judges now
        else:
            durable.put(line, names.content())
        rules = folder / "rules.json"
        if not rules.is_file():
            durable.put(rules, ruleset.document.encode())
        return activated(ruleset, names, at)

    def trim(self, named: Collection[str], spare: int = SPARE) -> Trimmed:
        """Let go of what no stored verdict names, but for the youngest of them.

        named: ruleset hashes and package digests of all stored verdicts, and of what judges now.
        """
        loose = sorted(
            (entry for entry in self._entries() if entry.name not in named), key=lambda entry: -entry.stat().st_mtime_ns
        )
        gone = loose[spare:]
        for entry in gone:
            if entry.is_dir():
                for file in entry.iterdir():
                    file.unlink()
                entry.rmdir()
            else:
                entry.unlink()
        if gone:
            durable.sync_folder(self.folder)
        left = sum(1 for _ in self._entries())
        return Trimmed(kept=left, named=left - min(len(loose), spare), gone=len(gone))

    def _entries(self) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from (entry for entry in self.folder.iterdir() if not entry.name.startswith("."))

    # --- reading

    def ruleset(
        self, digest: str, work_unit: str, recorded: Mapping[str, Value | None] | None = None
    ) -> tuple[Ruleset, LineNames]:
        """Give a ruleset as it judged a line. Raises BundleError.

        recorded: the inputs of a verdict, where one is at hand: of a line whose tags changed their types, the names
        that fit them are taken.
        """
        folder = self.folder / digest
        try:
            document = (folder / "rules.json").read_text("utf-8")
        except OSError as error:
            raise BundleError(
                f"the ruleset {digest[:16]}… is not in {self.folder} ({error.strerror}); "
                "it judged before this gateway kept what judges, or the folder was not restored with the store"
            ) from error
        candidates = sorted(folder.glob("line-*.json"), key=lambda line: -line.stat().st_mtime_ns)
        told: list[str] = []
        for line in candidates:
            try:
                names = _names.decode(line.read_bytes())
                if names.work_unit != work_unit or not _fits(names, recorded or {}):
                    continue
                return Kept(document=document, names=names).ruleset(digest), names
            except (OSError, msgspec.MsgspecError, ArchiveError) as error:
                told.append(f"{line.name}: {error}")
        why = "; ".join(told) or f"it never judged {work_unit} with tags of these types"
        raise BundleError(f"the ruleset {digest[:16]}… cannot be used: {why}")

    def names(self, work_unit: str) -> LineNames | None:
        """Give what the rules of a line may name, as it stands now; None for a line that never was judged."""
        for line in sorted(self.folder.glob("*/line-*.json"), key=lambda line: -line.stat().st_mtime_ns):
            try:
                names = _names.decode(line.read_bytes())
            except (OSError, msgspec.MsgspecError):
                continue  # damaged: an older one says it, too
            if names.work_unit == work_unit:
                return names
        return None

    def model(self, digest: str) -> Path | None:
        """Give a model package, whole; None when it is not kept. Raises BundleError for one that was changed."""
        package = path(self.data, digest)
        if not package.is_file():
            return None
        if hashlib.sha256(package.read_bytes()).hexdigest() != digest:
            raise BundleError(f"the kept package {package} is not the one it is named; it was changed or damaged")
        return package


def _fits(names: LineNames, recorded: Mapping[str, Value | None]) -> bool:
    """Tell whether recorded inputs have the types these names give them."""
    environment = names.environment()
    for name, value in recorded.items():
        kind = environment.type_of(name)
        if value is not None and kind is not None and type_of(value) != ("double" if kind == "int" else kind):
            return False
    return True
