"""Source code and configuration: blocks between blank lines, comments and docstrings apart.

Python files are also parsed, so that a passage knows the class and function it stands in; other
languages get the nearest line above that opens a function, class or section.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from itertools import pairwise

from workers.documents.model import PassageKind
from workers.documents.readers.content import Content

_LONGEST = 14
_COMMENT = re.compile(r"\s*(?:#|//|/\*|\*|--\s|;;|%|<!--|\"\"\"|''')")
_OPENS = re.compile(
    r"\s*(?:(?:pub|public|private|protected|static|async|export|default|abstract|final)\s+)*"
    r"(?:def|class|func|fn|function|interface|struct|enum|trait|impl|type|module|package|message"
    r"|service|create\s+(?:table|view|index))\s+[\w.<>]+|\s*\[[\w.\"' -]+\]\s*$",
    re.IGNORECASE,
)


def read(file: str, text: str) -> Content:
    """Read one file's text. Raises `Unreadable` when it is something else."""
    content = Content()
    lines = text.split("\n")
    python = file.endswith((".py", ".pyi"))
    owners, prose = _python(text) if python else ({}, set())
    heading = ""
    for first, block in _blocks(lines, prose):
        number = first + 1
        if not python and _OPENS.match(lines[first]):
            heading = lines[first].strip()[:120]
        kind: PassageKind = "prose" if _is_prose(block, number, prose) else "code"
        numbers = range(number, number + len(block))
        content.add(block, numbers, owners.get(number, heading), kind)
    return content


def _blocks(lines: list[str], prose: set[int]) -> Iterator[tuple[int, list[str]]]:
    """Cut where a blank line stands, prose begins or ends, or a block grows too long."""
    cuts = {0, len(lines)}
    for index in range(1, len(lines)):
        before, here = lines[index - 1], lines[index]
        blank = not here.strip() or not before.strip()
        if blank or _wordy(before, index, prose) != _wordy(here, index + 1, prose):
            cuts.add(index)
    for start, end in pairwise(sorted(cuts)):
        for first in range(start, end, _LONGEST):
            block = lines[first : min(end, first + _LONGEST)]
            if any(line.strip() for line in block):
                yield first, block


def _wordy(line: str, number: int, prose: set[int]) -> bool:
    return number in prose or bool(_COMMENT.match(line))


def _is_prose(block: list[str], number: int, prose: set[int]) -> bool:
    return all(_wordy(line, number + i, prose) for i, line in enumerate(block))


def _tree(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _python(text: str) -> tuple[dict[int, str], set[int]]:
    """The qualified name around each line of a Python file, and the lines of its docstrings."""
    owners: dict[int, str] = {}
    prose: set[int] = set()
    tree = _tree(text)
    stack: list[tuple[ast.AST, str]] = [(tree, "")] if tree else []
    while stack:
        node, name = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{name}.{node.name}" if name else node.name
            last = node.end_lineno or node.lineno
            owners.update(dict.fromkeys(range(node.lineno, last + 1), name))
        prose.update(_docstring(node))
        stack += [(child, name) for child in reversed(_statements(node))]
    return owners, prose


def _statements(node: ast.AST) -> list[ast.AST]:
    """The statements directly inside a node; expressions hold no definitions."""
    inside: list[ast.AST] = []
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        children = getattr(node, block, None)
        if isinstance(children, list):
            inside += children
    return inside


def _docstring(node: ast.AST) -> range:
    """The lines of a node's docstring; none is an empty range."""
    if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return range(0)
    first = node.body[0] if node.body else None
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
        return range(0)
    if not isinstance(first.value.value, str):
        return range(0)
    return range(first.lineno, (first.end_lineno or first.lineno) + 1)
