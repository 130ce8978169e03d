"""Windows of every kind judged by rulesets of every kind, and each verdict judged again from its record alone.

Run as a program, it reads records (one JSON object a line: policy, fact, alarms) and judges them again in this process;
prints how many came out byte for byte, and exits with 1 when one did not.
"""

from __future__ import annotations

import json
import sys

import msgspec

from edge.judgment import Verdict, judge, judged, recalled
from models.expression import window_environment
from models.policy import POLICIES
from models.rulesets import Ruleset, load
from sync.facts import Judged

TAGS = {
    "oil": "float32", "pressure": "float32", "vibration": "float32", "running": "bool", "sku": "string",
    "held": "float64", "alarm": "float64", "verdict": "float64", "why": "float64", "unit": "string",
}  # fmt: skip
"""Some are named like parts of a record."""
COUNTERS = ("produced", "good", "scrap", "defect.why", "defect.fault", "defect.age_ns")

RULES = """
[[limit]]
name = "oil"
title = { ko = "유온 \\"주\\"", en = "Oil" }
value = "oil.mean"
warning_high = 75
critical_high = 85
critical_low = -5
hysteresis = 2
delay_s = 10
ccp = true
message = { ko = "{title}: {value} {unit} > {threshold}, 로트 {lot} ({product})", en = "{title} {value} {unit}, limit {threshold}, lot {lot}" }

[[limit]]
name = "held"
value = "held"
warning_high = 50
priority = 7
suppressed_by = ["hot_and_shaking"]

[[limit]]
name = "ratio"
value = "100.0 * counts.scrap / counts.produced"
warning_high = 2
unit = "P1"
only_when = 'state == "EXECUTE"'

[[change]]
name = "rise"
value = "oil"
warning_up = 20
critical_up = 60
over_s = 20

[[stuck]]
name = "frozen"
value = "pressure"
for_s = 20
band = 0.5
severity = "warning"

[[rule]]
name = "shaking"
when = "vibration.max > 4.5 && !(running) || alarm > 90.0"
severity = "critical"
value = "vibration.max - alarm"
threshold = 4.5
delay_s = 10
[[rule.action]]
action_type = "stop"
priority = "immediate"
ko = "정지"
en = "stop"

[[rule]]
name = "odd"
when = 'why > verdict || unit == "개" || counts.defect.why > 3.0'
status = "NOTIFY"
value = "unit"

[[rule]]
name = "told"
when = "counts.defect.fault >= 0.0"
severity = "info"
status = "OK"
value = "counts.defect.age_ns"

[[table]]
name = "mix"
inputs = { rate = "oil.max", sku = "sku", product = "context.product" }
value = "rate"
[[table.row]]
when = { rate = "> 80", sku = "B", product = "-" }
status = "HIGH_DEFECT"
[[table.row]]
when = { rate = "> 70", product = "콜라" }
status = "MODERATE_DEFECT"
confidence = 0.61
[[table.row]]
when = {}
severity = "info"
status = "OK"

[[tree]]
name = "learnt"
value = "oil.rms"
[[tree.node]]
name = "hot"
when = "oil.mean > 70.35"
yes = "moving"
no = { severity = "info" }
[[tree.node]]
name = "moving"
when = "pressure.range > 2.5"
yes = { status = "HIGH", confidence = 0.77 }
no = { severity = "critical", status = "지속 가열" }

[[chart]]
name = "pressure_chart"
kind = "individuals"
value = "pressure"
limits = { center = 60.0, sigma = 5.0, version = "3" }
reset_on = ["product"]

[[chart]]
name = "scrap_chart"
kind = "p"
counted = "counts.scrap"
inspected = "counts.produced"
limits = { center = 0.02, version = "1" }

[[capability]]
name = "filling"
value = "oil.mean"
spread = "oil.stddev"
size = "oil.count"
lsl = 40
usl = 80
windows = 5
every_window = true

[[composite]]
name = "hot_and_shaking"
all = ["oil", "shaking"]
severity = "critical"
"""


def ruleset(policy: str) -> Ruleset:
    """Give the ruleset under a policy."""
    model = "" if policy == "rule_only" else '[model]\nname = "bearing_wear"\n'
    head = f'[ruleset]\nname = "all_kinds"\nversion = "2.1.0"\npolicy = "{policy}"\ngate = 0.8\n{model}'
    return load(head + RULES, window_environment(TAGS, COUNTERS))


def spoken(verdict: Verdict) -> bytes:
    """Give all bytes that a verdict puts on disk."""
    return msgspec.json.encode([judged(verdict), *verdict.facts])


def again(rules: Ruleset, record: bytes) -> Verdict:
    """Judge what a record tells."""
    fact = msgspec.json.decode(record, type=Judged)
    return judge(rules, recalled(fact), scored=fact.ml)


def main() -> int:
    rulesets = {policy: ruleset(policy) for policy in POLICIES}
    same = 0
    for line in sys.stdin:
        told = json.loads(line)
        got = spoken(again(rulesets[told["policy"]], told["fact"].encode()))
        if got.decode() != told["spoken"]:
            sys.stdout.write(f"said then:\n{told['spoken']}\nsays now:\n{got.decode()}\n")
            return 1
        same += 1
    sys.stdout.write(f"{same}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
