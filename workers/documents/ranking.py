"""How much of a part of the question a finding answers, on a scale that needs no other finding.

A term's weight is its rarity among the folder's passages, the probabilistic idf of Robertson and
Spärck Jones in the always positive form of Lucene: ln(1 + (N - n + 0.5) / (n + 0.5)). Coverage is
the weight of the terms a finding holds over the weight of all terms of the part: an absolute
measure, unlike BM25 scores, so that a threshold can say "not found". The factors below were set on
real folders and questions (tests/documents/README.md), not learned.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workers.documents.model import Counts, Finding
from workers.documents.questions import Part, Term, pairs_of
from workers.documents.quoting import Quote, best_quote
from workers.documents.terms import terms

ANCHOR = 2.0  # a name, code or number that says what the question is about
WEAK = 0.25  # a word that most answers would not repeat
NEAR = 0.7  # said in another word
CONTEXT = 0.7  # said by the heading, title or file name only
ENOUGH = 0.6  # coverage below this answers nothing
ENOUGH_SAID = 0.5  # the same over the terms that are not anchors
ENOUGH_OF_SEVERAL = 0.45  # for a part that asks for more than one thing
ENOUGH_SAID_PINNED = 0.3  # the same for such a part, and where a code names the very thing
CODE = 0.85  # code and bare lines answer less readably than sentences
ASKS = 0.6  # a passage that is itself a question


@dataclass(frozen=True, slots=True)
class Ranked:
    """A finding with its quote; `score` orders, `coverage` decides."""

    finding: Finding
    quote: Quote
    coverage: float
    score: float
    held: frozenset[str]


def merge_counts(counts: Iterable[Counts]) -> Counts:
    """The counts of all shards together."""
    files = passages = 0
    holding: dict[str, int] = {}
    for each in counts:
        files += each.files
        passages += each.passages
        for term, number in each.holding.items():
            holding[term] = holding.get(term, 0) + number
    return Counts(files=files, passages=passages, holding=dict(sorted(holding.items())))


def weigh(part: Part, counts: Counts) -> dict[str, float]:
    """The weight of each of the part's terms."""
    return {term.text: _weight(term, counts) for term in part.terms}


def _weight(term: Term, counts: Counts) -> float:
    held = max(1, counts.holding.get(term.text, 0))
    rarity = math.log(1 + max(0, counts.passages - held + 0.5) / (held + 0.5))
    factor = ANCHOR if term.anchor else WEAK if term.weak else 1.0
    return round(max(rarity, 0.1) * factor, 6)


def missing(part: Part, findings: Sequence[Finding], counts: Counts) -> tuple[str, ...]:
    """The words of the part that no passage, heading or file name of the folder holds."""
    around = {term for finding in findings for term in finding.context}
    absent = (t for t in part.terms if not counts.holding.get(t.text) and t.text not in around)
    return tuple(dict.fromkeys(term.surface for term in absent if not term.weak))


def rank(part: Part, findings: Sequence[Finding], counts: Counts) -> list[Ranked]:
    """The findings that answer the part, best first."""
    absent = missing(part, findings, counts)
    if any(term.anchor and term.surface in absent for term in part.terms):
        return []
    weights = weigh(part, counts)
    ranked = [
        each
        for finding in findings
        if _speaks_of(part, weights, finding) and (each := _rank_one(part, weights, finding))
    ]
    return sorted(ranked, key=lambda r: (-round(r.score, 6), _place(r)))


def _place(ranked: Ranked) -> tuple[str, int, int, str]:
    place = ranked.finding.place
    return place.file, place.page or 0, place.line or 0, ranked.finding.text


def _speaks_of(part: Part, weights: Mapping[str, float], finding: Finding) -> bool:
    """Whether the finding holds the rarest anchor (any of them, if several things are asked)."""
    anchors = [term.text for term in part.terms if term.anchor]
    if not anchors:
        return True
    held = {*finding.direct, *finding.context}
    if part.several:
        return any(anchor in held for anchor in anchors)
    return max(anchors, key=lambda a: (weights[a], a)) in held


def _rank_one(part: Part, weights: Mapping[str, float], finding: Finding) -> Ranked | None:
    shares = _shares(weights, finding)
    coverage = _coverage(shares, weights, weights)
    said = {t.text for t in part.terms if not t.anchor and not t.weak}
    enough = ENOUGH_OF_SEVERAL if part.several else ENOUGH
    pinned = part.several or any(term.code for term in part.terms)
    enough_said = ENOUGH_SAID_PINNED if pinned else ENOUGH_SAID
    if coverage < enough or (said and _coverage(shares, weights, said) < enough_said):
        return None
    quote = best_quote(finding, weights, part.shape)
    if terms(quote.text) <= weights.keys():
        return None  # it only repeats the question's words
    quality = 0.4 + 0.15 * quote.share + 0.15 * quote.shaped + 0.1 * quote.closeness
    quality += 0.2 * _paired(part, weights, quote)
    factor = CODE if finding.kind == "code" else 1.0
    factor *= ASKS if quote.text.endswith("?") else 1.0
    return Ranked(finding, quote, coverage, coverage * quality * factor, frozenset(shares))


def _paired(part: Part, weights: Mapping[str, float], quote: Quote) -> float:
    """The share of the part's pairs of neighbouring words that are neighbours in the quote.

    A pair weighs what the lighter of its words weighs.
    """
    values = {pair: min(weights.get(term, 0.0) for term in pair) for pair in part.pairs}
    whole = sum(values.values())
    held = set(pairs_of(quote.text, apart=2))
    return sum(v for pair, v in values.items() if pair in held) / whole if whole else 1.0


def _shares(weights: Mapping[str, float], finding: Finding) -> dict[str, float]:
    shares = dict.fromkeys(finding.near, NEAR)
    shares.update(dict.fromkeys(finding.context, CONTEXT))
    shares.update(dict.fromkeys(finding.direct, 1.0))
    return {term: share for term, share in shares.items() if term in weights}


def _coverage(
    shares: Mapping[str, float], weights: Mapping[str, float], among: Iterable[str]
) -> float:
    wanted = list(among)
    whole = sum(weights[term] for term in wanted)
    return sum(weights[term] * shares.get(term, 0.0) for term in wanted) / whole if whole else 0.0
