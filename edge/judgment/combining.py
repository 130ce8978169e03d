"""How trees and composites look at a window: one way through many conditions, and one check made of others."""

from __future__ import annotations

from edge.judgment.finding import Finding, Seen
from edge.judgment.state import NOTHING, step_rule
from models.expression_interpreter import Indeterminate
from models.ruleset import Outcome
from models.ruleset_composite import Composite
from models.ruleset_tree import Tree


def look_at_tree(tree: Tree, seen: Seen) -> Finding:
    """Give what the leaf says that the window leads to, and the way to it.

    A leaf that is only information and has nothing to say (no status, message or action) does not match.
    """
    found = seen.values[tree.leaf_at]
    if isinstance(found, Indeterminate):
        return seen.unknown(tree, found.causes)
    leaf = tree.leaves[int(found)]
    what = leaf.outcome
    if not matches(what):
        value = None if isinstance(seen.value, Indeterminate) else seen.value
        return Finding(check=tree, level="ok", value=value, unit=seen.unit, path=leaf.path)
    return seen.matched(tree, what, seen.value, NOTHING, leaf.path)


def matches(what: Outcome) -> bool:
    """Tell whether a leaf's outcome is a finding, not just the end of the tree."""
    return what.severity != "info" or what.status is not None or what.message is not None or bool(what.actions)


def look_at_composite(check: Composite, seen: Seen) -> Finding:
    """Count the members that are at least as bad as its level; what is unknown of them may make this unknown."""
    members = [seen.found[name] for name in check.members]
    bad = {"critical"} if check.level == "critical" else {"warning", "critical"}
    active = tuple(member.check.name for member in members if member.level in bad)
    doubtful = [member for member in members if member.level == "unknown"]
    if len(active) < check.at_least <= len(active) + len(doubtful):
        causes = dict.fromkeys(cause for member in doubtful for cause in member.causes)
        return seen.unknown(check, tuple(causes))
    after = step_rule(check.outcome.severity, check.delay_ns, len(active) >= check.at_least, seen.held, seen.end)
    if after.level is None:
        return Finding(check=check, level="ok", held=after, path=active)
    return seen.matched(check, check.outcome, None, after, active)
