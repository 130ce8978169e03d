"""Random expressions of our language: texts that check, over the names of `ENVIRONMENT`, and values for them."""

from __future__ import annotations

import sys

from hypothesis import strategies as st

from models.expression import Environment, ValueType

TYPES: dict[str, ValueType] = {
    "x": "double",
    "y": "double",
    "z": "double",
    "flag": "bool",
    "other": "bool",
    "name": "string",
    "lot": "string",
    "n": "int",
    "m": "int",
}
ENVIRONMENT = Environment(types=TYPES)

LARGEST = sys.float_info.max
doubles = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 0.49999999999999994, 2.0**53, 2.0**63, -(2.0**63)]),
    st.sampled_from([LARGEST, -LARGEST, 5e-324, 1e308, 1e-300, 709.7, 9007199254740993.0]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-100, 100),
)
integers = st.one_of(
    st.sampled_from([0, 1, -1, 2, 7, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63), 3037000500, -3037000500]),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-20, 20),
)
VALUES = {"double": doubles, "int": integers, "bool": st.booleans(), "string": st.text("ABC-05한", max_size=5)}

LEAVES = {
    "double": ["x", "y", "z", "1.5", "0.0", "2.0", "80.0", "1e300", "9007199254740992.0"],
    "int": ["n", "m", "0", "1", "3", "-5", "9223372036854775807", "9007199254740993"],
    "string": ["name", "lot", "'A'", "''", "'한'"],
    "bool": ["flag", "other", "true", "false", "has(x)", "has(name)", "has(n)"],
}
FORMS = {
    "double": [
        "({d} + {d})", "({d} - {d})", "({d} * {d})", "({d} / {d})", "-({d})", "({b} ? {d} : {d})", "({d} + {i})",
        "({i} / {d})", "({b} ? {i} : {d})", "double({i})", "math.abs({d})", "math.least({d}, {d})", "math.least({d})",
        "math.greatest({d}, {i}, {d})", "math.sqrt({d})", "math.ln({d})", "math.log10({i})", "math.exp({d})",
        "math.pow({d}, {d})", "math.pow({d}, 2)", "math.pow({d}, {i})", "math.floor({d})", "math.ceil({d})",
        "math.round({d})", "math.trunc({d})", "math.sign({d})",
    ],
    "int": [
        "({i} + {i})", "({i} - {i})", "({i} * {i})", "({i} / {i})", "({i} % {i})", "-({i})", "({b} ? {i} : {i})",
        "int({d})", "int({i})", "size({s})", "size([{i}, {i}])", "math.abs({i})", "math.greatest({i})", "math.sign({i})",
        "math.least({i}, {i})", "math.greatest({i}, {i})", "math.bitAnd({i}, {i})", "math.bitOr({i}, {i})",
        "math.bitXor({i}, {i})", "math.bitNot({i})",
    ],
    "string": ["({s} + {s})", "({b} ? {s} : {s})"],
    "bool": [
        "!({b})", "({b} && {b} || {b})", "({b} || {b})", "({b} && {b} && {b})", "({b} ? {b} : {b})", "({d} {r} {d})",
        "({i} {r} {i})", "({d} {r} {i})", "({i} {r} {d})", "({s} {r} {s})", "({b} {r} {b})", "({i} in [{i}, {i}])",
        "({d} in [{d}, {i}])", "({s} in [{s}, {s}])", "({i} in [])", "({s}).startsWith({s})", "({s}).endsWith({s})",
        "contains({s}, {s})",
    ],
}  # fmt: skip
KINDS = {"d": "double", "i": "int", "s": "string", "b": "bool"}
RELATIONS = ["==", "!=", "<", "<=", ">", ">="]


@st.composite
def expressions(draw, kind: str, depth: int = 3) -> str:
    """Texts of a type, with every function and every mix of int and double there is."""
    if depth <= 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(LEAVES[kind]))
    form: str = draw(st.sampled_from(FORMS[kind]))
    text = ""
    for part in form.replace("{", "\0{").replace("}", "}\0").split("\0"):
        if part == "{r}":
            text += draw(st.sampled_from(RELATIONS))
        elif part.startswith("{"):
            text += draw(expressions(KINDS[part[1]], depth - 1))
        else:
            text += part
    return text


any_expression = st.sampled_from(list(KINDS.values())).flatmap(expressions)
