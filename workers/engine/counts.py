"""What a worker has done with its tasks since it started."""

from dataclasses import dataclass

from bus.settling import Plan
from contracts.events import Kind


@dataclass(slots=True)
class Counts:
    """`again`: they come back, by a retry or a snooze. `lost`: their lease ended first."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    again: int = 0
    lost: int = 0

    def add(self, settled: Plan) -> None:
        """Count what a run came to."""
        if settled.event is not None and settled.event.kind is Kind.CANCELLED:
            self.cancelled += 1
        elif settled.dead is not None:
            self.failed += 1
        elif settled.then:
            self.again += 1
        else:
            self.succeeded += 1
