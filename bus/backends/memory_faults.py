"""What goes wrong next at the in-memory broker: each fault says what, and how often."""

from collections import deque
from collections.abc import Sequence

from bus.backend import Delivery, Message
from bus.errors import BusError, Full, Unreachable
from contracts.topics import EVENTS


class Faults:
    """Faults that wait for their turn; each is used up by what it happens to."""

    def __init__(self) -> None:
        self._refusals: deque[BusError] = deque()
        self._delays: deque[float] = deque()
        self._drops = 0
        self._doubles = 0

    def refuse_publish(self, times: int = 1, error: BusError | None = None) -> None:
        """The next `times` calls that publish raise `error` (default: `Unreachable`) and accept
        nothing. A client repeats what is `Unreachable` or `Full` for 30 s of the clock."""
        refusal = error or Unreachable("the broker did not answer", details="a fault on demand")
        self._refusals.extend([refusal] * times)

    def full(self, times: int = 1) -> None:
        """The next `times` calls that publish are refused as by a full broker."""
        self.refuse_publish(times, Full("the broker is full", details="a fault on demand"))

    def delay(self, seconds: float, times: int = 1) -> None:
        """The next `times` accepted messages can be had only `seconds` later."""
        self._delays.extend([seconds] * times)

    def drop(self, times: int = 1) -> None:
        """The next `times` hand-overs are lost on their way: the messages come back by their
        lease, as from a worker that died."""
        self._drops += times

    def duplicate(self, times: int = 1) -> None:
        """The next `times` settled messages are handed out once more, as by a broker that was
        killed just after the settle."""
        self._doubles += times

    def refused(self) -> None:
        """Raise the fault of a call that publishes."""
        if self._refusals:
            raise self._refusals.popleft()

    def held_back(self, message: Message) -> float:
        """Seconds by which a message that was just accepted is delayed."""
        return self._delays.popleft() if self._delays and _is_task(message) else 0.0

    def arrived(self, taken: Sequence[Delivery]) -> list[Delivery]:
        """Those hand-overs that arrive."""
        return [delivery for delivery in taken if not self._lost(delivery)]

    def doubled(self, message: Message) -> bool:
        """Whether a message that was just settled is handed out again."""
        again = self._doubles > 0 and _is_task(message)
        self._doubles -= again
        return again

    def _lost(self, delivery: Delivery) -> bool:
        lost = self._drops > 0 and _is_task(delivery.message)
        self._drops -= lost
        return lost


def _is_task(message: Message) -> bool:
    """Events are spared: a fault is meant for a task."""
    return message.topic != EVENTS
