"""A question taken apart: its parts, their terms, and what shape an answer would have.

"What does Kestrel cost, who leads it and when does it launch?" has three parts; the later ones
inherit the names of the first, because they say "it".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from workers.documents.errors import InvalidQuestion
from workers.documents.terms import STOPWORDS, WEAK, chunks, fold, is_identifier, stem, terms_of

Shape = Literal["number", "duration", "time", "person", "any"]

MAX_PARTS = 6
_ASKING = r"(?:what|who|whom|whose|when|where|why|which|how)"
_SHAPE_WORDS: Mapping[Shape, str] = {
    "duration": r"how (?:long|often|soon|quickly|fast)|timeout|duration|delay|latency",
    "time": r"when|which (?:year|date|day|month)|what (?:year|date|day|time)|since",
    "person": r"who|whom|whose",
    "number": (
        r"how (?:much|many|far|large|big|high|old|heavy)|costs?|price|maximum|minimum|limit"
        r"|percentage|rate|total|average|amount|number of|size"
    ),
}
_BORDER = re.compile(
    rf"[?!]\s+|\.\s+(?=[A-Z])|[,;]\s+(?:and\s+)?(?={_ASKING}\b)|\s+and\s+(?={_ASKING}\b)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“”«»`]([^\"“”«»`]{2,80})[\"“”«»`]")
_PRONOUN = re.compile(
    r"\b(?:it|its|they|their|them|he|his|she|her|this|that|these|those)\b", re.IGNORECASE
)
_SHAPES: tuple[tuple[Shape, re.Pattern[str]], ...] = tuple(
    (shape, re.compile(rf"\b(?:{words})\b", re.IGNORECASE)) for shape, words in _SHAPE_WORDS.items()
)
_SEVERAL = re.compile(r"\b(?:and|or|versus|vs|compared?|difference|differ|both)\b", re.IGNORECASE)
_GENERIC = WEAK | {"version", "system", "service", "chapter", "report", "plan", "table", "figure"}


@dataclass(frozen=True, slots=True)
class Term:
    """One thing a passage should speak of.

    `anchor`: a passage without it is about something else. `code`: it names exactly one thing, as
    a part number does. `weak`: most answers would not repeat it.
    """

    text: str
    surface: str
    anchor: bool = False
    code: bool = False
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One question of the question; `number` from 0. `several`: it asks for more than one thing.

    `pairs` are terms that stand side by side, as "telemetry link" does.
    """

    number: int
    text: str
    terms: tuple[Term, ...]
    shape: Shape
    several: bool = False
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A question as asked, and its parts: at least one."""

    text: str
    parts: tuple[Part, ...]

    @property
    def terms(self) -> frozenset[str]:
        """The text of every term of every part."""
        return frozenset(term.text for part in self.parts for term in part.terms)


@lru_cache(maxsize=64)
def parse(text: str) -> Question:
    """Take a question apart. Raises `InvalidQuestion` when it holds no word to look for."""
    pieces = [p.strip(" ,;?!") for p in _BORDER.split(text)]
    named = _names(text)
    parts: list[Part] = []
    for piece in [p for p in pieces if p][:MAX_PARTS]:
        found = _terms(piece, named)
        if parts and _leans_on_first(piece, found):
            found = _with_anchors(parts[0].terms, found)
        if found:
            several = bool(_SEVERAL.search(piece))
            pairs = tuple(pairs_of(piece))
            parts.append(Part(len(parts), piece, found, _shape(piece), several, pairs))
    if not parts:
        raise InvalidQuestion(text)
    return Question(text, tuple(parts))


def pairs_of(text: str, apart: int = 1) -> Iterator[tuple[str, str]]:
    """Pairs of terms at most `apart` words apart, in their order; stop words part them."""
    words = [terms_of(chunk) for chunk in chunks(text)]
    for index, first in enumerate(words):
        for second in words[index + 1 : index + 1 + apart]:
            if first and second:
                yield first[-1], second[0]


def _leans_on_first(piece: str, found: tuple[Term, ...]) -> bool:
    own = [t for t in found if not t.weak]
    return not any(t.anchor for t in found) and (bool(_PRONOUN.search(piece)) or len(own) <= 1)


def _with_anchors(first: tuple[Term, ...], found: tuple[Term, ...]) -> tuple[Term, ...]:
    subjects = tuple(t for t in first if t.anchor)
    if not subjects:
        subjects = tuple(t for t in first if not t.weak)
    known = {t.text for t in found}
    return tuple(t for t in subjects if t.text not in known) + found


def _shape(piece: str) -> Shape:
    for shape, pattern in _SHAPES:
        if pattern.search(piece):
            return shape
    return "any"


def _names(text: str) -> frozenset[str]:
    """Words written like names: capitals inside a sentence, acronyms, what stands in quotes."""
    words = [w for w in chunks(text) if w[0].isalpha()]
    capital = [w for w in words if w[0].isupper()]
    titled = len(words) > 3 and len(capital) > 0.6 * len(words)
    found = {w for quote in _QUOTED.findall(text) for w in chunks(quote)}
    for match in re.finditer(r"\w[\w'’-]*", text):
        word = re.sub(r"['’]s?$", "", match[0])
        acronym = len(word) > 1 and word.isupper() and not text.isupper()
        starts = not re.search(r"[\w,;:)'\"”’]\s*$", text[: match.start()])
        if acronym or (word[0].isupper() and not starts and not titled):
            found.add(word)
    return frozenset(fold(w) for w in found)


def _terms(piece: str, named: frozenset[str]) -> tuple[Term, ...]:
    found: dict[str, Term] = {}
    for chunk in chunks(piece):
        if is_identifier(chunk):
            found.setdefault(fold(chunk), Term(fold(chunk), chunk, anchor=True, code=True))
            continue
        for text in terms_of(chunk):
            found.setdefault(text, _word(text, chunk, named))
    return tuple(found.values())


def _word(text: str, chunk: str, named: frozenset[str]) -> Term:
    folded = fold(re.sub(r"['’]s?$", "", chunk))
    weak = folded in _GENERIC or text in _weak_stems() or folded.endswith("ly")
    big_number = text.isdigit() and len(text) >= 3
    anchor = big_number or (not weak and folded in named and folded not in STOPWORDS)
    return Term(text, chunk, anchor=anchor, weak=weak)


@lru_cache(maxsize=1)
def _weak_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in _GENERIC)
