"""Tokens → syntax tree, by CEL's grammar and precedence. Size and depth are bounded here, so nothing later recurses far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.expression_lexer import ExpressionError, Token, fault, tokens

MAX_NODES: Final = 500
MAX_DEPTH: Final = 40

RELATIONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
RESERVED: Final = frozenset(
    "as break const continue else for function if import let loop package namespace return var void while null".split()  # noqa: SIM905 (a sentence reads better than 19 strings)
)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    at: int
    value: bool | int | float | str


@dataclass(frozen=True, slots=True)
class Name:
    """A dotted name: `oil_temperature.mean`, `counts.defect.leak`."""

    at: int
    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """`!x` or `-x`."""

    at: int
    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, comparison and `in`."""

    at: int
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic:
    """`&&` or `||` over two or more operands."""

    at: int
    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Ternary:
    """`condition ? yes : no`."""

    at: int
    condition: Node
    yes: Node
    no: Node


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`: the right side of `in`, or what `size` counts."""

    at: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function; the receiver of a method is its first argument."""

    at: int
    function: str
    arguments: tuple[Node, ...]


Node = Literal | Name | Unary | Binary | Logic | Ternary | ListOf | Call


def names(tree: Node) -> list[str]:
    """Give the dotted names in a tree, in the order they stand in the text, each as often as it stands there."""
    match tree:
        case Name():
            return [tree.name]
        case Literal():
            return []
        case Unary():
            inner: tuple[Node, ...] = (tree.operand,)
        case Binary():
            inner = (tree.left, tree.right)
        case Ternary():
            inner = (tree.condition, tree.yes, tree.no)
        case Logic():
            inner = tree.operands
        case ListOf():
            inner = tree.items
        case Call():
            inner = tree.arguments
    return [name for node in inner for name in names(node)]


def parse(text: str) -> Node:
    """Give the tree of an expression, or ExpressionError with the place."""
    reader = _Reader(text)
    tree = reader.ternary()
    reader.expect_end()
    return tree


def parse_test(text: str, subject: Node) -> Node:
    """Give the tree of a decision table's cell: tests such as `> 2 && <= 5` or `in ["A"]`, each on `subject`."""
    reader = _Reader(text)
    tree = reader.tests(subject)
    reader.expect_end()
    return tree


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.next = 0
        self.nodes = 0
        self.depth = 0

    # --- tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    def sees(self, *operators: str) -> bool:
        return self.token.kind == "operator" and self.token.text in operators

    def sees_in(self) -> bool:
        return self.token.kind == "name" and self.token.text == "in"

    def take(self) -> Token:
        token = self.token
        self.next += 1
        return token

    def error(self, at: int, problem: str, hint: str = "") -> ExpressionError:
        return ExpressionError([fault(self.text, at, problem, hint)])

    def expect(self, operator: str, opened: Token) -> None:
        if not self.sees(operator):
            found = repr(self.token.text) if self.token.text else "the end"
            raise self.error(self.token.at, f"expected {operator!r} but found {found}", self._opened(opened))
        self.next += 1

    def _opened(self, token: Token) -> str:
        column = fault(self.text, token.at, "").column
        return f"{token.text!r} stands open at column {column}"

    def expect_end(self) -> None:
        if self.token.kind != "end":
            hint = "write && for and, || for or, ! for not" if self.token.text in {"and", "or", "not"} else ""
            raise self.error(
                self.token.at, f"unexpected {self.token.text!r}", hint or "an operator is missing before it"
            )

    # --- bounds

    def node(self, at: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.error(at, f"more than {MAX_NODES} parts", "split the rule")

    def deeper(self, at: int) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(at, f"nested deeper than {MAX_DEPTH}", "split the rule")

    # --- grammar, loosest first

    def ternary(self) -> Node:
        at = self.token.at
        self.deeper(at)
        result = self.logic("||")
        if self.sees("?"):
            opened = self.take()
            yes = self.logic("||")
            self.expect(":", opened)
            no = self.ternary()
            self.node(at)
            result = Ternary(at, result, yes, no)
        self.depth -= 1
        return result

    def logic(self, operator: str) -> Node:
        at = self.token.at
        operands = [self._logic_operand(operator)]
        while self.sees(operator):
            self.take()
            operands.append(self._logic_operand(operator))
        return self._joined(at, operator, operands)

    def _logic_operand(self, operator: str) -> Node:
        return self.logic("&&") if operator == "||" else self.relation()

    def _joined(self, at: int, operator: str, operands: list[Node]) -> Node:
        if len(operands) == 1:
            return operands[0]
        self.node(at)
        return Logic(at, operator, tuple(operands))

    def relation(self) -> Node:
        left = self.addition()
        levels = 0
        while self.sees(*RELATIONS) or self.sees_in():
            operator = self.take()
            levels = self._left_deep(operator.at, levels)
            left = Binary(operator.at, operator.text, left, self.addition())
        self.depth -= levels
        return left

    def addition(self) -> Node:
        left = self.multiplication()
        levels = 0
        while self.sees("+", "-"):
            operator = self.take()
            levels = self._left_deep(operator.at, levels)
            left = Binary(operator.at, operator.text, left, self.multiplication())
        self.depth -= levels
        return left

    def multiplication(self) -> Node:
        left = self.unary()
        levels = 0
        while self.sees("*", "/", "%"):
            operator = self.take()
            levels = self._left_deep(operator.at, levels)
            left = Binary(operator.at, operator.text, left, self.unary())
        self.depth -= levels
        return left

    def _left_deep(self, at: int, levels: int) -> int:
        """Count a link of `a + b + c`, whose tree is as deep as the chain is long."""
        self.node(at)
        self.deeper(at)
        return levels + 1

    def unary(self) -> Node:
        if not self.sees("!", "-"):
            return self.member()
        operator = self.take()
        self.deeper(operator.at)
        self.node(operator.at)
        if operator.text == "-" and self.token.kind in {"int", "double"}:
            number = self.take()
            assert not isinstance(number.value, str)  # noqa: S101 (what the lexer makes of these two kinds)
            result: Node = self._suffixes(Literal(operator.at, -number.value))
        else:
            result = Unary(operator.at, operator.text, self.unary())
        self.depth -= 1
        return result

    def member(self) -> Node:
        return self._suffixes(self.primary())

    def _suffixes(self, node: Node) -> Node:
        """Read `.name`, `.method(…)` and `["name"]` behind a node."""
        while True:
            if self.sees("."):
                dot = self.take()
                if self.token.kind != "name":
                    raise self.error(self.token.at, "expected a name behind the dot")
                name = self.take()
                if self.sees("("):
                    node = self._method(node, name)
                elif isinstance(node, Name):
                    node = Name(node.at, f"{node.name}.{name.text}")
                else:
                    raise self.error(dot.at, f"only names have parts such as .{name.text}")
            elif self.sees("["):
                bracket = self.take()
                if not isinstance(node, Name) or self.token.kind != "string":
                    raise self.error(bracket.at, "an index must be a text behind a name", 'as in counts.defect["leak"]')
                node = Name(node.at, f"{node.name}.{self.take().value}")
                self.expect("]", bracket)
            else:
                return node

    def _method(self, target: Node, name: Token) -> Node:
        arguments = self._arguments()
        self.node(name.at)
        if isinstance(target, Name) and target.name == "math":
            return Call(target.at, f"math.{name.text}", arguments)
        return Call(name.at, name.text, (target, *arguments))

    def _arguments(self) -> tuple[Node, ...]:
        opened = self.take()
        items: list[Node] = []
        if not self.sees(")"):
            items.append(self.ternary())
            while self.sees(","):
                self.take()
                items.append(self.ternary())
        self.expect(")", opened)
        return tuple(items)

    def primary(self) -> Node:
        token = self.token
        self.node(token.at)
        match token.kind:
            case "int" | "double" | "string":
                self.take()
                if token.value == 2**63 and token.kind == "int":
                    raise self.error(token.at, f"{token.text} does not fit 64 bits", f"write {token.text}.0")
                return Literal(token.at, token.value)
            case "name":
                return self._named()
            case "operator" if token.text == "(":
                self.take()
                inner = self.ternary()
                self.expect(")", token)
                return inner
            case "operator" if token.text == "[":
                return self._list()
            case "end":
                raise self.error(token.at, "the expression ends too early", "a value is missing")
            case _:
                raise self.error(token.at, f"unexpected {token.text!r}", "a value is missing before it")

    def _named(self) -> Node:
        token = self.take()
        if token.text in {"true", "false"}:
            return Literal(token.at, token.text == "true")
        if token.text == "in" or token.text in RESERVED:
            raise self.error(token.at, f"{token.text!r} is a reserved word")
        if self.sees("("):
            return Call(token.at, token.text, self._arguments())
        return Name(token.at, token.text)

    def _list(self) -> Node:
        opened = self.take()
        items: list[Node] = []
        while not self.sees("]"):
            items.append(self.ternary())
            if not self.sees(","):
                break
            self.take()
        self.expect("]", opened)
        return ListOf(opened.at, tuple(items))

    # --- cells of decision tables

    def tests(self, subject: Node, operator: str = "||") -> Node:
        at = self.token.at
        operands = [self._test_operand(subject, operator)]
        while self.sees(operator):
            self.take()
            operands.append(self._test_operand(subject, operator))
        return self._joined(at, operator, operands)

    def _test_operand(self, subject: Node, operator: str) -> Node:
        if operator == "||":
            return self.tests(subject, "&&")
        if not (self.sees(*RELATIONS) or self.sees_in()):
            raise self.error(
                self.token.at, "a cell's test begins with a comparison", 'as in "> 2", ">= 2 && < 5", \'in ["A"]\''
            )
        relation = self.take()
        self.node(relation.at)
        return Binary(relation.at, relation.text, subject, self.addition())
