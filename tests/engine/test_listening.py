"""Listeners hear what is told, and what a killed one leaves behind is retired by the next."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from bus.errors import BusError, Unreachable
from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from contracts.events import Event, Kind
from contracts.topics import EVENTS
from tests.engine.fleets import ManualFleet, made
from workers.fleet.listening import PREFIX, SIGN_EVERY, listening, sweep
from workers.sdk.context import Context


async def listeners(fleet: ManualFleet) -> list[str]:
    """The groups that only listen."""
    known = [entry.key.split("/") async for entry in entries(fleet.bus.store, keys.listener())]
    return [group for _, group, what in known if what == "bound"]


async def hello(payload: Any, ctx: Context) -> str:
    """Greet."""
    return "hello"


async def test_what_is_told_inside_is_heard_and_nothing_is_left_behind(fleet: ManualFleet) -> None:
    await fleet.start(made(hello))
    async with listening(fleet.bus, "tail", clock=fleet.clock) as events:
        task = await fleet.client.publish("work.a", None)
        heard: list[Event] = []
        while not heard or heard[-1].kind is not Kind.SUCCEEDED:
            heard.append(await fleet.within(_of(anext(events))))
        assert {event.task for event in heard} == {task.id}
        assert len(await listeners(fleet)) == 1
    assert await listeners(fleet) == []
    assert await fleet.bus.store.list(keys.listener()) == []


async def test_a_listener_that_lives_stays_and_a_killed_one_goes(fleet: ManualFleet) -> None:
    """The killed one within the minute that its sign lasts."""
    killed = f"{PREFIX}tail-0"
    await fleet.bus.bind(killed, [EVENTS])
    await fleet.bus.store.put(keys.listener(killed, "bound"), b"")
    await fleet.bus.store.put(keys.listener(killed, "alive"), b"", ttl=3 * SIGN_EVERY)
    async with listening(fleet.bus, "tail", clock=fleet.clock):
        assert killed in await listeners(fleet)
        for _ in range(7):
            await fleet.clock.advance(SIGN_EVERY / 2)
        assert await sweep(fleet.bus) == [killed]
        (living,) = await listeners(fleet)
        assert living != killed


async def test_one_that_was_retired_while_it_was_cut_off_listens_again(fleet: ManualFleet) -> None:
    await fleet.start(made(hello))
    async with listening(fleet.bus, "tail", clock=fleet.clock) as events:
        (group,) = await listeners(fleet)
        await fleet.bus.unbind(group, drop=True)
        heard = asyncio.ensure_future(_of(anext(events)))
        await fleet.clock.advance(0.1)
        task = await fleet.client.publish("work.a", None)
        assert (await fleet.within(_of(heard))).task == task.id


async def test_a_broker_that_is_away_is_told_once_and_waited_for(fleet: ManualFleet) -> None:
    said: list[BusError | None] = []
    await fleet.start(made(hello))
    async with listening(fleet.bus, "tail", clock=fleet.clock, away=said.append) as events:
        pull, failures = fleet.bus.pull, [Unreachable("cut")] * 3

        async def failing(*given: Any, **options: Any) -> Any:
            if failures:
                raise failures.pop()
            return await pull(*given, **options)

        fleet.bus.pull = failing  # type: ignore[method-assign]
        heard = asyncio.ensure_future(_of(anext(events)))
        await fleet.clock.advance(0.1)
        task = await fleet.client.publish("work.a", None)
        assert (await fleet.within(_of(heard))).task == task.id
    assert [str(error) for error in said] == ["cut", "None"]


async def _of(event: Awaitable[Event]) -> Event:
    return await event
