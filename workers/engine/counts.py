"""What a worker has done with its tasks since it started."""

import threading
from collections import deque

from bus.backend import Delivery
from bus.settling import Plan
from contracts.envelope import Envelope
from contracts.events import Kind
from workers.telemetry.tally import Histogram, Tally, Tenants

FOLD = 1000
"""Notes that are folded at once, so that a run costs little more than taking them."""

_FAILED = Kind.FAILED

Begun = tuple[str, str, float | None]
"""Lane, tenant, and the seconds for which a task waited, if that is known."""

Ended = tuple[str, str, str, str, float | None, float | None]
"""Lane, tenant, what became of it, the reason of a failure; seconds it ran, if it did, and seconds
until that was safe, if it is."""


class Counts:
    """Of one role in one process, by lane and tenant; the plain numbers are sums over them.

    A run leaves two notes, which are folded into tallies by whoever looks, or when there are many.
    Notes are taken in one thread; every other call may come from any.

    `again`: they come back, by a retry or a snooze. `lost`: their lease ended first.
    """

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self._begun: deque[Begun] = deque()
        self._ended: deque[Ended] = deque()
        self._folding = threading.Lock()
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._settling = Histogram()
        self.begun = self._begun.append

    def ended(self, note: Ended) -> None:
        """Take note of an end."""
        self._ended.append(note)
        if len(self._ended) >= FOLD:
            self._fold()

    def crashed(self, delivery: Delivery, task: Envelope | None, settled: Plan) -> None:
        """Count what became of a task whose process is gone."""
        kind, reason = became(settled)
        lane = delivery.message.lane.name
        self.ended((lane, tenant_of(task), kind, reason, None, None))

    @property
    def tallies(self) -> dict[tuple[str, str], Tally]:
        """By lane and tenant."""
        self._fold()
        return self._tallies.copy()

    @property
    def settling(self) -> Histogram:
        """How long it took until ends were safe."""
        self._fold()
        return self._settling

    @property
    def succeeded(self) -> int:
        """Tasks that came to a result."""
        return sum(tally.succeeded for tally in self.tallies.values())

    @property
    def failed(self) -> int:
        """Tasks that became dead letters."""
        return sum(tally.failed.total() for tally in self.tallies.values())

    @property
    def cancelled(self) -> int:
        """Tasks that ended because somebody stopped them."""
        return sum(tally.cancelled for tally in self.tallies.values())

    @property
    def again(self) -> int:
        """Runs whose tasks come back."""
        return sum(tally.retried + tally.snoozed for tally in self.tallies.values())

    @property
    def lost(self) -> int:
        """Deliveries whose lease ended first."""
        return sum(tally.lost for tally in self.tallies.values())

    def _fold(self) -> None:
        with self._folding:
            key: object = None  # many that follow each other are alike
            tally = Tally()
            while self._begun:
                lane, tenant, waited = self._begun.popleft()
                if (lane, tenant) != key:
                    key, tally = (lane, tenant), self._tally(lane, tenant)
                tally.started += 1
                if waited is not None:
                    tally.wait.add(waited)
            while self._ended:
                lane, tenant, became_, reason, ran, settling = self._ended.popleft()
                if (lane, tenant) != key:
                    key, tally = (lane, tenant), self._tally(lane, tenant)
                tally.add(became_, reason)
                if ran is not None:
                    tally.run.add(ran)
                if settling is not None:
                    self._settling.add(settling)

    def _tally(self, lane: str, tenant: str) -> Tally:
        key = lane, self._tenants.name(tenant)
        found = self._tallies.get(key)
        if found is None:
            found = self._tallies[key] = Tally()
        return found


def tenant_of(task: Envelope | None) -> str:
    """Bytes that are no task have no tenant."""
    return "" if task is None else task.tenant


def became(settled: Plan) -> tuple[str, str]:
    """What a settle has made of a task; of a failure, the reason."""
    event = settled.event
    if event is not None and event.kind is not _FAILED:
        return event.kind, ""
    told = event.data.get("reason") if event is not None else None
    return _FAILED, str(settled.dead.reason if settled.dead else told)
