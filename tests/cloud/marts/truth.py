"""What every mart must hold, worked out from the facts that count in plain Python: no SQL, nothing of cloud.marts but
the calendar. Slow, obvious, and written apart from what it checks."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from cloud.marts.calendar import Calendar, Instance
from sync import facts as f
from sync.equipment import time_element

MS = 1_000_000
TIMES = ("apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms")
ELEMENT = {
    "production": "apt_ms",
    "setup": "setup_ms",
    "delay": "delay_ms",
    "down": "down_ms",
    "planned_down": "planned_down_ms",
    "unknown": "unknown_ms",
}
MEASURES = (
    *("calendar_ms", "scheduled_ms", "apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms"),
    *("produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us", "energy_wh"),
    *("judgments", "warnings", "criticals", "unknowns", "planned_micro", "failures"),
)
PIECES = ("produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us", "energy_wh")


class Truth:
    """All tables of one site: name → rows as sets of tuples in the order of the columns."""

    def __init__(self, key: tuple[str, str], calendar: Calendar, facts: list[f.Fact], known: dict[str, int], now: int):
        self.key, self.calendar, self.facts, self.known, self.now = key, calendar, facts, known, now
        self.tables: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.shifts: dict[tuple[str, Instance], dict[str, Counter[str]]] = {}
        self.defects: dict[tuple[str, Instance], Counter[tuple[str, str]]] = {}
        lines = sorted({fact.work_unit for fact in facts if fact.work_unit})
        ends = [fact.end // MS for fact in facts if isinstance(fact, f.JobOrderPlanned)]
        begin = min(getattr(fact, "start", fact.at) // MS for fact in facts)
        self.instances = calendar.between(begin - 86_400_000, max([now, *ends]) + 86_400_000)
        for line in lines:
            for instance in self.instances:
                self._shift(line, instance)
            self._hours(line)
        for line in [*lines, ""]:
            self._quality(line)
        self._days()
        self._sites()
        self._stock()

    def of(self, kind: type[Any], line: str | None = None) -> list[Any]:
        return [x for x in self.facts if isinstance(x, kind) and (line is None or x.work_unit == line)]

    def _where(self, line: str) -> tuple[str, str, str]:
        return (*self.key, line)

    def _inside(self, kind: type[Any], line: str, one: Instance) -> list[Any]:
        return [x for x in self.of(kind, line) if one.start_ms <= (x.at - 1) // MS < one.end_ms]

    def _shift(self, line: str, one: Instance) -> None:
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        made, judged = self._inside(f.Produced, line, one), self._inside(f.Judged, line, one)
        plan = self._plan(line, one)
        states = sorted(self.of(f.StateChanged, line), key=lambda x: x.at)
        before = [x for x in states if x.at // MS < one.start_ms]
        inside = [x for x in states if one.start_ms <= x.at // MS < one.end_ms]
        gaps = [(x.start // MS, x.at // MS) for x in self.of(f.Gap, line)]
        silent = [g for g in gaps if g[1] * MS > one.start_ms * MS and g[0] < one.end_ms]
        known = self.known.get(line, 0)
        if not self._passed(line, one) and not (
            made or judged or plan or silent or inside or (before and known > one.start_ms)
        ):
            return
        stops = self._time(one, states, gaps, max(known, one.start_ms), sums)
        orders: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        defects: Counter[tuple[str, str]] = Counter()
        for fact in made:
            product = fact.context.product or ""
            pieces = Counter(produced=fact.produced, good=fact.good, scrap=fact.scrap, rework=fact.rework)
            pieces["energy_wh"] = fact.energy_wh or 0
            if fact.ideal_cycle_ms is None:
                pieces["unrated"] = fact.produced
            else:
                pieces["ideal_us"] = round(fact.produced * fact.ideal_cycle_ms * 1000)
                pieces["ideal_good_us"] = round(fact.good * fact.ideal_cycle_ms * 1000)
            sums[product].update(pieces)
            orders[fact.context.order or "", fact.context.lot or "", product].update(pieces)
            for defect, quantity in fact.defects.items():
                defects[product, defect] += quantity
        verdicts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for fact in judged:
            product = fact.context.product or ""
            said = Counter(judgments=1)
            said.update(
                {"warning": ["warnings"], "critical": ["criticals"], "unknown": ["unknowns"]}.get(fact.decision, [])
            )
            sums[product].update(said)
            model = f"{fact.ml.model} {fact.ml.version}" if fact.ml else ""
            extra = Counter(needs_human=int(fact.needs_human), confidence_ppm=round(fact.confidence * 1e6))
            verdicts[product, fact.ruleset, fact.ruleset_version, model].update(said + extra)
        for product, micro in plan.items():
            sums[product]["planned_micro"] += micro
        self.shifts[line, one], self.defects[line, one] = sums, defects
        here, when = (*self._where(line), one.start_ms), (one.business_date, one.shift)
        for product, found in sums.items():
            self.tables["mart_shift"].append((*here, product, one.end_ms, *when, *(found[name] for name in MEASURES)))
        self.tables["mart_stop"] += [(*here, *key, *value, *when) for key, value in stops.items()]
        self.tables["mart_defect"] += [(*here, *key, n, *when) for key, n in defects.items()]
        self.tables["mart_order"] += [(*here, *key, *when, *(n[name] for name in PIECES)) for key, n in orders.items()]
        names = ("judgments", "warnings", "criticals", "unknowns", "needs_human", "confidence_ppm")
        self.tables["mart_judgment"] += [(*here, *key, *when, *(n[x] for x in names)) for key, n in verdicts.items()]

    def _passed(self, line: str, one: Instance) -> bool:
        """Tell whether a shift is over and the line counted by then: with nothing heard, all of it is unknown."""
        states = [x.at // MS for x in self.of(f.StateChanged, line)]
        pieces = [max(x.start, x.at - 1) // MS for x in self.of(f.Produced, line)]
        return min([*states, *pieces, self.now]) < one.end_ms <= self.now - 1_000

    def _plan(self, line: str, one: Instance) -> dict[str, int]:
        newest: dict[str, f.JobOrderPlanned] = {}
        for fact in sorted(self.of(f.JobOrderPlanned, line), key=lambda x: x.at):
            newest[fact.order] = fact
        found: dict[str, int] = {}
        for fact in newest.values():
            a, b = max(fact.start, one.start_ms * MS), min(fact.end, one.end_ms * MS)
            if fact.state == "cancelled" or a >= b:
                continue
            whole, length = fact.quantity * 10**6, fact.end - fact.start
            part = whole * (b - fact.start) // length - whole * (a - fact.start) // length
            found[fact.product] = found.get(fact.product, 0) + part
        return found

    def _time(self, one: Instance, states: list[Any], gaps: list[Any], known: int, sums: dict[str, Counter[str]]):
        until = one.end_ms if one.end_ms <= self.now else max(one.start_ms, min(one.end_ms, known))
        stops: dict[tuple[str, str], tuple[int, int]] = {}
        cuts = {one.start_ms, until, known} | {x.at // MS for x in states}
        cuts |= {t for pair in (*gaps, *one.breaks) for t in pair}
        for a, b in pairwise(sorted(cut for cut in cuts if one.start_ms <= cut <= until)):
            held = [x for x in states if x.at // MS <= a]
            element, name, product = "unknown", "UNDEFINED", ""
            if held and a < known and not any(x <= a < y for x, y in gaps):
                element = time_element(held[-1].state, held[-1].reason)
                name, product = held[-1].reason or held[-1].state, held[-1].context.product or ""
            elif held:
                product = ""
            if not one.shift:
                worked = element == "production"
                times = ("calendar_ms", "scheduled_ms", "apt_ms") if worked else ("calendar_ms",)
                sums[product if worked else ""].update(dict.fromkeys(times, b - a))
                continue
            pause = element != "production" and any(x <= a < y for x, y in one.breaks)
            if pause:
                element, name = "planned_down", "break"
            sums[product].update({"calendar_ms": b - a, "scheduled_ms": b - a, ELEMENT[element]: b - a})
            began = bool(held) and held[-1].at // MS == a
            if element == "down" and began:
                earlier = [x for x in states if x.at // MS < a]
                if not earlier or time_element(earlier[-1].state, earlier[-1].reason) != "down":
                    sums[product]["failures"] += 1
            if element != "production":
                spent, count = stops.get((element, name), (0, 0))
                stops[element, name] = (spent + b - a, count + (began and not pause))
        return stops

    def _hours(self, line: str) -> None:
        found: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        for x in self.of(f.Produced, line):
            key = (self.calendar.hour((x.at - 1) // MS), x.context.product or "")
            found[key].update(produced=x.produced, good=x.good, scrap=x.scrap, rework=x.rework, energy=x.energy_wh or 0)
        names = ("produced", "good", "scrap", "rework", "energy")
        self.tables["mart_hour"] += [(*self._where(line), *key, *(n[x] for x in names)) for key, n in found.items()]

    def _quality(self, line: str) -> None:
        found: dict[tuple[Any, ...], list[f.QualityMeasured]] = defaultdict(list)
        for x in self.of(f.QualityMeasured, line):
            one = self.calendar.at(x.at // MS)
            found[one, x.product or "", x.lot or "", x.characteristic, x.unit or ""].append(x)
        for (one, *key), told in found.items():
            values = [round(x.value * 1e6) for x in told if isinstance(x.value, int | float)]
            counts = (len(told), *(sum(x.passed is p for x in told) for p in (True, False, None)))
            spread = (len(values), sum(values), min(values, default=None), max(values, default=None))
            row = (*self._where(line), one.start_ms, *key, one.business_date, one.shift, *counts, *spread)
            self.tables["mart_quality"].append(row)

    def _days(self) -> None:
        days: dict[tuple[str, str], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        start: dict[tuple[str, str], int] = {}
        oee: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        trend: dict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
        kinds: dict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
        for (line, one), sums in self.shifts.items():
            day = one.business_date
            start[line, day] = min(start.get((line, day), one.start_ms), one.start_ms)
            for product, n in sums.items():
                days[line, day][product].update(n)
                oee[line, day, one.shift].update(n)
                trend[line, day, product, one.shift].update(n)
            for (product, defect), n in self.defects[line, one].items():
                kinds[line, day, product, one.shift][defect] += n
        self.days = days
        for (line, day), sums in days.items():
            head = (*self._where(line), day)
            for product, n in sums.items():
                self.tables["mart_day"].append((*head, product, start[line, day], *(n[name] for name in MEASURES)))
        stops: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        for row in self.tables["mart_stop"]:
            for place, value in enumerate(row[6:8]):
                stops[row[2], row[8], row[4], row[5]][place] += value
        for (line, day, *key), value in stops.items():
            self.tables["mart_day_stop"].append((*self._where(line), day, *key, start[line, day], *value))
        bad: Counter[tuple[str, ...]] = Counter()
        for (line, day, product, _), n in kinds.items():
            for defect, quantity in n.items():
                bad[line, day, product, defect] += quantity
        for (line, day, *key), n in bad.items():
            self.tables["mart_day_defect"].append((*self._where(line), day, *key, start[line, day], n))
        for (line, day, shift), n in oee.items():
            figures, reason = self._oee(n)
            busy = sum(n[name] for name in TIMES) - n["planned_down_ms"]
            counts = (busy, *(n[name] for name in TIMES), n["produced"], n["good"], n["scrap"], n["planned_micro"])
            fast = int(figures[3] is not None and figures[3] > 1)
            row = (*self._where(line), day, shift, *counts, *figures, self._achieved(n), reason, fast)
            self.tables["mv_oee_daily"].append(row)
        for (line, day, product, shift), n in trend.items():
            classified = kinds[line, day, product, shift]
            if not n["produced"] and not classified:
                continue
            window = {d: days[line, d][product] for d in self._week(day) if product in days.get((line, d), {})}
            made, good = (sum(x[name] for x in window.values()) for name in ("produced", "good"))
            today = days[line, day][product]
            now = self._part(today["produced"] - today["good"], today["produced"])
            usual = self._part(made - today["produced"] - good + today["good"], made - today["produced"])
            word = None
            if now is not None and usual is not None:
                word = "increasing" if now > usual * 1.1 else "decreasing" if now < usual * 0.9 else "stable"
            top = sorted(([d, q] for d, q in classified.items()), key=lambda x: (-x[1], x[0]))[:5]
            rejected = n["produced"] - n["good"]
            counts = (n["produced"], n["good"], rejected, sum(classified.values()))
            rates = (
                self._part(rejected, n["produced"]),
                self._part(n["good"], n["produced"]),
                self._part(made - good, made),
            )
            said = json.dumps(top, ensure_ascii=False)
            self.tables["mv_defect_trend"].append(
                (*self._where(line), day, product, shift, *counts, *rates, word, said)
            )

    def _week(self, day: str) -> list[str]:
        return [(date.fromisoformat(day) - timedelta(days=back)).isoformat() for back in range(7)]

    def _part(self, numerator: float, denominator: float) -> float | None:
        return numerator / denominator if denominator > 0 else None

    def _achieved(self, n: Counter[str]) -> float | None:
        return self._part(n["produced"] * 10**6, n["planned_micro"])

    def _oee(self, n: Counter[str]) -> tuple[tuple[float | None, ...], str | None]:
        busy = sum(n[name] for name in TIMES) - n["planned_down_ms"]
        rated = not n["unrated"]
        a = self._part(n["apt_ms"], busy)
        e = self._part(n["ideal_us"] / 1000, n["apt_ms"]) if rated else None
        q = self._part(n["ideal_good_us"], n["ideal_us"]) if rated else None
        reason = None
        if busy == 0:
            reason = "no_plan" if n["scheduled_ms"] else "no_states"
        elif n["unknown_ms"] == busy:
            reason = "unknown_state"
        elif not rated:
            reason = "no_ideal_cycle"
        whole = n["ideal_good_us"] / 1000 / busy if reason is None else None
        p = None if e is None else min(e, 1.0)
        percent = [None if x is None else 100 * x for x in (a, p, q, whole)]
        return (a, self._part(n["apt_ms"], busy - n["setup_ms"]), p, e, q, whole, *percent), reason

    def _sites(self) -> None:
        alarms = Counter(
            (x.work_unit, self.calendar.at(x.at // MS).business_date) for x in self.of(f.AlarmChanged) if x.active
        )
        dates = sorted({day for _, day in self.days} | {row[8] for row in self.tables["mart_quality"]})
        for day in dates:
            rows: list[tuple[Any, ...]] = []
            whole: Counter[str] = Counter()
            for line in sorted({line for line, d in self.days if d == day}):
                n: Counter[str] = Counter()
                for one in self.days[line, day].values():
                    n.update(one)
                whole.update(n)
                figures, reason = self._oee(n)
                busy = sum(n[name] for name in TIMES) - n["planned_down_ms"]
                rejected = n["produced"] - n["good"]
                times = (busy, *(n[name] for name in TIMES), n["scheduled_ms"])
                pieces = (n["produced"], n["good"], n["scrap"], rejected, n["planned_micro"])
                kinds = sum(one["produced"] > 0 for one in self.days[line, day].values())
                yielded, achieved = self._part(n["good"], n["produced"]), self._achieved(n)
                score = None
                if figures[0] is not None and yielded is not None and achieved is not None:
                    score = 100 * (0.3 * figures[0] + 0.4 * yielded + 0.3 * achieved)
                used = None if n["unrated"] else self._part(n["ideal_us"] / 1000, n["scheduled_ms"])
                counts = (kinds, n["judgments"], n["warnings"], n["criticals"], alarms[line, day], n["failures"])
                rate = self._part(rejected, n["produced"])
                row = (*self._where(line), day, *times, *pieces, rate, *figures, achieved, reason, *counts, used, score)
                rows.append(row)
            for row in rows:
                better = sum(other[-1] is not None and row[-1] is not None and other[-1] > row[-1] for other in rows)
                self.tables["mv_line_performance"].append((*row, None if row[-1] is None else 1 + better))
            tests = [row for row in self.tables["mart_quality"] if row[8] == day]
            told = [sum(row[10 + i] for row in tests) for i in range(4)]
            rejected = whole["produced"] - whole["good"]
            rate = self._part(rejected, whole["produced"])
            bad = sum(row[-1] for row in self.tables["mart_day_defect"] if row[3] == day)
            pieces = (whole["produced"], whole["good"], rejected, whole["scrap"], whole["rework"], bad)
            rates = (rate, None if rate is None else rate * 100)
            self.tables["mv_quality_summary"].append(
                (*self.key, day, *pieces, *rates, *told, self._part(told[2], told[1] + told[2]))
            )

    def _stock(self) -> None:
        last: dict[tuple[str, str, str], f.InventoryCounted] = {}
        for x in sorted(self.of(f.InventoryCounted), key=lambda x: x.at):
            last[x.material, x.location, self.calendar.at(x.at // MS).business_date] = x
        for (material, location, day), x in last.items():
            quantity = round(x.quantity * 1e6)
            usage = None if x.daily_usage is None else round(x.daily_usage * 1e6)
            self.tables["mart_inventory"].append((*self.key, material, location, day, quantity, usage, x.unit, x.at))
            told = [last[material, location, d].daily_usage for d in self._week(day) if (material, location, d) in last]
            used = [round(value * 1e6) for value in told if value is not None]
            mean = sum(used) // len(used) if used else None
            reason = "no_usage" if mean is None else None if mean > 0 else "no_demand"
            reason = "below_zero" if quantity < 0 else reason
            days = None if reason or not mean else quantity / mean
            figures = (quantity / 1e6, None, None if mean is None else mean / 1e6, days, reason, None, None, None)
            row = (*self.key, day, material, location, quantity, x.unit, None, mean, *figures, x.at)
            self.tables["mv_inventory_coverage"].append(row)
