"""Compute a figure from its recipe; the validator does it again and must get the same."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from workers.documents import numbers
from workers.documents.document import Document, Table
from workers.documents.model import Filter, Recipe
from workers.documents.readers.content import one_line

TIME_COLUMN = re.compile(
    r"\b(?:year|date|day|month|week|quarter|time|period|timestamp)\b", re.IGNORECASE
)
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()


@dataclass(frozen=True, slots=True)
class Computed:
    """What a recipe gives; the fields mean what they mean in `model.Figure`."""

    value: str
    unit: str
    rows: int
    line: int
    last_line: int
    at: str
    skipped_rows: int
    shown_line: int


class CannotCompute(ValueError):
    """The table no longer has what the recipe needs; the text says what."""


def compute(recipe: Recipe, document: Document) -> Computed:
    """Follow a recipe over a freshly read document. Raises `CannotCompute`."""
    if recipe.table >= len(document.tables):
        raise CannotCompute(f"the file has no table {recipe.table + 1}")
    table = document.tables[recipe.table]
    chosen = _rows(table, recipe.where)
    if not chosen:
        raise CannotCompute("no row meets the conditions")
    if recipe.operation == "count":
        lines = [table.row_lines[row] for row in chosen]
        return Computed(str(len(chosen)), "", len(chosen), min(lines), max(lines), "", 0, lines[0])
    return _over_column(recipe, table, chosen)


def _over_column(recipe: Recipe, table: Table, chosen: Sequence[int]) -> Computed:
    column = column_index(table, recipe.column)
    read = numbers.read_column([row[column] for row in table.rows])
    if read is None:
        raise CannotCompute(f"column {recipe.column!r} does not hold numbers of one unit")
    pairs = [(row, value) for row in chosen if (value := read.values[row]) is not None]
    if not pairs:
        raise CannotCompute(f"column {recipe.column!r} holds no number in these rows")
    if recipe.order:
        pairs = _in_time(table, column_index(table, recipe.order), pairs)
    value, shown = _apply(recipe, pairs, read.decimals)
    lines = [table.row_lines[row] for row, _ in pairs]
    at = "; ".join(_row_words(table, row, column) for row in shown)
    shown_line = table.row_lines[shown[0] if shown else pairs[0][0]]
    return Computed(
        value=numbers.plain(value),
        unit=read.unit,
        rows=len(pairs),
        line=min(lines),
        last_line=max(lines),
        at=at,
        skipped_rows=len(chosen) - len(pairs),
        shown_line=shown_line,
    )


def _apply(
    recipe: Recipe, pairs: Sequence[tuple[int, Decimal]], decimals: int
) -> tuple[Decimal, tuple[int, ...]]:
    """The value, and the rows that a person is told about."""
    values = [value for _, value in pairs]
    match recipe.operation:
        case "sum":
            return numbers.total(values), ()
        case "mean":
            return numbers.mean(values, decimals), ()
        case "median":
            return numbers.median(values), ()
        case "difference":
            return numbers.total([values[-1], -values[0]]), (pairs[0][0], pairs[-1][0])
        case "min" | "max":
            best = min(values) if recipe.operation == "min" else max(values)
            return best, tuple(row for row, value in pairs if value == best)[:3]
        case _:
            raise CannotCompute(f"unknown operation {recipe.operation!r}")


def column_index(table: Table, name: str) -> int:
    """Where a column stands. Raises `CannotCompute`."""
    if name not in table.columns:
        raise CannotCompute(f"the table has no column {name!r}")
    return table.columns.index(name)


def same(cell: str, value: str) -> bool:
    """Whether a cell says a filter's value."""
    return one_line(cell).casefold() == one_line(value).casefold()


def _rows(table: Table, where: Sequence[Filter]) -> list[int]:
    wanted = [(column_index(table, f.column), f.value) for f in where]
    return [
        number
        for number, row in enumerate(table.rows)
        if all(same(row[column], value) for column, value in wanted)
    ]


def _in_time(
    table: Table, column: int, pairs: Sequence[tuple[int, Decimal]]
) -> list[tuple[int, Decimal]]:
    """The pairs from the earliest to the latest. Raises `CannotCompute` if that is not clear."""
    keys = {row: _time_key(table.rows[row][column]) for row, _ in pairs}
    if None in keys.values():
        raise CannotCompute(f"column {table.columns[column]!r} does not put the rows in time")
    if len(set(keys.values())) < len(keys):
        raise CannotCompute("several rows stand for one time")
    return sorted(pairs, key=lambda pair: keys[pair[0]] or ())


def _time_key(cell: str) -> tuple[int, ...] | None:
    """A key for dates that begin with the year, years, and names of months; else `None`."""
    text = cell.strip().lower()
    if text[:3] in _MONTHS:
        year = re.search(r"\d{4}", text)
        return (int(year[0]) if year else 0, _MONTHS.index(text[:3]))
    if re.match(r"\d{4}(?:\D|$)", text):
        return tuple(int(piece) for piece in re.findall(r"\d+", text))
    if quarter := re.fullmatch(r"q([1-4])(?:\D+(\d{4}))?", text):
        return (int(quarter[2] or 0), int(quarter[1]))
    return None


def _row_words(table: Table, row: int, column: int) -> str:
    """What a row is about: its first cells that are words or times."""
    words = [
        f"{name}: {one_line(cell)[:60]}"
        for index, (name, cell) in enumerate(zip(table.columns, table.rows[row], strict=True))
        if index != column
        and cell.strip()
        and (TIME_COLUMN.search(name) or numbers.read_column([cell]) is None)
    ]
    return ", ".join(words[:3])
