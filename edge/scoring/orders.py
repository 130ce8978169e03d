"""What a person (or the cloud) wants done about a line's model: orders as files, taken by the running gateway.

The store has one writer, and a line one owner, the gateway. A command leaves `<data>/model-orders/<order>.json`, beside
it the package it brings, and waits a while for `<order>.answer`. An order that nobody takes waits for the next start.
"""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Final, Literal

import msgspec

from edge.durable import private_folder, put, sync_folder

FOLDER: Final = "model-orders"
MOST_BYTES: Final = 64 << 20
HEX: Final = frozenset("0123456789abcdef")

What = Literal["activate", "rollback", "retire"]


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order."""

    order: str
    """Id; its file bears it."""
    at: int
    actor: str
    what: What
    line: str
    """Work unit."""
    package: str = ""
    """SHA-256 of the package to activate, hex."""
    place: Literal["edge", "cloud"] = "edge"
    """Where it was given."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an order."""

    done: bool
    told: str
    """A sentence for whoever gave it."""


_order: Final = msgspec.json.Decoder(Order)
"""Made at import: threads that meet a type first at the same time crash (see `models.package.content`)."""


class OrderError(Exception):
    """An order cannot be given; the message says what to check."""


def leave(data: Path, order: Order, package: bytes | None = None) -> Path:
    """Leave an order, and the package it brings. Gives the file its answer will stand in. Raises OSError."""
    folder = private_folder(data / FOLDER)
    if package is not None:
        put(folder / f"{order.package}.tfm", package)
    put(folder / f"{order.order}.json", msgspec.json.encode(order))
    return folder / f"{order.order}.answer"


def order_id(at: int) -> str:
    """Give an id that sorts by time."""
    return f"{at:020}-{uuid.uuid4().hex[:8]}"


def waiting(data: Path) -> list[tuple[Path, Order | str]]:
    """Give the orders that wait, oldest first; a text in the place of one says why it cannot be read."""
    found: list[tuple[Path, Order | str]] = []
    for path in sorted((data / FOLDER).glob("*.json")):
        try:
            found.append((path, _order.decode(path.read_bytes())))
        except (OSError, msgspec.DecodeError) as error:
            found.append((path, str(error)))
    return found


def answer(path: Path, said: Answer) -> None:
    """Answer an order and take it away; answers that nobody fetched go, and packages that no order names.

    Raises OSError.
    """
    put(path.with_suffix(".answer"), msgspec.json.encode(said))
    path.unlink()
    sync_folder(path.parent)
    answers = sorted(path.parent.glob("*.answer"))
    for old in answers[:-20]:
        old.unlink(missing_ok=True)
    if not list(path.parent.glob("*.json")):
        for package in path.parent.glob("*.tfm"):
            package.unlink(missing_ok=True)


def package_file(data: Path, digest: str) -> Path | None:
    """Give where a package lies on this gateway: brought with an order, kept, or delivered by the cloud.

    digest: 64 hex digits; of anything else there is none, wherever it would lead.
    """
    if len(digest) != 64 or not set(digest) <= HEX:
        return None
    for path in (data / FOLDER / f"{digest}.tfm", data / "bundles" / digest, data / "packages" / digest):
        if path.is_file():
            return path
    return None


def digest_of(data: Path, beginning: str) -> str:
    """Give the SHA-256 of the one package on this gateway that begins so. Raises OrderError."""
    if len(beginning) < 8 or not set(beginning) <= HEX:
        raise OrderError(f"no package at {beginning}; give a .tfm file, or 8 or more hex digits of its SHA-256")
    known = {
        path.name
        for folder in ("bundles", "packages")
        for path in (data / folder).glob(f"{beginning}*")
        if path.is_file() and len(path.name) == 64
    }
    if len(known) != 1:
        what = "several packages begin" if known else "no package on this gateway begins"
        raise OrderError(f"{what} with {beginning}; `triflow edge model status` lists them")
    return known.pop()


def load(path: Path) -> tuple[bytes, str]:
    """Give a package file's content and its SHA-256. Raises OrderError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise OrderError(f"{path}: {error.strerror}; check the path") from error
    if len(content) > MOST_BYTES:
        raise OrderError(f"{path}: more than {MOST_BYTES >> 20} MB; is it a model package?")
    return content, hashlib.sha256(content).hexdigest()
