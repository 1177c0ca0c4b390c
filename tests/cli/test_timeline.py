"""Which process did what, and when, as events tell it."""

from typing import Any

from contracts.events import Event, Kind
from workers.cli.timeline import WIDTH, bar, rows


def told(kind: Kind, at: float, *, pid: int = 1, copy: int = 0, **data: Any) -> Event:
    return Event(
        kind=kind,
        at=at,
        task="t",
        topic="a.b",
        role="r",
        copy=copy,
        attempt=copy + 1,
        worker=f"w{pid}",
        pid=pid,
        data=data,
    )


def test_a_run_is_a_row_from_its_first_event_to_its_last() -> None:
    (row,) = rows(
        [told(Kind.STARTED, 5.0), told(Kind.PROGRESS, 6.0, note="half"), told(Kind.SUCCEEDED, 7.0)]
    )
    assert (row.start, row.end, row.how, row.note, row.attempt) == (
        0.0,
        2.0,
        "succeeded",
        "half",
        1,
    )
    assert bar(row, 4.0) == "━" * (WIDTH // 2) + " " * (WIDTH // 2)


def test_what_is_told_of_a_dead_worker_belongs_to_its_run() -> None:
    """Another process tells that the first run is over; that is no run of its own."""
    events = [
        told(Kind.STARTED, 0.0),
        told(Kind.RETRIED, 2.0, pid=2, reason="its worker died"),
        told(Kind.STARTED, 2.0, pid=2, copy=1),
        told(Kind.SUCCEEDED, 4.0, pid=2, copy=1),
    ]
    first, second = rows(events)
    assert (first.pid, first.end, first.noticed, first.note) == (1, None, 2.0, "its worker died")
    assert (second.pid, second.end, second.attempt) == (2, 4.0, 2)
    assert bar(first, 4.0).strip() == "╌" * (WIDTH // 2)


def test_a_second_run_of_the_same_copy_stays_a_row() -> None:
    """A broker that was killed may hand out again what was settled."""
    events = [
        told(Kind.STARTED, 0.0),
        told(Kind.RETRIED, 2.0, pid=2, reason="its worker died"),
        told(Kind.STARTED, 3.0, pid=3),
        told(Kind.SUCCEEDED, 4.0, pid=3),
    ]
    assert [(row.pid, row.how) for row in rows(events)] == [(1, "never ended"), (3, "succeeded")]


def test_a_retry_that_its_own_worker_tells_ends_the_run() -> None:
    (row,) = rows([told(Kind.STARTED, 0.0), told(Kind.RETRIED, 1.0, reason="later")])
    assert (row.end, row.how, row.note, row.noticed) == (1.0, "retried", "later", None)
