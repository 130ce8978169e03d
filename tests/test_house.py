"""The house keeps its own rules: what ruff and the type checker cannot know."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "cloud", "demo", "edge", "models", "sync")
SOURCES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
PRODUCT = [p for p in SOURCES if p.relative_to(ROOT).parts[0] not in {"bench", "demo"}]

BEHIND_ONE_FILE = {
    "asyncua": ("edge/drivers/opcua",),
    "pymodbus": (),  # the simulated plant's and the tests' alone
    "paho": ("sync/mqtt.py",),
    "apsw": ("edge/store",),
    "httpx": ("edge/drivers/mes/", "edge/packages", "cloud/"),
    "sqlalchemy": ("edge/drivers/mes/sql", "cloud/"),
    "psycopg": ("cloud/",),
    "openpyxl": ("edge/commands/book",),
    "cryptography": ("edge/drivers/opcua", "edge/commands/doctor", "models/package/signature", "sync/signing.py"),
    "onnxruntime": ("models/session",),
    "fastapi": ("cloud/",),
    "starlette": ("edge/page/", "cloud/"),
}
"""Library → the one home (a path's beginning) it has on each side; the demo and the benches may use what they like."""

WORN_OUT = {"utils", "util", "helpers", "helper", "manager", "common", "base", "misc", "handler", "handlers"}

LONGER_THAN_USUAL: dict[str, str] = {}
"""Path → why it may be longer than 400 lines."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_has_one_subject_and_a_name_that_says_it(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 400 or name(path) in LONGER_THAN_USUAL, f"{lines} lines: split it, one subject a file"
    assert not WORN_OUT & set(path.relative_to(ROOT).with_suffix("").parts), "a name that says nothing"


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_a_library_lives_behind_one_file(path):
    found = imported(ast.parse(path.read_text(encoding="utf-8")))
    for library, homes in BEHIND_ONE_FILE.items():
        assert library not in found or name(path).startswith(homes), f"{library} lives behind {homes}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_broad_catch_says_why(path):
    text = path.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(ast.parse("\n".join(text))):
        broad = isinstance(node, ast.ExceptHandler) and (
            node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
        )
        if broad and not isinstance(node.body[-1], ast.Raise):  # what raises on swallows nothing
            assert "#" in text[node.lineno - 1], (
                f"line {node.lineno}: name the error, or say beside it why all are caught"
            )


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_time_and_chance_come_in_as_arguments_in_pure_code(path):
    """The contract, the models and judgment read no clock, draw no chance and open no file on their own."""
    if not name(path).startswith(("sync/cursor", "sync/receiver", "sync/chunk", "sync/frames", "models/", "edge/judgment", "edge/pipeline", "edge/window", "edge/production", "edge/machine_time")):  # fmt: skip
        return
    forbidden = {("time", "time"), ("time", "time_ns"), ("time", "monotonic"), ("datetime", "now"), ("random", "random"), ("asyncio", "sleep")}  # fmt: skip
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            assert (node.func.value.id, node.func.attr) not in forbidden, f"line {node.lineno}: time comes in"


def test_nothing_generated_or_secret_is_tracked():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [p for p in tracked if p.endswith((".db", ".key", ".pem", ".pyc")) and not p.startswith("tests/")]
    assert not [p for p in tracked if p.startswith((".venv/", ".demo/"))]


def test_the_gateway_install_stays_small():
    """What a gateway installs holds no web framework beyond its page, no charts, no pandas, no database server."""
    lock = (ROOT / "requirements" / "edge.lock").read_text(encoding="utf-8")
    installed = {line.split("==")[0] for line in lock.splitlines() if "==" in line and not line.startswith(" ")}
    assert not installed & {
        "fastapi",
        "sqlalchemy",
        "pandas",
        "scikit-learn",
        "vl-convert-python",
        "alembic",
        "psycopg",
        "pymodbus",
    }
    assert {"asyncua", "apsw", "paho-mqtt"} <= installed
