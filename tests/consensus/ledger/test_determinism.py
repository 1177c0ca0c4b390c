"""Nothing in the ledger can differ between two replicas: its source shows it."""

import ast
from pathlib import Path
from typing import TypeGuard

import pytest

import consensus.ledger

FORBIDDEN = {"time", "asyncio", "uuid", "secrets", "random", "os", "datetime", "threading"}
FILES = sorted(Path(consensus.ledger.__file__).parent.glob("*.py"))


def faults(source: str) -> list[str]:
    """What in `source` need not come out the same everywhere."""
    tree = ast.parse(source)
    found = [fault for node in ast.walk(tree) if (fault := _fault(node))]
    ordered = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        for argument in node.args
        if node.func.id == "sorted"
    }
    sets = [node for node in ast.walk(tree) if _is_set(node) and id(node) not in ordered]
    return found + [f"line {node.lineno}: a set that is not put in order" for node in sets]


def _fault(node: ast.AST) -> str:
    match node:
        case ast.Import(names=names) if {n.name.partition(".")[0] for n in names} & FORBIDDEN:
            return f"line {node.lineno}: import"
        case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in FORBIDDEN:
            return f"line {node.lineno}: import from {module}"
        case ast.Call(func=ast.Name(id="hash" | "id" | "float" | "frozenset" | "iter")):
            return f"line {node.lineno}: a call that is no function of the state"
        case ast.Constant(value=float()):
            return f"line {node.lineno}: a float"
        case ast.BinOp(op=ast.Div()):
            return f"line {node.lineno}: a division that is not of integers"
        case ast.AsyncFunctionDef() | ast.Await():
            return "await"
    return ""


def _is_set(node: ast.AST) -> TypeGuard[ast.expr]:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "set"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_replica_has_nothing_to_differ_by(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "def f():\n    from random import choice",
        "import os.path",
        "x = hash('a')",
        "x = 0.5",
        "x = 1 / 2",
        "for x in {1, 2}: pass",
        "y = set(z)",
        "y = [x for x in set(z)]",
        "async def f(): pass",
    ],
)
def test_what_could_differ_is_found(source: str) -> None:
    assert faults(source)
