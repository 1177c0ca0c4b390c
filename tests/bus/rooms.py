"""What the tests of the bus's rooms are made of."""

import random
from collections.abc import Sequence
from typing import Any

from bus.backend import Backend, Delivery, Message
from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.deadletters import DeadLetter
from bus.keyvalue.memory import MemoryKeyValue
from bus.settling import Finished, Policy, to_message
from contracts.clock import ManualClock
from contracts.envelope import Envelope
from contracts.outcomes import Done, Outcome, Reason
from contracts.results import Result, Status
from contracts.topics import EVENTS
from tests.bus.conformance.harness import World

NOW = 1_700_000_000.0


def envelope(id_: str = "t1", **fields: Any) -> Envelope:
    """A task on the topic `work.a`."""
    given = {"topic": "work.a", "source": "/test", "time": NOW, "body": b"{}", **fields}
    return Envelope(id=id_, **given)


def delivery(task: Envelope | None = None, *, group: str = "g", earlier: int = 0) -> Delivery:
    """A hand-over that no backend knows of; of bytes that are no envelope without `task`."""
    message = Message("", 0, "work.a", b"\xff\x00", {"x-foreign": "1"})
    if task is not None:
        message = to_message(task, group=group if task.copy else None)
    return Delivery(message, group, earlier, None)


def finished(
    outcome: Outcome | None = None,
    *,
    task: Envelope | None = None,
    of: Delivery | None = None,
    attempts: int = 3,
    ended: float = NOW + 2.0,
) -> Finished:
    """A run that ended, of two seconds."""
    return Finished(
        delivery=of or delivery(task),
        task=task,
        outcome=Done() if outcome is None else outcome,
        policy=Policy(attempts=attempts),
        worker="w1",
        pid=17,
        started=ended - 2.0,
        ended=ended,
    )


def letter(id_: str = "t1", **fields: Any) -> DeadLetter:
    """A dead letter of group `g`, of a task with headers."""
    task = envelope(id_)
    given: dict[str, Any] = {
        "group": "g",
        "topic": "work.a",
        "reason": Reason.EXHAUSTED,
        "error": "ValueError: no",
        "attempts": 3,
        "copy": 2,
        "worker": "w1",
        "died": NOW,
        "headers": dict(to_message(task, group=None).headers),
        "body": b'{"a":1}',
        **fields,
    }
    return DeadLetter(id=id_, **given)


def result(id_: str = "t1", *, fence: int = 0, **fields: Any) -> Result:
    """An end of a task."""
    given = {"status": Status.SUCCEEDED, "role": "g", "worker": "w1", "attempt": 1, **fields}
    return Result(id=id_, fence=fence, finished=NOW, **given)


class Recording:
    """A backend that notes what is sent through it, and fails when told to. `published` are the
    tasks, without what is told of them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.published: list[Message] = []
        self.settled: list[tuple[list[Delivery], list[Message]]] = []
        self.failures: list[Exception] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """Note them, then publish."""
        self._fail()
        self.published += [m for m in messages if m.topic != EVENTS]
        await self._backend.publish(messages, follow_up=follow_up)

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """Note them, then settle."""
        self._fail()
        self.settled.append((list(deliveries), list(then)))
        return await self._backend.settle(deliveries, then=then)

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def memory_bus(clock: ManualClock, *, lease: float = 10.0) -> tuple[Bus, Recording, MemoryBroker]:
    """A bus on memory, what its backend is asked, and the broker behind it."""
    broker = MemoryBroker(clock, lease=lease)
    backend = Recording(MemoryBackend(broker))
    store = MemoryKeyValue(broker.store)
    return Bus(backend, store, clock=clock, rng=random.Random(7)), backend, broker


async def bus_of(world: World) -> Bus:
    """A bus in this world, with group `g` bound to `work.#`."""
    bus = Bus(await world.backend(), await world.keyvalue(), clock=world.clock)
    await bus.bind("g", ["work.#"])
    return bus
