"""A TOML file into a frozen type, or every fault of it at once: where it stands, on which line, and what to check."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

T = TypeVar("T", bound=BaseModel)


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Model(BaseModel):
    """A table of a configuration file: a misspelled key is an error on its line."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Label(Model):
    """A display name in both languages."""

    ko: str
    en: str


class Log(Model):
    """Where log lines go: the journal reads text, a log shipper reads JSON."""

    format: Literal["text", "json"] = "text"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault of a configuration file."""

    file: Path
    line: int
    """1-based; 0 when the fault is of the file as a whole."""
    path: str
    """Dotted path in the file: `line[1].window_s`."""
    what: str
    """What is wrong and what to check."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return f"{where}: {self.path}: {self.what}" if self.path else f"{where}: {self.what}"


class ConfigError(Exception):
    """The configuration is wrong; `faults` says all of it. For the person: exit 78, nothing is retried."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = sorted(set(faults))
        super().__init__("\n".join(map(str, self.faults)))


Path_ = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")


def lines_of(text: str) -> dict[Path_, int]:
    """Give the line of every table header and key of a TOML text, by path; arrays of tables by index."""
    found: dict[Path_, int] = {(): 0}
    counts: dict[Path_, int] = {}
    table: Path_ = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = ()
            names = [name.strip().strip("\"'") for name in header[2].split(".")]
            for i, name in enumerate(names):
                table = (*table, name)
                if i == len(names) - 1 and header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = (*table, counts[table])
            found[table] = number
        elif key := _KEY.match(line):
            found.setdefault((*table, *(part.strip().strip("\"'") for part in key[1].split("."))), number)
    return found


class Document:
    """A TOML file that was read, with the means to say where in it something stands."""

    def __init__(self, path: Path) -> None:
        """Read and parse; raises ConfigError when there is no such file or it is no TOML."""
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError([Fault(path, 0, "", f"cannot read it ({error.strerror}); check the path")]) from error
        except UnicodeDecodeError as error:
            raise ConfigError([Fault(path, 0, "", f"is not UTF-8 ({error.reason}); save it as UTF-8")]) from error
        try:
            self.data: dict[str, Any] = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"line (\d+)", str(error))
            line = int(at[1]) if at else self.text.count("\n") + 1
            raise ConfigError([Fault(path, line, "", f"is not TOML: {error}")]) from error
        except ValueError as error:  # a number of more than 4,300 digits
            raise ConfigError([Fault(path, 0, "", f"is not TOML: {error}; write a shorter number")]) from error
        except RecursionError as error:
            raise ConfigError([Fault(path, 0, "", "is nested too deep to be read; check its brackets")]) from error
        self._lines = lines_of(self.text)

    def fault(self, path: Path_, what: str) -> Fault:
        """Give a fault at a path, on the line of the nearest thing that stands in the file."""
        known = path
        while known and known not in self._lines:
            known = known[:-1]
        dotted = ""
        for part in path:
            dotted += f"[{part}]" if isinstance(part, int) else f"{'.' if dotted else ''}{part}"
        return Fault(self.path, self._lines.get(known, 0), dotted, what)

    def parse(self, kind: type[T]) -> T:
        """Give the file as `kind`; raises ConfigError with every fault."""
        try:
            return kind.model_validate(self.data)
        except ValidationError as error:
            raise ConfigError([self._explain(e, _keys(kind)) for e in error.errors()]) from error

    def _explain(self, error: Any, keys: Sequence[str]) -> Fault:
        path = self._in_file(tuple(error["loc"]))
        kind, message = str(error["type"]), str(error["msg"])
        if kind == "extra_forbidden":
            close = difflib.get_close_matches(str(path[-1]), keys, 1)
            message = "unknown key; " + (f"did you mean {close[0]!r}?" if close else "check its table and its spelling")
        elif kind == "missing":
            message = "is missing; add it"
        elif kind == "union_tag_invalid":
            message = f"{error['ctx']['tag']!r} is none of {error['ctx']['expected_tags']}"
            path = (*path, "driver")
        else:
            message = message.removeprefix("Value error, ")
            if not isinstance(error["input"], dict):  # a whole table says nothing the line does not
                message = f"{message} (it is {error['input']!r})"
        return self.fault(path, message)

    def _in_file(self, loc: tuple[str | int, ...]) -> Path_:
        """Drop what pydantic puts into a path that is not in the file (the tag of a union)."""
        here: Any = self.data
        path: list[str | int] = []
        for i, part in enumerate(loc):
            if isinstance(here, dict) and part in here:
                here = cast("dict[str | int, Any]", here)[part]
                path.append(part)
            elif isinstance(here, list) and isinstance(part, int) and part < len(cast("list[Any]", here)):
                here = cast("list[Any]", here)[part]
                path.append(part)
            elif i == len(loc) - 1:
                path.append(part)
        return tuple(path)


def _keys(kind: type[BaseModel]) -> list[str]:
    schema = kind.model_json_schema()
    tables = [schema, *schema.get("$defs", {}).values()]
    return sorted({name for table in tables for name in table.get("properties", {})})


def nearest(name: str, known: Sequence[str]) -> str:
    """Say which known name was probably meant, or list them."""
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}"
