"""Which store a command means: a site file's or a bare folder's, and in which language it speaks."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from edge.commands.doctor import language_of
from edge.config import SiteFile
from edge.drivers.finding import LANGUAGES, Language, say
from sync.settings import ConfigError, Document

EX_CONFIG: Final = 78
SOFTWARE: Final = f"triflow {version('triflow')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a command is about."""

    data: Path
    """Folder of edge.db."""
    gateway: str
    """tenant/site/gateway; empty for a bare folder."""
    language: Language

    def say(self, key: str, **words: Any) -> None:
        """Print a sentence of `edge/texts/store.toml`."""
        print(say(f"store.{key}", self.language, words))

    def complain(self, key: str, **words: Any) -> None:
        """Print a sentence where faults go."""
        print(say(f"store.{key}", self.language, words), file=sys.stderr)


def add_subject(parser: argparse.ArgumentParser, what: str = "the site file, or the gateway's data folder") -> None:
    """Give a command its first word and its language."""
    parser.add_argument("subject", type=Path, metavar="SITE.toml|DATA", help=what)
    parser.add_argument("--language", choices=LANGUAGES, help="the gateway's own when left out")


def subject(arguments: argparse.Namespace) -> Subject:
    """Find out what is meant. Raises ConfigError."""
    path: Path = arguments.subject
    if path.is_dir() or path.suffix != ".toml":
        return Subject(data=path, gateway="", language=arguments.language or "ko")
    gateway = Document(path).parse(SiteFile).gateway
    return Subject(
        data=path.resolve().parent / gateway.data,
        gateway=f"{gateway.tenant}/{gateway.site}/{gateway.id}",
        language=arguments.language or language_of(path),
    )


def found(arguments: argparse.Namespace) -> Subject | None:
    """Find out what is meant; a site file that is wrong is said, and None given."""
    try:
        return subject(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None


def now() -> int:
    return time.time_ns()
