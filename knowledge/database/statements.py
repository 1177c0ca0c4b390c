"""SQL lies in `.sql` files, one statement each, its parameters listed at the head."""

from functools import cache
from importlib.resources import files


@cache
def statement(package: str, name: str) -> str:
    """The text of `sql/NAME.sql` in `package`."""
    return (files(package) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
