"""The core is a function of what it is told: nothing in it can depend on anything else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import consensus.raft
from tests.consensus.raft.chaos import Chaos

FOLDER = Path(consensus.raft.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))
FORBIDDEN = {
    "time", "datetime", "asyncio", "uuid", "secrets", "threading", "socket", "os", "sys",
    "contracts.clock", "contracts.ids",
}  # fmt: skip
CALLS = {"hash", "id", "float", "set", "frozenset", "vars"}


def faults(source: str) -> Iterator[str]:
    """What in this source could make two runs differ."""
    for node in ast.walk(ast.parse(source)):
        yield from _imports(node)
        yield from _values(node)


def _imports(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (f"import {name.name}" for name in names if name.name in FORBIDDEN)
        case ast.ImportFrom(module=module) if module in FORBIDDEN or module == "random":
            yield f"from {module}"
        case ast.Attribute(value=ast.Name(id="random"), attr=attr) if attr != "Random":
            yield f"random.{attr}"
        case ast.Await() | ast.AsyncFunctionDef():
            yield "await"
        case _:
            pass


def _values(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            yield f"{name}()"
        case ast.Constant(value=float() as value):
            yield f"the float {value}"
        case ast.BinOp(op=ast.Div()):
            yield "a division with a fraction"
        case ast.Set() | ast.SetComp() if not isinstance(node, ast.Set) or not _constant(node):
            yield "a set"
        case ast.For(iter=ast.Set()) | ast.comprehension(iter=ast.Set()):
            yield "an iteration over a set"
        case _:
            pass


def _constant(node: ast.Set) -> bool:
    """A set that is only looked into, such as `x in {None, y}`."""
    return all(isinstance(one, ast.Constant | ast.Attribute | ast.Name) for one in node.elts)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.name))
def test_nothing_in_the_core_depends_on_anything_but_its_input(path: Path) -> None:
    """No clock, no tasks, no random numbers but those of the generator it is given, no order of
    hashes, no fractions."""
    assert [*faults(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from datetime import datetime",
        "import asyncio",
        "from uuid import uuid4",
        "import secrets",
        "random.random()",
        "random.choice(x)",
        "from random import choice",
        "hash(x)",
        "id(x)",
        "for x in {1, 2}: pass",
        "[x for x in {y for y in z}]",
        "set(x)",
        "frozenset(x)",
        "x = 0.5",
        "x = y / 2",
        "async def f(): pass",
    ],
)
def test_each_of_them_would_be_found(source: str) -> None:
    assert [*faults(source)]


def test_a_seed_makes_the_same_history_again() -> None:
    """Twice the same seed: the same logs, terms and answers."""

    def history(seed: int) -> list[object]:
        chaos = Chaos(seed)
        chaos.run(1500)
        nodes = chaos.network.nodes.values()
        return [(n.raft.status(), n.state, n.answers, n.disk.boot()) for n in nodes]

    for seed in range(20):
        assert history(seed) == history(seed)
