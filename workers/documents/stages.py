"""The stages of the main job; each is what one role calls, in a process of its own.

    plan -> research (in parallel) -> select -> analyse -> write -> validate

Every argument and result survives JSON. The same folder and question give the same brief, however
the files were divided among researchers.
"""

from collections.abc import Sequence
from pathlib import Path

from workers.documents import selecting, validation, writing
from workers.documents.analysis import figures, operations
from workers.documents.discover import discover
from workers.documents.document import Document
from workers.documents.errors import NoDocuments, OutsideFolder, Unreadable
from workers.documents.evidence import Matcher, keep, keep_tables, match, match_table
from workers.documents.model import (
    Analysis,
    Brief,
    Counts,
    Figure,
    Finding,
    Findings,
    Plan,
    Selection,
    Shard,
    Skipped,
    TableFinding,
)
from workers.documents.planning import divide
from workers.documents.questions import Part, parse
from workers.documents.ranking import weigh
from workers.documents.readers.reading import read

DEFAULT_LIMIT = 20 * 1024 * 1024
MOST_FIGURES = 8
MOST_TABLES = 8
KEEP_EVERY = 4000  # findings gathered before those not worth keeping are let go


def plan(folder: str | Path, question: str, workers: int, limit: int = DEFAULT_LIMIT) -> Plan:
    """Divide the folder's files into balanced shards, at least one, about `workers` of them.

    `limit` is the size in bytes above which a file is left out. Raises `NoDocuments` and
    `InvalidQuestion`. (coordinator)
    """
    parse(question)
    root = str(Path(folder).resolve())
    files, skipped = discover(Path(folder), limit)
    shards = divide(root, question, files, workers)
    return Plan(folder=root, question=question, shards=shards, skipped=skipped)


def research(shard: Shard) -> Findings:
    """Read the shard's files and keep the passages and tables that meet the question.

    A file that cannot be read is in `skipped` with its reason. (researcher)
    """
    question = parse(shard.question)
    gathered = _Gathered(Matcher(question))
    for file in shard.files:
        try:
            gathered.add(read(Path(shard.folder), file.file))
        except Unreadable as error:
            gathered.skipped.append(Skipped(file=file.file, reason=error.reason))
        except OutsideFolder as error:
            gathered.skipped.append(Skipped(file=file.file, reason=error.details))
    return gathered.findings()


class _Gathered:
    """What a researcher has found so far."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.files = 0
        self.passages = 0
        self.holding: dict[str, int] = {}
        self.kept: list[Finding] = []
        self.tables: tuple[TableFinding, ...] = ()
        self.skipped: list[Skipped] = []

    def add(self, document: Document) -> None:
        """Match a document, and let go of what is not worth keeping."""
        self.files += 1
        for held, finding in match(self.matcher, document):
            self.passages += 1
            for term in held:
                self.holding[term] = self.holding.get(term, 0) + 1
            if finding:
                self.kept.append(finding)
            if len(self.kept) > KEEP_EVERY:
                self.kept = list(keep(self.matcher.question, self.kept))
        tables = (match_table(self.matcher, document, i) for i in range(len(document.tables)))
        self.tables = keep_tables((*self.tables, *(table for table in tables if table)))

    def findings(self) -> Findings:
        counts = Counts(files=self.files, passages=self.passages, holding=self.holding)
        passages = keep(self.matcher.question, self.kept)
        return Findings(
            counts=counts, passages=passages, tables=self.tables, skipped=tuple(self.skipped)
        )


def select(
    question: str, findings: Sequence[Findings], skipped: Sequence[Skipped] = ()
) -> Selection:
    """Choose among all findings what answers the question; `skipped` is the plan's.

    Raises `NoDocuments` when no researcher could read a single file. (coordinator)
    """
    chosen = selecting.select(parse(question), findings, skipped)
    if not chosen.counts.files:
        saw = "; ".join(f"{s.file}: {s.reason}" for s in chosen.skipped[:3])
        raise NoDocuments("the folder", f"none of its files could be read: {saw}")
    return chosen


def analyse(folder: str | Path, selection: Selection) -> Analysis:
    """Compute the figures the question asks for from the selected tables. (analyst)"""
    parts = [part for part in parse(selection.question).parts if operations(part.text)]
    documents: dict[str, Document] = {}
    made: list[Figure] = []
    for part in parts:
        made += _figures(Path(folder), part, selection, documents)
    return Analysis(figures=tuple(made[:MOST_FIGURES]))


def _figures(
    folder: Path, part: Part, selection: Selection, documents: dict[str, Document]
) -> list[Figure]:
    """The figures of the tables that cover a part best; later ones add nothing."""
    weights = weigh(part, selection.counts)
    scored: list[tuple[float, Figure]] = []
    for table in selection.tables[:MOST_TABLES]:
        document = _open(folder, table, documents)
        if document:
            scored += figures(part, document, table.table, weights)
    best = max((coverage for coverage, _ in scored), default=0.0)
    return [figure for coverage, figure in scored if coverage >= best - 1e-9]


def _open(folder: Path, table: TableFinding, documents: dict[str, Document]) -> Document | None:
    """The table's document, if it still is what the researcher read."""
    if table.file not in documents:
        try:
            documents[table.file] = read(folder, table.file)
        except (Unreadable, OutsideFolder):
            return None
    document = documents[table.file]
    return document if document.sha256 == table.sha256 else None


def write(selection: Selection, analysis: Analysis) -> Brief:
    """Assemble the brief with numbered citations; not yet validated. (writer)"""
    return writing.assemble(selection, analysis)


def validate(folder: str | Path, brief: Brief) -> Brief:
    """Open every cited file again, check each quote and figure, drop what does not hold.

    The result has `validated=True`; what was dropped is in `rejected` with its reason, and the
    Markdown is written anew. When nothing holds, its status is "not found". (validator)
    """
    return validation.apply(brief, validation.check(folder, brief))
