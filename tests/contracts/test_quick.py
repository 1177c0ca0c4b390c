"""Frozen dataclasses that are made quickly are what they were."""

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from contracts.envelope import Envelope
from contracts.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Point:
    """Two fields by place, one by name."""

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list, hash=False)
    z: int = field(default=3, kw_only=True)


def test_it_is_made_by_place_by_name_and_by_default() -> None:
    assert Point(1) == Point(x=1, y=2, names=[], z=3)
    assert (Point(5, 6, ["a"], z=7).y, Point(5, z=7).z) == (6, 7)
    assert Point(1).names is not Point(1).names
    assert repr(Point(1)) == "Point(x=1, y=2, names=[], z=3)"


def test_nothing_of_it_can_be_changed() -> None:
    point = Point(1)
    with pytest.raises(FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del point.x
    with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
        point.other = 2  # type: ignore[attr-defined]
    assert type(point) is Point


def test_it_can_be_hashed_copied_replaced_and_pickled() -> None:
    point = Point(1)
    assert hash(point) == hash(Point(1))
    assert replace(point, y=5) == Point(1, 5)
    assert copy.copy(point) == point == pickle.loads(pickle.dumps(point))  # noqa: S301 - our own


@pytest.mark.parametrize("wrong", [(), ("x", "y", "z", "more")], ids=["too few values", "too many"])
def test_wrong_arguments_are_refused_as_ever(wrong: tuple[str, ...]) -> None:
    with pytest.raises(TypeError, match=r"Point\.__init__"):
        Point(*wrong)  # type: ignore[arg-type]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Envelope\.__init__"):
        Envelope(id="1", topics="a")  # type: ignore[call-arg]
