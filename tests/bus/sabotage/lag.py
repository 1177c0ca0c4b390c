"""Promise 18: what is said to be waiting."""

from collections.abc import Mapping

from typing_extensions import override

from bus.backend import Lag, Lane
from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group
from bus.errors import Unroutable
from tests.bus.sabotage.registry import breaks

LIFE = "test_lag_follows_a_message_through_its_life"


@breaks(18, LIFE, "test_lag_says_what_waits_in_each_lane")
class LagIsOld(MemoryBroker):
    """What is told was true three seconds ago."""

    @override
    def lag(self, name: str) -> Mapping[Lane, Lag]:
        told = vars(self).setdefault("told", {})
        now = self.clock.monotonic()
        if name not in told or now - told[name][0] > 3.0:
            told[name] = (now, super().lag(name))
        found: Mapping[Lane, Lag] = told[name][1]
        return found


@breaks(18, LIFE)
class LeasedCountsAsWaiting(Group):
    """What somebody holds is told as waiting too."""

    @override
    def lag(self) -> Mapping[Lane, Lag]:
        return {
            lane: Lag((lag.waiting or 0) + (lag.leased or 0), lag.delayed, lag.leased)
            for lane, lag in super().lag().items()
        }


@breaks(18, LIFE, "test_a_delayed_message_keeps_its_place_in_lag_and_its_content")
class DelayedUntold(Group):
    """Delayed messages are told as if there were none."""

    @override
    def lag(self) -> Mapping[Lane, Lag]:
        return {lane: Lag(lag.waiting, 0, lag.leased) for lane, lag in super().lag().items()}


@breaks(18, "test_lag_of_a_group_that_is_not_bound_is_an_error")
class UnboundLooksHealthy(MemoryBroker):
    """A group that is not bound has nothing waiting, which looks like health."""

    @override
    def lag(self, name: str) -> Mapping[Lane, Lag]:
        try:
            return super().lag(name)
        except Unroutable:
            return {}
