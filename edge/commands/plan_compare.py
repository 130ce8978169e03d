"""Two configurations compared: what is new, gone or different, and what that means for the lines. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from edge.blueprint import Blueprint, tag_dict
from edge.drivers.finding import Finding, ok, warning
from edge.permits import Acting
from edge.tags import Tag

Kind = Literal["added", "removed", "changed"]
Setting = tuple[str, Any, Any]
"""Name, as it was, as it would be; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that would be otherwise."""

    kind: Kind
    part: str
    """gateway, page, uplink, log, connection, line, tag, rules, acting or permit."""
    name: str = ""
    settings: Sequence[Setting] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All differences, what they mean, and what is worth reading on the devices beforehand."""

    differences: Sequence[Difference]
    consequences: Sequence[Finding]
    to_read: Mapping[str, Sequence[Tag]]
    """Connection → its tags that are new or different; all of them when the connection is."""


def compare(old: Blueprint, new: Blueprint) -> Comparison:
    """Compare what runs (or ran last) with what is to run."""
    found: list[Difference] = []
    for part in ("gateway", "page", "uplink", "log"):
        before, after = _table(getattr(old.file, part)), _table(getattr(new.file, part))
        found += _one(part, "", before, after)
    connections = _each(
        "connection",
        {one.name: _table(one) for one in old.file.connections},
        {one.name: _table(one) for one in new.file.connections},
    )
    found += connections
    found += _each(
        "line",
        {one.work_unit: _line(_table(one)) for one in old.file.lines},
        {one.work_unit: _line(_table(one)) for one in new.file.lines},
    )
    tags = _each("tag", {tag.id: _tag(tag) for tag in old.tags}, {tag.id: _tag(tag) for tag in new.tags})
    found += tags
    found += _each("rules", _rules(old.rules), _rules(new.rules))
    found += _one("acting", "", _modes(old.file.acting), _modes(new.file.acting))
    permits, before = ({write.tag: _table(write) for write in file.acting.writes} for file in (new.file, old.file))
    found += _each("permit", before, permits)
    return Comparison(
        differences=found,
        consequences=_consequences(old, new, found) if found else [],
        to_read=_to_read(new, connections, tags),
    )


