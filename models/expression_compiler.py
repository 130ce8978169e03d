"""Typed trees → one Python function for all of them: what makes fifty rules cost microseconds.

The function is built as Python syntax nodes from the checked tree only; no text of a rule is ever handed to Python.
It runs when every input is known. When one is not, or arithmetic fails, each tree is interpreted on its own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, Final

from models.expression_checker import Const, Op, Slot, Typed, Value
from models.expression_interpreter import STRICT, Cause, Result, evaluate
from models.expression_math import LARGEST, overflow

_COMPARE: Final[dict[str, type[ast.cmpop]]] = {
    "eq": ast.Eq,
    "ne": ast.NotEq,
    "lt": ast.Lt,
    "le": ast.LtE,
    "gt": ast.Gt,
    "ge": ast.GtE,
}
_ARITHMETIC: Final[dict[str, type[ast.operator]]] = {
    "add": ast.Add,
    "sub": ast.Sub,
    "mul": ast.Mult,
    "div": ast.Div,
}

Fused = Callable[[Sequence[Value]], tuple[Any, ...]]


class Program:
    """Several checked expressions over one list of inputs, evaluated together."""

    def __init__(self, trees: Sequence[Typed], slots: dict[str, int]) -> None:
        self.trees = tuple(trees)
        self.variables = tuple(slots)
        """Names of the inputs, in the order in which their values must be given."""
        self.fused: Fused = _fuse(self.trees, len(slots))
        """All values known → all results; ArithmeticError when one of them has none."""

    def run(self, inputs: Sequence[Value | Cause], *, known: bool) -> Sequence[Result]:
        """Give one result per expression. known: no input is a Cause."""
        if known:
            try:
                return self.fused(inputs)  # pyright: ignore[reportArgumentType] (`known` says there is no Cause)
            except ArithmeticError:
                pass  # one expression cannot be told; the interpreter finds which, and what the others say
        return [evaluate(tree, inputs) for tree in self.trees]


def _fuse(trees: Sequence[Typed], inputs: int) -> Fused:
    """Build `def fused(inputs): v0, v1, … = inputs; return (…, …)`."""
    body: list[ast.stmt] = []
    if inputs:
        targets: list[ast.expr] = [ast.Name(f"v{index}", ast.Store()) for index in range(inputs)]
        body.append(ast.Assign([ast.Tuple(targets, ast.Store())], ast.Name("inputs", ast.Load())))
    body.append(ast.Return(ast.Tuple([_python(tree) for tree in trees], ast.Load())))
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg("inputs")], vararg=None, kwonlyargs=[], kw_defaults=[], kwarg=None, defaults=[]
    )
    function = ast.FunctionDef("fused", arguments, body, [], None)
    module = ast.fix_missing_locations(ast.Module([function], []))
    namespace: dict[str, Any] = {"__builtins__": {}, "overflow": overflow}
    namespace |= {f"f_{name}": call for name, call in STRICT.items()}
    code = compile(module, "<rules>", "exec")
    exec(code, namespace)  # noqa: S102 (built from the checked tree above: no text of a rule reaches Python)
    return namespace["fused"]


def _python(tree: Typed) -> ast.expr:
    match tree:
        case Const():
            return ast.Constant(tree.value)
        case Slot():
            return ast.Name(f"v{tree.index}", ast.Load())
        case Op(name="has"):
            return ast.Constant(value=True)  # this form runs only when all inputs are known
        case Op():
            pass
    arguments = [_python(argument) for argument in tree.arguments]
    match tree.name:
        case "and" | "or" as name:
            return ast.BoolOp(ast.And() if name == "and" else ast.Or(), arguments)
        case "not":
            return ast.UnaryOp(ast.Not(), arguments[0])
        case "neg":
            return ast.UnaryOp(ast.USub(), arguments[0])
        case "if":
            return ast.IfExp(arguments[0], arguments[1], arguments[2])
        case "in":
            return ast.Compare(arguments[0], [ast.In()], [ast.Tuple(arguments[1:], ast.Load())])
        case name if name in _COMPARE:
            return ast.Compare(arguments[0], [_COMPARE[name]()], [arguments[1]])
        case name if name in _ARITHMETIC:
            return _finite(ast.BinOp(arguments[0], _ARITHMETIC[name](), arguments[1]))
        case "concat":
            return ast.BinOp(arguments[0], ast.Add(), arguments[1])
        case name:
            return ast.Call(ast.Name(f"f_{name}", ast.Load()), arguments, [])


def _finite(number: ast.expr) -> ast.expr:
    """Build `(t if -LARGEST <= (t := number) <= LARGEST else overflow())`: what `expression_math.finite` does, inline.

    One name for all is enough: an inner one is on Python's stack before an outer one is set.
    """
    bounds: list[ast.expr] = [ast.NamedExpr(ast.Name("t", ast.Store()), number), ast.Constant(LARGEST)]
    test = ast.Compare(ast.Constant(-LARGEST), [ast.LtE(), ast.LtE()], bounds)
    return ast.IfExp(test, ast.Name("t", ast.Load()), ast.Call(ast.Name("overflow", ast.Load()), [], []))
