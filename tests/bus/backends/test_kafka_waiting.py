"""Many that wait for what one of them gets."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bus.backend import Backend, Delivery
from bus.backends.kafka import statements
from bus.backends.kafka.backend import KafkaBackend
from tests.bus.backends.kafka_fleet import connected
from tests.bus.conformance.steps import ORDER, task
from tests.kafka_server import KafkaServer

pytestmark = pytest.mark.kafka

_LOOKS = frozenset(
    (
        *(statements.STATE, statements.TAKE),
        *(statements.CLAIM, statements.CLAIM_BOTH, statements.COMPETE),
    )
)
MEMBERS = 20
LEARNT = 60
TASKS = 60


class Asked:
    """Counts what members ask the database for when they pull."""

    def __init__(self) -> None:
        self.count = 0

    def follow(self, backend: KafkaBackend) -> None:
        """Count for this one, too."""
        database = backend._groups._database
        fetch = database.fetch

        async def counted(sql: str, *arguments: Any, sure: bool = True) -> Any:
            self.count += sql in _LOOKS
            return await fetch(sql, *arguments, sure=sure)

        database.fetch = counted  # type: ignore[method-assign]


async def work(backend: Backend, done: "asyncio.Queue[Delivery]") -> None:
    """Wait, settle, wait again."""
    while True:
        for delivery in await backend.pull("g", ORDER, limit=1, wait=30.0):
            await backend.settle([delivery])
            done.put_nowait(delivery)


@pytest.mark.promise(6)
async def test_of_many_that_wait_few_ask_for_each_message(
    kafka_server: KafkaServer, happened: Any
) -> None:
    """6: once they have seen how many they are; all of them would be forty questions for each."""
    asked, done = Asked(), asyncio.Queue[Delivery]()
    async with AsyncExitStack() as stack:
        publisher, _ = await stack.enter_async_context(connected(kafka_server, "many", lease=60.0))
        members = [
            (await stack.enter_async_context(connected(kafka_server, "many", lease=60.0)))[0]
            for _ in range(MEMBERS)
        ]
        works = [asyncio.create_task(work(member, done)) for member in members]
        for member in members:
            asked.follow(member)
        for number in range(LEARNT + TASKS):
            if number == LEARNT:
                asked.count = 0
            await publisher.publish([task(f"t{number}")])
            async with asyncio.timeout(5.0):
                await done.get()
        for each in works:
            each.cancel()
        await asyncio.wait(works)
    happened(f"{MEMBERS} wait: {asked.count / TASKS:.1f} questions for each of {TASKS} messages")
    assert asked.count < TASKS * MEMBERS / 2
