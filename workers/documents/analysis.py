"""Which figures a question asks for, and from which tables: the analyst's judgement.

A figure is computed only where the question names an operation ("total", "average", "highest",
"how many", "change"), a table's words cover the question's, and every name in the question is met.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workers.documents import numbers
from workers.documents.document import Document, Table
from workers.documents.figures import TIME_COLUMN, CannotCompute, compute
from workers.documents.model import Figure, Filter, Operation, Recipe
from workers.documents.questions import Part
from workers.documents.readers.content import one_line
from workers.documents.synonyms import near
from workers.documents.terms import STOPWORDS, terms

ENOUGH = 0.6
MOST_GROUPS = 8
MOST_DISTINCT = 5000

_SAID: Mapping[Operation, str] = {
    "sum": r"totals?|sum|altogether|combined|overall|in all",
    "mean": r"averages?|(?:the|a) mean|on average",
    "median": r"medians?",
    "max": r"highest|largest|(?<!at )most|maximum|max|biggest|greatest|top|peak|longest|heaviest",
    "min": r"lowest|smallest|(?<!at )least|minimum|min|fewest|shortest|cheapest|lightest",
    "difference": (
        r"trend|chang(?:e|ed|es)|gr[eo]w|grown|growth|increas(?:e|ed)|decreas(?:e|ed)|rose|risen"
        r"|fell|fallen|declin(?:e|ed)|differences?|develop(?:ed)?"
    ),
    "count": r"how many|number of|count",
}
_OPERATIONS: Mapping[Operation, re.Pattern[str]] = {
    operation: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for operation, words in _SAID.items()
}
_PER = re.compile(r"\b(?:per|by|each|every)\s+(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Match:
    """A table that can answer a part: the column to compute over, the rows, the grouping.

    `measured`: the question names that column; `named`: it names the table.
    """

    document: Document
    table: int
    measure: str
    measured: bool
    where: tuple[Filter, ...]
    group: str
    coverage: float
    named: bool


def operations(text: str) -> tuple[Operation, ...]:
    """The operations a part of a question asks for."""
    return tuple(operation for operation, pattern in _OPERATIONS.items() if pattern.search(text))


def figures(
    part: Part, document: Document, index: int, weights: Mapping[str, float]
) -> list[tuple[float, Figure]]:
    """The figures one table gives for one part, each with how well the table covers it."""
    asked = operations(part.text)
    if not asked:
        return []
    match = _match(part, document, index, weights)
    if match is None:
        return []
    made = [_figure(part, match, operation, match.where) for operation in _sensible(asked, match)]
    made += [_figure(part, match, "sum", where) for where in _groups(match, asked)]
    return [(match.coverage, figure) for figure in made if figure]


def _sensible(asked: Sequence[Operation], match: Match) -> Iterator[Operation]:
    """ "How many were sold in total" is a sum when a column says sold, else a count."""
    for operation in asked:
        if operation == "count":
            if not match.measured and (match.named or match.where):
                yield operation
            elif match.measured and not {"sum", "mean", "median", "max", "min"} & set(asked):
                yield "sum"
        elif operation == "difference" and not _time_column(match.document.tables[match.table]):
            continue
        elif match.measure and not (match.group and operation == "sum"):
            yield operation


def _match(
    part: Part, document: Document, index: int, weights: Mapping[str, float]
) -> Match | None:
    table = document.tables[index]
    wanted = _subject(part)
    if not wanted or not table.rows:
        return None
    name = terms(f"{table.name}\n{table.heading}\n{document.title}\n{document.file}")
    named = _hits(wanted, name)
    where, filtered = _filters(wanted, table)
    numeric = [c for i, c in enumerate(table.columns) if _is_measure(table, i)]
    measure, measured = _measure(wanted - filtered, numeric, name)
    labels = _hits(wanted, terms("\n".join(c for c in table.columns if c not in numeric)))
    covered = named | filtered | measured | labels
    anchors = {t.text for t in part.terms if t.anchor and t.text in wanted}
    coverage = sum(weights[t] for t in covered) / sum(weights[t] for t in wanted)
    if coverage < ENOUGH or not anchors <= covered:
        return None
    group = _group(part, wanted, table, numeric, where)
    return Match(document, index, measure, bool(measured), where, group, coverage, bool(named))


def _subject(part: Part) -> set[str]:
    """The part's terms without the words that name the operation."""
    said = (m for pattern in _OPERATIONS.values() for m in pattern.findall(part.text))
    words = {word for each in said for word in terms(each)}
    return {t.text for t in part.terms if not t.weak and t.text not in words}


