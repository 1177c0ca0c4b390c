"""Promise 7: in what order tasks start."""

from collections.abc import Sequence

from typing_extensions import override

from bus.backend import Delivery, Lane, LaneName, Message, Turn
from bus.backends.memory_group import Group, Item
from bus.lanes import Line, Puller
from bus.turns import named
from tests.bus.sabotage.registry import breaks


class Plain(Puller):
    """Each lane in its order, without a turn for the lower ones."""

    @override
    def plan(self, limit: int, returning: int | None = None) -> list[Turn]:
        super().plan(limit, returning)
        return [self._turn([name], limit) for name in LaneName]


@breaks(
    7,
    "test_one_start_in_ten_is_a_lower_lanes",
    "test_no_lower_lane_starves",
    "test_the_lane_below_the_full_one_has_the_tenth_start",
    replaces=Puller,
)
class StrictPriority(Plain):
    """A lower lane is served when the higher ones are empty."""


@breaks(
    7,
    "test_one_start_in_ten_is_a_lower_lanes",
    "test_a_high_one_that_has_waited_starts_before_all_lower_ones",
    replaces=Puller,
)
class Reversed(Plain):
    """The lowest lane is served first."""

    @override
    def plan(self, limit: int, returning: int | None = None) -> list[Turn]:
        return super().plan(limit, returning)[::-1]


@breaks(7, "test_one_start_in_ten_is_a_lower_lanes", replaces=Puller)
class OnePullInTen(Plain):
    """One pull in ten goes to the lower lanes, whatever it brings."""

    _pulls = 0

    @override
    def plan(self, limit: int, returning: int | None = None) -> list[Turn]:
        self._pulls += 1
        turns = super().plan(limit, returning)
        return turns if self._pulls % 10 else [*turns[1:], turns[0]]


@breaks(7, "test_no_lower_lane_starves", replaces=Puller)
class NoTurnsBelow(Puller):
    """Of the lower lanes the highest that has something has every turn."""

    @override
    def note(self, found: Sequence[Delivery]) -> None:
        super().note(found)
        self._lower.sort(key=list(LaneName).index)


def _place(lane: Lane) -> int:
    return list(LaneName).index(lane.name)


@breaks(7, "test_one_start_in_ten_is_a_lower_lanes", replaces=Line)
class LowerOnesLast(Line):
    """Of what was pulled together the lower lanes' start last."""

    @override
    def pop(self) -> Delivery:
        self.starts = 0
        return super().pop()


@breaks(7, "test_a_high_task_starts_before_the_low_ones_read_ahead", replaces=Line)
class FirstPulledFirst(Line):
    """What was read ahead starts before everything that is pulled later."""

    def __init__(self) -> None:
        super().__init__()
        self._came: list[Delivery] = []

    @override
    def append(self, delivery: Delivery) -> None:
        super().append(delivery)
        self._came.append(delivery)

    @override
    def pop(self) -> Delivery:
        first = self._came.pop(0)
        self.remove(first)
        return first


@breaks(7, "test_what_comes_back_starts_while_new_tasks_are_read_ahead", replaces=Puller)
class ComesBackForFreePlacesOnly(Puller):
    """A worker that is never without tasks asks for nothing that comes back."""

    @override
    def plan(self, limit: int, returning: int | None = None) -> list[Turn]:
        return super().plan(limit, returning and 0)


@breaks(7, "test_of_what_comes_back_only_so_many_are_read_ahead", replaces=Puller)
class ComesBackAtOnce(Puller):
    """All that comes back is read ahead."""

    @override
    def plan(self, limit: int, returning: int | None = None) -> list[Turn]:
        return super().plan(limit, returning and limit)


@breaks(
    7,
    "test_the_lanes_of_a_turn_share_it_evenly",
    "test_slices_share_a_lane_evenly",
    "test_a_tenant_with_many_waiting_delays_another_by_a_few_starts",
)
class SliceAfterSlice(Group):
    """A slice is served when those before it are empty."""

    @override
    def take(self, lanes: Sequence[Lane | Turn], limit: int, until: float) -> list[Delivery]:
        return super().take(sorted(named(lanes), key=_first), limit, until)


def _first(lane: Lane | Turn) -> tuple[int, int]:
    assert isinstance(lane, Lane)
    return _place(lane), -lane.slice


@breaks(7, "test_a_tenant_with_many_waiting_delays_another_by_a_few_starts", replaces=Puller)
class SliceForgotten(Puller):
    """Nobody asks for the first slice."""

    @override
    def plan(self, limit: int, returning: int | None = None) -> list[Turn]:
        turns = super().plan(limit, returning)
        return [Turn(tuple(x for x in t.lanes if x.slice), t.most) for t in turns]


@breaks(7, "test_every_tenants_slice_lies_in_one_of_the_lanes")
class SlicesBeyondTheNumberLost(Item):
    """A message of a slice beyond the number of the fleet lies in a lane nobody pulls."""

    @override
    def __init__(self, message: Message, slices: int = 1) -> None:
        super().__init__(message, 1_000_000)


@breaks(7, "test_slices_are_pulled_in_the_order_given")
class LanesWithoutSlices(Item):
    """All slices of a lane are one."""

    @override
    def __init__(self, message: Message, slices: int = 1) -> None:
        super().__init__(message, 1)
