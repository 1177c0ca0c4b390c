"""HTML: the visible text with the raw line of every piece of it; tables cell by cell.

Python's own tolerant parser is used, because it tells the line of each run of text; tree builders
tell only where an element begins.
"""

from html.parser import HTMLParser

from typing_extensions import override

from workers.documents.errors import Unreadable
from workers.documents.model import PassageKind
from workers.documents.readers.content import Content, column_names, one_line
from workers.documents.readers.outline import Outline

_HIDDEN = frozenset("script style template noscript svg math iframe".split())
_BLOCKS = frozenset(
    """address article aside blockquote body caption center dd details div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr html li main nav ol option p pre
    section select summary table tbody td tfoot th thead title tr ul""".split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def read(file: str, text: str) -> Content:
    """Read one file's text. Raises `Unreadable` when it is something else."""
    if "<" not in text:
        raise Unreadable(file, "is not HTML: it has no tag")
    parser = _Page()
    parser.feed(text)
    parser.close()
    parser.flush()
    parser.content.title = parser.content.title or parser.outline.title
    return parser.content


class _Rows:
    """A table being read."""

    def __init__(self, heading: str) -> None:
        self.heading = heading
        self.caption = ""
        self.rows: list[list[str]] = []
        self.lines: list[int] = []


class _Page(HTMLParser):
    """Gathers text into blocks; a block ends where a browser would begin a new line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.content = Content()
        self.outline = Outline()
        self.pieces: list[tuple[int, str]] = []
        self.hidden: list[str] = []
        self.block = ""
        self.tables: list[_Rows] = []
        self.preformatted = 0

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs  # no attribute is visible text
        if self.hidden:
            if tag in _HIDDEN:
                self.hidden.append(tag)
            return
        if tag == "title" or tag in _BLOCKS:
            self.flush()
            self.block = tag
        if tag in _HIDDEN:
            self.hidden.append(tag)
        elif tag == "pre":
            self.preformatted += 1
        elif tag == "br":
            self.pieces.append((self.getpos()[0], " "))
        else:
            self._table_start(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        if self.hidden:
            if tag in self.hidden:
                while self.hidden.pop() != tag:
                    pass
            return
        if tag == "title" or tag in _BLOCKS:
            self.flush()
            self.block = ""
        if tag == "pre":
            self.preformatted = max(0, self.preformatted - 1)
        if tag == "table" and self.tables:
            self._table_end(self.tables.pop())

    @override
    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        line = self.getpos()[0]
        for offset, piece in enumerate(data.split("\n")):
            if piece.strip() or self.pieces:
                self.pieces.append((line + offset, piece))

    def flush(self) -> None:
        """End the block of text gathered so far."""
        pieces, self.pieces = self.pieces, []
        if not any(piece.strip() for _, piece in pieces):
            return
        if self.tables and self.tables[-1].rows:
            self._cell(pieces)
            return
        lines: dict[int, str] = {}
        for number, piece in pieces:
            lines[number] = lines.get(number, "") + piece
        if not self.preformatted:
            lines = {number: one_line(piece) for number, piece in lines.items()}
        lines = {number: line for number, line in lines.items() if line.strip()}
        self._text(list(lines.values()), list(lines))

    def _text(self, lines: list[str], numbers: list[int]) -> None:
        whole = one_line(" ".join(lines))
        if self.tables and self.block == "caption":
            self.tables[-1].caption = whole
        if self.block == "title":
            self.content.title = whole
        elif level := _HEADINGS.get(self.block):
            self.outline.enter(level, whole)
        kind: PassageKind = "code" if self.preformatted else "prose"
        lead = self.block in ("li", "dd", "dt") or bool(self.preformatted)
        path = self.outline.path_with_lead if lead else self.outline.path
        self.content.add(lines, numbers, path, kind)
        if self.block == "dt":
            self.outline.lead = whole[:160]
        elif self.block not in ("li", "dd"):
            self.outline.introduce(whole)

    def _table_start(self, tag: str) -> None:
        if tag == "table":
            self.tables.append(_Rows(self.outline.path_with_lead))
        elif tag == "tr" and self.tables:
            self.tables[-1].rows.append([])
            self.tables[-1].lines.append(self.getpos()[0])
        elif tag in ("td", "th") and self.tables and self.tables[-1].rows:
            table = self.tables[-1]
            table.rows[-1].append("")

    def _cell(self, pieces: list[tuple[int, str]]) -> None:
        table = self.tables[-1]
        if not table.rows[-1]:
            table.rows[-1].append("")
        text = one_line(" ".join(piece for _, piece in pieces))
        table.rows[-1][-1] = f"{table.rows[-1][-1]} {text}".strip()
        if sum(bool(cell) for cell in table.rows[-1]) == 1:
            table.lines[-1] = pieces[0][0]

    def _table_end(self, table: _Rows) -> None:
        kept = [(r, n) for r, n in zip(table.rows, table.lines, strict=True) if any(r)]
        if not kept:
            return
        if len(kept) == 1 or max(len(row) for row, _ in kept) < 2:
            for row, line in kept:
                self.content.add([one_line(" ".join(row))], [line], table.heading)
            return
        header, body = kept[0][0], kept[1:]
        name = table.caption or f"table {len(self.content.tables) + 1}"
        self.content.add_table(
            column_names(header), [r for r, _ in body], [n for _, n in body], name, table.heading
        )
