"""The few steps the tests are made of."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from bus.backend import HIGH, LOW, NORMAL, RETRY, Backend, Delivery, Lag, Lane, Message
from bus.errors import Unreachable
from tests.bus.conformance.harness import World

T = TypeVar("T")

ORDER = (HIGH, RETRY, NORMAL, LOW)

SOON = 5.0
"""Seconds that a busy machine may need for what happens at once."""

MOMENT = 0.3
"""Seconds in which what must not be there would have come."""


def task(id_: str, *, copy: int = 0, group: str | None = None, due: float = 0.0) -> Message:
    """A message on the topic `work.a`."""
    lane = RETRY if copy or due else NORMAL
    return Message(id_, copy, "work.a", b"{}", lane=lane, due=due, group=group)


def tasks(count: int, prefix: str = "t") -> list[Message]:
    """So many messages on the topic `work.a`."""
    return [task(f"{prefix}{number}") for number in range(count)]


async def bound(world: World, *groups: str) -> Backend:
    """A connection, with these groups (default `g`) bound to `work.#`."""
    backend = await world.backend()
    for group in groups or ("g",):
        await backend.bind(group, ["work.#"])
    return backend


async def take(
    world: World,
    backend: Backend,
    count: int,
    *,
    group: str = "g",
    lanes: Sequence[Lane] = ORDER,
    seconds: float = SOON,
) -> list[Delivery]:
    """Pull until `count` messages came; the test fails if they do not come in time."""

    async def gather() -> list[Delivery]:
        found: list[Delivery] = []
        while len(found) < count:
            missing = count - len(found)
            found += await backend.pull(group, lanes, limit=missing, wait=seconds)
        return found

    return await world.within(seconds, gather())


async def drain(world: World, backend: Backend, count: int, *, group: str = "g") -> list[Delivery]:
    """Like `take` for many: settled in parts, so that no lease runs out on the way."""
    found: list[Delivery] = []
    while len(found) < count:
        part = await take(world, backend, min(100, count - len(found)), group=group)
        assert await backend.settle(part) == []
        found += part
    return found


async def nothing(
    world: World, backend: Backend, *, group: str = "g", seconds: float = MOMENT
) -> None:
    """The test fails if a message comes within `seconds`."""
    pull = backend.pull(group, ORDER, limit=10, wait=seconds)
    found = await world.within(seconds + SOON, pull)
    assert ids(found) == []


async def eventually(world: World, seconds: float, probe: Callable[[], Awaitable[bool]]) -> None:
    """The test fails if `probe` does not come true within `seconds`."""

    async def watch() -> None:
        while not await probe():
            await world.clock.sleep(0.02)

    await world.within(seconds, watch())


async def persist(world: World, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat `call` while the broker is away, as `Bus` does."""
    while True:
        try:
            return await call()
        except Unreachable:
            await world.clock.sleep(0.05)


def ids(deliveries: Iterable[Delivery]) -> list[str]:
    """The ids of the messages, in order of their text."""
    return sorted(delivery.message.id for delivery in deliveries)


def runs(deliveries: Iterable[Delivery]) -> Counter[tuple[str, int]]:
    """How often each run (id and copy) was handed out."""
    return Counter((d.message.id, d.message.copy) for d in deliveries)


def total(lag: Mapping[Lane, Lag], what: str) -> int | None:
    """The sum over all lanes; None when the broker cannot say."""
    counts = [getattr(lane, what) for lane in lag.values()]
    return None if None in counts else sum(counts)
