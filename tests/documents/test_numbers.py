"""Cells become exact numbers; a column that is not clear becomes none."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents import numbers
from workers.documents.numbers import plain, read_column


def column(*cells: str) -> tuple[list[str | None], str] | None:
    read = read_column(cells)
    if read is None:
        return None
    return [None if v is None else plain(v) for v in read.values], read.unit


@pytest.mark.parametrize(
    ("cells", "values", "unit"),
    [
        (("€1,234.50", "€10", "-€3.5"), ["1234.5", "10", "-3.5"], "€"),
        (("1.234,50", "10,00"), ["1234.5", "10"], ""),
        (("12 %", "7.5%"), ["12", "7.5"], "%"),
        (("1 234 kg", "5 kg"), ["1234", "5"], "kg"),
        (("(1,200)", "300"), ["-1200", "300"], ""),
        (("3", "", "n/a", "4"), ["3", None, None, "4"], ""),
        (("USD 5", "USD 6"), ["5", "6"], "USD"),
        (("−5", "6"), ["-5", "6"], ""),
    ],
)
def test_numbers_are_read_with_their_unit(
    cells: tuple[str, ...], values: list[str | None], unit: str
) -> None:
    assert column(*cells) == (values, unit)


@pytest.mark.parametrize(
    "cells",
    [("3 kg", "4 m"), ("1.234,5", "1,234.5"), ("a", "b", "3"), ("2026-01-02",), ("1.2.3",), ("",)],
)
def test_mixed_or_unclear_columns_are_no_numbers(cells: tuple[str, ...]) -> None:
    assert column(*cells) is None


@given(
    st.lists(
        st.decimals(
            allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9
        ),
        min_size=1,
        max_size=50,
    )
)
def test_a_sum_is_exact_in_any_order(values: list[Decimal]) -> None:
    expected = sum(int(value.scaleb(4)) for value in values)
    assert numbers.total(values).scaleb(4) == expected
    assert numbers.total(values[::-1]) == numbers.total(values)
    assert min(values) <= numbers.median(values) <= max(values)


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12
    )
)
def test_a_written_number_is_read_back_the_same(value: Decimal) -> None:
    read = read_column([plain(value)])
    assert read is not None
    assert read.values == (value,)
