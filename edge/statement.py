"""What may stand in a site file as SQL: one reading statement, with parameters we know. Pure; nothing is parsed for good.

It is a courtesy to the person who writes it. What keeps a database unharmed is a user that may only read, and the
read-only transaction every statement runs in.
"""

from __future__ import annotations

import re
from typing import Final

PARAMETERS: Final = ("since", "work_unit")
_QUIET: Final = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL
)  # comments, texts, quoted names, PostgreSQL's dollar quotes
_BIND: Final = re.compile(r"(?<![:\w\\]):([a-zA-Z_]\w*)")
_CHANGES: Final = re.compile(
    r"\b(insert|update|delete|merge|replace|into|drop|create|alter|truncate|grant|revoke|call|execute|copy|attach|pragma"
    r"|vacuum|for\s+(?:no\s+key\s+)?(?:update|share|key\s+share))\b(?!\s*\()",
    re.IGNORECASE,
)
_AFTER: Final = re.compile(r"(?<![<>=!])>\s*:since\b|:since\s*<(?![=>])")
_TABLE: Final = re.compile(r"\b(?:from|join)\s+((?:\w+\.)?\w+)", re.IGNORECASE)


def bare(sql: str) -> str:
    """Give the statement with comments, texts and quoted names blanked out; every place stays where it was."""
    return _QUIET.sub(lambda quiet: re.sub(r"[^\n]", " ", quiet[0]), sql)


def parameters(sql: str) -> set[str]:
    """Give the names of the parameters of a statement."""
    return set(_BIND.findall(bare(sql)))


def tables(sql: str) -> list[str]:
    """Give the tables and views a statement names plainly, without those it defines itself."""
    text = bare(sql)
    own = {
        name.lower()
        for name in re.findall(r"\b(\w+)\s+as\s*(?:not\s+)?(?:materialized\s*)?\(\s*select", text, re.IGNORECASE)
    }
    return list(dict.fromkeys(name for name in _TABLE.findall(text) if name.lower() not in own))


def escaped(sql: str) -> str:
    """Give the statement with every colon that begins no parameter escaped, as SQLAlchemy's `text` wants it."""
    starts = {bind.start() for bind in _BIND.finditer(bare(sql))}
    return "".join("\\:" if letter == ":" and i not in starts else letter for i, letter in enumerate(sql))


def fault(sql: str, *, watermark: bool) -> str | None:
    """Say what is wrong with a statement, or nothing. watermark: a watermark column is named for it."""
    text = bare(sql)
    body = text.strip().removesuffix(";")
    first = re.match(r"\s*\(*\s*(\w+)", body)
    if first is None or first[1].lower() not in {"select", "with"}:
        return "only a SELECT (or WITH … SELECT) is accepted"
    if ";" in body:
        return "only one statement is accepted; take out the semicolon"
    if changing := _CHANGES.search(body):
        return f"{' '.join(changing[0].split())!r} has no place in a statement that only reads"
    unknown = sorted(parameters(sql) - set(PARAMETERS))
    if unknown:
        return f"there is no parameter :{unknown[0]}; there are :since and :work_unit"
    uses = "since" in parameters(sql)
    if uses and not watermark:
        return ":since needs `watermark`, the column that only grows, and `begin`, where to start"
    if watermark and not uses:
        return "a watermark needs a condition on it: where <column> >= :since"
    if _AFTER.search(text):
        return "write >= :since: rows that share the last watermark would be lost with >; none is taken twice"
    return None
