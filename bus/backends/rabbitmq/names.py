"""What things are called on a RabbitMQ. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bus.backend import HIGH, LOW, NORMAL, RETRY, SLICES, Lane, LaneName

QUEUED = (HIGH.name, NORMAL.name, LOW.name)
"""Lanes that lie in queues; the retry lane lies in the bus database."""

ALL = (HIGH.name, RETRY.name, NORMAL.name, LOW.name)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a group's lanes are laid out: `whole`, a queue for each lane with all its slices, and
    `cut`, a queue for each slice that tenants are spread over. One that was bound both ways has
    both: nothing that lies in a queue is moved."""

    whole: bool
    cut: bool

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> "Shape":
        """From what was written into the binding."""
        return cls(bool(facts.get("whole", True)), bool(facts.get("cut", False)))

    def facts(self) -> dict[str, bool]:
        """To write into the binding."""
        return {"whole": self.whole, "cut": self.cut}


def exchange_of(fleet: str) -> str:
    """The topic exchange of a fleet."""
    return f"muster.{fleet}"


def key_of(lane: Lane, topic: str) -> str:
    """The routing key of a message."""
    return f"{lane.name.value}.{lane.slice}.{topic}"


def parted(key: str) -> tuple[Lane, str] | None:
    """Lane and topic of a routing key; None for one that is not ours."""
    name, _, rest = key.partition(".")
    number, _, topic = rest.partition(".")
    if name not in {each.value for each in LaneName} or not number.isdigit() or not topic:
        return None
    return Lane(LaneName(name), int(number) % SLICES), topic


def queue_of(exchange: str, group: str, lane: Lane, shape: Shape) -> str:
    """The queue in which what is published to a lane now lies."""
    whole = f"{exchange}.{group}.{lane.name.value}"
    return f"{whole}.{lane.slice}" if shape.cut else whole


def queues_of(exchange: str, group: str, lane: Lane, shape: Shape, slices: int) -> list[str]:
    """Every queue from which a lane of a fleet cut into `slices` is pulled."""
    if lane.name is RETRY.name:
        return []
    whole = f"{exchange}.{group}.{lane.name.value}"
    found = [whole] if shape.whole and not lane.slice else []
    if shape.cut:
        found += [f"{whole}.{k}" for k in range(lane.slice, SLICES, slices)]
    return found


def is_of(queue: str, exchange: str, group: str) -> bool:
    """Whether a queue is one of a group's."""
    lane, _, number = queue.removeprefix(f"{exchange}.{group}.").partition(".")
    return lane in {name.value for name in QUEUED} and (not number or number.isdigit())


def bound_queues(
    exchange: str, group: str, patterns: Sequence[str], *, cut: bool
) -> Iterator[tuple[str, list[str]]]:
    """Each queue of a group that is laid out so, and the routing keys it is bound to."""
    for name in QUEUED:
        whole = f"{exchange}.{group}.{name.value}"
        if cut:
            for k in range(SLICES):
                yield f"{whole}.{k}", [f"{name.value}.{k}.{p}" for p in patterns]
        else:
            yield whole, [f"{name.value}.*.{p}" for p in patterns]
