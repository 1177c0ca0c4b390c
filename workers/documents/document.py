"""What a reader makes of one file; it stays inside the process that read it."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.documents.model import Kind, PassageKind


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that can be quoted.

    `text` has one or more lines separated by a newline; `lines[i]` is the 1-based line of the
    raw file on which its i-th line stands. A PDF has no lines: `lines` is empty, `page` is set.
    """

    text: str
    lines: Sequence[int] = ()
    page: int | None = None
    heading: str = ""
    kind: PassageKind = "prose"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells as they stand in the file; `row_lines[i]` is the raw line of row i."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    row_lines: tuple[int, ...]
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One file as read: `title` is its own title or else empty."""

    file: str
    sha256: str
    kind: Kind
    title: str
    passages: tuple[Passage, ...]
    tables: tuple[Table, ...] = ()
