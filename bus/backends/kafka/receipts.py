"""What a delivery of this backend carries: whose it is in the database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bus.backend import Delivery
from contracts.errors import InvalidValue


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
    def row(self) -> tuple[int, str, int]:
        """How statements name it."""
        return self.gid, self.key, self.owner


def receipt(delivery: Delivery) -> Receipt:
    """The receipt of a delivery of this backend."""
    if not isinstance(delivery.receipt, Receipt):
        raise InvalidValue("this delivery is not from Kafka")
    return delivery.receipt


def named(receipts: Iterable[Receipt]) -> list[Sequence[object]]:
    """Groups, keys and owners, each once and in order."""
    rows = sorted({each.row for each in receipts})
    return [*zip(*rows, strict=True)] or [(), (), ()]
