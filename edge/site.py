"""A site file loaded whole: its types, its tag table and its rulesets, or every fault in any of them."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from edge.addresses import LAST, PLACEHOLDER, AddressError, misfit, node, place, register
from edge.config import BOOKS, Line, SiteFile
from edge.connections import Mes, Modbus, OpcUa, Readable
from edge.permitting import Permit, bind_permits
from edge.tags import Tag, TagBook, TagSpec, TagTable
from edge.virtual_tags import bind_virtual
from models.rulesets import Ruleset, RulesetError, RulesetFault
from models.rulesets import load as load_ruleset
from models.virtual import Virtual
from sync.secret import Credential, SecretError
from sync.settings import ConfigError, Document, Fault, nearest
from sync.topics import Address

LEAST_KEY: Final = 6
"""Characters of the page's key."""

_KEY: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything a gateway process is made of."""

    path: Path
    file: SiteFile
    table: TagTable
    rulesets: dict[str, Ruleset]
    """Work unit → its rules, for the lines that have some."""
    virtual: dict[str, Virtual]
    """Work unit → its virtual tags (none, for most) and with them what its rules and models may name."""
    permits: dict[str, Permit] = field(default_factory=dict[str, Permit])
    """Tag id → what may be written there, and when."""

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the file start from."""
        return self.path.parent

    @property
    def data(self) -> Path:
        return self.folder / self.file.gateway.data

    @property
    def address(self) -> Address:
        gateway = self.file.gateway
        return Address(gateway.tenant, gateway.site, gateway.id)

    @property
    def trusted(self) -> list[str]:
        """Public keys, hex, whose model packages may run. Raises OSError for a key file that has gone since the start."""
        return [_public_key(one, self.folder) for one in self.file.models.trusted]

    @property
    def uplink_ca(self) -> Path | None:
        """The CA of broker and cloud; None for the machine's own."""
        uplink = self.file.uplink
        return None if uplink is None or uplink.ca is None else self.folder / uplink.ca

    @property
    def uplink_certificate(self) -> tuple[Path, Path] | None:
        """Our certificate and its key, for brokers and clouds that ask for one."""
        uplink = self.file.uplink
        if uplink is None or uplink.certificate is None or uplink.private_key is None:
            return None
        return self.folder / uplink.certificate, uplink.private_key.path(self.folder)


