"""What the machine's own tags say about production: states, counters' gains, and what was being made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edge.tags import Tag
from sync import quality
from sync.equipment import PackML
from sync.facts import Context, Fact, Produced, StateChanged
from sync.reading import Scalar


def gain(previous: int, now: int, rollover: int | None) -> int:
    """Give what a counter gained: a step back is a roll-over when that is plausible, else a reset to zero.

    A roll-over is plausible when the gain is under a quarter of the modulus: 65535 → 3 on a uint16 is 4.
    """
    if now >= previous:
        return now - previous
    if rollover is not None:
        wrapped = now + rollover - previous
        if 0 <= wrapped < rollover // 4:
            return wrapped
    return now


def counters_of(tags: Sequence[Tag]) -> list[str]:
    """Give the names of what a work unit counts or what follows from it: produced, good, scrap, …, defect.<type>."""
    named = [f"defect.{t.spec.defect}" if t.spec.defect else str(t.spec.counter) for t in tags if t.spec.counter]
    return list(complete(dict.fromkeys(named, 0)))


def complete(gains: dict[str, int]) -> dict[str, int]:
    """Add what follows from the counters there are: of produced, good and scrap two give the third."""
    found = dict(gains)
    if not found.keys() & {"produced", "good", "scrap"}:
        return found
    if "scrap" not in found:
        found["scrap"] = max(0, found["produced"] - found["good"]) if {"produced", "good"} <= found.keys() else 0
    if "produced" not in found:
        found["produced"] = found.get("good", 0) + found["scrap"]
    if "good" not in found:
        found["good"] = max(0, found["produced"] - found["scrap"])
    return found


class ProductionState(msgspec.Struct):
    """What has to survive a restart, so that no piece is counted twice or forgotten."""

    state: str = PackML.UNDEFINED.name
    reason: str | None = None
    state_status: int = quality.BAD_WAITING_FOR_INITIAL_DATA
    state_at: int = 0
    counters: dict[str, int] = {}
    """Tag name → last raw count."""
    gains: dict[str, int] = {}
    """Counter (`produced`, `defect.cap`, …) → gained since the last report."""
    window: dict[str, int] = {}
    """The same since the window opened."""
    reported_until: int = 0
    """Begin of the unreported period, ns; 0 before the first count."""
    counted_at: int = 0
    """Time of the newest count, ns."""
    tags: dict[str, str] = {}
    """Context field → what a tag says."""
    mes: Context = Context()
    ideal_cycle_ms: dict[str, float] = {}
    """Product → planned run time per item."""


class Production:
    """Follows the role tags of one work unit, and turns them into facts."""

    def __init__(self, work_unit: str, tags: Sequence[Tag], report_ns: int) -> None:
        self._work_unit = work_unit
        self._tags = tuple(tags)
        self._report_ns = report_ns
        self._counters = [
            f"defect.{t.spec.defect}" if t.spec.defect else str(t.spec.counter) for t in self._tags if t.spec.counter
        ]
        self.now = ProductionState()
        self.watched = [i for i, t in enumerate(self._tags) if t.spec.role in {"state", "reason", "counter", "context"}]

    @property
    def context(self) -> Context:
        """What is being made: tags of the machine first, the MES for what they do not say."""
        tags, mes = self.now.tags, self.now.mes
        return Context(
            order=tags.get("order", mes.order),
            product=tags.get("product", mes.product),
            lot=tags.get("lot", mes.lot),
            shift=tags.get("shift", mes.shift),
            stale=mes.stale and not {"order", "product"} <= tags.keys(),
        )

    def take(self, rows: Sequence[tuple[int, Scalar, int, int]]) -> list[Fact]:
        """Take (local tag, value, status, source time) in time order; give the facts they make."""
        facts: list[Fact] = []
        before = self._situation()
        for k, (tag, value, status, at) in enumerate(rows):
            self._report_if_due(at, facts)
            self._one(tag, value, status, at, facts)
            last_of_moment = k + 1 == len(rows) or rows[k + 1][3] != at
            if last_of_moment and (after := self._situation()) != before:  # what changed at one moment is one fact
                # A machine seen again may say that its state is older than our losing sight of it: then it never changed,
                # and the newest word must not stand before the last one.
                facts.append(self._state_fact(at))
                before = after
        return facts

    def _situation(self) -> tuple[str, str | None, int, Context]:
        """What a state fact says: a change of order within one state is a fact too, so that time can be split by it."""
        return self.now.state, self.now.reason, self.now.state_status, self.context

    def _one(self, tag: int, value: Scalar, status: int, at: int, facts: list[Fact]) -> None:
        spec, now = self._tags[tag].spec, self.now
        bad = bool(status & quality.BAD) or value is None
        match spec.role:
            case "state":
                now.state = PackML.UNDEFINED.name if bad else self._state_name(spec.values, value)
                now.state_status = status
            case "reason":
                text = None if bad else self._text(spec.values, value)
                now.reason = text or None
            case "counter" if not bad and isinstance(value, int | float):
                self._count(
                    spec.name,
                    f"defect.{spec.defect}" if spec.defect else str(spec.counter),
                    int(value),
                    at,
                    spec.rollover,
                )
            case "context" if not bad:
                text = self._text(spec.values, value)
                if now.tags.get(str(spec.context)) != text:
                    self.flush(at, facts)
                    now.tags[str(spec.context)] = text
            case _:
                pass

    @staticmethod
    def _text(values: dict[str, str], value: Scalar) -> str:
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        return values.get(text, text)

    def _state_name(self, values: dict[str, str], value: Scalar) -> str:
        text = self._text(values, value)
        if text in PackML.__members__:
            return text
        try:
            return PackML(int(text)).name
        except ValueError:
            return PackML.UNDEFINED.name

    def _count(self, name: str, counter: str, value: int, at: int, rollover: int | None) -> None:
        now = self.now
        gained = gain(now.counters[name], value, rollover) if name in now.counters else 0
        now.counters[name] = value
        now.counted_at = max(now.counted_at, at)
        if now.reported_until == 0:
            now.reported_until = at
        if gained:
            now.gains[counter] = now.gains.get(counter, 0) + gained
            now.window[counter] = now.window.get(counter, 0) + gained

    def _report_if_due(self, at: int, facts: list[Fact]) -> None:
        begin = self.now.reported_until
        newest = (at - 1) // self._report_ns  # what is counted at a boundary was gained before it
        if begin and newest > begin // self._report_ns:
            self.flush(newest * self._report_ns, facts)

    def flush(self, at: int, facts: list[Fact]) -> None:
        """Report what was gained until `at`; nothing when nothing was."""
        now = self.now
        gains, begin = now.gains, now.reported_until
        if begin == 0 or at <= begin:
            return
        now.reported_until, now.gains = at, {}
        if not any(gains.values()):
            return
        defects = {name.removeprefix("defect."): n for name, n in gains.items() if name.startswith("defect.") and n}
        whole = complete({name: gains.get(name, 0) for name in self._counters} | gains)
        context = self.context
        facts.append(
            Produced(
                at=at,
                work_unit=self._work_unit,
                start=begin,
                produced=whole.get("produced", 0),
                good=whole.get("good", 0),
                scrap=whole.get("scrap", 0),
                rework=whole.get("rework", 0),
                defects=defects,
                ideal_cycle_ms=now.ideal_cycle_ms.get(context.product or ""),
                energy_wh=gains.get("energy_wh"),
                context=context,
            )
        )

    def tick(self, at: int) -> list[Fact]:
        """Report what is due although no tag changed."""
        facts: list[Fact] = []
        self._report_if_due(at, facts)
        return facts

    def set_back(self, old: int, new: int, facts: list[Fact]) -> None:
        """The machine's clock was set back from `old` to `new`: report what was gained until then, and count on from there."""
        self.flush(old, facts)
        now = self.now
        if now.reported_until:
            now.reported_until = new
        now.counted_at = min(now.counted_at, new)
        now.state_at = min(now.state_at, new)

    def lost(self, at: int) -> list[Fact]:
        """Say that nobody can see the machine any more."""
        if self.now.state_status & quality.BAD:
            return []
        self.now.state, self.now.reason = PackML.UNDEFINED.name, None
        self.now.state_status = quality.BAD_NO_COMMUNICATION
        return [self._state_fact(at)]

    def tell(self, context: Context, ideal_cycle_ms: dict[str, float], at: int) -> list[Fact]:
        """Take what the MES says is being made."""
        facts: list[Fact] = []
        self.now.ideal_cycle_ms = dict(ideal_cycle_ms)
        if context != self.now.mes:
            before, kept = self.context, self.now.mes
            self.now.mes = context
            if self.context != before:
                self.now.mes = kept  # what was made until now belongs to what was being made until now
                self.flush(at, facts)
                self.now.mes = context
                if self.now.state_at:
                    facts.append(self._state_fact(at))
        return facts

    def window_counts(self) -> dict[str, int]:
        """Give the gains since the last call; a counter that did not move gained 0."""
        counts = self.counts_so_far()
        self.now.window = {}
        return counts

    def counts_so_far(self) -> dict[str, int]:
        """Give the gains since `window_counts` was called, and leave them to it."""
        return complete(dict.fromkeys(self._counters, 0) | self.now.window)

    def _state_fact(self, at: int) -> StateChanged:
        """Say the situation as of `at`, but never before what was said last.

        A server that was away gives a state its own, old time: that it lasted through our blindness is then known.
        """
        at = max(at, self.now.state_at + 1)
        self.now.state_at = at
        return StateChanged(
            at=at,
            work_unit=self._work_unit,
            state=self.now.state,
            reason=self.now.reason,
            status=self.now.state_status,
            context=self.context,
        )

    def dump(self) -> dict[str, Any]:
        return msgspec.to_builtins(self.now)

    def restore(self, state: object) -> None:
        """Take a state back. Raises msgspec.ValidationError when it is none."""
        self.now = msgspec.convert(state, ProductionState)
