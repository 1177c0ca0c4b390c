"""What of a question a passage or a table holds, and which findings are worth sending on.

Findings are kept per set of terms they hold: the best few of each set. The order within a set
depends on the passage and the question alone, so keeping the best of each shard and then the best
of all gives the same as keeping the best of the whole folder at once.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from workers.documents.document import Document, Passage, Table
from workers.documents.model import Finding, Place, TableFinding
from workers.documents.questions import Part, Question
from workers.documents.quoting import shows
from workers.documents.segments import segments
from workers.documents.synonyms import near
from workers.documents.terms import terms

PER_SET = 4
MAX_SETS = 40
MAX_TABLES = 40
PROSE_LIKE = ("prose", "row", "record", "lines")


class Held(NamedTuple):
    """The question's terms a passage holds: in its own words, in others, by what is above it."""

    direct: frozenset[str]
    near: frozenset[str]
    context: frozenset[str]


class Matcher:
    """Compares passages with one question; remembers what headings hold."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.wanted = question.terms
        self.others = {term: near(term) for term in self.wanted}
        self._contexts: dict[str, frozenset[str]] = {}

    def own(self, held: set[str]) -> tuple[frozenset[str], frozenset[str]]:
        """The question's terms among `held`, and those it holds in other words."""
        direct = self.wanted & held
        rest = self.wanted - direct
        return direct, frozenset(t for t in rest if not self.others[t].isdisjoint(held))

    def context(self, text: str) -> frozenset[str]:
        """The question's terms in a heading, title or file name."""
        if text not in self._contexts:
            self._contexts[text] = self.wanted & terms(text)
        return self._contexts[text]


def match(matcher: Matcher, document: Document) -> Iterator[tuple[frozenset[str], Finding | None]]:
    """For every passage the terms it holds, and the finding if it is worth one."""
    file_name = document.file.replace("/", " / ")
    around = matcher.context(f"{document.title}\n{file_name}")
    for passage in document.passages:
        direct, other = matcher.own(terms(passage.text))
        context = (matcher.context(passage.heading) | around) - direct
        if not direct and not other and not context:
            yield frozenset(), None
            continue
        held = Held(direct, other - context, context)
        yield direct | other, None if _is_heading(passage) else _finding(document, passage, held)


def _is_heading(passage: Passage) -> bool:
    plain = passage.text.strip("#= \t")
    return passage.heading == plain or passage.heading.endswith(f"› {plain}")


def _finding(document: Document, passage: Passage, held: Held) -> Finding:
    lines = tuple(passage.lines)
    place = Place(
        file=document.file,
        page=passage.page,
        line=lines[0] if lines else None,
        last_line=lines[-1] if lines else None,
    )
    return Finding(
        place=place,
        sha256=document.sha256,
        text=passage.text,
        lines=lines,
        heading=passage.heading,
        title=document.title[:200],
        kind=passage.kind,
        direct=tuple(sorted(held.direct)),
        near=tuple(sorted(held.near)),
        context=tuple(sorted(held.context)),
    )


def keep(question: Question, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings worth ranking, in the order of their places."""
    everything = sorted(findings, key=_order)
    kept: dict[tuple[str, tuple[str, int, int]], Finding] = {}
    for part in question.parts:
        for finding in _keep_for(part, everything):
            kept[finding.text, _order(finding)[:3]] = finding
    return tuple(sorted(kept.values(), key=_order))


def _order(finding: Finding) -> tuple[str, int, int, str]:
    place = finding.place
    return place.file, place.page or 0, place.line or 0, finding.text


def _keep_for(part: Part, findings: list[Finding]) -> Iterator[Finding]:
    wanted = {term.text for term in part.terms}
    sets: dict[frozenset[str], list[Finding]] = {}
    for finding in findings:
        held = wanted.intersection((*finding.direct, *finding.near, *finding.context))
        if held:
            sets.setdefault(frozenset(held), []).append(finding)
    for each in sorted(sets, key=lambda s: (-len(s), sorted(s)))[:MAX_SETS]:
        ranked = sorted(sets[each], key=lambda f: (-_local(part, wanted, f), f.text, _order(f)))
        texts: set[str] = set()
        for finding in ranked:
            if finding.text not in texts:
                texts.add(finding.text)
                yield finding
            if len(texts) == PER_SET:
                break


def _local(part: Part, wanted: set[str], finding: Finding) -> float:
    """How well a passage shows what it holds: own words, in one sentence, in the shape asked."""
    direct = wanted.intersection(finding.direct)
    own = len(direct) + 0.7 * len(wanted.intersection(finding.near))
    context = 0.5 * len(wanted.intersection(finding.context))
    pieces = [finding.text[a:b] for a, b in segments(finding.text, finding.kind)]
    share = max((len(direct & terms(p)) for p in pieces), default=0) / (len(direct) or 1)
    shape = shows(part.shape, finding.text)
    prose = finding.kind in PROSE_LIKE
    return round(
        (own + context) / len(wanted) + 0.5 * share + 0.25 * shape + 0.15 * prose,
        6,
    ) - round(len(finding.text) / 20000, 6)


def match_table(matcher: Matcher, document: Document, index: int) -> TableFinding | None:
    """What of the question a table's name, columns and cells hold; `None` when nothing."""
    table = document.tables[index]
    name = f"{table.name}\n{table.heading}\n{document.title}\n{document.file.replace('/', ' / ')}"
    named, named_near = matcher.own(terms(name))
    columns, columns_near = matcher.own(terms("\n".join(table.columns)))
    cells = _in_cells(matcher, table)
    if not named and not columns and not columns_near and not cells:
        return None
    return TableFinding(
        file=document.file,
        sha256=document.sha256,
        table=index,
        name=table.name,
        row_count=len(table.rows),
        named=tuple(sorted(named | named_near)),
        columns=tuple(sorted(columns | columns_near)),
        cells=tuple(sorted(cells)),
    )


def _in_cells(matcher: Matcher, table: Table) -> frozenset[str]:
    """The question's terms that cells which are words, not numbers, hold."""
    held: set[str] = set()
    for values in zip(*table.rows, strict=True):
        held.update(*(terms(value) for value in set(values) if len(value) <= 80))
    return matcher.wanted & held


def keep_tables(tables: Iterable[TableFinding]) -> tuple[TableFinding, ...]:
    """The tables that hold most of the question's terms, best first."""
    return tuple(sorted(tables, key=_table_order)[:MAX_TABLES])


def _table_order(table: TableFinding) -> tuple[int, str, int]:
    held = {*table.named, *table.columns, *table.cells}
    return -2 * len(held) - len(table.columns), table.file, table.table
