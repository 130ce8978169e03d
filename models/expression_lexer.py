"""Text of an expression → tokens with their places. CEL's lexis, without bytes, unsigned numbers and triple quotes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

MAX_TEXT: Final = 4096
"""Characters of one expression."""

Kind = Literal["int", "double", "string", "name", "operator", "end"]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong with an expression: where (line and column from 1), what, and what to check or write instead."""

    line: int
    column: int
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.problem}" + (f"; {self.hint}" if self.hint else "")


class ExpressionError(ValueError):
    """The expression cannot be used; `faults` says why, each with its place. Nothing was evaluated."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of the text; `value` is the decoded literal."""

    kind: Kind
    text: str
    at: int
    """Offset of the first character."""
    value: int | float | str = 0


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f]+|//[^\n]*)
      | (?P<double>(?:[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+))
      | (?P<int>0[xX][0-9a-fA-F]+|[0-9]+)
      | (?P<string>[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<quoted>`[^`\n]*`)
      | (?P<operator>&&|\|\||[=!<>]=|[-+*/%!<>?:.,()\[\]])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"`?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_INSTEAD: Final = {
    "&": "write && for and",
    "|": "write || for or",
    "=": "write == to compare",
    '"': "the text is not closed on its line",
    "'": "the text is not closed on its line",
    "{": "maps are not part of this subset",
}


def place(text: str, at: int) -> tuple[int, int]:
    """Give line and column, both from 1, of an offset."""
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def fault(text: str, at: int, problem: str, hint: str = "") -> Fault:
    """Make a fault at an offset of the text."""
    return Fault(*place(text, at), problem, hint)


def tokens(text: str) -> list[Token]:
    """Split the text; the last token is `end`. ExpressionError names the first character that fits nowhere."""
    if len(text) > MAX_TEXT:
        raise ExpressionError(
            [Fault(1, 1, f"expression of {len(text)} characters", f"at most {MAX_TEXT}; split the rule")]
        )
    if _SURROGATE.search(text):
        raise ExpressionError([Fault(1, 1, "half a character (a lone surrogate)", "write it as UTF-8 text")])
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            character = text[at]
            raise ExpressionError([fault(text, at, f"unexpected character {character!r}", _INSTEAD.get(character, ""))])
        word = match.group()
        match match.lastgroup:
            case "space":
                pass
            case "int":
                found.append(_integer(text, at, word, follows=text[match.end() : match.end() + 1]))
            case "double":
                found.append(Token("double", word, at, _double(text, at, word)))
            case "string":
                found.append(Token("string", word, at, _decoded(text, at, word)))
            case "quoted":
                found.append(Token("name", word[1:-1], at))
            case "name":
                found.append(Token("name", word, at))
            case _:
                found.append(Token("operator", word, at))
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def _double(text: str, at: int, word: str) -> float:
    value = float(word)
    if math.isinf(value):
        raise ExpressionError([fault(text, at, f"{word} is beyond the largest double", "at most 1.797e308")])
    return value


def _integer(text: str, at: int, word: str, *, follows: str) -> Token:
    if follows in {"u", "U"}:
        raise ExpressionError([fault(text, at, f"unsigned number {word}{follows}", f"write {word}")])
    value = int(word, 0) if word[:2] in {"0x", "0X"} else int(word)
    if value > 2**63:  # 2**63 itself may stand behind a minus; the parser looks
        raise ExpressionError([fault(text, at, f"{word} does not fit 64 bits", f"write it as a double: {word}.0")])
    return Token("int", word, at, value)


def _decoded(text: str, at: int, word: str) -> str:
    if word[0] in "rR":
        return word[2:-1]

    def character(match: re.Match[str]) -> str:
        simple, byte, short, long, octal, unknown = match.groups()
        if unknown is not None:
            where = at + 1 + match.start()
            raise ExpressionError([fault(text, where, f"unknown escape \\{unknown}", "write \\\\ for a backslash")])
        if simple is not None:
            return _SIMPLE.get(simple, simple)
        number = int(octal, 8) if octal is not None else int(byte or short or long, 16)
        if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
            raise ExpressionError([fault(text, at + 1 + match.start(), "this escape is no Unicode character")])
        return chr(number)

    return _ESCAPE.sub(character, word[1:-1])
