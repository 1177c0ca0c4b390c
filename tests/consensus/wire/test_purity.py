"""The encoding is pure, and nothing in the ledger's network waits in a way that loses a cancel."""

import ast
from collections.abc import Iterator
from pathlib import Path

import consensus.transport
import consensus.wire

WIRE = Path(consensus.wire.__file__).parent
TRANSPORT = Path(consensus.transport.__file__).parent
MAY = {"collections", "consensus", "contracts", "dataclasses", "enum", "hashlib", "hmac"}
MAY |= {"operator", "struct", "types", "typing"}


def imported(path: Path) -> Iterator[str]:
    """The first names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def test_the_encoding_has_no_clock_no_socket_and_no_chance() -> None:
    files = sorted(WIRE.glob("*.py"))
    assert len(files) > 5
    assert {name for path in files for name in imported(path)} <= MAY


def test_nothing_waits_with_wait_for() -> None:
    """It may swallow a cancellation that comes together with the result (Python 3.11)."""
    for path in sorted(TRANSPORT.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert "wait_for" not in names, path.name
