"""A ruleset in plain sentences, in Korean or English: what each check watches, when it speaks, what it recommends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edge.drivers.finding import Language, say
from edge.judgment.wording import number, symbol
from models.ruleset import Ruleset
from models.ruleset_change import duration
from models.ruleset_file import severity_of
from models.ruleset_kinds import KINDS

Entry = Mapping[str, Any]
_GENERAL: Final = frozenset(
    "name title only_when unit message alarm action priority suppressed_by suppresses value".split()  # noqa: SIM905 (a sentence reads better than ten strings)
)


def sentences(ruleset: Ruleset, language: Language, only: str | None = None) -> Iterator[str]:
    """Give the lines that say a ruleset, or one check of it."""
    speaker = _Speaker(ruleset, language)
    if only is None:
        yield from speaker.head()
    for kind in KINDS:
        for entry in speaker.document.get(kind, []):
            if only in {None, entry["name"]}:
                yield ""
                yield from speaker.check(kind, entry)


class _Speaker:
    def __init__(self, ruleset: Ruleset, language: Language) -> None:
        self.ruleset = ruleset
        self.language: Language = language
        self.document: dict[str, Any] = json.loads(ruleset.document)
        self.checks = {check.name: check for check in ruleset.checks}

    def say(self, key: str, **words: Any) -> str:
        return say(f"rules.{key}", self.language, words)

    def head(self) -> Iterator[str]:
        ruleset = self.ruleset
        yield self.say("head", title=ruleset.title[self.language], name=ruleset.name, version=ruleset.version)
        if ruleset.model is None:
            yield self.say("alone")
            return
        yield self.say("asks", model=ruleset.model, policy=ruleset.policy)
        if ruleset.settings.safety_first:
            yield self.say("safety")

    def check(self, kind: str, entry: Entry) -> Iterator[str]:
        """Give the lines of one check: its title, what it does, and under which terms."""
        check = self.checks[entry["name"]]
        yield f"[{kind}] {check.title[self.language]} ({check.name})"
        parts = {
            "limit": self._limit,
            "rule": self._rule,
            "table": self._table,
            "change": self._change,
            "stuck": self._stuck,
            "tree": self._tree,
            "composite": self._composite,
        }
        lines = parts[kind](entry) if kind in parts else self._other(entry)
        yield from (f"  {line}" for line in lines)
        yield from (f"  {line}." for line in self._terms(entry))
        yield from (f"  {line}" for line in self._actions(entry))

    # --- kinds

    def _limit(self, entry: Entry) -> Iterator[str]:
        yield f"{self.say('watch', value=entry['value'])}."
        for severity in ("warning", "critical"):
            for side, key in (("low", "below"), ("high", "above")):
                bound = entry.get(f"{severity}_{side}")
                if bound is not None:
                    yield f"{self._severe(key, severity, bound=self._amount(entry, bound))}."

    def _rule(self, entry: Entry) -> Iterator[str]:
        yield f"{self._severe('when', self._severity(entry), when=entry['when'])}{_status(entry)}."

    def _change(self, entry: Entry) -> Iterator[str]:
        yield f"{self.say('watch', value=entry['value'])}."
        per = self.say(entry.get("per", "minute"))
        for severity in ("warning", "critical"):
            for side, key in (("down", "falls"), ("up", "rises")):
                bound = entry.get(f"{severity}_{side}")
                if bound is not None:
                    yield f"{self._severe(key, severity, bound=self._amount(entry, bound), per=per)}."
        if entry.get("over_s"):
            yield f"{_upper(self.say('over', span=self._span(entry['over_s'])))}."

    def _stuck(self, entry: Entry) -> Iterator[str]:
        yield f"{self.say('watch', value=entry['value'])}."
        key = "stuck" if entry.get("band") else "frozen"
        band, span = self._amount(entry, entry.get("band", 0)), self._span(entry["for_s"])
        yield f"{self._severe(key, self._severity(entry), band=band, span=span)}."

    def _table(self, entry: Entry) -> Iterator[str]:
        yield f"{self.say(entry.get('hit_policy', 'first'))}."
        for position, row in enumerate(entry["row"]):
            cells = [f"{entry['inputs'][name]} {_cell(cell)}" for name, cell in row.get("when", {}).items()]
            told = ", ".join(cells) or self.say("any_input")
            yield self.say("row", number=position + 1, cells=told, outcome=self._outcome(row))
        if all(row.get("when") for row in entry["row"]):
            yield f"{self.say('no_row')}."

    def _tree(self, entry: Entry) -> Iterator[str]:
        nodes = {node["name"]: node for node in entry["node"]}
        waiting: list[tuple[int, str, Any]] = [(0, "", entry["node"][0]["name"])]
        while waiting:
            depth, before, what = waiting.pop()
            indent = "   " * depth
            if not isinstance(what, str):
                yield f"{indent}{before}{self._outcome(what)}"
                continue
            node = nodes[what]
            yield f"{indent}{before}{self.say('node', when=node['when'])}"
            waiting.append((depth + 1, f"{self.say('no')}: ", node["no"]))
            waiting.append((depth + 1, f"{self.say('yes')}: ", node["yes"]))

    def _composite(self, entry: Entry) -> Iterator[str]:
        key = next(key for key in ("all", "any", "of") if key in entry)
        members = ", ".join(self.checks[name].title[self.language] for name in entry[key])
        level = self.say(entry.get("level", "warning"))
        words = {"members": members, "level": level, "count": entry.get("at_least")}
        yield f"{self._severe(key, self._severity(entry), **words)}."

    def _other(self, entry: Entry) -> Iterator[str]:
        """Say a kind that has no sentences of its own by its keys."""
        if "value" in entry:
            yield f"{self.say('watch', value=entry['value'])}."
        told = [
            f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items() if key not in _GENERAL
        ]
        if told:
            yield f"{', '.join(told)}."

    # --- parts

    def _terms(self, entry: Entry) -> Iterator[str]:
        check = self.checks[entry["name"]]
        if entry.get("hysteresis"):
            yield _upper(self.say("hysteresis", hysteresis=self._amount(entry, entry["hysteresis"])))
        if entry.get("delay_s"):
            yield _upper(self.say("delay", span=self._span(entry["delay_s"])))
        if "only_when" in entry:
            yield self.say("gate", gate=entry["only_when"])
        if entry.get("ccp"):
            yield self.say("ccp")
        if check.priority:
            yield self.say("priority", priority=check.priority)
        if check.suppressed_by:
            by = ", ".join(self.checks[name].title[self.language] for name in check.suppressed_by)
            yield self.say("silent", by=by)
        if not check.alarm:
            yield self.say("no_alarm")

    def _actions(self, entry: Entry) -> Iterator[str]:
        for action in entry.get("action", []):
            text = action.get(self.language) or action.get("en") or action.get("ko")
            on, urgency = self.say(action.get("on", "warning")), action.get("priority", "medium")
            yield self.say("action", on=on, action_type=action["action_type"], urgency=urgency, text=text)

    def _severity(self, entry: Entry) -> str:
        return severity_of(entry.get("severity"), entry.get("status"))

    def _severe(self, key: str, severity: str, **words: Any) -> str:
        return _upper(self.say(key, severity=self.say(severity), **words))

    def _outcome(self, entry: Entry) -> str:
        sure = f", {number(float(entry['confidence']))}" if "confidence" in entry else ""
        return f"{self.say(self._severity(entry))}{_status(entry)}{sure}"

    def _amount(self, entry: Entry, value: float) -> str:
        return f"{number(float(value))} {symbol(entry.get('unit'), self.language)}".strip()

    def _span(self, seconds: float) -> str:
        return duration(float(seconds), self.language)


def _status(entry: Entry) -> str:
    return f" ({entry['status']})" if "status" in entry else ""


def _cell(cell: Any) -> str:
    """Give a cell as a test that can be read behind its input."""
    if isinstance(cell, str) and cell.strip().startswith(("==", "!=", "<", ">", "in")):
        return cell.strip()
    return f"= {json.dumps(cell, ensure_ascii=False)}"


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
