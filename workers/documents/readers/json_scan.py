"""JSON values with the raw line each begins on; the standard decoder tells no places."""

import json
import re
from dataclasses import dataclass, field

MAX_DEPTH = 100
MAX_NODES = 2_000_000
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)


class TooDeep(ValueError):
    """The document nests deeper than `MAX_DEPTH`."""


class TooMany(ValueError):
    """The document holds more than `MAX_NODES` values."""


@dataclass(slots=True)
class Node:
    """A value: `text` for a scalar, else `children`. `line` is where it (or its key) begins."""

    line: int
    key: str = ""
    text: str = ""
    shape: str = "scalar"
    children: list["Node"] = field(default_factory=list)

    @property
    def scalar(self) -> bool:
        return self.shape == "scalar"


def scan(text: str, first_line: int = 1) -> Node:
    """Read one JSON value. Raises `ValueError` for anything that is not JSON."""
    try:
        json.loads(text)
    except RecursionError as error:
        raise TooDeep(f"nested deeper than {MAX_DEPTH}") from error
    return _Scanner(text, first_line).run()


class _Scanner:
    """A walk over the tokens of valid JSON with a stack of its own."""

    def __init__(self, text: str, first_line: int) -> None:
        self.text = text
        self.line = first_line
        self.counted = 0
        self.count = 0
        self.root = Node(first_line, shape="array")
        self.stack = [self.root]
        self.key: tuple[str, int] | None = None

    def run(self) -> Node:
        for match in _TOKEN.finditer(self.text):
            token = match[0]
            if token in "]}":
                self.stack.pop()
            elif token not in ",:":
                self._value(token, match.start())
        return self.root.children[0]

    def _line_at(self, offset: int) -> int:
        self.line += self.text.count("\n", self.counted, offset)
        self.counted = offset
        return self.line

    def _value(self, token: str, offset: int) -> None:
        line = self._line_at(offset)
        parent = self.stack[-1]
        if parent.shape == "object" and self.key is None:
            self.key = (json.loads(token), line)
            return
        key, line = self.key or (f"[{len(parent.children)}]", line)
        self.key = None
        self._add(parent, key, token, line)

    def _add(self, parent: Node, key: str, token: str, line: int) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            raise TooMany(f"more than {MAX_NODES:,} values")
        node = Node(line, " ".join(key.split()))
        parent.children.append(node)
        if token in "[{":
            node.shape = "object" if token == "{" else "array"
            self.stack.append(node)
            if len(self.stack) > MAX_DEPTH:
                raise TooDeep(f"nested deeper than {MAX_DEPTH}")
        else:
            node.text = json.loads(token) if token.startswith('"') else token
