"""Many verdicts judged again: a sample with other rules, all of them in columns, or a whole day to prove it is the same.

The words of the answers are those of `edge.judgment.batch`; a line here is a site and a work unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from cloud.bi.times import iso_ns
from cloud.database import Connection
from cloud.judging import verdicts
from cloud.judging.archive import Archive, activations, in_force, newest, parts
from cloud.judging.replaying import AskedError, Case, Fault, compiled, line_names, own_model
from cloud.judging.verdicts import Recorded
from edge.judgment.appraisal import labels
from edge.judgment.backtest import evaluate
from edge.judgment.batch import MOST, Batch, Sampling, Summary, Tally, Wanted, replay_all, sample
from edge.judgment.given import FORM
from edge.judgment.names import LineNames
from edge.judgment.past import Listed, Past
from edge.judgment.past import Recorded as Slim
from edge.judgment.replay import Bundle, replay
from edge.judgment.state import State
from edge.judgment.steps import Memory
from models.ruleset import Ruleset
from sync.judgment import FeedbackGiven, RulesetActivated

BLOCK: Final = 10_000
"""Verdicts that are tried together."""
TOLD: Final = 20
"""So many verdicts that differ are named; the rest are counted."""
MOST_LISTED: Final = 500_000
"""Verdicts a sample is drawn from."""

_Line = tuple[int, str, str]
_Told = list[RulesetActivated]
_slim: Final = msgspec.json.Decoder(Slim)
_word: Final = msgspec.json.Decoder(FeedbackGiven)


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """Rules tried on all verdicts that are meant."""

    total: int
    summary: Summary | None
    """Of all lines; None where no verdict is meant."""
    lines: dict[str, Summary]
    """`site/work unit` → its own."""
    why: dict[str, str] | None = None
    """ko, en: why there is nothing."""
    dry_run: bool = True


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """Rules tried on a sample, each verdict replayed whole."""

    total: int
    """Verdicts that are meant."""
    batch: Batch | None
    why: dict[str, str] | None = None
    dry_run: bool = True


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict that did not come out as it went in."""

    verdict_id: str
    at: int
    line: str
    why: str


class Proof(msgspec.Struct, kw_only=True):
    """What came of judging everything of a time again by what judged it."""

    total: int = 0
    exact: int = 0
    """The same byte for byte."""
    recomputed: int = 0
    """Of those: with the model's answer computed again."""
    different: list[Difference] = []
    more: int = 0
    """Differing ones that are not named."""
    unrepeatable: int = 0
    """Recorded before verdicts kept all their inputs."""
    notes: list[str] = []
    """What was not at hand."""

    @property
    def good(self) -> bool:
        return self.exact + self.unrepeatable == self.total


@dataclass(slots=True)
class _Trial:
    """Rules tried on one line's history, block by block."""

    ruleset: Ruleset
    names: LineNames
    memory: Memory
    tallies: list[Tally]
    _block: list[Slim] = field(default_factory=list[Slim])
    _before: State | None = None

    def take(self, fact: Slim) -> None:
        self._block.append(fact)
        if len(self._block) == BLOCK:
            self.judge()

    def judge(self) -> None:
        past = Past(self._block)
        self._block = []
        test = evaluate(past, self.ruleset, names=self.names, memory=self.memory, before=self._before)
        self._before = test.memory
        for tally in self.tallies:
            tally.take_all(test)


