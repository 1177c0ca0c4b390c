"""What commands print: JSON for programs, tables for people."""

import json
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def say(text: str) -> None:
    """A line on standard output."""
    typer.echo(text)


def note(text: str, *, end: str = "\n") -> None:
    """A line on standard error: about the work, not its result."""
    typer.echo(text + end, err=True, nl=False)


def as_json(value: Any) -> None:
    """`value` as indented JSON on standard output."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def as_json_line(value: Any) -> None:
    """`value` as one line of JSON on standard output."""
    say(json.dumps(value, ensure_ascii=False, default=str))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, red: Container[int] = ()
) -> None:
    """A table on standard output; as wide as it needs to be where that is no terminal. `red`:
    the numbers of rows that are shown so."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    out = console()
    shown = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for number, row in enumerate(rows):
        style = "red" if number in red else None
        shown.add_row(*("" if cell is None else _plain(cell) for cell in row), style=style)
    out.print(shown, soft_wrap=not out.is_terminal)


def console(*, errors: bool = False) -> "Console":
    """A rich console on standard output, or standard error."""
    from rich.console import Console

    out = Console(stderr=errors, highlight=False)
    if not out.is_terminal:
        out.width = 200
    return out


def _plain(cell: object) -> str:
    """Text that rich takes as it is, without line breaks and control characters."""
    from rich.markup import escape

    return escape(printable(str(cell).replace("\n", " ")))


def printable(text: str) -> str:
    """`text` without characters that would drive a terminal."""
    return "".join(c if c.isprintable() or c == "\t" else "�" for c in text)
