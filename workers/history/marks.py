"""How far history reaches: marks sent through the bus, and what their return says. Pure."""

from collections.abc import Iterable

from bus.backend import Delivery
from contracts.events import MARK


class Marks:
    """The marks of one recorder that are under way.

    A mark stands for a moment of the database's clock before it was sent. Events come in the order
    in which they were accepted, but for those that somebody else holds: once a mark is back, all
    that was accepted before its moment has been handed out to us, unless another member of the
    group had it. What one that was killed held comes back within a lease, so that marks say
    nothing before `doubt` is over.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._sent = 0
        self._moments: dict[str, float] = {}

    def new(self, moment: float) -> str:
        """The name of a mark that stands for `moment`."""
        self._sent += 1
        name = f"{self._source}/{self._sent}"
        self._moments[name] = moment
        return name

    def doubt(self) -> None:
        """Others may hold what was accepted before: marks sent until now say nothing."""
        self._moments.clear()

    def back(self, deliveries: Iterable[Delivery]) -> float | None:
        """The latest moment that marks among these stand for; each counts once."""
        found: float | None = None
        for delivery in deliveries:
            name = delivery.message.headers.get(MARK)
            moment = None if name is None else self._moments.pop(name, None)
            if moment is not None:
                found = moment if found is None else max(found, moment)
        return found

    @property
    def under_way(self) -> int:
        """How many have not come back."""
        return len(self._moments)