def load(path: Path) -> Site:
    """Load and check a site file with its books, rules and credentials. Raises ConfigError with every fault."""
    path = path.resolve()
    document = Document(path)
    file = document.parse(SiteFile)
    faults = [*_connection_faults(document, file), *_secret_faults(document, file), *_model_faults(document, file)]
    try:
        zoneinfo.ZoneInfo(file.gateway.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        faults.append(
            document.fault(("gateway", "timezone"), f"{file.gateway.timezone!r} is no time zone; write e.g. Asia/Seoul")
        )
    tags: list[Tag] = []
    virtual: dict[str, Virtual] = {}
    rulesets: dict[str, Ruleset] = {}
    compiled: dict[tuple[object, ...], Ruleset] = {}
    seen: dict[str, int] = {}
    for i, line in enumerate(file.lines):
        where = ("line", i)
        if line.work_unit in seen:
            faults.append(
                document.fault((*where, "work_unit"), f"{line.work_unit!r} already is line[{seen[line.work_unit]}]")
            )
            continue
        seen[line.work_unit] = i
        try:
            bound, derived = _bind(document, i, line, file, len(tags))
        except ConfigError as error:
            faults += error.faults
            continue
        tags += bound
        virtual[line.work_unit] = derived
        if line.rules is not None:
            try:
                rulesets[line.work_unit] = _rules(document, i, line, path.parent, bound, derived, compiled)
            except ConfigError as error:
                faults += error.faults
    permits, wrong = bind_permits(
        document, file, tags, {work_unit: derived.environment for work_unit, derived in virtual.items()}
    )
    faults += wrong
    if faults:
        raise ConfigError(faults)
    return Site(path=path, file=file, table=TagTable(tags), rulesets=rulesets, permits=permits, virtual=virtual)


def _public_key(text: str, folder: Path) -> str:
    """Give a public key as hex, from itself or from its file. Raises OSError."""
    return text if _KEY.fullmatch(text) else (folder / text).read_text("ascii", errors="replace").strip()


def _model_faults(document: Document, file: SiteFile) -> list[Fault]:
    """Say what is wrong with the keys; a package itself is looked at when it is activated, and stops nothing."""
    faults: list[Fault] = []
    for i, text in enumerate(file.models.trusted):
        where = ("models", "trusted", i)
        try:
            if not _KEY.fullmatch(_public_key(text, document.path.parent)):
                faults.append(document.fault(where, f"{text}: no public key in it; it is 64 hex digits"))
        except OSError as error:
            what = f"neither 64 hex digits nor a file with them ({error.strerror}); `triflow model key` makes one"
            faults.append(document.fault(where, f"{text!r} is {what}"))
    for i, line in enumerate(file.lines):
        if line.model is not None and not file.models.trusted:
            what = 'no key is trusted, so no package can run; write [models] trusted = ["…"]'
            faults.append(document.fault(("line", i, "model"), what))
        if line.model is not None and line.rules is None:
            faults.append(document.fault(("line", i, "model"), "a model is asked by rules, and this line has none"))
    return faults


def _connection_faults(document: Document, file: SiteFile) -> list[Fault]:
    faults: list[Fault] = []
    names: dict[str, int] = {}
    for i, connection in enumerate(file.connections):
        if connection.name in names:
            faults.append(
                document.fault(
                    ("connection", i, "name"), f"{connection.name!r} already is connection[{names[connection.name]}]"
                )
            )
        names.setdefault(connection.name, i)
    readable = [c.name for c in file.connections if isinstance(c, Readable)]
    for i, connection in enumerate(file.connections):
        if isinstance(connection, Mes) and connection.ca is not None:
            path = document.path.parent / connection.ca
            if not path.is_file():
                faults.append(document.fault(("connection", i, "ca"), f"no certificate at {path}; check the path"))
    for i, line in enumerate(file.lines):
        if line.connection not in readable:
            faults.append(
                document.fault(
                    ("line", i, "connection"),
                    f"no connection {line.connection!r} with tags; {nearest(line.connection, readable)}",
                )
            )
    work_units = [line.work_unit for line in file.lines]
    for i, connection in enumerate(file.connections):
        for k, source in enumerate(connection.events if isinstance(connection, OpcUa) else []):
            if source.work_unit and source.work_unit not in work_units:
                what = f"no line {source.work_unit!r} in this file; {nearest(source.work_unit, work_units)}"
                faults.append(document.fault(("connection", i, "events", k, "work_unit"), what))
    return faults


def _secret_faults(document: Document, file: SiteFile) -> list[Fault]:
    wanted: list[tuple[tuple[str | int, ...], Credential]] = []
    if file.uplink is not None:
        wanted.append((("uplink", "key"), file.uplink.key))
    if file.page.key is not None:
        wanted.append((("page", "key"), file.page.key))
    for i, connection in enumerate(file.connections):
        for key in ("token", "password", "user_key", "private_key"):
            credential = getattr(connection, key, None)
            if credential is not None:
                wanted.append((("connection", i, key), credential))
    faults: list[Fault] = []
    for path, credential in wanted:
        try:
            secret = credential.read(document.path.parent).get_secret_value()
        except SecretError as error:
            faults.append(document.fault(path, str(error)))
            continue
        if path == ("page", "key") and len(secret) < LEAST_KEY:
            faults.append(document.fault(path, f"the key has {len(secret)} characters; at least {LEAST_KEY}"))
        if path == ("uplink", "key") and not re.fullmatch(r"[0-9a-f]{64}", secret):
            faults.append(
                document.fault(path, "the key must be 64 hex digits (32 bytes), as the cloud's enrolment gave it")
            )
    return faults


def _bind(document: Document, i: int, line: Line, file: SiteFile, first: int) -> tuple[list[Tag], Virtual]:
    """Bind a line's book to its work unit: tags numbered from `first`, placeholders filled, addresses checked.

    And the virtual tags over them, whose environment is what the line's rules and models may name.
    """
    book_path = document.path.parent / line.book if line.book.endswith(".toml") else BOOKS / f"{line.book}.toml"
    if not book_path.is_file():
        shipped = sorted(p.stem for p in BOOKS.glob("*.toml"))
        what = (
            f"no tag book at {book_path}"
            if line.book.endswith(".toml")
            else f"no shipped tag book {line.book!r}; {nearest(line.book, shipped)}"
        )
        raise ConfigError([document.fault(("line", i, "book"), what)])
    source = Document(book_path)
    book = source.parse(TagBook)
    connection = next((c for c in file.connections if c.name == line.connection), None)
    tags: list[Tag] = []
    faults: list[Fault] = []
    addresses: dict[str, str] = {}
    names = [spec.name for spec in book.tags]
    for k, spec in enumerate(book.tags):
        unknown = [name for name in PLACEHOLDER.findall(spec.address) if name not in line.fill]
        if unknown:
            faults.append(
                document.fault(
                    ("line", i, "fill"),
                    f"tag {spec.name!r} of {line.book} needs {{{unknown[0]}}}; add fill.{unknown[0]}",
                )
            )
            continue
        address = PLACEHOLDER.sub(lambda m: str(line.fill[m[1]]), spec.address)
        try:
            if isinstance(connection, Modbus):
                address = _register(address, spec, connection, line.offset)
            elif isinstance(connection, OpcUa):
                address = node(address)
        except AddressError as error:
            faults.append(source.fault(("tag", k, "address"), str(error)))
            continue
        if isinstance(connection, Modbus | OpcUa) and (foreign := misfit(spec, connection.driver)):
            faults.append(source.fault(("tag", k, foreign[0]), foreign[1]))
        where = f"{address} {spec.path}".rstrip()
        if where in addresses:
            faults.append(
                source.fault(("tag", k, "address"), f"duplicate tag: {where!r} already is {addresses[where]!r}")
            )
        addresses.setdefault(where, spec.name)
        if spec.triggered_by is not None and spec.triggered_by not in names:
            what = f"no tag {spec.triggered_by!r} in this book; {nearest(spec.triggered_by, names)}"
            faults.append(source.fault(("tag", k, "triggered_by"), what))
        tags += [
            Tag(
                index=first + len(tags) + element,
                work_unit=line.work_unit,
                connection=line.connection,
                address=address,
                spec=spec if spec.count == 1 else spec.model_copy(update={"name": name}),
                element=element,
                unit=line.unit,
            )
            for element, name in enumerate(spec.element_names)
        ]
    if faults:
        raise ConfigError(faults)
    return tags, bind_virtual(source, book, tags)


def _register(address: str, spec: TagSpec, connection: Modbus, offset: int) -> str:
    """Give a Modbus address with the line's offset added, good for every element. Raises AddressError."""
    base, order = connection.address_base, connection.word_order
    at = register(address, base=base)
    if at.number + offset < base or at.number + offset > LAST + base:
        moved = f" with offset {offset}" if offset else ""
        raise AddressError(
            f"{address}{moved} is register {at.number + offset}: this connection counts registers from {base} "
            f"and the last one is {LAST + base}"
        )
    moved = str(replace(at, number=at.number + offset))
    for element in (0, spec.count - 1):
        place(moved, spec, base=base, element=element, order=order)
    return moved


def _rules(  # noqa: PLR0917 - each is a different kind of thing
    document: Document,
    i: int,
    line: Line,
    folder: Path,
    tags: list[Tag],
    virtual: Virtual,
    compiled: dict[tuple[object, ...], Ruleset],
) -> Ruleset:
    """Load a line's ruleset, compiled against the names its tags have, virtual ones too.

    compiled: rulesets of lines before, by file and names: two hundred lines of one machine type share one.
    """
    path = folder / (line.rules or "")
    ranges = {tag.spec.name: (tag.spec.low, tag.spec.high) for tag in tags} | {
        tag.name: (tag.low, tag.high) for tag in virtual.tags
    }
    environment = virtual.environment
    key = (
        path,
        tuple(sorted(environment.types.items())),
        tuple(sorted((name, unit or "") for name, unit in environment.units.items())),
        tuple(sorted(ranges.items(), key=str)),
    )
    if key in compiled:
        return compiled[key]
    try:
        compiled[key] = load_ruleset(path, environment, ranges=ranges)
        return compiled[key]
    except RulesetError as error:
        if not path.is_file():
            raise ConfigError(
                [document.fault(("line", i, "rules"), f"no ruleset at {path}; check the path")]
            ) from error
        raise ConfigError([_ruleset_fault(path, fault) for fault in error.faults]) from error


def _ruleset_fault(path: Path, fault: RulesetFault) -> Fault:
    what = f"{fault.problem}; {fault.hint}" if fault.hint else fault.problem
    return Fault(path, fault.line, fault.where, what)
