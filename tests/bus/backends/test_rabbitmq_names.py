"""What things are called on a RabbitMQ."""

import pytest

from bus.backend import LOW, NORMAL
from bus.backends.rabbitmq.names import Shape, is_of, queue_of, queues_of


@pytest.mark.parametrize("cut", [False, True])
def test_a_queue_is_of_the_group_whose_messages_lie_there(cut: bool) -> None:
    """And of no other whose name begins or ends alike."""
    queue = queue_of("muster.f", "code.review", NORMAL, Shape(not cut, cut))
    assert is_of(queue, "muster.f", "code.review")
    for fleet, group in (("f", "code"), ("f", "review"), ("f2", "code.review"), ("f", "code.r")):
        assert not is_of(queue, f"muster.{fleet}", group)


def test_who_pulls_the_first_slice_pulls_what_lay_there_before_lanes_were_cut() -> None:
    """Everybody else pulls the slices that are his."""
    both = Shape(whole=True, cut=True)
    first = queues_of("muster.f", "g", LOW, both, 16)
    assert first == ["muster.f.g.low", "muster.f.g.low.0"]
