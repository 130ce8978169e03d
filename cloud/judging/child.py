"""A batch in a process of its own: `python -m cloud.judging.child`, what is asked on stdin, what came of it on stdout.

It gives way to the cloud that asked, reads on a connection that cannot write, and can be ended at any moment. What is
asked holds the database's password, so it stands in no command line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

import msgspec
from sqlalchemy import make_url

from cloud.database import Connection, Postgresql, Sqlite
from cloud.judging.archive import Archive
from cloud.judging.history import Fleet, Sampled, Tested
from cloud.judging.replaying import AskedError, Fault
from cloud.packages.store import Packages
from edge.judgment.archive import ArchiveError
from edge.judgment.batch import Sampling, Wanted
from edge.judgment.steps import Memory

NICE = 19


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked."""

    url: str
    """Of the database."""
    packages: str
    """Folder."""
    tenant: str
    wanted: Wanted
    rules: str
    sample: int | None = None
    """So many, each replayed whole; None: all of them, in columns."""
    sampling: Sampling = "random"
    seed: int = 0
    memory: Memory = "continuous"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: an answer, faults of the request, or what is not at hand."""

    tested: Tested | None = None
    sampled: Sampled | None = None
    faults: list[Fault] = []
    problem: Literal["", "not_at_hand"] = ""
    message: str = ""


def opened(url: str) -> Connection:
    """Give a connection that only reads. Raises DatabaseError's causes as the driver does."""
    made = make_url(url)
    if made.get_backend_name() == "postgresql":
        return Postgresql(made, writer=False)
    return Sqlite(made.database or "", writer=False)


def outcome(asked: Batch) -> Outcome:
    """Answer it. Whatever the driver raises goes through: the parent says that the database cannot answer."""
    connection = opened(asked.url)
    try:
        fleet = Fleet(connection, Archive(Packages(Path(asked.packages))), asked.tenant)
        if asked.sample is None:
            return Outcome(tested=fleet.tested(asked.wanted, asked.rules, asked.memory))
        return Outcome(sampled=fleet.sampled(asked.wanted, asked.sample, asked.sampling, asked.seed, asked.rules))
    except AskedError as error:
        return Outcome(faults=list(error.faults))
    except ArchiveError as error:
        return Outcome(problem="not_at_hand", message=str(error))
    finally:
        connection.close()


def main() -> int:
    """Read one request, write one outcome."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Batch)
    sys.stdout.buffer.write(msgspec.json.encode(outcome(asked)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
