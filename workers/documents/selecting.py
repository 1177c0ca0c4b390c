"""Which of the ranked findings a brief shows: few, each for a reason, none twice."""

from collections.abc import Sequence

from workers.documents.evidence import keep, keep_tables
from workers.documents.model import Answered, Counts, Finding, Findings, Selection, Skipped
from workers.documents.questions import Part, Question
from workers.documents.ranking import Ranked, merge_counts, missing, rank
from workers.documents.terms import terms

MOST = 12  # citations in a brief
NEXT_TO_BEST = 0.9  # a further finding scores at least this share of the best
ADDING = 0.65  # the same when it holds terms that nothing chosen so far holds
ALIKE = 0.7  # findings that share more of their terms say the same (Jaccard)


def select(
    question: Question, findings: Sequence[Findings], skipped: Sequence[Skipped]
) -> Selection:
    """Choose the evidence; the order and division of `findings` make no difference."""
    counts = merge_counts(each.counts for each in findings)
    passages = keep(question, [f for each in findings for f in each.passages])
    left_out = {s.file: s for each in findings for s in each.skipped}
    left_out.update({s.file: s for s in skipped})
    most = min(4, max(2, MOST // len(question.parts)))
    return Selection(
        question=question.text,
        parts=tuple(_answer(part, passages, counts, most) for part in question.parts),
        tables=keep_tables(t for each in findings for t in each.tables),
        counts=counts,
        skipped=tuple(left_out[file] for file in sorted(left_out)),
    )


def _answer(part: Part, findings: Sequence[Finding], counts: Counts, most: int) -> Answered:
    chosen = _choose(rank(part, findings, counts), most)
    return Answered(
        part=part.text,
        findings=tuple(each.finding for each in chosen),
        missing=missing(part, findings, counts),
    )


def _choose(ranked: Sequence[Ranked], most: int) -> list[Ranked]:
    chosen: list[Ranked] = []
    covered: set[str] = set()
    for each in ranked:
        if len(chosen) == most:
            break
        needed = ADDING if each.held - covered else NEXT_TO_BEST
        if chosen and each.score < needed * chosen[0].score:
            continue
        if any(_alike(each, other) for other in chosen):
            continue
        chosen.append(each)
        covered |= each.held
    return chosen


def _alike(one: Ranked, other: Ranked) -> bool:
    mine, theirs = terms(one.quote.text), terms(other.quote.text)
    return len(mine & theirs) > ALIKE * len(mine | theirs)
