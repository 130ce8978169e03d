"""How the answers of rules and of a model become one verdict: the seven policies and their numbers, as a ruleset sets them.

The arithmetic is `edge.judgment.policies`; here are only the words and the defaults.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

Policy = Literal[
    "rule_only", "ml_only", "rule_fallback", "ml_fallback", "hybrid_weighted", "hybrid_gate", "escalate"
]  # fmt: skip
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Numbers are confidences, 0 to 1, unless their name says otherwise; ValueError for others."""

    policy: Policy = "rule_only"
    safety_first: bool = True
    """Whenever one side says critical, critical it is."""
    rule_weight: float = 0.6
    ml_weight: float = 0.4
    """hybrid_weighted: any two numbers of which one is not zero; they are divided by their sum."""
    gate: float = 0.85
    """hybrid_gate: rules this sure are not checked against the model."""
    accept: float = 0.7
    """rule_fallback: rules less sure than this give way to the model."""
    escalate: float = 0.8
    """escalate: rules less sure than this hand over to the model."""
    escalated: float = 0.6
    """escalate: a model less sure than this hands over to a person."""
    review: float = 0.7
    """A person looks at every verdict less sure than this, and at every critical one."""
    drifted_aside: bool = False
    """A model whose inputs drifted is only heard where the rules have no answer; else its confidence is lowered."""
    cache_s: float = 0.0
    """Seconds for which a request for a judgment may be answered from memory; 0 = as long as whoever answers sees fit."""

    def __post_init__(self) -> None:
        for name in ("gate", "accept", "escalate", "escalated", "review"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is {value}, not between 0 and 1")
        for name in ("rule_weight", "ml_weight", "cache_s"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} is {value}, not a number from 0 on")
        if not 0 < self.rule_weight + self.ml_weight < math.inf:
            raise ValueError("the weights of rules and model are both 0; give one of them a weight")
        if self.policy not in POLICIES:
            raise ValueError(f"{self.policy!r} is no policy; there are {', '.join(POLICIES)}")


RULES_ALONE: Final = PolicySettings()