def _hits(wanted: set[str], held: set[str]) -> set[str]:
    return {t for t in wanted if t in held or not near(t).isdisjoint(held)}


def _is_measure(table: Table, index: int) -> bool:
    if TIME_COLUMN.search(table.columns[index].replace("_", " ")):
        return False
    return numbers.read_column([row[index] for row in table.rows]) is not None


def _filters(wanted: set[str], table: Table) -> tuple[tuple[Filter, ...], set[str]]:
    """For each column the value that the question names wholly, the longest first. A value that
    says no more than its column's name does not tell which rows are meant."""
    where: list[Filter] = []
    used: set[str] = set()
    for index, column in enumerate(table.columns):
        if _is_measure(table, index):
            continue
        values = {one_line(row[index]) for row in table.rows}
        if len(values) > MOST_DISTINCT:
            continue
        own = terms(column)
        named = [
            (held, value)
            for value in values
            if not (held := terms(value)) <= own and held <= wanted - used
        ]
        if named:
            held, value = min(named, key=lambda n: (-len(n[0]), n[1]))
            where.append(Filter(column=column, value=value))
            used |= held
    return tuple(where), used


def _measure(wanted: set[str], numeric: Sequence[str], name: set[str]) -> tuple[str, set[str]]:
    """The numeric column the question names; the only one there is, if the table is named."""
    scored = [(_hits(wanted, terms(column)), column) for column in numeric]
    best = max(scored, key=lambda s: len(s[0]), default=(set[str](), ""))
    if best[0]:
        return best[1], best[0]
    if len(numeric) == 1 and _hits(wanted, name):
        return numeric[0], set()
    return "", set()


def _group(
    part: Part, wanted: set[str], table: Table, numeric: Sequence[str], where: Sequence[Filter]
) -> str:
    """The column whose values the question wants side by side ("per region", "which region")."""
    taken = {f.column for f in where}
    per = {term for word in _PER.findall(part.text) for term in terms(word)}
    superlative = {"max", "min"} & set(operations(part.text))
    for index, column in enumerate(table.columns):
        held = terms(column) - STOPWORDS
        if column in taken or column in numeric or not held:
            continue
        values = [one_line(row[index]) for row in table.rows]
        repeats = 1 < len(set(values)) <= MOST_GROUPS and len(set(values)) < len(values)
        if repeats and (held & per or (superlative and held <= wanted)):
            return column
    return ""


def _groups(match: Match, asked: Sequence[Operation]) -> Iterator[tuple[Filter, ...]]:
    if not match.group or not match.measure or not {"sum", "max", "min", "count"} & set(asked):
        return
    table = match.document.tables[match.table]
    index = table.columns.index(match.group)
    for value in dict.fromkeys(one_line(row[index]) for row in table.rows):
        if value:
            yield (*match.where, Filter(column=match.group, value=value))


def _figure(
    part: Part, match: Match, operation: Operation, where: tuple[Filter, ...]
) -> Figure | None:
    table = match.document.tables[match.table]
    recipe = Recipe(
        file=match.document.file,
        sha256=match.document.sha256,
        table=match.table,
        table_name=table.name,
        operation=operation,
        column="" if operation == "count" else match.measure,
        where=where,
        order=_time_column(table) if operation == "difference" else "",
    )
    try:
        done = compute(recipe, match.document)
    except CannotCompute:
        return None
    return Figure(
        label=label(recipe),
        value=done.value,
        unit=done.unit,
        recipe=recipe,
        rows=done.rows,
        line=done.line,
        last_line=done.last_line,
        at=done.at,
        skipped_rows=done.skipped_rows,
        quote=_shown(match.document, done.shown_line),
        part=part.number,
    )


def _time_column(table: Table) -> str:
    return next((c for c in table.columns if TIME_COLUMN.search(c.replace("_", " "))), "")


def _shown(document: Document, line: int) -> str:
    """The row that stands on a raw line, as its reader gives it."""
    for passage in document.passages:
        if passage.kind in ("row", "record") and passage.lines and passage.lines[0] == line:
            return one_line(passage.text)
    return ""


_WORDS: Mapping[Operation, str] = {
    "count": "number of rows",
    "sum": "total",
    "mean": "average",
    "median": "median",
    "min": "lowest",
    "max": "highest",
    "difference": "change",
}


def label(recipe: Recipe) -> str:
    """What a figure is, in words."""
    name = _WORDS[recipe.operation]
    what = f"{name} of {recipe.column}" if recipe.column else name
    where = ", ".join(f"{f.column} = {f.value}" for f in recipe.where)
    return f"{what} where {where}" if where else what
