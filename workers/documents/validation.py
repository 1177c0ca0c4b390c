"""Distrust: open every cited file again, look for each quote at its place, recompute each figure.

Text, Markdown and source are checked against the raw lines of the file, without the reader that
found the quote; other formats are read anew, because their text exists only after reading.
"""

from collections.abc import Sequence
from pathlib import Path

from workers.documents.analysis import label
from workers.documents.decoding import decode
from workers.documents.discover import open_inside, sha256
from workers.documents.document import Document, Passage
from workers.documents.errors import OutsideFolder, Unreadable
from workers.documents.figures import CannotCompute, compute
from workers.documents.model import Answer, Brief, Citation, Figure, Place, Verdict
from workers.documents.readers.reading import parse
from workers.documents.writing import with_markdown

CHANGED = "the file changed since it was read"
_RAW = ("text", "markdown", "source")


class Opened:
    """The files of one validation, each opened once, when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, tuple[bytes, Document]] = {}

    def get(self, file: str, expected_sha256: str) -> tuple[bytes, Document]:
        """A file's bytes and content. Raises `Doubt` when it is not the file that was read."""
        if file not in self._files:
            try:
                data = open_inside(self.folder, file)
                if sha256(data) != expected_sha256:
                    raise Doubt(CHANGED)
                self._files[file] = (data, parse(file, data))
            except OutsideFolder as error:
                raise Doubt("the place is outside the folder") from error
            except Unreadable as error:
                raise Doubt(f"the file cannot be read: {error.reason}") from error
        data, document = self._files[file]
        if document.sha256 != expected_sha256:
            raise Doubt(CHANGED)
        return data, document


class Doubt(ValueError):
    """Why something does not hold; becomes the reason of a verdict."""


def check(folder: str | Path, brief: Brief) -> tuple[Verdict, ...]:
    """A verdict on every citation and every figure of a brief."""
    opened = Opened(Path(folder))
    citations = [check_citation(folder, c, opened) for c in brief.citations]
    figures = [check_figure(folder, f, i, opened) for i, f in enumerate(brief.figures)]
    return (*citations, *figures)


def check_citation(folder: str | Path, citation: Citation, opened: Opened | None = None) -> Verdict:
    """Whether the file is the one that was read and says the quote at its very place."""
    opened = opened or Opened(Path(folder))
    try:
        data, document = opened.get(citation.place.file, citation.sha256)
        if not _says(citation, data, document):
            raise Doubt(f"the quote does not stand at {citation.place}")
        if not _stands_under(citation, document):
            raise Doubt(f"the quote does not stand under {citation.heading!r}")
    except Doubt as doubt:
        return _verdict("citation", citation.number, citation.place, str(doubt))
    return _verdict("citation", citation.number, citation.place)


def check_figure(
    folder: str | Path, figure: Figure, index: int = 0, opened: Opened | None = None
) -> Verdict:
    """Whether the recipe, followed again, gives exactly the same."""
    opened = opened or Opened(Path(folder))
    place = Place(file=figure.recipe.file, line=figure.line, last_line=figure.last_line)
    try:
        _, document = opened.get(figure.recipe.file, figure.recipe.sha256)
        _recompute(figure, document)
    except Doubt as doubt:
        return _verdict("figure", index, place, str(doubt))
    return _verdict("figure", index, place)


def _verdict(of: str, number: int, place: Place, reason: str = "") -> Verdict:
    return Verdict.model_validate(
        {"of": of, "number": number, "place": place, "ok": not reason, "reason": reason}
    )


def _recompute(figure: Figure, document: Document) -> None:
    try:
        again = compute(figure.recipe, document)
    except CannotCompute as error:
        raise Doubt(f"it cannot be computed again: {error}") from error
    if figure.label != label(figure.recipe):
        raise Doubt(f"its recipe gives the {label(figure.recipe)}, not the {figure.label}")
    if (figure.value, figure.unit) != (again.value, again.unit):
        raise Doubt(f"computed again it is {again.value} {again.unit}".rstrip())
    said = (figure.rows, figure.line, figure.last_line, figure.at, figure.skipped_rows)
    if said != (again.rows, again.line, again.last_line, again.at, again.skipped_rows):
        raise Doubt("computed again it comes from other rows")


def _says(citation: Citation, data: bytes, document: Document) -> bool:
    quote = " ".join(citation.quote.split())
    if not quote:
        return False
    place = citation.place
    if document.kind in _RAW and citation.kind != "row":
        return place.line is not None and quote in _raw_text(place, data)
    return any(quote in " ".join(_part(p, place).split()) for p in document.passages)


def _stands_under(citation: Citation, document: Document) -> bool:
    quote = " ".join(citation.quote.split())
    return not citation.heading or any(
        passage.heading == citation.heading
        and quote in " ".join(_part(passage, citation.place).split())
        for passage in document.passages
    )


def _raw_text(place: Place, data: bytes) -> str:
    lines = decode(place.file, data).split("\n")
    first = place.line or 1
    last = place.last_line or first
    return " ".join(" ".join(lines[first - 1 : last]).split())


def _part(passage: Passage, place: Place) -> str:
    """What of a passage stands at a place."""
    if place.page is not None or passage.page is not None:
        return passage.text if passage.page == place.page else ""
    if place.line is None:
        return ""
    last = place.last_line or place.line
    texts = zip(passage.lines, passage.text.split("\n"), strict=True)
    return "\n".join(text for line, text in texts if place.line <= line <= last)


def apply(brief: Brief, verdicts: Sequence[Verdict]) -> Brief:
    """The brief without what was rejected and without what rested only on that."""
    bad_citations = {v.number for v in verdicts if v.of == "citation" and not v.ok}
    bad_figures = {v.number for v in verdicts if v.of == "figure" and not v.ok}
    kept_figures = [
        index
        for index, figure in enumerate(brief.figures)
        if index not in bad_figures and figure.citation not in bad_citations and figure.citation
    ]
    used = {n for answer in brief.answers for n in answer.citations}
    used |= {brief.figures[index].citation for index in kept_figures}
    kept = [c for c in brief.citations if c.number in used - bad_citations]
    return _renumbered(brief, kept, kept_figures, tuple(v for v in verdicts if not v.ok))


def _renumbered(
    brief: Brief, kept: Sequence[Citation], figures: Sequence[int], rejected: tuple[Verdict, ...]
) -> Brief:
    number = {citation.number: new for new, citation in enumerate(kept, 1)}
    index = {old: new for new, old in enumerate(figures)}
    return with_markdown(
        brief.model_copy(
            update={
                "status": "answered" if kept else "not found",
                "answers": tuple(_answer(answer, number, index) for answer in brief.answers),
                "citations": tuple(c.model_copy(update={"number": number[c.number]}) for c in kept),
                "figures": tuple(
                    f.model_copy(update={"citation": number[f.citation]})
                    for f in (brief.figures[old] for old in figures)
                ),
                "rejected": (*brief.rejected, *rejected),
                "validated": True,
            }
        )
    )


def _answer(answer: Answer, number: dict[int, int], index: dict[int, int]) -> Answer:
    return answer.model_copy(
        update={
            "citations": tuple(number[n] for n in answer.citations if n in number),
            "figures": tuple(index[i] for i in answer.figures if i in index),
        }
    )
