"""What is told of tasks comes into history: all of it, once, whatever dies meanwhile."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from bus.backend import NORMAL, Message
from contracts.outcomes import Reject
from contracts.topics import EVENTS, RECORDER
from knowledge.history.history import History
from knowledge.history.records import Answer
from knowledge.history.states import State
from knowledge.history.waiting import Looked, NoSuchTask, NotRecorded
from tests.engine.fleets import LiveFleet, made
from tests.servers import PostgresServer
from workers.fleet.options import Options
from workers.history.recorder import Recorder
from workers.sdk.context import Context

LEASE = 2.0


@dataclass
class Scene:
    """A fleet in memory, in real time, whose history is on a real server."""

    fleet: LiveFleet
    url: str

    async def connect(self) -> History:
        """Another connection to the history."""
        return await History.open(self.url, self.fleet.clock)

    @asynccontextmanager
    async def recorder(self) -> AsyncIterator[Recorder]:
        """One that records, or stands by; stopped at the end."""
        bus, name = self.fleet._bus(), secrets.token_hex(4)
        found = Recorder(bus, self.connect, self.fleet.clock, name=name, lease=LEASE)
        run = asyncio.create_task(found.run())
        try:
            await found.ready()
            yield found
        finally:
            found.stop()
            await run
            await bus.close()

    @asynccontextmanager
    async def history(self) -> AsyncIterator[History]:
        """History as those who ask have it."""
        found = await self.connect()
        try:
            yield found
        finally:
            await found.close()

    async def waiting(self) -> int:
        """Messages of events that are not settled."""
        lags = (await self.fleet.client.bus._backend.lag(RECORDER)).values()
        return sum((lag.waiting or 0) + (lag.leased or 0) for lag in lags)


@pytest.fixture
def scene(history_url: str) -> Scene:
    """A fleet, its history empty."""
    return Scene(LiveFleet(LEASE), history_url)


async def until(probe: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Return once `probe` is true; the test fails if that takes too long."""
    async with asyncio.timeout(seconds):
        while not await probe():  # noqa: ASYNC110 - it asks a database
            await asyncio.sleep(0.02)


def states(looked: Looked) -> dict[str, State]:
    """The state in each role."""
    assert isinstance(looked, Answer), looked
    return {task.role: task.state for task in looked.found}


async def echo(payload: object, ctx: Context) -> object:
    if payload == "no":
        return Reject("it says no")
    return {"said": payload}


async def test_how_a_task_went_can_be_asked(scene: Scene) -> None:
    """Who published it, who ran it, what it got and gave."""
    role = made(echo, "echo", listens="say.#", concurrency=4)
    async with scene.recorder(), scene.history() as history, scene.fleet.running(role):
        tasks = await scene.fleet.client.publish_many([("say.x", "yes"), ("say.x", "no")])
        await asyncio.gather(*(task.outcome(10.0) for task in tasks))

        async def known() -> bool:
            found = [await history.task(task.id) for task in tasks]
            return all(answer.found and answer.found[0].finished for answer in found)

        await until(known)
        assert states(await history.look(tasks[0].id)) == {"echo": State.SUCCEEDED}
        assert states(await history.look(tasks[1].id)) == {"echo": State.FAILED}
        (result,) = (await history.result(tasks[0].id)).found
        assert (result.payload, result.result) == ('"yes"', '{"said":"yes"}')
        (task,) = (await history.task(tasks[0].id)).found
        assert task.priority == "normal"


async def test_an_accepted_task_is_never_unknown(scene: Scene) -> None:
    """Asked for right after it was published, by many at once, while others are published."""
    await scene.fleet.client.bus.bind("later", ["later.#"])
    async with scene.recorder(), scene.history() as history:

        async def published(number: int) -> Looked:
            task = await scene.fleet.client.publish("later.x", number, priority="low")
            return await history.look(task.id, patience=10.0)

        for _ in range(3):
            found = await asyncio.gather(*map(published, range(30)))
            assert {state for looked in found for state in states(looked).values()} == {
                State.WAITING
            }


