"""Decision trees in a form that people can read: `[[tree]]`, as a tree that was learnt from samples is written down.

The first node is the root. `yes` and `no` name another node, or hold a leaf: severity or status, and how sure it is.
Thresholds stand in full: a tree read back decides every sample as the one that was learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Discriminator, Field, Tag

from models.expression_checker import Const, Op, Typed
from models.ruleset import Check, Outcome
from models.ruleset_compile import Compiler, outcome
from models.ruleset_file import Entry, Expression, Model, Name, OutcomeEntry
from models.ruleset_table import nearest
from models.toml_places import Path

MAX_DEPTH: Final = 24


class LeafEntry(OutcomeEntry):
    """What a tree says at an end."""


def _kind(found: Any) -> str:
    return "<leaf>" if isinstance(found, dict | LeafEntry) else "<node>"


Branch = Annotated[Annotated[Name, Tag("<node>")] | Annotated[LeafEntry, Tag("<leaf>")], Discriminator(_kind)]


class NodeEntry(Model):
    """A table [[tree.node]]."""

    name: Name
    when: Expression
    yes: Branch
    no: Branch


class TreeEntry(Entry):
    """A table [[tree]]."""

    value: Expression | None = None
    nodes: Annotated[list[NodeEntry], Field(alias="node", min_length=1, max_length=255)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """An end of a tree, and the way to it."""

    outcome: Outcome
    path: tuple[str, ...]
    """`hot: yes` for every node from the root on."""
    conditions: tuple[tuple[Typed, bool], ...]
    """The same for the static checks."""
    at: Path
    """Where it stands in the document, below the tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree(Check):
    """A decision tree; the program gives the position of the leaf."""

    leaf_at: int
    leaves: tuple[Leaf, ...]


def build_tree(compiler: Compiler, entry: TreeEntry, path: Path) -> Tree | None:
    """Give the check of a [[tree]]; None after its faults were told."""
    whens = [compiler.typed(node.when, (*path, "node", at, "when"), "bool") for at, node in enumerate(entry.nodes)]
    value = None if entry.value is None else compiler.typed(entry.value, (*path, "value"), None)
    gate = compiler.gate(entry, path)
    growing = _Growing(compiler, entry, path, [ALWAYS if when is None else when for when in whens])
    grown = growing.grow()
    if grown is None or None in whens or gate is False or (value is None and entry.value is not None):
        return None
    if entry.value is not None:
        compiler.measured(entry.value, entry.unit, path)
    return Tree(
        **compiler.common(entry, gate, value, grown),
        leaf_at=compiler.add(grown),
        leaves=tuple(growing.leaves),
    )


ALWAYS: Final = Const(value=True, type="bool")


class _Growing:
    """One walk over the nodes of a tree, from the root."""

    def __init__(self, compiler: Compiler, entry: TreeEntry, path: Path, whens: list[Typed]) -> None:
        self.compiler = compiler
        self.entry = entry
        self.path = path
        self.whens = whens
        self.leaves: list[Leaf] = []
        self.places: dict[str, int] = {}
        self.reached: dict[str, str] = {}
        self.faults = 0

    def grow(self) -> Typed | None:
        """Give the tree as one expression that tells the leaf; None after faults."""
        for position, node in enumerate(self.entry.nodes):
            if node.name in self.places:
                self._blame((position, "name"), f"the node {node.name!r} is there twice; give it another name")
            self.places.setdefault(node.name, position)
        root = self.entry.nodes[0].name
        self.reached[root] = "the root"
        grown = self._node(0, (), ())
        if not self.faults:
            for position, node in enumerate(self.entry.nodes):
                if node.name not in self.reached:
                    self._blame((position, "name"), f"no node leads to {node.name!r}; the root is {root!r}")
        return None if self.faults else grown

    def _node(self, position: int, way: tuple[str, ...], given: tuple[tuple[Typed, bool], ...]) -> Typed:
        node = self.entry.nodes[position]
        when = self.whens[position]
        if len(way) >= MAX_DEPTH:
            self._blame((position, "name"), f"deeper than {MAX_DEPTH} nodes; split the tree")
            return Const(-1, "int")
        yes = self._branch((position, "yes"), (*way, f"{node.name}: yes"), (*given, (when, True)))
        no = self._branch((position, "no"), (*way, f"{node.name}: no"), (*given, (when, False)))
        return Op("if", (when, yes, no), "int")

    def _branch(self, at: tuple[int, str], way: tuple[str, ...], given: tuple[tuple[Typed, bool], ...]) -> Typed:
        position, side = at
        branch: str | LeafEntry = getattr(self.entry.nodes[position], side)
        if isinstance(branch, LeafEntry):
            leaf = Leaf(outcome=outcome(branch, None), path=way, conditions=given, at=("node", *at))
            self.leaves.append(leaf)
            return Const(len(self.leaves) - 1, "int")
        if branch not in self.places:
            self._blame(at, f"there is no node {branch!r}; {nearest(branch, self.places)}")
        elif branch in self.reached:
            self._blame(
                at, f"the node {branch!r} is reached from {self.reached[branch]} already; a tree has one way to each"
            )
        else:
            self.reached[branch] = repr(self.entry.nodes[position].name)
            return self._node(self.places[branch], way, given)
        return Const(-1, "int")

    def _blame(self, at: tuple[int, str], problem: str) -> None:
        self.faults += 1
        self.compiler.blame((*self.path, "node", *at), problem)
