"""Dramatiq: its Redis broker with its default middleware; a worker of one process, 8 threads."""

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.side_by_side.adapters import counting

dramatiq.set_broker(RedisBroker(url=counting.URL))
_counting = counting.Counting()


@dramatiq.actor
def noop(payload: Any) -> None:
    """Count."""
    _counting.seen()


if __name__ == "__main__":
    counting.by_threads(noop.send)
