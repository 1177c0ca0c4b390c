"""Promise 14 by the clock's hand: workers that die are counted, and only they are."""

import asyncio
from typing import Any

import pytest

from bus.backend import NORMAL
from bus.backends.memory import MemoryBackend
from contracts.outcomes import Reason
from contracts.results import Status
from tests.engine.fleets import DRAIN, LEASE, ManualFleet, Member, made
from workers.sdk.context import Context


class Deadly:
    """A handler that ends its worker, without a word, whenever it is told to kill."""

    def __init__(self, fleet: ManualFleet) -> None:
        self.fleet = fleet
        self.starts: dict[str, list[int]] = {}
        self.member: Member | None = None
        self.seconds = 0.0

    async def __call__(self, payload: Any, ctx: Context) -> int:
        self.starts.setdefault(str(payload), []).append(ctx.attempt)
        if payload == "kill" and self.member is not None:
            await self.member.crash()
            await asyncio.Event().wait()
        if payload == "beside":
            await asyncio.Event().wait()
        await self.fleet.clock.sleep(self.seconds)
        return ctx.attempt

    async def restart(self, *, drain: float = DRAIN, **options: Any) -> Member:
        """The next worker; the one before is dead."""

        async def handler(payload: Any, ctx: Context) -> int:
            return await self(payload, ctx)

        self.member = await self.fleet.start(made(handler, **options), drain=drain)
        return self.member

    async def die(self, times: int) -> None:
        """Return when the killer was started so often."""
        await self.fleet.until(lambda: len(self.starts.get("kill", ())) == times, 3 * LEASE)


@pytest.mark.promise(14)
async def test_a_killer_is_started_as_often_as_it_has_attempts(fleet: ManualFleet) -> None:
    deadly = Deadly(fleet)
    task = await _bound(fleet, deadly, attempts=3)
    for starts in (1, 2, 3):
        await deadly.die(starts)
        await deadly.restart(attempts=3)
    end = await fleet.within(task.outcome(), 3 * LEASE)
    assert (end.status, end.reason, end.attempt) == (Status.FAILED, Reason.CRASH, 3)
    assert deadly.starts == {"kill": [1, 2, 3]}
    (letter,) = await fleet.dead()
    assert (letter.reason, letter.attempts, letter.copy) == (Reason.CRASH, 3, 2)


async def _bound(fleet: ManualFleet, deadly: Deadly, **options: Any) -> Any:
    await deadly.restart(**options)
    return await fleet.client.publish("work.a", "kill")


@pytest.mark.promise(14)
async def test_with_one_attempt_what_merely_waited_loses_nothing(fleet: ManualFleet) -> None:
    """Those that ran beside the killer are lost; those that waited in its worker are not."""
    deadly = Deadly(fleet)
    deadly.seconds = 1.0
    await deadly.restart(attempts=1, concurrency=2)
    tasks = await fleet.client.publish_many([("work.a", n) for n in ("beside", "kill", "a", "b")])
    await deadly.die(1)
    await deadly.restart(attempts=1, concurrency=2)
    ends = [await fleet.within(task.outcome(), 4 * LEASE) for task in tasks]
    reasons = [end.reason for end in ends]
    assert reasons == [Reason.CRASH, Reason.CRASH, None, None]
    assert deadly.starts == {"beside": [1], "kill": [1], "a": [1], "b": [1]}


@pytest.mark.promise(14)
async def test_a_last_attempt_that_was_taken_and_never_begun_is_run(fleet: ManualFleet) -> None:
    """Its worker died before the handler was called."""
    deadly = Deadly(fleet)
    await fleet.bus.bind("worker", ["work.#"])
    task = await fleet.client.publish("work.a", "kind")
    dying = MemoryBackend(fleet.broker)
    assert len(await fleet.within(dying.pull("worker", [NORMAL], limit=1, wait=0.0))) == 1
    fleet.broker.crash(dying)
    await deadly.restart(attempts=1)
    assert await fleet.within(task.result(), 3 * LEASE) == 1
    assert await fleet.dead() == []


@pytest.mark.promise(14)
async def test_a_worker_that_was_frozen_uses_up_an_attempt_and_no_more(fleet: ManualFleet) -> None:
    """Nobody can tell a frozen worker from a dead one."""
    deadly = Deadly(fleet)
    deadly.seconds = 4 * LEASE
    one = await deadly.restart(attempts=3, drain=600.0)  # of the event loop's clock
    task = await fleet.client.publish("work.a", "long")
    await fleet.until(lambda: one.worker.running == 1)
    one.cut_off()
    one.worker.stop()
    await deadly.restart(attempts=3)
    assert await fleet.within(task.result(), 9 * LEASE) == 2
    assert await fleet.dead() == []


@pytest.mark.promise(14)
async def test_a_graceful_stop_is_no_crash(fleet: ManualFleet) -> None:
    deadly = Deadly(fleet)
    deadly.seconds = LEASE
    one = await deadly.restart(attempts=1, drain=0.0)
    task = await fleet.client.publish("work.a", "long")
    await fleet.until(lambda: one.worker.running == 1)
    await fleet.stopped(one)
    await deadly.restart(attempts=1)
    assert await fleet.within(task.result(), 3 * LEASE) == 1
    assert deadly.starts == {"long": [1, 1]}
