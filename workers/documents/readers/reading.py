"""Choose the reader for a file and read it, anew each time it is asked."""

from collections.abc import Callable
from pathlib import Path

from workers.documents.decoding import decode
from workers.documents.discover import kind_of, open_inside, sha256
from workers.documents.document import Document
from workers.documents.errors import Unreadable
from workers.documents.model import Kind
from workers.documents.readers import delimited, html, json_records, markdown, pdf, source, text
from workers.documents.readers.content import Content

_TEXTUAL: dict[Kind, Callable[[str, str], Content]] = {
    "text": text.read,
    "markdown": markdown.read,
    "html": html.read,
    "delimited": delimited.read,
    "json": json_records.read,
    "source": source.read,
}


def read(folder: Path, file: str) -> Document:
    """Read one file below the folder.

    Raises `Unreadable` when it is not what its name says, `OutsideFolder` when it is not below.
    """
    return parse(file, open_inside(folder, file))


def parse(file: str, data: bytes) -> Document:
    """Make a document of a file's bytes. Raises `Unreadable`."""
    kind = kind_of(file)
    if kind is None:
        raise Unreadable(file, "not a kind of file that is read")
    content = pdf.read(file, data) if kind == "pdf" else _textual(file, kind, data)
    return Document(
        file=file,
        sha256=sha256(data),
        kind=kind,
        title=content.title,
        passages=tuple(content.passages),
        tables=tuple(content.tables),
    )


def _textual(file: str, kind: Kind, data: bytes) -> Content:
    if data.startswith(b"%PDF-"):
        raise Unreadable(file, "is a PDF, although its name says otherwise")
    return _TEXTUAL[kind](file, decode(file, data))
