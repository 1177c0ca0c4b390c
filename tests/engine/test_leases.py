"""A run and its lease: kept as long as it runs; lost means ended, without a result."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from bus.backend import Delivery
from bus.errors import Unreachable
from contracts.clock import ManualClock
from tests.bus.rooms import delivery, envelope
from tests.engine.fleets import LEASE, LiveFleet, ManualFleet, made
from workers.engine.keeper import RENEWALS, Keeper, KeeperThread
from workers.sdk.context import Context


class Gate:
    """A handler that runs until it is let go, and says what became of it."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.open = asyncio.Event()
        self.ended = asyncio.Event()
        self.contexts: list[Context] = []

    async def __call__(self, ctx: Context) -> int:
        self.runs += 1
        self.contexts.append(ctx)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            self.ended.set()
            raise
        return self.runs


def gated(gate: Gate, **options: Any) -> Any:
    """A role of this handler."""

    async def handler(payload: Any, ctx: Context) -> int:
        return await gate(ctx)

    return made(handler, **options)


@pytest.mark.promise(13)
async def test_a_run_of_many_leases_is_run_once(fleet: ManualFleet) -> None:
    """13: renewed as long as it runs, though others would take it at once."""
    gate = Gate()
    await fleet.start(gated(gate))
    await fleet.start(gated(gate))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    await fleet.clock.advance(10 * LEASE)
    gate.open.set()
    assert (await fleet.within(task.outcome())).value == 1
    assert sum(m.worker.counts.lost for m in fleet.members) == 0


@pytest.mark.promise(13)
async def test_a_run_of_two_hours_is_run_once(fleet: ManualFleet) -> None:
    """13: 720 leases, as many chances to lose it, and another worker that waits for one."""
    gate = Gate()
    await fleet.start(gated(gate, timeout=3 * 3600.0))
    await fleet.start(gated(gate, timeout=3 * 3600.0))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: gate.runs == 1)
    for _ in range(7200):
        await fleet.clock.advance(1.0)
    gate.open.set()
    assert (await fleet.within(task.outcome())).value == 1
    assert sum(m.worker.counts.lost for m in fleet.members) == 0


@pytest.mark.promise(13)
async def test_what_waits_in_a_worker_is_renewed_too(fleet: ManualFleet) -> None:
    """Read ahead, then held up by one long run."""
    gate = Gate()
    fast = True

    async def handler(payload: Any, ctx: Context) -> Any:
        return None if fast else await gate(ctx)

    member = await fleet.start(made(handler, concurrency=1))
    warm = await fleet.client.publish_many([("work.a", n) for n in range(20)])
    for task in warm:
        await fleet.within(task.outcome())
    fast = False
    tasks = await fleet.client.publish_many([("work.a", n) for n in range(60)])
    await fleet.until(lambda: gate.runs == 1)
    await fleet.clock.advance(3 * LEASE)
    held = len(member.worker._queue)
    assert held > 10
    assert len(await fleet.deliveries()) == 59 - held
    gate.open.set()
    await fleet.within(tasks[0].outcome())
    assert member.worker.counts.lost == 0


@pytest.mark.promise(15)
async def test_a_lost_lease_ends_the_run_and_its_result_is_not_accepted(
    fleet: ManualFleet,
) -> None:
    """15: the first one was cut off from the broker; a second one took over."""
    first, second = Gate(), Gate()
    one = await fleet.start(gated(first, concurrency=1))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: first.runs == 1)

    async def no_answer(*_: Any, **__: Any) -> list[Delivery]:
        raise Unreachable("cut off")

    one.backend.extend = one.backend.pull = no_answer  # type: ignore[method-assign]
    await fleet.start(gated(second))
    await fleet.until(lambda: second.runs == 1, 2 * LEASE)
    await fleet.until(lambda: first.cancelled == 1, LEASE)
    assert first.contexts[0].cancelled
    assert (one.worker.running, one.worker.counts.lost) == (0, 1)
    assert await fleet.bus.outcomes.get(fleet.client._reply, task.id) is None
    second.open.set()
    assert await fleet.within(task.result()) == 1
    assert await fleet.deliveries() == []


