"""Tables that fit a terminal: fewer columns where it is narrow, fewer rows where it is low."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from workers.cli import output

_GAP = 2
"""Spaces between two columns."""

_LONGEST = 24
"""Characters of a cell."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; of the columns that do not fit, those of high `rank` are left out."""

    name: str
    rank: int
    left: bool = False


def table(
    columns: Sequence[Column], rows: Sequence[tuple[list[str], str]], most: int, width: int
) -> list[Text]:
    """At most `most` rows and their heads, with as many columns as fit; a line says what is left
    out."""
    if most < 1:
        return []
    shown = rows if len(rows) <= most else rows[: most - 1]
    plain = [([output.printable(c)[:_LONGEST] for c in cells], s) for cells, s in shown]
    heads = [column.name for column in columns]
    widths = [
        max(len(cells[n]) for cells in (heads, *(cells for cells, _ in plain)))
        for n in range(len(columns))
    ]
    kept = _fitting(columns, widths, width)
    draw = _drawer(columns, widths, kept)
    found = [Text(draw(heads), style="bold"), *(Text(draw(cells), style=s) for cells, s in plain)]
    if len(shown) < len(rows):
        found.append(Text(f"… {len(rows) - len(shown)} more", style="dim"))
    return found


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The numbers of the columns that fit side by side: the most important, until one does not."""
    kept: list[int] = []
    left = width
    for number in sorted(range(len(columns)), key=lambda n: columns[n].rank):
        if widths[number] > left and kept:
            break
        kept.append(number)
        left -= widths[number] + _GAP
    return sorted(kept)


def _drawer(
    columns: Sequence[Column], widths: Sequence[int], kept: Sequence[int]
) -> Callable[[Sequence[str]], str]:
    def draw(cells: Sequence[str]) -> str:
        parts = [
            cells[n].ljust(widths[n]) if columns[n].left else cells[n].rjust(widths[n])
            for n in kept
        ]
        return (" " * _GAP).join(parts).rstrip()

    return draw