@dataclass(slots=True)
class Fleet:
    """One tenant's verdicts, read on one connection."""

    connection: Connection
    archive: Archive
    tenant: str
    _times: dict[_Line, list[int]] = field(default_factory=dict[_Line, list[int]])
    _cases: dict[tuple[Any, ...], tuple[_Told, _Told]] = field(
        default_factory=dict[tuple[Any, ...], tuple[_Told, _Told]]
    )
    notes: list[str] = field(default_factory=list[str])

    def _lines(self, wanted: Wanted) -> list[tuple[str, str]]:
        found = verdicts.lines(self.connection, self.tenant, wanted)
        if wanted.line is not None and len(found) > 1:
            meant = " or ".join(f"{site}:{unit}" for site, unit in found)
            raise AskedError([Fault("line", f"{len(found)} sites have a line {wanted.line!r}; say which: {meant}")])
        return found

    def labels(self) -> dict[str, str]:
        """Give verdict_id → the decision people say it should have been."""
        rows = self.connection.execute(
            "select f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
            " where s.tenant=? and s.kind='feedback' order by s.at, s.inc, s.seq",
            (self.tenant,),
        )
        return labels(_word.decode(body) for (body,) in rows)

    def tested(self, wanted: Wanted, rules: str, memory: Memory) -> Tested:
        """Try rules on all verdicts that are meant. Models are not run. Raises AskedError, ArchiveError."""
        said = self.labels()
        total, lines = Tally(said), dict[str, Summary]()
        for line in self._lines(wanted):
            own: _Trial | None = None
            for row in verdicts.of_line(self.connection, self.tenant, line, wanted):
                if own is None:
                    names = self._names(next(verdicts.whole(iter([row]))))
                    own = _Trial(_fitting(rules, names, line), names, memory, [Tally(said), total])
                own.take(_slim.decode(row[0]))
            if own is not None:
                own.judge()
                lines["/".join(line)] = own.tallies[0].summary()
        summary = total.summary()
        if not lines:
            return Tested(total=0, summary=None, lines={}, why=self._nothing(wanted))
        return Tested(total=summary.total, summary=summary, lines=lines)

    def sampled(self, wanted: Wanted, size: int, sampling: Sampling, seed: int, rules: str) -> Sampled:
        """Replay a sample of the verdicts that are meant, models too. Raises AskedError, ArchiveError."""
        lines = self._lines(wanted)
        if sum(verdicts.count(self.connection, self.tenant, line, wanted) for line in lines) > MOST_LISTED:
            raise AskedError([Fault("from", f"more than {MOST_LISTED:,} verdicts are meant; ask for a shorter time")])
        meant: list[Listed] = []
        for line in lines:
            meant += verdicts.listed(self.connection, self.tenant, line, wanted)
        if not meant:
            return Sampled(total=0, batch=None, why=self._nothing(wanted))
        chosen = sample(meant, min(size, MOST), sampling, seed)
        found = [verdicts.recorded(self.connection, self.tenant, one.verdict_id) for one in chosen]
        whole = {one.fact.verdict_id: one for one in found if one is not None}
        trial: dict[str, Ruleset] = {}

        def bundle(fact: Any) -> Bundle:
            one = whole[fact.verdict_id]
            names = self._names(one)
            if names.digest not in trial:
                trial[names.digest] = _fitting(rules, names, (one.address.site, fact.work_unit))
            return Bundle(ruleset=trial[names.digest], names=names, model=self._model(one))

        for one in whole.values():  # what is wrong with the rules is said once, not a thousand times
            bundle(one.fact)
            break
        facts = (one.fact for one in whole.values())
        with self.archive.scoring:
            return Sampled(total=len(meant), batch=replay_all(facts, bundle, self.labels()))

    def proven(self, wanted: Wanted) -> Proof:
        """Judge everything that is meant again by what judged it, and compare the bytes."""
        proof = Proof()
        for line in self._lines(wanted):
            for one in self._whole(line, wanted):
                proof.total += 1
                why = self._differs(one, proof)
                if why is None:
                    continue
                if len(proof.different) < TOLD:
                    name = "/".join(line)
                    told = Difference(verdict_id=one.fact.verdict_id, at=one.fact.at, line=name, why=why)
                    proof.different.append(told)
                else:
                    proof.more += 1
        proof.notes = self.notes
        return proof

    def _whole(self, line: tuple[str, str], wanted: Wanted) -> Iterator[Recorded]:
        return verdicts.whole(verdicts.of_line(self.connection, self.tenant, line, wanted))

    def _differs(self, one: Recorded, proof: Proof) -> str | None:
        """Give why a verdict did not come out as it went in; None when it did, or never could."""
        fact = one.fact
        if fact.form < FORM:
            proof.unrepeatable += 1
            return None
        try:
            ruleset, names = self.archive.ruleset(self._case(one).told, fact.ruleset_hash)
            with self.archive.scoring:
                again = replay(fact, Bundle(ruleset=ruleset, names=names, model=self._model(one)))
        except Exception as error:  # noqa: BLE001 - one verdict that cannot be judged again never ends the others
            return f"{type(error).__name__}: {error}"
        raw = msgspec.json.encode(msgspec.structs.replace(fact, cached=False)) if fact.cached else one.raw
        if not again.exact or msgspec.json.encode(again.fact) != raw:
            return f"another {', '.join(again.differs) or 'order of its fields'}"
        proof.exact += 1
        proof.recomputed += again.model == "recomputed"
        return None

    def _case(self, one: Recorded) -> Case:
        """Give what was told of a verdict's rules, read once for all verdicts that stood under the same activation."""
        line = (one.gateway, one.fact.work_unit, one.fact.ruleset_hash)
        if line not in self._times:
            self._times[line] = activations(self.connection, one)
        at = in_force(self._times[line], one.fact.at)
        if (*line, at) not in self._cases:
            told = [] if at is None else parts(self.connection, one, one.fact.ruleset_hash, at)
            self._cases[*line, at] = (told, told or newest(self.connection, one))
        return Case(one, *self._cases[*line, at])

    def _names(self, one: Recorded) -> LineNames:
        return line_names(self.archive, self._case(one))

    def _model(self, one: Recorded) -> Any:
        notes: list[str] = []
        model = own_model(self.archive, one, notes)
        self.notes += [note for note in notes if note not in self.notes]
        return model

    def _nothing(self, wanted: Wanted) -> dict[str, str]:
        row = self.connection.one("select min(at), max(at), count(*) from judgment where tenant=?", (self.tenant,))
        if row is None or not row[2]:
            return {"ko": "아직 판정이 없습니다.", "en": "There is no verdict yet."}
        span = f"{iso_ns(row[0])} – {iso_ns(row[1])}"
        if wanted == Wanted():
            return {"ko": "해당하는 판정이 없습니다.", "en": "No verdict is meant."}
        return {
            "ko": f"이 조건에 맞는 판정이 없습니다. 판정은 {span} 사이에 {row[2]:,}건 있습니다. 기간과 조건을 확인하세요.",
            "en": f"No verdict fits. There are {row[2]:,}, of {span}; check the period and the conditions.",
        }


def _fitting(rules: str, names: LineNames, line: tuple[str, str]) -> Ruleset:
    """Compile rules for a line; what is wrong with them there says where. Raises AskedError."""
    try:
        return compiled([rules], names)[0]
    except AskedError as error:
        raise AskedError([Fault("rules", f"{'/'.join(line)}: {fault.message}") for fault in error.faults]) from error
