"""What every reader builds: passages of a bounded size, tables, a title."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.documents.document import Passage, Table
from workers.documents.model import PassageKind
from workers.documents.segments import segments

LONGEST = 800
MAX_TABLE_COLUMNS = 200


@dataclass(slots=True)
class Content:
    """The growing content of one file."""

    title: str = ""
    passages: list[Passage] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def add(
        self,
        lines: Sequence[str],
        numbers: Sequence[int],
        heading: str = "",
        kind: PassageKind = "prose",
        page: int | None = None,
    ) -> None:
        """Add text lines that stand on raw lines `numbers`; long ones become several passages."""
        lines, numbers = _without_blank_ends(lines, numbers)
        if not lines:
            return
        text = "\n".join(lines)
        if len(text) <= LONGEST or kind == "row":
            self.passages.append(Passage(text, numbers, page, heading, kind))
            return
        for start, end in _groups(text, kind):
            first = text.count("\n", 0, start)
            last = first + text.count("\n", start, end)
            piece = numbers[first : last + 1]
            self.passages.append(Passage(text[start:end], piece, page, heading, kind))

    def add_table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        row_lines: Sequence[int],
        name: str,
        heading: str = "",
    ) -> None:
        """Add a table, and each of its rows as a passage `column: value; column: value`."""
        width = len(columns)
        if not rows or width > MAX_TABLE_COLUMNS:
            return
        even = tuple((*row[:width], *[""] * (width - len(row))) for row in rows)
        self.tables.append(Table(name, tuple(columns), even, tuple(row_lines), heading))
        context = " › ".join(dict.fromkeys(part for part in (heading, name) if part))
        for row, line in zip(even, row_lines, strict=True):
            if text := row_text(columns, row):
                self.passages.append(Passage(text, (line,), None, context, "row"))


def row_text(columns: Sequence[str], row: Sequence[str]) -> str:
    """A row as it is quoted."""
    pairs = zip(columns, row, strict=False)
    return "; ".join(f"{name}: {one_line(cell)}" for name, cell in pairs if cell.strip())


def one_line(text: str) -> str:
    """The text with every run of blanks and line ends as one blank."""
    return " ".join(text.split())


def column_names(header: Sequence[str]) -> tuple[str, ...]:
    """Names for columns: unique and never empty."""
    names: dict[str, None] = {}
    for index, cell in enumerate(header, 1):
        base = one_line(cell) or f"column {index}"
        name, again = base, 2
        while name in names:
            name, again = f"{base} ({again})", again + 1
        names[name] = None
    return tuple(names)


def _without_blank_ends(
    lines: Sequence[str], numbers: Sequence[int]
) -> tuple[Sequence[str], Sequence[int]]:
    start, end = 0, len(lines)
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return lines[start:end], numbers[start:end]


def _groups(text: str, kind: PassageKind) -> list[tuple[int, int]]:
    """Neighbouring segments joined up to the longest passage."""
    groups: list[tuple[int, int]] = []
    for start, end in segments(text, kind):
        if groups and end - groups[-1][0] <= LONGEST:
            groups[-1] = (groups[-1][0], end)
        else:
            groups.append((start, end))
    return groups
