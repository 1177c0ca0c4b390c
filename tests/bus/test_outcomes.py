"""Outcomes somebody asks for: the highest fence wins, and whoever waits hears of it."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from bus.bus import Bus
from bus.errors import Closed
from bus.keyvalue import keys
from bus.keyvalue.memory import MemoryKeyValue
from bus.keyvalue.protocol import Entry
from bus.outcomes import Outcomes, Progress, Waiters
from contracts.results import Result, Status
from tests.bus.conformance.harness import MemoryWorld, World
from tests.bus.conformance.steps import SOON, eventually
from tests.bus.rooms import result


async def outcomes_of(world: World) -> Outcomes:
    """On a connection of its own."""
    return Outcomes(await world.keyvalue())


async def test_an_outcome_is_found_by_whoever_asked(world: World) -> None:
    """Under the caller's id and the task's; another caller has another one."""
    outcomes, other = await outcomes_of(world), await outcomes_of(world)
    kept = result(value={"a": [1, None]})
    await outcomes.put("caller/1", kept)
    assert await other.get("caller/1", "t1") == kept
    assert await other.get("caller/1", "t2") is None
    assert await other.get("caller", "t1") is None


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))))
async def test_a_lower_fence_never_replaces_a_higher_one(
    world: World, order: tuple[int, ...]
) -> None:
    outcomes = await outcomes_of(world)
    for fence in order:
        await outcomes.put("caller", result(fence=fence, value=fence))
    found = await outcomes.get("caller", "t1")
    assert found is not None
    assert (found.fence, found.value) == (2, 2)


async def test_of_many_rivals_at_once_the_highest_fence_stays(world: World) -> None:
    stores = [await outcomes_of(world) for _ in range(4)]
    puts = (stores[n % 4].put("caller", result(fence=n)) for n in (3, 7, 1, 0, 5, 2, 6, 4))
    await world.within(SOON, gathered(*puts))
    found = await stores[0].get("caller", "t1")
    assert found is not None
    assert found.fence == 7


async def gathered(*calls: object) -> None:
    """All of them at once."""
    await asyncio.gather(*calls)  # type: ignore[call-overload]


async def test_a_watch_tells_what_is_there_and_what_comes(world: World) -> None:
    outcomes, other = await outcomes_of(world), await outcomes_of(world)
    await other.put("caller", result("a"))
    await other.put("somebody", result("x"))
    watch = outcomes.watch("caller")
    assert (await first(world, watch)).id == "a"
    await other.put("caller", result("b"))
    assert (await first(world, watch)).id == "b"


async def first(world: World, watch: AsyncIterator[Result]) -> Result:
    """The next outcome that is told."""

    async def take() -> Result:
        return await anext(watch)

    return await world.within(SOON, take())


async def test_progress_is_told_with_the_latest_first(world: World) -> None:
    outcomes = await outcomes_of(world)
    await outcomes.report("caller", Progress("a/1", 0.1, "begun"))
    await outcomes.report("caller", Progress("a/1", 0.5, "half"))
    watch = outcomes.watch_progress("caller")

    async def take() -> Progress:
        return await anext(watch)

    found = await world.within(SOON, take())
    assert (found.share, found.note) == (0.5, "half")
    await outcomes.report("caller", Progress("a/1", 1.0, "done"))
    assert (await world.within(SOON, take())).note == "done"


async def test_progress_names_the_task_it_is_of(world: World) -> None:
    """Also where the id had to be quoted to be one word of a key."""
    outcomes = await outcomes_of(world)
    await outcomes.report("caller", Progress("a/1 %", 0.1, ""))

    async def take() -> Progress:
        return await anext(outcomes.watch_progress("caller"))

    assert (await world.within(SOON, take())).task == "a/1 %"


async def test_many_wait_and_each_gets_its_own_by_one_watch(world: World) -> None:
    store = Counting(await world.keyvalue())
    waiters = Waiters(Outcomes(store), "caller", world.clock)  # type: ignore[arg-type]
    waits = {f"t{n}": asyncio.create_task(waiters.wait(f"t{n}")) for n in range(200)}
    other = await outcomes_of(world)
    puts = (other.put("caller", result(id_)) for id_ in waits)
    await world.within(SOON, gathered(*puts))
    await world.within(SOON, gathered(*waits.values()))
    assert {id_: task.result().id for id_, task in waits.items()} == {id_: id_ for id_ in waits}
    assert store.watches == 1
    await waiters.close()


class Counting:
    """A store that counts its watches, and can hold back the answers to `get`."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.watches = 0
        self.asked = asyncio.Event()
        self.watched = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def watch(self, prefix: str) -> object:
        self.watches += 1
        self.watched.set()
        return self._store.watch(prefix)  # type: ignore[attr-defined]

    async def get(self, key: str) -> Entry | None:
        found: Entry | None = await self._store.get(key)  # type: ignore[attr-defined]
        self.asked.set()
        await self.answer.wait()
        return found


