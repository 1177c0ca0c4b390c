"""Every call beside every other, and each message accounted for."""

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from bus.backend import HIGH, LOW, NORMAL, Backend, Delivery, Message
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import ORDER, bound, task

PRODUCERS, BATCHES, GROUPS = 3, 40, ("one", "two")


class Ledger:
    """What is owed to each group, and what was settled there."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.owed: Counter[tuple[str, str, int]] = Counter()
        self.settled: Counter[tuple[str, str, int]] = Counter()
        self.producing = PRODUCERS

    def done(self) -> bool:
        """Whether all that is owed has been settled."""
        return not self.producing and self.settled.total() >= self.owed.total()


@pytest.mark.promise(3, 4, 5, 6, 8, 10)
async def test_random_calls_side_by_side_lose_and_double_nothing(world: World) -> None:
    """3 to 6, 8, 10: producers, members that retry, delay and extend, and a looker-on."""
    await bound(world, *GROUPS)
    ledger = Ledger(11)
    producers = [produce(await world.backend(), ledger, str(n)) for n in range(PRODUCERS)]
    members = [consume(world, await world.backend(), ledger, g) for g in GROUPS for _ in "123"]
    looker = look(await world.backend(), ledger)

    async def all_of_it() -> None:
        await asyncio.gather(*producers, *members, looker)

    await world.within(8.0, all_of_it())
    assert ledger.settled == ledger.owed
    print(f"{ledger.owed.total()} messages settled")


async def produce(backend: Backend, ledger: Ledger, name: str) -> None:
    """Batches of random lanes, some twice, some for one group only."""
    choose = ledger.random
    for batch in range(BATCHES):
        messages: list[Message] = []
        for number in range(choose.randint(1, 25)):
            group = choose.choice([None, None, *GROUPS])
            lane = choose.choice([HIGH, NORMAL, LOW])
            messages.append(replace(task(f"{name}-{batch}-{number}", group=group), lane=lane))
            for owner in [group] if group else GROUPS:
                ledger.owed[owner, messages[-1].id, 0] += 1
        await backend.publish(messages)
        if choose.random() < 0.2:
            await backend.publish(messages[::2])
    ledger.producing -= 1


async def consume(world: World, backend: Backend, ledger: Ledger, group: str) -> None:
    """Settle what comes, in parts, some with a copy that follows."""
    choose = ledger.random
    while not ledger.done():
        found = await backend.pull(group, ORDER, limit=choose.randint(1, 30), wait=0.1)
        if choose.random() < 0.2:
            assert await backend.extend(found) == []
        choose.shuffle(found)
        middle = choose.randint(0, len(found))
        await asyncio.gather(
            settle(world, backend, ledger, found[:middle]),
            settle(world, backend, ledger, found[middle:]),
        )


async def settle(world: World, backend: Backend, ledger: Ledger, held: list[Delivery]) -> None:
    """Settle these; up to two copies follow some of them, at once or delayed."""
    then: list[Message] = []
    for delivery in held:
        m = delivery.message
        if m.copy < 2 and ledger.random.random() < 0.15:
            delay = ledger.random.choice([0.0, 0.4])
            due = world.clock.wall() + delay if delay else 0.0
            then.append(task(m.id, copy=m.copy + 1, group=delivery.group, due=due))
            ledger.owed[delivery.group, m.id, m.copy + 1] += 1
    assert await backend.settle(held, then=then) == []
    ledger.settled.update((d.group, d.message.id, d.message.copy) for d in held)


async def look(backend: Backend, ledger: Ledger) -> None:
    """Bind again, look at the lag, settle nothing; none of it disturbs the others."""
    while not ledger.done():
        for group in GROUPS:
            await backend.bind(group, ["work.#"])
            await backend.lag(group)
        await backend.settle([])
        await asyncio.sleep(0)
