"""Whatever an event says, its row is one that tables can hold, or it is refused as a whole."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from contracts.events import Kind
from contracts.headers import epoch, rfc3339
from knowledge.history.rows import COLUMNS, Unrecordable, to_row
from tests.knowledge.history.telling import task_id, told

texts = st.text(st.characters(exclude_categories=()))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
KNOWN = (
    "seconds cost reason error share note payload result payload_bytes result_bytes priority"
    " deadline parent subjects due after by"
).split()


def _texts(row: tuple[Any, ...]) -> Iterator[str]:
    for value in row:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from value


def _check(row: tuple[Any, ...]) -> None:
    assert len(row) == len(COLUMNS)
    for text in _texts(row):
        assert "\x00" not in text
        text.encode()
    for value in row:
        assert not isinstance(value, float) or isfinite(value)
        assert not isinstance(value, int) or abs(value) < 2**63


@given(st.sampled_from(Kind), st.dictionaries(st.sampled_from(KNOWN) | texts, anything))
def test_data_never_refuses_an_event(kind: Kind, data: dict[str, Any]) -> None:
    event = told(kind, task_id())
    row = to_row(type(event)(**{**_fields(event), "data": data}))
    _check(row)
    rest = dict(zip(COLUMNS, row, strict=True))["data"]
    assert rest is None or isinstance(from_json(rest), dict)


@given(
    st.sampled_from(Kind),
    st.fixed_dictionaries(
        {
            "at": scalars,
            "published": scalars,
            "task": scalars,
            "role": scalars,
            "tenant": scalars,
            "correlation": scalars,
            "copy": scalars,
            "attempt": scalars,
            "number": scalars,
        }
    ),
)
def test_names_and_numbers_are_whole_or_refused(kind: Kind, given_: dict[str, Any]) -> None:
    event = told(kind, task_id())
    try:
        row = to_row(type(event)(**{**_fields(event), **given_}))
    except Unrecordable:
        return
    _check(row)


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in type(event).__slots__}


@given(st.floats(0.001, 4e9))
def test_the_time_of_publication_is_that_of_the_header(published: float) -> None:
    """Publishers tell their clock, workers what the header says: both name one task."""
    heard = epoch({"ce-time": rfc3339(published)})
    column = COLUMNS.index("published")
    task = task_id()
    by_publisher = to_row(told(Kind.PUBLISHED, task, published=published))
    by_worker = to_row(told(Kind.STARTED, task, published=heard))
    assert by_publisher[column] == by_worker[column]
