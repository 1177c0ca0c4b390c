"""The values that pass between the stages of the main job.

Everything that crosses a process border is a frozen pydantic model and survives JSON.
"""

from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

Kind = Literal["text", "markdown", "html", "pdf", "delimited", "json", "source"]
PassageKind = Literal["prose", "lines", "row", "record", "code"]
Operation = Literal["count", "sum", "mean", "median", "min", "max", "difference"]
Status = Literal["answered", "not found"]


class Frozen(BaseModel):
    """A value that never changes after it was made."""

    model_config = ConfigDict(frozen=True)


class Place(Frozen):
    """Where something stands: a file relative to the folder, and a page or lines (1-based)."""

    file: str
    page: int | None = None
    line: int | None = None
    last_line: int | None = None

    @field_validator("file")
    @classmethod
    def _stays_inside(cls, file: str) -> str:
        path = PurePosixPath(file)
        if not file or path.is_absolute() or ".." in path.parts or "\0" in file:
            raise ValueError("must be a path inside the folder, without '..'")
        return file

    def __str__(self) -> str:
        if self.page is not None:
            return f"{self.file}, page {self.page}"
        if self.line is None:
            return self.file
        if self.last_line is None or self.last_line == self.line:
            return f"{self.file}:{self.line}"
        return f"{self.file}:{self.line}-{self.last_line}"


class FileInfo(Frozen):
    """A file found in the folder; `size` in bytes."""

    file: str
    size: int
    sha256: str
    kind: Kind


class Skipped(Frozen):
    """A file that was not read, and why, in words for a person.

    `foreign` is true for kinds of files that nobody expects to be read, such as pictures.
    """

    file: str
    reason: str
    foreign: bool = False


class Shard(Frozen):
    """The part of the folder one researcher reads; `number` counts from 1 to `of`."""

    folder: str
    question: str
    number: int
    of: int
    files: tuple[FileInfo, ...]


class Plan(Frozen):
    """What the coordinator hands out; equal folders and questions give equal plans."""

    folder: str
    question: str
    shards: tuple[Shard, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def file_count(self) -> int:
        return sum(len(shard.files) for shard in self.shards)


class Finding(Frozen):
    """A passage with the evidence that lets findings of all shards be ranked together.

    `direct` are the question's terms its own text holds, `near` those it holds in other words,
    `context` those only its heading, title or file name holds. `local` orders passages with the
    same evidence; it depends on the passage and the question alone.
    """

    place: Place
    sha256: str
    text: str
    lines: tuple[int, ...] = ()
    heading: str = ""
    title: str = ""
    kind: PassageKind = "prose"
    direct: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    local: float = 0.0


class TableFinding(Frozen):
    """A table whose words meet the question; the analyst opens the file again for the rows."""

    file: str
    sha256: str
    table: int
    name: str
    row_count: int
    named: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


class Counts(Frozen):
    """How often terms occur: passages (and table rows) read, and how many hold each term."""

    files: int = 0
    passages: int = 0
    holding: dict[str, int] = {}


class Findings(Frozen):
    """What one researcher found in its shard; bounded, so that it fits one message."""

    counts: Counts
    passages: tuple[Finding, ...] = ()
    tables: tuple[TableFinding, ...] = ()
    skipped: tuple[Skipped, ...] = ()


class Answered(Frozen):
    """The evidence chosen for one part of the question; none means: not found.

    `missing` are words of that part which no passage of the folder holds.
    """

    part: str
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()


class Selection(Frozen):
    """The passages and tables that answer the question, part by part."""

    question: str
    parts: tuple[Answered, ...]
    tables: tuple[TableFinding, ...] = ()
    counts: Counts = Counts()
    skipped: tuple[Skipped, ...] = ()


class Filter(Frozen):
    """Rows whose cell in `column` says `value` (compared without case and outer blanks)."""

    column: str
    value: str


class Recipe(Frozen):
    """How a figure is computed again from the file: `table` counts a file's tables from 0.

    `column` is empty for `count`. `order` names the column that puts rows in time, for
    `difference` (last minus first); empty: as they stand in the file.
    """

    file: str
    sha256: str
    table: int
    table_name: str
    operation: Operation
    column: str = ""
    where: tuple[Filter, ...] = ()
    order: str = ""


class Figure(Frozen):
    """A computed number: `value` is an exact decimal in text.

    `rows` counts the rows it came from, which stand on the raw lines `line` to `last_line`;
    `skipped_rows` those without a number in the column. `at` says in words which row a minimum,
    maximum or difference stands on. `quote` is one of the rows as a reader gives it. `part` is
    the part of the question it answers, from 0; `citation` the number of the citation that shows
    its rows, 0 while it has none.
    """

    label: str
    value: str
    unit: str
    recipe: Recipe
    rows: int
    line: int
    last_line: int
    at: str = ""
    skipped_rows: int = 0
    quote: str = ""
    part: int = 0
    citation: int = 0


class Analysis(Frozen):
    """The figures the question asks for; none is an ordinary answer."""

    figures: tuple[Figure, ...] = ()


class Citation(Frozen):
    """A numbered quote and where it stands; `sha256` is of the whole file as it was read.

    `heading` is what stands above it, where the quote needs that to be understood.
    """

    number: int
    place: Place
    quote: str
    sha256: str
    kind: PassageKind = "prose"
    heading: str = ""


class Answer(Frozen):
    """One part of the question, the citations and the figures (indexes) that answer it."""

    part: str
    citations: tuple[int, ...] = ()
    figures: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()


class Verdict(Frozen):
    """What the validator says of one citation (its number) or figure (its index)."""

    of: Literal["citation", "figure"]
    number: int
    place: Place
    ok: bool
    reason: str = ""


class Brief(Frozen):
    """The result: `markdown` is written from the other fields and from nothing else."""

    question: str
    status: Status
    markdown: str = ""
    answers: tuple[Answer, ...] = ()
    citations: tuple[Citation, ...] = ()
    figures: tuple[Figure, ...] = ()
    rejected: tuple[Verdict, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    files_read: int = 0
    passages_read: int = 0
    validated: bool = False
