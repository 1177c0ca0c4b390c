"""What is handed upward, and which bus it came from."""

from collections.abc import Sequence
from dataclasses import dataclass

from bus.backend import Delivery
from bus.backends.failover.hand_overs import Mark
from bus.errors import BusError


@dataclass(slots=True, eq=False)
class Receipt:
    """A delivery of one of the two buses. `mark` None: it has no key, and nobody else can have it.
    `kept`: the bus database holds its lease, since its own bus cannot. Set from any thread."""

    bus: int
    delivery: Delivery
    mark: Mark | None
    kept: bool = False


def receipt_of(delivery: Delivery) -> Receipt:
    """The receipt in a delivery of ours."""
    if not isinstance(delivery.receipt, Receipt):
        raise BusError("a delivery of another backend", details=f"{delivery.receipt!r}")
    return delivery.receipt


def outward(delivery: Delivery, bus: int, mark: Mark | None) -> Delivery:
    """What of a bus's delivery goes upward; hand-overs are counted where both buses meet."""
    earlier = delivery.earlier if mark is None else mark.handed - 1
    return Delivery(delivery.message, delivery.group, earlier, Receipt(bus, delivery, mark))


def key_of(delivery: Delivery) -> str | None:
    """What a message has in common with its repetition on the other bus; None for one of a foreign
    client that gave it no id, or none that a database can hold."""
    message = delivery.message
    key = message.key()
    return key if message.id and key.isprintable() else None


def inner(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The deliveries as their bus made them."""
    return [receipt_of(each).delivery for each in deliveries]