async def test_an_unknown_task_is_told_apart_from_one_that_is_not_recorded(scene: Scene) -> None:
    """With a recorder that has caught up: no such task, soon. Without: history is behind."""
    await scene.fleet.client.bus.bind("later", ["later.#"])
    async with scene.history() as history:
        async with scene.recorder() as recorder:
            await until(lambda: _sure(history))
            for _ in range(3):
                assert isinstance(await history.look(secrets.token_hex(8)), NoSuchTask)
            assert recorder.counts.recorded == 0
        task = await scene.fleet.client.publish("later.x", None)
        looked = await history.look(task.id, patience=0.2)
        assert isinstance(looked, NotRecorded)
        async with scene.recorder():
            assert states(await history.look(task.id, patience=10.0)) == {"": State.WAITING}


async def _sure(history: History) -> bool:
    """Whether the recorder vouches for what it has: not before a lease has passed."""
    return isinstance(await history.look("nobody", patience=0.5), NoSuchTask)


async def test_another_takes_over_and_nothing_is_lost(scene: Scene) -> None:
    """One records, one stands by; the first ends, the second goes on."""
    await scene.fleet.client.bus.bind("later", ["later.#"])
    payloads = [("later.x", number) for number in range(200)]
    async with scene.history() as history, scene.recorder() as second:
        async with scene.recorder() as first:
            await until(lambda: _either(first, second))
            active, other = (first, second) if first.active else (second, first)
            before = await scene.fleet.client.publish_many(payloads, Options(reply=False))
            await until(lambda: _recorded(history, before[-1].id))
            assert (active.active, other.active) == (True, False)
            assert other.counts.recorded == 0
        after = await scene.fleet.client.publish_many(payloads, Options(reply=False))
        await until(lambda: _recorded(history, after[-1].id))
        assert second.active
        for task in (*before, *after):
            assert (await history.task(task.id)).found


async def _either(first: Recorder, second: Recorder) -> bool:
    return first.active or second.active


async def _recorded(history: History, task: str) -> bool:
    return bool((await history.task(task)).found)


async def test_partitions_are_made_before_anything_needs_them(scene: Scene) -> None:
    """The active recorder makes them as soon as it is active."""
    async with scene.recorder(), scene.history() as history:

        async def made() -> bool:
            async with history.database.link() as link:
                count = await link.fetchval(
                    "SELECT count(*) FROM pg_inherits WHERE inhparent = 'tasks'::regclass"
                )
            return bool(count >= 4)

        await until(made)


async def test_what_is_no_event_keeps_nobody_waiting(scene: Scene) -> None:
    """Anybody may publish anything to a broker: it is counted and dropped."""
    await scene.fleet.client.bus.bind("later", ["later.#"])
    async with scene.recorder() as recorder, scene.history() as history:
        backend = scene.fleet.client.bus._backend
        await backend.publish([Message("", 0, EVENTS, b"\xff\x00", lane=NORMAL)])
        task = await scene.fleet.client.publish("later.x", None)
        await until(lambda: _recorded(history, task.id))
        assert recorder.counts.unreadable == 1

        async def settled() -> bool:
            return await scene.waiting() == 0

        await until(settled)


async def test_history_away_stops_nobody_and_catches_up(
    own_postgres: Callable[[], PostgresServer],
) -> None:
    """The server is killed while tasks are published and run: they go on; then all is known."""
    server = own_postgres()
    scene = Scene(LiveFleet(LEASE), server.url)
    role = made(echo, "echo", listens="say.#", concurrency=8)
    async with scene.recorder() as recorder, scene.fleet.running(role):
        first = await scene.fleet.client.publish_many([("say.x", n) for n in range(100)])
        await asyncio.gather(*(task.result(10.0) for task in first))
        await asyncio.to_thread(server.kill)
        tasks = [*first]
        for _ in range(5):
            more = await scene.fleet.client.publish_many([("say.x", n) for n in range(200)])
            await asyncio.gather(*(task.result(10.0) for task in more))
            tasks += more
        await until(lambda: _troubled(recorder))
        await asyncio.to_thread(server.start)
        async with scene.history() as history:

            async def caught_up() -> bool:
                page = await history.tasks(limit=1000)
                return len(page.items) == 1000 and await scene.waiting() == 0

            await until(caught_up, 30.0)
            for task in tasks:
                assert states(await history.look(task.id)) == {"echo": State.SUCCEEDED}
            (usage,) = (await history.usage(by=())).found
            assert (usage.published, usage.succeeded) == (1100, 1100)


async def _troubled(recorder: Recorder) -> bool:
    return "recording" in recorder.troubles()
