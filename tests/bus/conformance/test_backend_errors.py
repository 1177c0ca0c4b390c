"""Only `bus.errors` leave, and a closed backend says so."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from bus.backend import Backend, Delivery
from bus.errors import Closed, Unreachable
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import ORDER, SOON, bound, ids, persist, take, task, tasks

Call = Callable[[], Awaitable[object]]


def every_call(backend: Backend, held: Sequence[Delivery]) -> dict[str, Call]:
    """Each method but `close`, with arguments that are right."""
    return {
        "bind": lambda: backend.bind("other", ["work.a"]),
        "unbind": lambda: backend.unbind("other"),
        "publish": lambda: backend.publish([task("b")]),
        "pull": lambda: backend.pull("g", ORDER, limit=1, wait=0.2),
        "settle": lambda: backend.settle(held, then=[task("c", group="g")]),
        "extend": lambda: backend.extend(held),
        "lag": lambda: backend.lag("g"),
    }


async def test_every_call_on_a_closed_backend_raises_closed(world: World) -> None:
    """And closing it again does nothing."""
    backend = await bound(world)
    await backend.publish([task("a")])
    held = await take(world, backend, 1)
    await backend.close()
    await backend.close()
    for name, call in every_call(backend, held).items():
        try:
            await call()
        except Closed:
            continue
        pytest.fail(f"{name} did not raise Closed")


async def test_closing_ends_a_waiting_pull(world: World) -> None:
    """It does not wait for its time to be over."""
    backend = await bound(world)
    pull = asyncio.create_task(backend.pull("g", ORDER, limit=1, wait=60.0))
    await world.pass_time(0.1)
    await backend.close()

    async def ended() -> None:
        with pytest.raises(Closed):
            await pull

    await world.within(1.0, ended())


@pytest.mark.promise(16)
async def test_every_call_without_a_broker_raises_unreachable(mortal: World) -> None:
    """Within seconds, for each method; and afterwards all is as it was."""
    backend = await bound(mortal)
    await backend.publish(tasks(3))
    await take(mortal, backend, 1)
    await mortal.stop_broker(kill=True)
    calls = every_call(backend, [])
    results = await mortal.within(7.0, _outcomes(calls))
    await mortal.start_broker()
    assert results == dict.fromkeys(calls, Unreachable.__name__)
    again = await mortal.backend()
    found = await mortal.within(
        SOON + mortal.lease, persist(mortal, lambda: take(mortal, again, 3, seconds=SOON))
    )
    assert ids(found)[:3] == ["t0", "t1", "t2"]


async def _outcomes(calls: dict[str, Call]) -> dict[str, str]:
    async def outcome(call: Call) -> str:
        try:
            return f"no error, but {await call()!r}"
        except Exception as error:  # noqa: BLE001 - the test is about which one it is
            return type(error).__name__

    return dict(zip(calls, await asyncio.gather(*map(outcome, calls.values())), strict=True))
