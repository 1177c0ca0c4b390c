"""Cells as exact numbers with their unit; a column decides together how it writes decimals."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

PRECISION = 60
_BLANKS = "\\s\u00a0\u2009\u202f'’"
_CELL = re.compile(
    rf"(?P<bracket>\()?(?P<sign>[-+−–])?\s*(?P<before>[$€£¥₹]|[A-Z]{{3}}(?=\s?\d))?\s*"
    rf"(?P<inner>[-−–])?(?P<digits>(?:\d[\d.,{_BLANKS}]*\d|\d|\.\d+))\s*(?P<after>[^\d()]{{0,16}})\)?"
)
_ENGLISH = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*(?:\.\d+)?")
_CONTINENTAL = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d*(?:,\d+)?")
_EMPTY = frozenset({"", "-", "–", "—", "n/a", "na", "null", "none", "nan", "?", "."})


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column read as numbers: `values[i]` is `None` where row i has none."""

    values: tuple[Decimal | None, ...]
    unit: str

    @property
    def decimals(self) -> int:
        """The most digits after the point in any value."""
        exponents = (value.as_tuple().exponent for value in self.values if value is not None)
        return max((-e for e in exponents if isinstance(e, int) and e < 0), default=0)


def read_column(cells: Sequence[str]) -> Numbers | None:
    """The numbers of a column; `None` unless nearly all cells are numbers of one unit."""
    filled = [cell.strip() for cell in cells if cell.strip().lower() not in _EMPTY]
    parts = [match for cell in filled if (match := _CELL.fullmatch(cell))]
    if not parts or len(parts) < 0.8 * len(filled):
        return None
    continental = _is_continental([_digits(match) for match in parts])
    units = {unit for match in parts if (unit := _unit(match))}
    if continental is None or len(units) > 1:
        return None
    values = tuple(_number(cell.strip(), continental) for cell in cells)
    if sum(value is not None for value in values) < 0.8 * len(filled):
        return None
    return Numbers(values, units.pop() if units else "")


def _digits(match: re.Match[str]) -> str:
    return re.sub(rf"[{_BLANKS}]", "", match["digits"])


def _unit(match: re.Match[str]) -> str:
    return (match["before"] or match["after"] or "").strip(" .,;:")


def _is_continental(numbers: Sequence[str]) -> bool | None:
    """Whether the comma is the decimal sign; `None` when the column writes it both ways."""
    english = all(_ENGLISH.fullmatch(number) for number in numbers)
    continental = all(_CONTINENTAL.fullmatch(number) for number in numbers)
    if english:
        return False
    return True if continental else None


def _number(cell: str, continental: bool) -> Decimal | None:
    match = _CELL.fullmatch(cell)
    if not match:
        return None
    digits = _digits(match)
    if continental:
        digits = digits.replace(".", "").replace(",", ".")
    value = Decimal(digits.replace(",", ""))
    negative = bool(match["bracket"] or (match["sign"] or "+") in "-−–" or match["inner"])
    return -value if negative else value


def total(values: Sequence[Decimal]) -> Decimal:
    """The exact sum."""
    with localcontext(prec=PRECISION):
        return sum(values, Decimal(0))


def mean(values: Sequence[Decimal], decimals: int) -> Decimal:
    """The mean, rounded half to even at two digits more than the values have."""
    with localcontext(prec=PRECISION):
        return (total(values) / len(values)).quantize(Decimal(1).scaleb(-decimals - 2))


def median(values: Sequence[Decimal]) -> Decimal:
    """The middle value, or exactly half the sum of the two in the middle."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    with localcontext(prec=PRECISION):
        return (ordered[middle - 1] + ordered[middle]) / 2


def plain(value: Decimal) -> str:
    """The number in digits, without an exponent or idle zeros after the point."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
