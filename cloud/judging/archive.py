"""What judged: rulesets with the names they were compiled against, from `ruleset` facts; model packages, by digest.

Compiled rulesets and opened packages are kept in the process, a bounded number of each. A ruleset is only ever used under
the hash of its own content, so that what one gateway says cannot pass for what another one runs.
"""

from __future__ import annotations

import bisect
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from cloud.database import Connection
from cloud.judging.verdicts import Recorded
from cloud.packages.store import Packages
from edge.judgment.archive import ArchiveError, kept
from edge.judgment.names import LineNames
from edge.judgment.scored import PackagedModel
from models.features import FeatureError
from models.package import PackageRefusedError, read
from models.ruleset import Ruleset
from models.session import SessionError
from sync.judgment import RulesetActivated

RULESETS: Final = 64
MODELS: Final = 8
LIBRARY: Final = Path(__file__).parents[2] / "models" / "library"

_fact: Final = msgspec.json.Decoder(RulesetActivated)
T = TypeVar("T")


class MissingError(ArchiveError):
    """What is asked for is not at hand; the message says what to do about it."""


class _Few(Generic[T]):
    """The newest few of what is dear to make."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[object, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = make()
        with self._lock:
            self._known[key] = made
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return made


def activation(connection: Connection, one: Recorded) -> list[RulesetActivated]:
    """Give the facts that tell of a verdict's ruleset on its line: as activated last before it, else first after it."""
    at = in_force(activations(connection, one), one.fact.at)
    return [] if at is None else parts(connection, one, one.fact.ruleset_hash, at)


def activations(connection: Connection, one: Recorded) -> list[int]:
    """Give when a verdict's ruleset was activated on its line, ns, the first first."""
    rows = connection.execute(
        "select distinct at from fact_subject where tenant=? and kind='ruleset' and subject=? and work_unit=? and gateway=?"
        " order by at",
        (one.address.tenant, one.fact.ruleset_hash, one.fact.work_unit, one.gateway),
    )
    return [at for (at,) in rows]


def in_force(times: Sequence[int], at: int) -> int | None:
    """Give which of these activations a verdict stood under; one that is said to be older than all stood under the first."""
    place = bisect.bisect_right(times, at)
    return times[max(0, place - 1)] if times else None


def newest(connection: Connection, one: Recorded) -> list[RulesetActivated]:
    """Give the facts of the ruleset that a verdict's line was told last: its names hold for other rules, too."""
    row = connection.one(
        "select subject, at from fact_subject where tenant=? and kind='ruleset' and work_unit=? and gateway=?"
        " order by at desc, seq desc limit 1",
        (one.address.tenant, one.fact.work_unit, one.gateway),
    )
    return [] if row is None else parts(connection, one, *row)


def parts(connection: Connection, one: Recorded, digest: str, at: int) -> list[RulesetActivated]:
    """Give the facts of one activation on a verdict's line."""
    rows = connection.execute(
        "select f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
        " where s.tenant=? and s.kind='ruleset' and s.subject=? and s.work_unit=? and s.gateway=? and s.at=?",
        (one.address.tenant, digest, one.fact.work_unit, one.gateway, at),
    )
    return [_fact.decode(body) for (body,) in rows]


class Archive:
    """Rulesets and packages of all tenants. Threads may share it."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._rulesets: _Few[tuple[Ruleset, LineNames]] = _Few(RULESETS)
        self._models: _Few[PackagedModel] = _Few(MODELS)
        self.scoring = threading.Lock()
        """Held while a model is asked: a session answers one at a time."""

    def ruleset(self, told: Sequence[RulesetActivated], wanted: str) -> tuple[Ruleset, LineNames]:
        """Give the ruleset with this hash, compiled, and what its line could name.

        Raises MissingError when nothing was told of it, ArchiveError when what was told cannot be used.
        """
        if not told:
            raise MissingError(
                f"the ruleset {wanted[:12]} that judged has not arrived: its gateway tells of it when it is activated;"
                " see /api/v1/completeness, and replay on the gateway meanwhile (triflow replay)"
            )

        def compiled() -> tuple[Ruleset, LineNames]:
            content = kept(told)
            if content.names.digest != told[0].names:
                raise ArchiveError("what was told of a ruleset's names is not what it is called")
            return content.ruleset(wanted), content.names

        return self._rulesets.get((told[0].names, wanted), compiled)

    def model(self, tenant: str, digest: str) -> PackagedModel:
        """Give a package's model for replays. Raises MissingError, and ArchiveError for a file that is none."""

        def opened() -> PackagedModel:
            path = self._packages.find(tenant, digest) or library().get(digest)
            if path is None:
                raise MissingError(
                    f"the model package {digest[:12] or '(unnamed)'} is not here; put its .tfm file into the cloud's"
                    " store: triflow cloud package cloud.toml put FILE.tfm --to all"
                )
            try:
                package = read(path, trusted=None)  # whoever put it here is trusted with more than that
                if package.sha256 != digest:
                    raise ArchiveError(f"the file of the model package {digest[:12]} was changed; put it there anew")
                return PackagedModel(package)
            except (OSError, PackageRefusedError, SessionError, FeatureError) as error:
                raise ArchiveError(f"the model package {digest[:12]} cannot be used: {error}") from error

        return self._models.get((tenant, digest), opened)


@functools.cache
def library() -> dict[str, Path]:
    """Give the packages that come with Triflow: digest → file."""
    return {read(path, trusted=None).sha256: path for path in sorted(LIBRARY.glob("*/*.tfm"))}
