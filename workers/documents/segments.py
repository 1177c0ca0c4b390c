"""Where sentences, list items and lines of a passage begin and end."""

import re
from itertools import pairwise

from workers.documents.model import PassageKind

LONGEST = 400
LONGEST_ROW = 280
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]*_`]*(\s+)(?=[\"'“‘(\[*_`]*[^\W_a-z])")
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|cf|vs|etc|approx|no|nr|fig|sec|ch|pp?|vol|ed|mr|mrs|ms|dr|prof|st|inc|ltd|corp"
    r"|resp|[A-Z])\.$",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\n(?=\s*(?:[-*+•·–]|\d{1,3}[.)]|\[[ x\d]+\]|\|)\s|\s*(?:\"{3}|'{3})\s*$)")
_SOFT = ("; ", ": ", " – ", " — ", ", ", " ")

Span = tuple[int, int]


def segments(text: str, kind: PassageKind) -> list[Span]:
    """The spans of the smallest pieces worth quoting, in order; each has a letter or digit."""
    if kind == "row":
        spans = _cells(text)
    elif kind == "prose":
        spans = _sentences(text)
    else:
        spans = _split(text, [m.start() for m in re.finditer("\n", text)])
    pieces = [piece for span in spans for piece in _shorten(text, span)]
    return [trimmed for piece in pieces if (trimmed := _trim(text, piece))]


def _sentences(text: str) -> list[Span]:
    borders = {m.start() for m in _ITEM.finditer(text)}
    for match in _SENTENCE_END.finditer(text):
        before = text[max(0, match.start() - 8) : match.start() + 1]
        if not (text[match.start()] == "." and _ABBREVIATION.search(before)):
            borders.add(match.start(1))
    return _split(text, sorted(borders))


def _cells(text: str) -> list[Span]:
    """A short row whole; of a long one each cell, and the sentences of long cells."""
    if len(text) <= LONGEST_ROW:
        return [(0, len(text))]
    cells = _split(text, [m.end() for m in re.finditer("; ", text)])
    return [(start + a, start + b) for start, end in cells for a, b in _sentences(text[start:end])]


def _split(text: str, borders: list[int]) -> list[Span]:
    edges = [0, *borders, len(text)]
    return list(pairwise(edges))


def _shorten(text: str, span: Span) -> list[Span]:
    """Cut a span that is longer than anyone wants to read at clause borders."""
    start, end = span
    pieces: list[Span] = []
    while end - start > LONGEST:
        window = text[start : start + LONGEST]
        at = _soft_border(window)
        pieces.append((start, start + at))
        start += at
    pieces.append((start, end))
    return pieces


def _soft_border(window: str) -> int:
    for mark in _SOFT:
        at = window.rfind(mark, len(window) // 3)
        if at > 0:
            return at + len(mark)
    return len(window)


def _trim(text: str, span: Span) -> Span | None:
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if any(c.isalnum() for c in text[start:end]) else None
