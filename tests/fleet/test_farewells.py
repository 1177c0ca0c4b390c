"""A process that died is forgotten at once where a supervisor sees it, and nobody else is."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import pytest
from pydantic_core import to_json

from bus.backends.memory import MemoryBroker
from bus.keyvalue import keys
from bus.keyvalue.memory import MemoryKeyValue
from bus.keyvalue.protocol import KeyValue
from contracts.clock import ManualClock, SystemClock
from tests.fleet.conftest import Connect
from tests.fleet.machines import until
from workers.fleet.farewells import Farewells
from workers.fleet.presence import LOOK, RENEW, Alive, present
from workers.fleet.seat import Seat, Spec, State
from workers.fleet.supervised import Said
from workers.fleet.supervisor import Supervisor

NAMED = (
    "import os, signal; from workers.fleet.supervised import say_ready;"
    "signal.signal(15, lambda *_: os._exit(0));"
    "say_ready('', f'w-{os.getpid()}'); signal.pause()"
)


async def show(store: KeyValue, worker: str, pid: int) -> None:
    """A sign of life, as the worker would leave it behind."""
    alive = Alive(role="r", worker=worker, pid=pid, host="h", since=0.0, at=0.0, concurrency=1)
    await store.put(keys.alive("r", worker), to_json(asdict(alive)), ttl=3 * RENEW)


@asynccontextmanager
async def kept(farewells: Farewells) -> AsyncIterator[Seat]:
    """Who keeps a process that has said its name."""
    spec = Spec("r", command=[sys.executable, "-c", NAMED])
    supervisor = Supervisor([spec], SystemClock(), grace=10.0)
    supervisor.died = farewells.died
    run = asyncio.create_task(supervisor.run())
    try:
        await supervisor.ready(20)
        yield supervisor.seats()[0]
    finally:
        supervisor.stop()
        supervisor.stop()
        await run
        await farewells.close()


async def test_one_that_was_killed_is_gone_within_a_second_and_its_successor_stays(
    connect: Connect,
) -> None:
    """Without that it would be there for three renewals."""
    store = await connect()
    async with kept(Farewells(store, SystemClock())) as keeper:
        pid, name = keeper.info.pid, keeper.said.worker
        assert pid is not None
        await show(store, name, pid)
        await show(store, "w-another", pid)  # of another machine that has the same pid and host
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()

        async def gone() -> bool:
            return name not in {one.worker for one in await present(store, "r")}

        await until(gone)
        assert time.monotonic() - killed < 1.0
        await until(lambda: keeper.said.worker not in {"", name})
        await show(store, keeper.said.worker, 1)
        await asyncio.sleep(2 * LOOK)  # in which good-bye is said once more
        names = {one.worker for one in await present(store, "r")}
        assert names == {"w-another", keeper.said.worker}


async def test_one_that_ended_in_good_order_is_left_to_itself(connect: Connect) -> None:
    """It has said good-bye, and nobody waits for another to do so."""
    store = await connect()
    async with kept(Farewells(store, SystemClock())) as keeper:
        name = keeper.said.worker
        await show(store, name, 1)
        keeper.stop()
        await until(lambda: keeper.info.state is State.ENDED)
        assert keeper.info.exit_code == 0
    assert [one.worker for one in await present(store, "r")] == [name]


class Scene:
    """A store by the clock, and who says good-bye there."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock)
        self.store = MemoryKeyValue(self.broker.store)
        self.farewells = Farewells(self.store, self.clock)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Without anybody."""
    made = Scene()
    yield made
    await made.farewells.close()


async def test_what_it_wrote_last_is_taken_away_when_it_comes_late(scene: Scene) -> None:
    """It was on its way when the process died."""
    scene.farewells.died("r", Said("", "w"))
    await scene.clock.advance(0)
    await show(scene.store, "w", 1)
    await scene.clock.advance(LOOK)
    assert await present(scene.store) == []


async def test_a_store_that_is_away_is_tried_again(scene: Scene) -> None:
    await show(scene.store, "w", 1)
    scene.broker.outage()
    scene.farewells.died("r", Said("", "w"))
    await scene.clock.advance(5.0)
    scene.broker.restore()
    await scene.clock.advance(LOOK)
    assert await present(scene.store) == []


async def test_one_that_was_never_ready_has_shown_nothing(scene: Scene) -> None:
    await show(scene.store, "w", 1)
    scene.farewells.died("r", Said("", ""))
    await scene.clock.advance(LOOK)
    assert len(await present(scene.store)) == 1
