"""What a delivery of this backend carries: whose it is in the database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bus.backend import Delivery
from bus.backends.kafka.arrays import keys, numbers
from contracts.errors import InvalidValue

Owned = tuple[int, str, int]
"""The row of a hand-over: its group, key and owner."""


@dataclass(slots=True, eq=False)
class Receipt:
    """The row of a hand-over, by group, key and owner. `since`: when it was taken, monotonic.
    `carried`: the row has its message and needs the log no longer."""

    gid: int
    key: str
    owner: int
    since: float
    carried: bool

    @property
    def row(self) -> Owned:
        """How statements name it."""
        return self.gid, self.key, self.owner


def receipt(delivery: Delivery) -> Receipt:
    """The receipt of a delivery of this backend."""
    if not isinstance(delivery.receipt, Receipt):
        raise InvalidValue("this delivery is not from Kafka")
    return delivery.receipt


def named(receipts: Iterable[Receipt]) -> list[Owned]:
    """How statements name those that are meant, each once and in order."""
    return sorted({(each.gid, each.key, each.owner) for each in receipts})


def terms(owned: Sequence[Owned]) -> tuple[str, str, str]:
    """Groups, keys and owners, as statements take them."""
    gids, found, owners = zip(*owned, strict=True) if owned else ((), (), ())
    return numbers(gids), keys(found), numbers(owners)