@pytest.mark.promise(15)
async def test_a_run_that_outlives_its_lease_unnoticed_is_not_accepted(
    fleet: ManualFleet,
) -> None:
    """15: frozen for longer than the lease, it ends before its keeper looks again."""
    first, second = Gate(), Gate()
    one = await fleet.start(gated(first, concurrency=1))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: first.runs == 1)
    one.cut_off()
    await fleet.start(gated(second))
    await fleet.until(lambda: second.runs == 1, 2 * LEASE)
    first.open.set()
    await fleet.until(lambda: one.worker.counts.lost == 1)
    assert await fleet.bus.outcomes.get(fleet.client._reply, task.id) is None
    assert await fleet.dead() == []
    second.open.set()
    await fleet.within(task.result())


@pytest.mark.promise(15)
async def test_a_handler_that_ignores_its_end_is_not_accepted_either(fleet: ManualFleet) -> None:
    """15: it goes on after the cancellation and returns a result."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def stubborn(payload: Any, ctx: Context) -> str:
        began.set()
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            await go_on.wait()
        return "stale"

    one = await fleet.start(made(stubborn, concurrency=1))
    task = await fleet.client.publish("work.a", None)
    await fleet.within(began.wait())
    (held,) = [run.delivery for run in one.worker._runs.values()]
    one.worker.lose(held)
    await fleet.clock.advance(0.1)
    go_on.set()
    await fleet.until(lambda: one.worker.counts.lost == 1)
    assert await fleet.bus.outcomes.get(fleet.client._reply, task.id) is None
    assert await fleet.within(task.result()) == "stale"
    assert one.worker.running == 0


@pytest.mark.promise(15)
async def test_what_is_lost_while_it_waits_here_is_never_started(fleet: ManualFleet) -> None:
    gate = Gate()
    member = await fleet.start(gated(gate, concurrency=1))
    await fleet.client.publish("work.a", 1)
    await fleet.until(lambda: gate.runs == 1)
    queued = delivery(envelope("queued"), group="worker")
    member.worker._queue.append(queued)
    member.worker.lose(queued)
    assert member.worker.counts.lost == 1
    gate.open.set()
    await fleet.until(lambda: member.worker.counts.succeeded == 1)
    assert gate.runs == 1


async def test_a_delivery_lost_before_its_run_takes_its_first_step_gives_its_place_back(
    fleet: ManualFleet,
) -> None:
    """A task cancelled before its first step does not even clean up."""
    gate = Gate()
    gate.open.set()
    member = await fleet.start(gated(gate, concurrency=1))
    lost = delivery(envelope("lost"), group="worker")
    member.keeper.hold(lost)
    member.worker._queue.append(lost)
    member.worker._start()
    member.worker.lose(lost)
    await fleet.until(lambda: member.worker.running == 0)
    assert (gate.runs, member.worker.counts.lost) == (0, 1)
    assert not member.keeper.holds(lost)
    task = await fleet.client.publish("work.a", None)
    await fleet.within(task.outcome())


class Broker:
    """Extends what it is asked to, except what it was told is lost."""

    def __init__(self) -> None:
        self.asked: list[list[Delivery]] = []
        self.lost: list[Delivery] = []
        self.error: Exception | None = None
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self.asked.append(list(deliveries))
        await self.hangs.wait()
        if self.error is not None:
            raise self.error
        return [d for d in deliveries if d in self.lost]

    async def close(self) -> None:
        return


class Keeping:
    """A keeper at work by the clock's hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = Broker()
        self.lost: list[Delivery] = []
        self.keeper = Keeper(8.0, self.clock, self.lost.append)
        self.task = asyncio.create_task(self.keeper.keep(self.broker))

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.fixture
async def keeping() -> Any:
    made_ = Keeping()
    yield made_
    await made_.end()


@pytest.mark.promise(13)
async def test_a_lease_is_renewed_several_times_within_its_length(keeping: Keeping) -> None:
    """All that are held, in one call."""
    held = [delivery(), delivery()]
    for each in held:
        keeping.keeper.hold(each)
    await keeping.clock.advance(8.0)
    assert keeping.broker.asked == [held] * RENEWALS
    assert all(keeping.keeper.holds(each) for each in held)


