"""A package in memory: reads one without touching its model, and writes one.

Order of trust: the file's layout, the signature over the manifest, the manifest itself, then every other file against
its SHA-256 there. Only what passed is parsed; the model is never parsed here (`verification` does, in a child process).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec

from models.drift import Reference
from models.package import signature
from models.package.archive import ENTRIES, MOST_BYTES, OPTIONAL, PackageRefusedError, pack, unpack
from models.package.contract import Contract

FORMAT: Final = "triflow-model/1"
MOST_ROWS: Final = 1_000
MOST_TOLERANCE: Final = 1e-4

Part = TypeVar("Part")


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who packed it, with what; nothing that changes when it is packed again."""

    tool: str = "triflow model pack"
    libraries: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entry `manifest.json`, canonical JSON: sorted keys, no blanks."""

    format: str
    contract: Contract
    files: dict[str, str]
    """Every other entry but the signature → SHA-256, hex."""
    build: Build


class GoldenRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model must answer to one row."""

    inputs: tuple[float | None, ...]
    """In the order of the features; None is NaN."""
    outputs: tuple[float, ...]
    label: str


class Golden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entry `golden.json`: outputs within the tolerance (above 1: that share of them), labels exactly."""

    rows: tuple[GoldenRow, ...]
    tolerance: float = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package whose layout and hashes are right. Whether anybody vouches for it, `signer` says."""

    manifest: Manifest
    entries: Mapping[str, bytes]
    sha256: str
    """Of the whole file, hex: what facts name and what bundles are kept under."""
    digest: str
    """SHA-256 of the manifest, hex: the content's identity, the same whoever signs it."""
    signer: str | None
    """Public key, hex, whose signature was checked against the trusted ones; None: nobody asked for one."""

    @property
    def contract(self) -> Contract:
        """What the model takes and what its numbers mean."""
        return self.manifest.contract

    @property
    def model(self) -> bytes:
        """The ONNX file; hand it to `models.session.Session`."""
        return self.entries["model.onnx"]

    @property
    def model_sha256(self) -> str:
        """Of the ONNX file, hex."""
        return self.manifest.files["model.onnx"]

    @property
    def golden(self) -> Golden:
        """What the model must answer."""
        return _parse(self.entries["golden.json"], Golden, "golden.json")

    @property
    def reference(self) -> Reference:
        """What its inputs and outputs looked like in training."""
        return _parse(self.entries["reference.json"], Reference, "reference.json")

    def card(self, language: str) -> str:
        """Give the model card, Markdown; `ko` or `en`."""
        return self.entries[f"card.{language}.md"].decode()


def read(path: Path | bytes, *, trusted: Collection[str] | None) -> Package:
    """Read a package and check everything but the model itself.

    trusted: public keys, hex, one of which must have signed; None: the signature is not looked at (to show or sign it).
    Raises PackageRefusedError for whatever is wrong, and nothing else; OSError becomes one, too.
    """
    data = path if isinstance(path, bytes) else _load(path)
    entries = unpack(data)
    raw = entries["manifest.json"]
    signer = None if trusted is None else signature.check(raw, entries.get("signature"), trusted).key
    manifest = _parse(raw, Manifest, "manifest.json")
    if manifest.format != FORMAT:
        raise PackageRefusedError(
            f"format {manifest.format!r}; this software reads {FORMAT}", where="manifest.json", code="contract"
        )
    wanted = [name for name in ENTRIES if name != "manifest.json" and name not in OPTIONAL]
    if sorted(manifest.files) != sorted(wanted):
        raise PackageRefusedError("it must name every other file and no more", where="manifest.json files")
    for name in wanted:
        if hashlib.sha256(entries[name]).hexdigest() != manifest.files[name]:
            raise PackageRefusedError(
                "its SHA-256 is not the manifest's: the file was changed", where=name, check="copy the package again"
            )
    package = Package(
        manifest=manifest,
        entries=entries,
        sha256=hashlib.sha256(data).hexdigest(),
        digest=hashlib.sha256(raw).hexdigest(),
        signer=signer,
    )
    _check_golden(package)
    _check_reference(package)
    for language in ("en", "ko"):
        _text(entries[f"card.{language}.md"], f"card.{language}.md")
    return package


