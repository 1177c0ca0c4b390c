"""What a worker knows of tasks like the one it is asked for: those of the same topic it has run."""

from collections import OrderedDict
from dataclasses import dataclass

MOST_TOPICS = 1_000
"""Topics that are remembered, those that were run last."""

_NEWEST = 0.1
"""By how much of the difference one run moves a mean; the first one sets it."""


@dataclass(frozen=True, slots=True)
class Similar:
    """`runs` that ended, `succeeded` of them well; mean seconds and micro-dollars, if known."""

    runs: int = 0
    succeeded: int = 0
    seconds: float | None = None
    cost: int | None = None


class Experience:
    """Of one role in one process, since it started."""

    def __init__(self) -> None:
        self._topics: OrderedDict[str, Similar] = OrderedDict()

    def of(self, topic: str) -> Similar:
        """What is known of tasks of this topic; of all of them where none is named."""
        if topic:
            return self._topics.get(topic, Similar())
        known = self._topics.values()
        return Similar(sum(s.runs for s in known), sum(s.succeeded for s in known))

    def add(self, topic: str, *, succeeded: bool, seconds: float, cost: int | None = None) -> None:
        """A task of `topic` was run here."""
        old = self._topics.pop(topic, Similar())
        self._topics[topic] = Similar(
            old.runs + 1,
            old.succeeded + succeeded,
            _moved(old.seconds, seconds),
            old.cost if cost is None else round(_moved(old.cost, cost)),
        )
        while len(self._topics) > MOST_TOPICS:
            self._topics.popitem(last=False)


def _moved(old: float | None, new: float) -> float:
    return new if old is None else old + _NEWEST * (new - old)
