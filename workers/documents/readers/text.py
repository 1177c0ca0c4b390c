"""Plain text, reStructuredText and logs: paragraphs between blank lines, headings as context."""

import re
from collections.abc import Iterator

from workers.documents.readers.content import Content
from workers.documents.readers.outline import Outline

_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*$")
_NUMBERED = re.compile(r"(\d+(?:\.\d+)*)\.?\s+\S")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s")
_STAMP = re.compile(r"\s*\[?(?:\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:)")

Block = tuple[int, list[str]]


def read(file: str, text: str) -> Content:
    """Read one file's text. Raises `Unreadable` when it is something else."""
    content = Content()
    outline = Outline()
    levels: dict[str, int] = {}
    log = file.endswith(".log")
    for block in _blocks(text):
        rest = block if log else _heading(block, outline, levels, content)
        _paragraph(rest, outline, content, log)
    content.title = outline.title
    return content


def _blocks(text: str) -> Iterator[Block]:
    """Runs of lines without a blank one, with the number of their first line."""
    block: list[str] = []
    number = 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []
    if block:
        yield number - len(block) + 1, block


def _heading(block: Block, outline: Outline, levels: dict[str, int], content: Content) -> Block:
    """Take a heading off the front of a block, if it has one."""
    first, lines = block
    if len(lines) >= 3 and _UNDERLINE.match(lines[0]) and _UNDERLINE.match(lines[2]):
        first, lines = first + 1, lines[1:]
    if len(lines) >= 2 and _UNDERLINE.match(lines[1]) and not _UNDERLINE.match(lines[0]):
        level = levels.setdefault(lines[1][0], len(levels) + 1)
        _enter(level, lines[0], outline)
        content.add(lines[:1], [first], outline.path)
        return first + 2, lines[2:]
    if len(lines) == 1 and (level := _lone_heading(lines[0])):
        _enter(level, lines[0], outline)
    return first, lines


def _lone_heading(line: str) -> int:
    """The level of a line that stands alone like a heading; 0 when it is none."""
    plain = line.strip()
    if (
        len(plain) > 80
        or plain[-1] in ".,;:?!"
        or (_ITEM.match(line) and not _NUMBERED.match(plain))
    ):
        return 0
    if plain.startswith("#"):
        return len(plain) - len(plain.lstrip("#"))
    if number := _NUMBERED.match(plain):
        return 20 + number[1].count(".")
    if plain.isupper() and len(plain) > 3:
        return 10
    return 30 if plain[0].isupper() and line[0] == plain[0] and len(plain.split()) <= 8 else 0


def _enter(level: int, heading: str, outline: Outline) -> None:
    outline.enter(level, heading.strip("# \t"))


def _paragraph(block: Block, outline: Outline, content: Content, log: bool) -> None:
    first, lines = block
    numbers = range(first, first + len(lines))
    stamped = log or sum(bool(_STAMP.match(line)) for line in lines) > len(lines) / 2
    if stamped:
        content.add(lines, numbers, outline.path, "lines")
        return
    content.add(lines, numbers, outline.path_with_lead)
    if lines and not _ITEM.match(lines[0]):
        outline.introduce(" ".join(lines))
