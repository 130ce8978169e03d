"""The permits of a site file bound to its tags: every fault on its line, every interlock compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.config import SiteFile
from edge.connections import Modbus, OpcUa
from edge.interlock import Interlock, compile_interlock
from edge.permits import WriteEntry
from edge.tags import Tag
from models.expression import Environment, ExpressionError
from sync.settings import Document, Fault, nearest


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """A tag that may be written, and the line's own say in it."""

    entry: WriteEntry
    tag: Tag
    interlock: Interlock


def bind_permits(
    document: Document, file: SiteFile, tags: Sequence[Tag], environments: Mapping[str, Environment]
) -> tuple[dict[str, Permit], list[Fault]]:
    """Give the permits by tag id, and what is wrong with [acting].

    environments: work unit → what its expressions may name, for the lines that could be bound.
    """
    faults = _table_faults(document, file)
    permits: dict[str, Permit] = {}
    by_id = {tag.id: tag for tag in tags}
    unbound = {line.work_unit for line in file.lines} - {tag.work_unit for tag in tags}
    writing = [c.name for c in file.connections if isinstance(c, Modbus | OpcUa)]
    for i, entry in enumerate(file.acting.writes):
        where = ("acting", "write", i)
        tag = by_id.get(entry.tag)
        if tag is None and entry.tag.rpartition("/")[0] in unbound:
            continue  # the line's own faults are told already
        if tag is None:
            faults.append(
                document.fault((*where, "tag"), f"no tag {entry.tag!r} in this site; {nearest(entry.tag, list(by_id))}")
            )
            continue
        if entry.tag in permits:
            faults.append(document.fault((*where, "tag"), f"{entry.tag!r} has a permit already; one a tag"))
            continue
        found = [document.fault((*where, key), what) for key, what in _misfits(entry, tag, writing)]
        interlock = _interlock(document, where, entry, environments[tag.work_unit])
        if isinstance(interlock, list):
            found += interlock
        elif not found:
            permits[entry.tag] = Permit(entry, tag, interlock)
        faults += found
    return permits, faults


def _table_faults(document: Document, file: SiteFile) -> list[Fault]:
    faults: list[Fault] = []
    work_units = [line.work_unit for line in file.lines]
    seen: set[object] = set()
    for i, line in enumerate(file.acting.lines):
        where = ("acting", "line", i, "work_unit")
        if line.work_unit not in work_units:
            what = f"no line {line.work_unit!r} in this file; {nearest(line.work_unit, work_units)}"
            faults.append(document.fault(where, what))
        elif line.work_unit in seen:
            faults.append(document.fault(where, f"{line.work_unit!r} has a mode already"))
        seen.add(line.work_unit)
    for i, cell in enumerate(file.acting.cells):
        if (cell.trust, cell.risk) in seen:
            what = f"trust {cell.trust} × {cell.risk} is in this matrix already"
            faults.append(document.fault(("acting", "cell", i), what))
        seen.add((cell.trust, cell.risk))
    for i, risk in enumerate(file.acting.risks):
        if ("risk", risk.action) in seen:
            faults.append(document.fault(("acting", "risk", i, "action"), f"{risk.action!r} has a risk already"))
        seen.add(("risk", risk.action))
    return faults


def _misfits(entry: WriteEntry, tag: Tag, writing: Sequence[str]) -> list[tuple[str, str]]:
    """Say what of an entry does not fit its tag: (key, what)."""
    found: list[tuple[str, str]] = []
    spec = tag.spec
    if not spec.writable:
        found.append(("tag", f"{tag.id} is not writable in its book; say writable = true there first"))
    if tag.connection not in writing:
        found.append(("tag", f"connection {tag.connection!r} cannot be written to"))
    if spec.type == "string":
        found.append(("tag", f"{tag.id} is a text; numbers and bools can be written"))
    elif spec.type == "bool":
        if entry.low is not None:
            found.append(("low", f"{tag.id} is a bool; leave low and high out"))
        if entry.fail_safe is not None and not isinstance(entry.fail_safe, bool):
            found.append(("fail_safe", f"{tag.id} is a bool; write true or false"))
    elif entry.low is None or entry.high is None:
        found.append(("low", f"{tag.id} is a number; give low and high"))
    else:
        if isinstance(entry.fail_safe, bool):
            found.append(("fail_safe", f"{tag.id} is a number"))
        if (spec.low is not None and entry.low < spec.low) or (spec.high is not None and entry.high > spec.high):
            found.append(("low", f"{entry.low:g} to {entry.high:g} is wider than the book's range of {tag.id}"))
    return found


def _interlock(
    document: Document, where: tuple[str | int, ...], entry: WriteEntry, environment: Environment
) -> Interlock | list[Fault]:
    try:
        interlock = compile_interlock(entry.interlock, environment, entry.fresh_s)
    except ExpressionError as error:
        return [
            document.fault(
                (*where, "interlock"),
                f"{fault.problem} (character {fault.column})" + (f"; {fault.hint}" if fault.hint else ""),
            )
            for fault in error.faults
        ]
    if not interlock.expression.variables:
        return [document.fault((*where, "interlock"), "names nothing of the line; say what has to be true there")]
    return interlock
