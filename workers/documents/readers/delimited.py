"""CSV and TSV: each record a passage at the raw line it begins on, the file a table.

The delimiter is the candidate that divides the first records most evenly; `csv.Sniffer` guesses
from letter frequencies and is wrong too often on short files.
"""

import csv
import io
import re
from collections import Counter

from workers.documents.errors import Unreadable
from workers.documents.readers.content import Content, column_names

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 60
_NUMBERLIKE = re.compile(r"[-+(]?[$€£]?\s?\d[\d.,\s]*\W?\w{0,3}\)?")

Record = tuple[int, list[str]]


def read(file: str, text: str) -> Content:
    """Read one file's text. Raises `Unreadable` when it is something else."""
    if text.lstrip()[:1] == "<" and "</" in text:
        raise Unreadable(file, "is HTML or XML, not delimited text")
    records = _records(file, text, _delimiter(file, text))
    content = Content()
    width = _modal_width(records)
    while records and len(records[0][1]) < width:
        line, cells = records.pop(0)
        content.add([" ".join(cells)], [line], kind="lines")
    if not records:
        return content
    header = _header(records)
    body = records[1:] if header else records
    columns = column_names(header or [""] * width)
    name = file.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    content.title = name
    if header:
        content.add([" | ".join(columns)], [records[0][0]], kind="lines")
    content.add_table(columns, [r for _, r in body], [n for n, _ in body], name)
    return content


def _records(file: str, text: str, delimiter: str) -> list[Record]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    records: list[Record] = []
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                records.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise Unreadable(file, f"line {start}: {error}") from error
    return records


def _delimiter(file: str, text: str) -> str:
    sample = "\n".join(text[: 1 << 18].split("\n")[:_SAMPLE])
    if file.lower().endswith((".tsv", ".tab")) and "\t" in sample:
        return "\t"
    return max(_DELIMITERS, key=lambda d: _evenness(sample, d))


def _evenness(sample: str, delimiter: str) -> tuple[float, int]:
    """The share of records that have the most usual width above one, and that width."""
    try:
        widths = [len(r) for r in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)]
    except csv.Error:
        return 0.0, 0
    usual = Counter(w for w in widths if w > 1).most_common(1)
    if not usual:
        return 0.0, 0
    width, count = usual[0]
    return count / len(widths), width


def _modal_width(records: list[Record]) -> int:
    widths = Counter(len(cells) for _, cells in records[:1000])
    return max(widths, key=lambda w: (widths[w], w)) if widths else 0


def _header(records: list[Record]) -> list[str] | None:
    """The first record, if it can name columns: all words, no two alike."""
    first = [cell.strip() for cell in records[0][1]]
    named = [cell for cell in first if cell]
    if not named or len(set(named)) < len(named) or len(records) < 2:
        return None
    if any(_NUMBERLIKE.fullmatch(cell) for cell in named) and not _years(named):
        return None
    return first


def _years(cells: list[str]) -> bool:
    """Whether the cells that look like numbers are years, as in `region, 2023, 2024`."""
    numbers = [cell for cell in cells if _NUMBERLIKE.fullmatch(cell)]
    return len(numbers) < len(cells) and all(re.fullmatch(r"(?:19|20)\d\d", n) for n in numbers)
