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
    owners = _python_owners(text) if python else {}
    prose = _docstring_lines(text) if python else set()
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


def _python_owners(text: str) -> dict[int, str]:
    """The qualified name of the class or function around each line of a Python file."""
    owners: dict[int, str] = {}
    tree = _tree(text)
    stack: list[tuple[ast.AST, str]] = [(tree, "")] if tree else []
    while stack:
        node, name = stack.pop()
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}" if name else child.name
                last = child.end_lineno or child.lineno
                owners.update(dict.fromkeys(range(child.lineno, last + 1), inner))
            stack.append((child, inner))
    return owners


def _docstring_lines(text: str) -> set[int]:
    found: set[int] = set()
    tree = _tree(text)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found
