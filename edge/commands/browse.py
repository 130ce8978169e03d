"""`triflow edge browse SITE.toml CONNECTION [GLOB]`: what a machine offers, and a tag book made of it.

Speaks to the machine itself; a gateway may run meanwhile or not. Only the connection is taken from the site file, so
that it can be asked before there are books and lines. Exit status: 0 found, 1 nothing there, 69 no connection,
73 a file stands in the way, 78 the site file is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import re
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Final

from edge.addresses import PLACEHOLDER
from edge.commands.book_toml import toml_of
from edge.config import SiteFile
from edge.connections import Connection, Readable
from edge.drivers import open_driver
from edge.drivers.driver import Browsable, DriverError, Node, RefusedError, Surroundings
from edge.tags import TagBook, TagSpec
from sync.clock import WallClock
from sync.secret import SecretError
from sync.settings import ConfigError, Document, nearest

EX_NOTHING: Final = 1
EX_USAGE: Final = 64
EX_UNAVAILABLE: Final = 69
EX_CANTCREAT: Final = 73
EX_CONFIG: Final = 78
WIDEST: Final = 60
_BOOKED: Final = {
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"
}  # fmt: skip
_MOST_ELEMENTS: Final = 10_000


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        file = Document(arguments.site).parse(SiteFile)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    connection = next((c for c in file.connections if c.name == arguments.connection), None)
    if connection is None:
        hint = nearest(arguments.connection, [c.name for c in file.connections])
        print(f"no connection {arguments.connection!r} in {arguments.site}; {hint}", file=sys.stderr)
        return EX_USAGE
    folder = arguments.site.resolve().parent
    around = Surroundings(folder=folder, data=folder / file.gateway.data, gateway=file.gateway.id)
    try:
        found = asyncio.run(_browse(connection, around, arguments))
    except RefusedError as error:
        print(error, file=sys.stderr)
        return EX_NOTHING
    except (DriverError, SecretError) as error:
        print(error, file=sys.stderr)
        return EX_UNAVAILABLE
    return _finish(found, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triflow edge browse", description="Show what a machine offers; make a tag book of it."
    )
    parser.add_argument("site", type=Path, help="the site file, e.g. site.toml")
    parser.add_argument("connection", help="name of a connection in it")
    parser.add_argument(
        "glob",
        nargs="?",
        default="**",
        help="path below the Objects folder: line1/*/count, **/temperature (all if left out)",
    )
    parser.add_argument("--depth", type=int, default=12, help="levels to go down (12)")
    parser.add_argument("--most", type=int, default=100_000, help="nodes to show at most (100000)")
    parser.add_argument("--export", type=Path, metavar="BOOK.toml", help="write a tag book of the variables found")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


async def _browse(connection: Connection, around: Surroundings, arguments: argparse.Namespace) -> list[Node]:
    """Give what is found. Raises RefusedError, DriverError and SecretError."""
    if not isinstance(connection, Readable):
        raise RefusedError(f"{connection.name} is no machine with tags; browse an OPC UA connection")
    driver = open_driver(connection, [], WallClock(), around)
    if not isinstance(driver, Browsable):
        raise RefusedError(
            f"{connection.name}: a {connection.driver} machine cannot say what it offers; its manual lists its registers "
            "(`triflow edge book list` shows the books there are)"
        )
    async with driver, aclosing(driver.browse(arguments.glob, depth=arguments.depth, most=arguments.most)) as nodes:
        return [node async for node in nodes]


def _finish(found: list[Node], arguments: argparse.Namespace) -> int:
    if arguments.json:
        for node in found:
            print(json.dumps(dataclasses.asdict(node), ensure_ascii=False))
    else:
        for line in table(found):
            print(line)
    if arguments.export is None:
        return 0
    left: list[str] = []
    book = book_of(found, f"{arguments.connection}, as browsed", left)
    if book is None:
        print(
            f"no variable among {len(found)} node(s) that a tag book could hold; nothing was written", file=sys.stderr
        )
        return EX_NOTHING
    comments = [f"Made by `triflow edge browse {arguments.site} {arguments.connection} {arguments.glob}`.", *left]
    try:
        with arguments.export.open("x", encoding="utf-8") as file:
            file.write(toml_of(book, comments))
    except FileExistsError:
        print(f"{arguments.export} is there already; give another name", file=sys.stderr)
        return EX_CANTCREAT
    except OSError as error:
        print(f"cannot write {arguments.export}: {error.strerror}", file=sys.stderr)
        return EX_CANTCREAT
    print(f"{arguments.export}: {len(book.tags)} tag(s); left out {len(left)}", file=sys.stderr)
    return 0


def table(found: list[Node]) -> list[str]:
    """Give lines for people: path, type, unit, range, value, address."""
    rows = [("PATH", "TYPE", "UNIT", "RANGE", "VALUE", "", "ADDRESS")]
    for node in found:
        kind = node.type or node.kind
        span = "" if node.low is None or node.high is None else f"{node.low:g}…{node.high:g}"
        value = "" if node.value is None else str(node.value)
        value = node.values.get(value, value)
        shown = value if len(value) <= WIDEST else value[: WIDEST - 1] + "…"
        rows.append((
            node.path, kind if node.count == 1 else f"{kind}[{node.count}]", node.unit or "", span, shown,
            "writable" if node.writable else "", node.address,
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows
    ]


def book_of(found: list[Node], title: str, left: list[str]) -> TagBook | None:
    """Make a tag book of the variables that one can hold; `left` gets a line for each other one."""
    tags: list[TagSpec] = []
    taken: set[str] = set()
    variables = [node for node in found if node.kind == "variable"]
    for node in variables:
        dated = node.type in {"DateTime", "UtcTime"}
        if node.type not in _BOOKED and not dated:
            left.append(f"left out: {node.path} is of type {node.type or 'unknown'}")
            continue
        if PLACEHOLDER.search(node.address):
            left.append(f"left out: the address of {node.path} would be taken for one with a place to fill in")
            continue
        if node.count > _MOST_ELEMENTS:
            left.append(f"left out: {node.path} has {node.count} elements")
            continue
        text = node.type == "string"
        tags.append(
            TagSpec(
                name=_name(node.path, taken, node.count),
                address=node.address,
                type="float64" if dated else node.type,  # pyright: ignore[reportArgumentType]  # one of _BOOKED
                count=node.count,
                role="clock" if dated else "measurement",
                values=node.values,
                unit=None if text else node.unit,
                low=None if text else node.low,
                high=None if text else node.high,
            )
        )
    return TagBook(title=title, tag=tags) if tags else None  # pyright: ignore[reportCallIssue]  # `tags` goes by its alias


def _name(path: str, taken: set[str], count: int) -> str:
    """Give a name that no other tag has, nor any element of an array: as short as the path allows."""
    parts = [re.sub(r"[^a-z0-9]+", "_", _spaced(part).lower()).strip("_") for part in path.split("/")]
    parts = [part for part in parts if part] or ["tag"]
    wanted = [_begun("_".join(parts[-n:])) for n in range(1, len(parts) + 1)]
    wanted += [f"{wanted[-1]}_{n}" for n in range(2, len(taken) + 3)]
    for name in wanted:
        every = {name, *(f"{name}_{i}" for i in range(count if count > 1 else 0))}
        if not every & taken:
            taken |= every
            return name
    raise AssertionError(path)  # one of more names than there are tags is free


def _spaced(text: str) -> str:
    """Part words written in one: `MotorSpeed` is motor_speed."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)


def _begun(name: str) -> str:
    return name if name[:1].isalpha() else f"tag_{name}"