async def test_an_outcome_put_between_the_look_and_the_wait_is_not_missed(world: World) -> None:
    """The watch runs already and tells it while the answer to the look, "none", is on its way."""
    store = Counting(await world.keyvalue())
    waiters = Waiters(Outcomes(store), "caller", world.clock)  # type: ignore[arg-type]
    earlier = asyncio.create_task(waiters.wait("earlier"))
    other = await outcomes_of(world)
    await world.within(SOON, store.watched.wait())
    await other.put("caller", result("earlier"))
    await world.within(SOON, gathered(earlier))
    store.answer.clear()
    store.asked.clear()
    wait = asyncio.create_task(waiters.wait("t1"))
    await world.within(SOON, store.asked.wait())
    await other.put("caller", result("t1"))
    await other.put("caller", result("marker"))
    marker = asyncio.create_task(told(await world.keyvalue(), "caller", "marker"))
    await world.within(SOON, gathered(marker))
    await world.pass_time(0.2)
    store.answer.set()
    await world.within(SOON, gathered(wait))
    assert wait.result().id == "t1"
    await waiters.close()


async def told(store: object, reply: str, task: str) -> None:
    """Return when a watch has told this outcome."""
    async for found in Outcomes(store).watch(reply):  # type: ignore[arg-type]
        if found.id == task:
            return


async def test_an_outcome_told_when_nobody_waited_is_found_later(world: World) -> None:
    outcomes, waiters = await outcomes_of(world), await waiters_of(world)
    waited = asyncio.create_task(waiters.wait("a"))
    await outcomes.put("caller", result("b"))
    await outcomes.put("caller", result("a"))
    await world.within(SOON, gathered(waited))
    assert (await world.within(SOON, waiters.wait("b"))).id == "b"
    assert (await world.within(SOON, waiters.wait("b"))).id == "b"
    await waiters.close()


async def waiters_of(world: World) -> Waiters:
    """On a connection of its own."""
    return Waiters(await outcomes_of(world), "caller", world.clock)


async def test_one_that_stops_waiting_leaves_the_others_waiting(world: World) -> None:
    outcomes, waiters = await outcomes_of(world), await waiters_of(world)
    gone, stays = (asyncio.create_task(waiters.wait("t1")) for _ in range(2))
    await world.pass_time(0.05)
    gone.cancel()
    await asyncio.wait([gone])
    await outcomes.put("caller", result())
    await world.within(SOON, gathered(stays))
    assert stays.result() == result()
    assert gone.cancelled()
    await waiters.close()


async def test_closing_tells_whoever_waits_and_refuses_new_waits(world: World) -> None:
    """With an error of ours: nobody who was not cancelled finds himself cancelled."""
    waiters = await waiters_of(world)
    waits = [asyncio.create_task(waiters.wait(f"t{n}")) for n in range(3)]
    await world.pass_time(0.05)
    await waiters.close()
    for wait in waits:
        with pytest.raises(Closed):
            await wait
    with pytest.raises(Closed):
        await waiters.wait("t9")
    await waiters.close()


async def test_a_wait_outlives_an_outage_of_the_store(mortal: World) -> None:
    """Those that waited before, and those that begin in the middle of it."""
    outcomes, waiters = await outcomes_of(mortal), await waiters_of(mortal)
    before = asyncio.create_task(waiters.wait("a"))
    await mortal.pass_time(0.2)
    await mortal.stop_store(kill=True)
    await mortal.pass_time(0.2)
    during = asyncio.create_task(waiters.wait("b"))
    await mortal.pass_time(1.0)
    assert not before.done()
    assert not during.done()
    await mortal.start_store()

    async def put(id_: str) -> bool:
        try:
            await outcomes.put("caller", result(id_))
        except Exception:  # noqa: BLE001 - the broker is only just coming back
            return False
        return True

    for id_ in ("a", "b"):
        await eventually(mortal, 3 * SOON, lambda id_=id_: put(id_))  # type: ignore[misc]
    await mortal.within(3 * SOON, gathered(before, during))
    assert [before.result().id, during.result().id] == ["a", "b"]
    await waiters.close()


async def test_a_wait_that_begins_in_an_outage_outlives_it() -> None:
    """Not even the first watch can be begun."""
    world = MemoryWorld()
    await world.stop_broker(kill=True)
    waiters = await waiters_of(world)
    wait = asyncio.create_task(waiters.wait("t1"))
    await world.pass_time(5.0)
    assert not wait.done()
    await world.start_broker()
    await (await outcomes_of(world)).put("caller", result())
    assert (await world.within(SOON, wait_for(wait))).id == "t1"
    await waiters.close()


async def wait_for(task: "asyncio.Task[Result]") -> Result:
    """Its result."""
    return await task


async def test_an_outcome_that_cannot_be_read_fails_whoever_waits_for_it_and_nobody_else() -> None:
    world = MemoryWorld()
    store = MemoryKeyValue(world.broker.store)
    waiters = Waiters(Outcomes(store), "caller", world.clock)
    bad, good = (asyncio.create_task(waiters.wait(task)) for task in ("bad", "t1"))
    await world.pass_time(0.1)
    await store.put(keys.outcome("caller", "bad"), b"not a result")
    found = await world.within(SOON, wait_for(bad))
    assert found.status is Status.FAILED
    assert "is not a result" in found.error
    await Outcomes(store).put("caller", result())
    assert (await world.within(SOON, wait_for(good))).id == "t1"
    await waiters.close()


async def test_waiting_on_a_closed_bus_is_an_error_not_a_wait_for_ever() -> None:
    world = MemoryWorld()
    bus = Bus(await world.backend(), await world.keyvalue(), clock=world.clock)
    waiters = Waiters(bus.outcomes, "caller", world.clock)
    wait = asyncio.create_task(waiters.wait("t1"))
    await world.pass_time(0.1)
    await bus.close()
    with pytest.raises(Closed):
        await world.within(SOON, wait_for(wait))
    await waiters.close()
