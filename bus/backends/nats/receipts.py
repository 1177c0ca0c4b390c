"""What a delivery's receipt is here, and how long it is ours."""

from bus.backend import Delivery
from contracts.clock import Clock
from contracts.errors import InvalidValue

_GUARD = 0.05
"""Share of a lease (at most 0.1 s) by which we give up before the server does: it counts from
when it sent, we from when we read."""


class Receipt:
    """The acknowledgement subject of a delivery and the time of its last confirmation.

    Shared between threads: `confirmed` is replaced as a whole, never changed in place.
    """

    __slots__ = ("ack", "confirmed", "consumer", "lease", "settled")

    def __init__(
        self, ack: str, consumer: str, lease: float, confirmed: tuple[float, float]
    ) -> None:
        self.ack = ack
        self.consumer = consumer
        self.lease = lease - min(0.1, lease * _GUARD)
        self.confirmed = confirmed
        self.settled = False

    def ours(self, now: tuple[float, float]) -> bool:
        """Whether it is still ours `now` (see `now`), by the clock that went further."""
        return not self.settled and self.unexpired(now)

    def unexpired(self, now: tuple[float, float]) -> bool:
        """Whether its lease runs still, settled or not."""
        monotonic, wall = self.confirmed
        return now[0] - monotonic < self.lease and now[1] - wall < self.lease

    def confirm(self, at: tuple[float, float]) -> None:
        """The broker has renewed it after `at` (monotonic, wall)."""
        if at[0] > self.confirmed[0]:
            self.confirmed = at


def now(clock: Clock) -> tuple[float, float]:
    """Monotonic and wall time."""
    return clock.monotonic(), clock.wall()


def receipt(delivery: Delivery) -> Receipt:
    """The receipt of a delivery made by this backend."""
    if not isinstance(delivery.receipt, Receipt):
        raise InvalidValue("this delivery is not from a NATS backend")
    return delivery.receipt