async def test_what_is_released_is_renewed_no_more(keeping: Keeping) -> None:
    held = delivery()
    keeping.keeper.hold(held)
    keeping.keeper.release(held)
    keeping.keeper.release(held)
    await keeping.clock.advance(20.0)
    assert (keeping.broker.asked, keeping.lost) == ([], [])
    assert not keeping.keeper.holds(held)


@pytest.mark.promise(15)
async def test_what_the_broker_calls_lost_is_lost_once(keeping: Keeping) -> None:
    gone, stays = delivery(), delivery()
    keeping.keeper.hold(gone)
    keeping.keeper.hold(stays)
    keeping.broker.lost.append(gone)
    await keeping.clock.advance(20.0)
    assert keeping.lost == [gone]
    assert not keeping.keeper.holds(gone)


@pytest.mark.promise(15)
@pytest.mark.parametrize("error", [Unreachable("away"), ValueError("a bug")])
async def test_without_a_confirmed_renewal_for_a_lease_it_is_lost(
    keeping: Keeping, error: Exception
) -> None:
    """15: and the keeper goes on, whatever the error was."""
    held = delivery()
    keeping.keeper.hold(held)
    keeping.broker.error = error
    await keeping.clock.advance(7.9)
    assert keeping.lost == []
    await keeping.clock.advance(0.2)
    assert keeping.lost == [held]
    keeping.broker.error = None
    later = delivery()
    keeping.keeper.hold(later)
    await keeping.clock.advance(20.0)
    assert keeping.keeper.holds(later)


@pytest.mark.promise(15)
async def test_a_renewal_that_hangs_does_not_hide_that_the_lease_is_over(
    keeping: Keeping,
) -> None:
    held = delivery()
    keeping.keeper.hold(held)
    keeping.broker.hangs.clear()
    await keeping.clock.advance(10.0)
    assert keeping.lost == [held]
    assert len(keeping.broker.asked) == 1


@pytest.mark.promise(15)
async def test_the_larger_of_the_two_clocks_decides() -> None:
    """15: the monotonic one may stand still while a machine sleeps, the wall one may be set."""

    class Asleep(ManualClock):
        slept = 0.0

        def wall(self) -> float:
            return super().wall() + self.slept

    clock = Asleep()
    lost: list[Delivery] = []
    keeper, held, broker = Keeper(8.0, clock, lost.append), delivery(), Broker()
    keeper.hold(held)
    clock.slept = 9.0
    assert not keeper.holds(held)
    await keeper.renew(broker)
    assert (lost, broker.asked) == ([held], [])


@pytest.mark.promise(13)
async def test_a_handler_that_blocks_the_event_loop_keeps_its_lease() -> None:
    """13: the keeper has a thread of its own."""
    fleet = LiveFleet(lease=0.4)
    runs = 0

    async def blocking(payload: Any, ctx: Context) -> int:
        nonlocal runs
        runs += 1
        time.sleep(1.2)  # noqa: ASYNC251 - the mistake a role author makes
        return runs

    async with fleet.running(made(blocking)) as host:
        task = await fleet.client.publish("work.a", None)
        assert await task.result(10.0) == 1
        assert host.worker("worker").counts.lost == 0


@pytest.mark.promise(15)
async def test_a_lease_lost_in_the_keepers_thread_ends_the_run_in_its_loop() -> None:
    """15: told across threads."""
    fleet = LiveFleet(lease=0.4)
    gate = Gate()

    class CutOff(Broker):
        async def extend(self, *_: object) -> list[Delivery]:
            raise Unreachable("cut off")

    async def connect() -> CutOff:
        return CutOff()

    async with fleet.running(gated(gate, concurrency=1), extender=connect) as host:
        await fleet.client.publish("work.a", None)
        await asyncio.wait_for(gate.ended.wait(), 10.0)
        assert host.worker("worker").counts.lost >= 1
        gate.open.set()


async def test_a_keeper_that_cannot_connect_says_so() -> None:
    async def refused() -> Broker:
        raise Unreachable("refused")

    thread = KeeperThread(Keeper(8.0, ManualClock(), lambda _: None), refused)
    with pytest.raises(Unreachable, match="refused"):
        await thread.start()
    await thread.stop()
