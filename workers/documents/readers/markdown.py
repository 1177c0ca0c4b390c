"""Markdown: paragraphs, list items and code with their headings; tables row by row.

Passages keep the raw lines, so a quote is what stands in the file, markup included.
"""

from collections.abc import Sequence
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from workers.documents.errors import Unreadable
from workers.documents.readers.content import Content, column_names
from workers.documents.readers.outline import Outline


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table").disable(["inline", "text_join"])


def read(file: str, text: str) -> Content:
    """Read one file's text. Raises `Unreadable` when it is something else."""
    content = Content()
    lines = text.split("\n")
    start = _front_matter(lines, content)
    try:
        tokens = _parser().parse("\n" * start + "\n".join(lines[start:]))
    except RecursionError as error:
        raise Unreadable(file, "nested too deeply") from error
    walk = _Walk(content, lines)
    walk.over(tokens)
    content.title = walk.outline.title
    return content


def _front_matter(lines: list[str], content: Content) -> int:
    """Add the metadata block between `---` lines at the top; gives the lines it takes."""
    if lines[0].rstrip() != "---":
        return 0
    for index, line in enumerate(lines[1:60], 1):
        if line.rstrip() in ("---", "..."):
            content.add(lines[1:index], range(2, index + 1), kind="lines")
            return index + 1
    return 0


class _Walk:
    """One pass over the block tokens of a document."""

    def __init__(self, content: Content, lines: Sequence[str]) -> None:
        self.content = content
        self.lines = lines
        self.outline = Outline()
        self.taken = 0

    def over(self, tokens: Sequence[Token]) -> None:
        for index, token in enumerate(tokens):
            if token.map is None or token.map[0] < self.taken:
                continue
            if token.type == "heading_open":
                self._heading(token, tokens[index + 1])
            elif token.type == "table_open":
                self._table(tokens, index)
            elif token.type == "list_item_open":
                self._item(token)
            elif token.type in ("fence", "code_block"):
                self._raw(token)
            elif token.type in ("paragraph_open", "html_block"):
                self._paragraph(token)

    def _span(self, token: Token) -> tuple[Sequence[str], range]:
        first, end = token.map or (0, 0)
        end = min(end, len(self.lines))
        self.taken = max(self.taken, end)
        return self.lines[first:end], range(first + 1, end + 1)

    def _heading(self, token: Token, inline: Token) -> None:
        heading = inline.content.strip()
        self.outline.enter(int(token.tag[1]), heading)
        lines, numbers = self._span(token)
        self.content.add(lines[:1], numbers[:1], self.outline.path)

    def _paragraph(self, token: Token) -> None:
        lines, numbers = self._span(token)
        self.content.add(lines, numbers, self.outline.path)
        self.outline.introduce("\n".join(lines))

    def _raw(self, token: Token) -> None:
        lines, numbers = self._span(token)
        self.content.add(lines, numbers, self.outline.path_with_lead, "code")

    def _item(self, token: Token) -> None:
        """A short item is one passage; the parts of a long one are read one by one."""
        first, end = token.map or (0, 0)
        text = "\n".join(self.lines[first:end])
        if len(text) <= 800 and "\n\n" not in text.rstrip() and "```" not in text:
            lines, numbers = self._span(token)
            self.content.add(lines, numbers, self.outline.path_with_lead)

    def _table(self, tokens: Sequence[Token], start: int) -> None:
        rows: list[list[str]] = []
        row_lines: list[int] = []
        for token in tokens[start:]:
            if token.type == "table_close":
                break
            if token.type == "tr_open":
                rows.append([])
                row_lines.append(token.map[0] + 1 if token.map else 0)
            elif token.type == "inline" and rows:
                rows[-1].append(token.content)
        self._span(tokens[start])
        path = self.outline.path_with_lead
        name = f"table {len(self.content.tables) + 1}"
        if rows:
            self.content.add_table(column_names(rows[0]), rows[1:], row_lines[1:], name, path)
