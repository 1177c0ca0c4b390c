"""The few sentences of a passage that say most of what was asked, and where they stand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from workers.documents.model import Finding, Place
from workers.documents.questions import Shape
from workers.documents.segments import segments
from workers.documents.synonyms import near
from workers.documents.terms import chunks, terms, terms_of

LONGEST = 420
MOST_SEGMENTS = 3
PER_SEGMENT = 0.06

_NUMBER = re.compile(
    r"(?<![\w.-])\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand"
    r"|million|half|once|twice|none|zero|unlimited)\b",
    re.IGNORECASE,
)
_DURATION = re.compile(
    r"(?<![\w.-])\d[\d.,]*\s*(?:ns|µs|us|ms|s|sec\w*|min\w*|h|hours?|hrs?|days?|weeks?|months?|years?)\b"
    r"|\b(?:seconds?|minutes?|hours?|daily|days|weeks?|weekly|months?|monthly|years?|yearly|once"
    r"|twice|forever|immediately)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\d|\b(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|monday|tuesday|wednesday|thursday|friday|saturday|sunday|spring|summer|autumn|winter|before"
    r"|after|until|once|when|whenever|as soon as|immediately|daily|weekly|monthly|yearly)\b",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"[A-Z][a-z][\w'’-]* (?:[A-Z]\. )?[A-Z][\w'’-]+|(?<=[a-z,;:] )[A-Z][a-z][\w'’-]*|[A-Z]\w+:|@\w+"
)
_PATTERNS: Mapping[Shape, re.Pattern[str]] = {
    "number": _NUMBER,
    "duration": _DURATION,
    "time": _TIME,
    "person": _PERSON,
}


def shows(shape: Shape, text: str) -> bool:
    """Whether a text has the shape of an answer: a number, a time, a name."""
    pattern = _PATTERNS.get(shape)
    return pattern is None or bool(pattern.search(text))


@dataclass(frozen=True, slots=True)
class Quote:
    """`text` stands at `place`; `share` of the passage's own weight of terms is in it.

    `closeness` is 1 when the terms stand side by side and falls as words come between them.
    """

    text: str
    place: Place
    share: float
    shaped: bool
    closeness: float


def best_quote(finding: Finding, weights: Mapping[str, float], shape: Shape) -> Quote:
    """The window of at most three neighbouring sentences with most of the terms' weight.

    Each further sentence must earn `PER_SEGMENT` of the whole weight.
    """
    spans = segments(finding.text, finding.kind) or [(0, len(finding.text))]
    spans = spans[:200]
    held = [_held(finding.text[start:end], weights) for start, end in spans]
    whole = sum(weights[t] for t in set().union(*held)) or 1.0
    best, best_value = (0, 1), -1.0
    for first in range(len(spans)):
        for last in range(first + 1, min(len(spans), first + MOST_SEGMENTS) + 1):
            start, end = spans[first][0], spans[last - 1][1]
            if end - start > LONGEST and last > first + 1:
                break
            share = sum(weights[t] for t in set().union(*held[first:last])) / whole
            shaped = shows(shape, finding.text[start:end])
            value = share + 0.2 * shaped - PER_SEGMENT * (last - first - 1)
            if value > best_value + 1e-9:
                best, best_value = (first, last), value
    text, place = _cut(finding, spans[best[0]][0], spans[best[1] - 1][1])
    share = sum(weights[t] for t in _held(text, weights)) / whole
    closeness = _closeness(text, weights)
    return Quote(" ".join(text.split()), place, share, shows(shape, text), closeness)


def _held(text: str, weights: Mapping[str, float]) -> set[str]:
    words = terms(text)
    return {t for t in weights if t in words or not near(t).isdisjoint(words)}


def _cut(finding: Finding, start: int, end: int) -> tuple[str, Place]:
    text = finding.text[start:end]
    place = finding.place
    if finding.lines:
        first = finding.text.count("\n", 0, start)
        last = first + text.count("\n")
        place = place.model_copy(
            update={"line": finding.lines[first], "last_line": finding.lines[last]}
        )
    return text, place


def _closeness(text: str, weights: Mapping[str, float]) -> float:
    """The number of terms a text holds over the words of the shortest stretch with all of them.

    Four words more cost nothing: sentences need articles and verbs.
    """
    places: list[tuple[int, str]] = [
        (index, term)
        for index, chunk in enumerate(chunks(text))
        for term in terms_of(chunk)
        if term in weights
    ]
    distinct = len({term for _, term in places})
    if distinct < 2:
        return 0.5 * distinct
    shortest = _shortest(places, distinct)
    return min(1.0, (distinct + 4) / max(shortest, 1))


def _shortest(places: list[tuple[int, str]], distinct: int) -> int:
    """The length in words of the shortest stretch that holds `distinct` different terms."""
    counts: dict[str, int] = {}
    shortest, start = 1 << 30, 0
    for index, term in places:
        counts[term] = counts.get(term, 0) + 1
        while len(counts) == distinct:
            first, leaving = places[start]
            shortest = min(shortest, index - first + 1)
            counts[leaving] -= 1
            if not counts[leaving]:
                del counts[leaving]
            start += 1
    return shortest