def _each(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    found: list[Difference] = []
    for name in [*after, *(name for name in before if name not in after)]:
        found += _one(part, name, before.get(name), after.get(name))
    return found


def _one(part: str, name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Difference]:
    if before == after:
        return []
    if before is None:
        return [Difference(kind="added", part=part, name=name)]
    if after is None:
        return [Difference(kind="removed", part=part, name=name)]
    settings = [
        (key, before.get(key), after.get(key))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]
    return [Difference(kind="changed", part=part, name=name, settings=settings)]


def _table(model: Any) -> dict[str, Any] | None:
    """Give a table's settings under dotted names."""
    return None if model is None else _flat(model.model_dump(mode="json"))


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(cast("dict[str, Any]", value), f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat


def _modes(acting: Acting) -> dict[str, Any]:
    """Give modes, cells and risks by what they are of; an order of a person stands until the file says otherwise."""
    settings: dict[str, Any] = {"mode": acting.mode}
    settings |= {f"mode of {line.work_unit}": line.mode for line in acting.lines}
    for cell in acting.cells:
        settings |= {f"trust {cell.trust} × {cell.risk} · {key}": value for key, value in (_table(cell) or {}).items()}
    return settings | {f"risk of {row.action}": f"{row.risk} ({row.priority})" for row in acting.risks}


def _line(table: dict[str, Any] | None) -> dict[str, Any]:
    """Leave out what shows in the line's tags and rules themselves."""
    shown = {"book", "rules", "unit", "offset"}
    return {key: value for key, value in (table or {}).items() if key not in shown and not key.startswith("fill.")}


def _tag(tag: Tag) -> dict[str, Any]:
    settings = _flat(tag_dict(tag))
    settings["address"] = settings.pop("bound")
    return {key: value for key, value in settings.items() if key not in {"name", "work_unit", "element"}}


def _rules(texts: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Give each ruleset's settings by check and key, so that a comment or a blank is no difference."""
    found: dict[str, dict[str, Any]] = {}
    for work_unit, text in texts.items():
        settings: dict[str, Any] = {}
        for kind, value in tomllib.loads(text).items():
            for entry in cast("list[Any]", value) if isinstance(value, list) else [value]:
                table = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {"": entry}
                settings |= _flat(
                    table, f"{kind} {table.get('name', '')} · " if isinstance(value, list) else f"{kind} · "
                )
        found[work_unit] = settings
    return found


def _consequences(old: Blueprint, new: Blueprint, found: Sequence[Difference]) -> list[Finding]:
    """Say what a start with the new configuration does to identity, connections, windows, counters and unsent data."""
    said: list[Finding] = []
    was, will = old.file.gateway, new.file.gateway
    if (was.id, was.tenant, was.site) != (will.id, will.tenant, will.site):
        before, after = (f"{g.tenant}/{g.site}/{g.id}" for g in (was, will))
        said.append(warning("gateway", "plan.identity", old=before, new=after))
    if was.data != will.data:
        said.append(warning("store", "plan.moved", old=was.data, new=will.data))
    else:
        said.append(ok("store", "plan.unsent"))
    allowed = sorted({one.name for one in found if one.part == "permit" and one.kind != "removed"})
    if allowed:
        said.append(warning("permit", "plan.permit", tags=allowed))
    if new.file.acting.mode == "control" and old.file.acting.mode != "control":
        said.append(warning("acting", "plan.control"))
    if will.quota_mb < was.quota_mb:
        said.append(warning("store", "plan.smaller", old=was.quota_mb, new=will.quota_mb))
    said.append(ok("connection", "plan.reopened", connections=[one.name for one in new.file.connections]))
    resumed, anew, fresh = _windows(old, new)
    if resumed:
        said.append(ok("line", "plan.resumed", lines=resumed))
    if anew:
        said.append(ok("line", "plan.anew", lines=anew))
    if fresh:
        said.append(ok("line", "plan.fresh", lines=fresh))
    gone = [one.name for one in found if one.part == "line" and one.kind == "removed"]
    if gone:
        said.append(warning("line", "plan.gone", lines=gone))
    counters = {tag.id for tag in old.tags if tag.spec.role == "counter"}
    lost = [one.name for one in found if one.part == "tag" and one.kind == "removed" and one.name in counters]
    if lost:
        said.append(warning("tag", "plan.counter_gone", tags=lost))
    return said


def _windows(old: Blueprint, new: Blueprint) -> tuple[list[str], list[str], list[str]]:
    """Give the lines whose windows go on, those whose windows start anew, and those that are new altogether.

    The same question as `LinePipeline.restore` asks at the start.
    """
    before = {line.work_unit: round(line.window_s * 1e9) for line in old.file.lines}
    resumed: list[str] = []
    anew: list[str] = []
    fresh: list[str] = []
    for line in new.file.lines:
        unit = line.work_unit
        if unit not in before:
            fresh.append(unit)
        elif before[unit] == round(line.window_s * 1e9) and _names(old, unit) == _names(new, unit):
            resumed.append(unit)
        else:
            anew.append(unit)
    return resumed, anew, fresh


def _names(blueprint: Blueprint, work_unit: str) -> list[str]:
    return [tag.id for tag in blueprint.tags if tag.work_unit == work_unit]


def _to_read(new: Blueprint, connections: Sequence[Difference], tags: Sequence[Difference]) -> dict[str, list[Tag]]:
    whole = {one.name for one in connections if one.kind != "removed"}
    touched = {one.name for one in tags if one.kind != "removed"}
    reading: dict[str, list[Tag]] = {name: [] for name in whole}
    for tag in new.tags:
        if tag.connection in whole or tag.id in touched:
            reading.setdefault(tag.connection, []).append(tag)
    return reading
