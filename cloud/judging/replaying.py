"""One verdict judged again: by what judged it, by up to five other versions, or with other inputs.

A dry run: nothing is written, sent or counted. `case` reads what is needed, `answered` judges, so that the database is
not held meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cloud.database import Connection
from cloud.judging.archive import Archive, activation, newest
from cloud.judging.verdicts import Recorded
from edge.judgment.archive import ArchiveError
from edge.judgment.compare import MOST_VERSIONS, Comparison, compare
from edge.judgment.names import LineNames
from edge.judgment.replay import Bundle, Model, replay
from edge.judgment.whatif import Overrides, WhatIf, what_if
from models.ruleset import Ruleset
from models.rulesets import RulesetError, load
from sync.facts import Judged
from sync.judgment import RulesetActivated


class Fault(msgspec.Struct, frozen=True):
    """One field of a request that cannot be used."""

    field: str
    message: str


class AskedError(ValueError):
    """A request that cannot be answered as it is; `faults` names every field."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict by one version."""

    version: str
    """original, rules 1, rules 2, … or model 1, …: in the order asked."""
    replay: Judged
    comparison: Comparison
    missing: list[str]
    """Inputs these rules read and the record does not hold."""
    model: str
    """Where the model's answer comes from: none, recorded, recomputed or not_held."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict judged again, in one of three ways."""

    original: Judged
    exact: bool | None = None
    """By what judged it: whether it is the same byte for byte. None where something else was asked."""
    differs: list[str] = []
    """Fields that are not the same, where it is not exact."""
    versions: list[Version] = []
    what_if: list[WhatIf] = []
    notes: list[str] = []
    """What was not at hand, and what to do about it."""
    dry_run: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """A verdict and what was told of its rules."""

    one: Recorded
    told: list[RulesetActivated]
    newest: list[RulesetActivated]
    """Of the rules its line runs by now; for names only."""


def case(connection: Connection, one: Recorded) -> Case:
    """Read what is needed to judge a verdict again."""
    told = activation(connection, one)
    return Case(one, told, told or newest(connection, one))


def answered(
    archive: Archive, about: Case, overrides: Overrides, rules: Sequence[str], models: Sequence[str] = ()
) -> Answer:
    """Judge a verdict again. rules: texts of rulesets; models: digests of packages; each is one version.

    Raises AskedError, OverrideError, NotRepeatableError, ArchiveError (MissingError).
    """
    if len(rules) + len(models) > MOST_VERSIONS:
        raise AskedError([Fault("rules", f"{len(rules) + len(models)} versions; name at most {MOST_VERSIONS} in all")])
    fact, notes = about.one.fact, list[str]()
    own = own_model(archive, about.one, notes)
    bundles: list[tuple[str, Bundle]] = []
    if rules:
        names = line_names(archive, about)
        made = compiled(rules, names)
        bundles += [
            (f"rules {number}", Bundle(ruleset=one, names=names, model=own)) for number, one in enumerate(made, start=1)
        ]
    if models or not rules:
        ruleset, names = archive.ruleset(about.told, fact.ruleset_hash)
        tenant = about.one.address.tenant
        asked: list[tuple[str, Model | None]] = [
            (f"model {number}", archive.model(tenant, digest)) for number, digest in enumerate(models, start=1)
        ]
        if not rules and not models:
            asked = [("original", own)]
        bundles += [(name, Bundle(ruleset=ruleset, names=names, model=model)) for name, model in asked]
    with archive.scoring:
        if overrides:
            imagined = [what_if(fact, bundle, overrides) for _, bundle in bundles]
            return Answer(original=fact, what_if=imagined, notes=notes)
        again = [(name, replay(fact, bundle)) for name, bundle in bundles]
    told = [
        Version(
            version=name,
            replay=one.fact,
            comparison=compare(fact, one.fact),
            missing=list(one.missing),
            model=one.model,
        )
        for name, one in again
    ]
    if rules or models:
        return Answer(original=fact, versions=told, notes=notes)
    return Answer(original=fact, exact=again[0][1].exact, differs=list(again[0][1].differs), versions=told, notes=notes)


def own_model(archive: Archive, one: Recorded, notes: list[str]) -> Model | None:
    """Give the model that judged, None where there was none; where its package is not here, its recorded answer stands."""
    if one.fact.ml is None or not one.fact.ml.sha256:
        return None
    try:
        return archive.model(one.address.tenant, one.fact.ml.sha256)
    except ArchiveError as error:
        notes.append(f"{error}; until then the model's recorded answer is taken as it is")
        return None


def line_names(archive: Archive, about: Case) -> LineNames:
    """Give what rules of a verdict's line may name. Raises ArchiveError."""
    told = about.told or about.newest
    return archive.ruleset(told, told[0].ruleset_hash if told else about.one.fact.ruleset_hash)[1]


def compiled(rules: Sequence[str], names: LineNames) -> list[Ruleset]:
    """Compile rulesets for a line. Raises AskedError with every fault of every one of them."""
    faults: list[Fault] = []
    made: list[Ruleset] = []
    for number, text in enumerate(rules):
        try:
            made.append(load(text, names.environment()))
        except RulesetError as error:
            faults += [Fault(f"rules.{number}", str(fault)) for fault in error.faults]
    if faults:
        raise AskedError(faults)
    return made
