"""What a mark that came back says."""

from dataclasses import replace

from bus.backend import Delivery
from contracts.events import MARK
from tests.bus.rooms import delivery
from workers.history.marks import Marks


def carrying(name: str | None) -> Delivery:
    """A delivery that carries this mark."""
    plain = delivery()
    headers = {} if name is None else {MARK: name}
    return replace(plain, message=replace(plain.message, headers=headers))


def test_the_latest_of_our_marks_counts_and_each_once() -> None:
    marks = Marks("r1")
    first, second = marks.new(100.0), marks.new(101.0)
    assert marks.back([carrying(None), carrying("r2/1")]) is None
    assert marks.back([carrying(second), carrying(first)]) == 101.0
    assert marks.back([carrying(second)]) is None
    assert marks.under_way == 0


def test_what_was_sent_in_doubt_says_nothing() -> None:
    """Somebody else may hold what was accepted before it."""
    marks = Marks("r1")
    early = marks.new(100.0)
    marks.doubt()
    late = marks.new(200.0)
    assert marks.back([carrying(early)]) is None
    assert marks.back([carrying(late)]) == 200.0