def unsigned(
    contract: Contract, model: bytes, *, golden: Golden, reference: Reference, cards: Mapping[str, str], build: Build
) -> dict[str, bytes]:
    """Give the entries of a package that is still to be signed; the same arguments, the same bytes.

    cards: language (en, ko) → Markdown.
    """
    entries = {
        "model.onnx": model,
        "golden.json": canonical(golden),
        "reference.json": canonical(reference),
        "card.en.md": cards["en"].encode(),
        "card.ko.md": cards["ko"].encode(),
    }
    files = {name: hashlib.sha256(body).hexdigest() for name, body in entries.items()}
    return {
        "manifest.json": canonical(Manifest(format=FORMAT, contract=contract, files=files, build=build)),
        **entries,
    }


def write(entries: Mapping[str, bytes], key: signature.SigningKey | None) -> bytes:
    """Give the bytes of a `.tfm` file, signed with the key when there is one, in place of any older signature."""
    kept = {name: body for name, body in entries.items() if name != "signature"}
    if key is not None:
        kept["signature"] = signature.sign(kept["manifest.json"], key)
    data = pack(kept)
    read(data, trusted=None)  # what we write we could read
    return data


def canonical(value: Any) -> bytes:
    """Give JSON in the one form that is hashed: keys sorted, no blanks, UTF-8, no NaN (msgspec would write null)."""
    return msgspec.json.encode(msgspec.to_builtins(value, str_keys=True), order="sorted")


def _load(path: Path) -> bytes:
    """Read a file, at most a byte more than a package may have; a pipe or a device is none, and is not waited for."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PackageRefusedError("this is no file", where=str(path), check="check the path", code="missing")
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PackageRefusedError(
            f"{error.strerror}", where=str(path), check="check the path", code="missing"
        ) from error


_DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Golden, Reference, Manifest)
}
"""Made at import: msgspec learns a type when it meets it first, and two threads that teach it the same one at once end
the process (SIGSEGV, 0.22). Two lines verify their packages at the same time."""


def _parse(raw: bytes, kind: type[Part], where: str) -> Part:
    try:
        if canonical(msgspec.json.decode(raw)) != raw:
            raise PackageRefusedError("it is not canonical JSON", where=where, check="pack it anew")
        return cast("Part", _DECODERS[kind].decode(raw))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        code = "contract" if where == "manifest.json" else "damaged"
        raise PackageRefusedError(str(error), where=where, check="docs/models.md has the format", code=code) from error


def _text(raw: bytes, where: str) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise PackageRefusedError("it is no UTF-8", where=where) from error


def _check_golden(package: Package) -> None:
    contract, golden = package.contract, package.golden
    labels = {label.name for label in contract.labels}
    if not 1 <= len(golden.rows) <= MOST_ROWS or not 0 < golden.tolerance <= MOST_TOLERANCE:
        raise PackageRefusedError(
            f"it needs 1 to {MOST_ROWS} rows and a tolerance of at most {MOST_TOLERANCE}", where="golden.json"
        )
    for i, row in enumerate(golden.rows):
        if len(row.inputs) != contract.width or len(row.outputs) != len(contract.outputs):
            raise PackageRefusedError(
                f"{len(row.inputs)} inputs and {len(row.outputs)} outputs; the contract has {contract.width} and "
                f"{len(contract.outputs)}",
                where=f"golden.json row {i}",
                code="contract",
            )
        if row.label not in labels:
            raise PackageRefusedError(f"unknown label {row.label!r}", where=f"golden.json row {i}", code="contract")


def _check_reference(package: Package) -> None:
    contract, reference = package.contract, package.reference
    for what, known, has in (
        ("feature", [one.name for one in contract.features], reference.features),
        ("output", [one.name for one in contract.outputs], reference.outputs),
        ("label", [one.name for one in contract.labels], reference.labels),
    ):
        if sorted(known) != sorted(has):
            odd = ", ".join(sorted(set(known) ^ set(has)))
            raise PackageRefusedError(
                f"{what}s of contract and reference differ: {odd}", where="reference.json", code="contract"
            )
