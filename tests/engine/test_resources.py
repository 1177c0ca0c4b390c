"""Resources: opened once per worker process before it is ready, closed after its drain."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import pytest
import structlog

from bus.backends.memory import MemoryBackend
from bus.bus import Bus
from bus.keyvalue.memory import MemoryKeyValue
from contracts.results import Status
from tests.engine.fleets import LiveFleet
from workers import Context, resource, role
from workers.engine import opening
from workers.engine.host import Host
from workers.engine.identity import Identity
from workers.engine.opening import Resources
from workers.sdk.discovery import discover
from workers.sdk.errors import ResourceFailed
from workers.sdk.resources import Resource
from workers.sdk.role import MARK
from workers.testing import MemoryFleet

ROLES = discover([Path(__file__).with_name("giving.py")])


@pytest.fixture(autouse=True)
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where openings and closings are noted."""
    monkeypatch.setenv("GIVING_SAYS", str(tmp_path / "said.txt"))
    return tmp_path / "said.txt"


def lines(said: Path, pid: str = "") -> list[str]:
    """What was noted, by one process or all, without the process."""
    found = said.read_text().splitlines() if said.exists() else []
    return [line.rpartition(" ")[0] for line in found if line.endswith(pid)]


async def value(fleet: LiveFleet, topic: str) -> Any:
    """The result of a task."""
    return await (await fleet.client.publish(topic, "x")).result(20.0)


async def test_the_roles_of_a_process_share_what_was_opened_once(said: Path) -> None:
    fleet = LiveFleet(2.0)
    async with fleet.running(ROLES["asks"], ROLES["plainly"]):
        assert lines(said) == ["open pool", "open session"], "before it is ready"
        found = [await value(fleet, "asks.a") for _ in range(3)]
        assert [each["used"] for each in found] == [1, 2, 3]
        assert (await value(fleet, "plainly.a"))["used"] == 3
    assert lines(said) == ["open pool", "open session", "close session", "close pool"]


async def test_what_nobody_asks_for_is_not_opened(said: Path) -> None:
    fleet = LiveFleet(2.0)
    async with fleet.running(ROLES["asks"]):
        assert lines(said) == ["open pool"]


async def test_it_is_closed_after_the_drain(said: Path) -> None:
    """What runs to its end at a stop has its resources until then."""
    begun = asyncio.Event()

    @resource
    async def thing() -> AsyncIterator[list[str]]:
        opened = ["open"]
        yield opened
        opened.clear()

    @role("slow", listens="slow.#")
    async def slow(payload: str, ctx: Context, t: Annotated[list[str], thing]) -> list[str]:
        begun.set()
        await asyncio.sleep(0.3)
        return list(t)

    fleet = LiveFleet(2.0)
    ended: Any = None
    async with fleet.running(getattr(slow, MARK)):
        task = await fleet.client.publish("slow.a", "x")
        await begun.wait()
        ended = asyncio.create_task(task.result(10.0))
    assert await ended == ["open"]


async def test_a_child_process_opens_its_own(said: Path) -> None:
    """And closes them when its task is done. Its worker opens them too: suspects aside, it may
    run other roles."""
    fleet = LiveFleet(2.0)
    async with fleet.running(ROLES["apart-asks"]):
        found = await value(fleet, "apart.a")
    assert found["pid"] == found["here"] != os.getpid()
    assert lines(said, str(found["here"])) == [
        "open pool",
        "open session",
        "close session",
        "close pool",
    ]


async def test_one_that_cannot_be_opened_ends_the_worker_with_its_name_and_place(
    said: Path,
) -> None:
    """It was never ready, and what was opened before is closed."""
    fleet = LiveFleet(2.0)
    bus = Bus(MemoryBackend(fleet.broker), MemoryKeyValue(fleet.broker.store), clock=fleet.clock)
    who = Identity.of_this_process()
    roles = [ROLES["hopeless"]]
    host = Host(roles, bus, who, fleet.clock, lease=2.0, drain=1.0, extender=fleet.extender)
    with pytest.raises(ResourceFailed, match="'broken' cannot be opened") as caught:
        await host.run()
    assert "giving.py:" in caught.value.details
    assert "ConnectionError: nobody answers at db:5432" in caught.value.details
    assert host.unbound() == ["hopeless"]
    assert lines(said) == ["open pool", "close pool"]
    await bus.close()
    await fleet.client.close()


async def test_one_that_cannot_be_opened_in_a_child_costs_an_attempt_and_says_why() -> None:
    fleet = LiveFleet(2.0)
    role_ = replace(ROLES["apart-hopeless"], resources=MappingProxyType({}))
    async with fleet.running(role_):
        end = await (await fleet.client.publish("ah.a", "x")).outcome(20.0)
    assert (end.status, end.attempt) == (Status.FAILED, 1)
    assert "nobody answers at db:5432" in end.error


async def test_one_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "WITHIN", 0.05)

    @resource
    async def hangs() -> AsyncIterator[int]:
        await asyncio.sleep(60)
        yield 1

    @role("waits")
    async def waits(payload: str, ctx: Context, n: Annotated[int, hangs]) -> None: ...

    with pytest.raises(ResourceFailed, match="'hangs'") as caught:
        await Resources().open([getattr(waits, MARK)])
    assert "it took longer than 0.05 s" in caught.value.details


async def test_one_that_cannot_be_closed_keeps_no_other_open() -> None:
    closed: list[str] = []

    @resource
    async def good() -> AsyncIterator[int]:
        yield 1
        closed.append("good")

    @resource
    async def bad(n: Annotated[int, good]) -> AsyncIterator[int]:
        yield n
        raise RuntimeError("stuck")

    @role("both")
    async def both(payload: str, ctx: Context, n: Annotated[int, bad]) -> None: ...

    resources = Resources()
    await resources.open([getattr(both, MARK)])
    assert resources.of(getattr(both, MARK)) == {"n": 1}
    with structlog.testing.capture_logs() as logged:
        await resources.close()
    assert closed == ["good"]
    assert [line["event"] for line in logged] == ["could not close a resource"]


async def test_a_test_gives_something_else_instead(said: Path) -> None:
    """Nothing is opened or closed for it."""
    stand_in: dict[str, int] = {"pid": 7}
    pool: Resource[Any] = ROLES["asks"].resources["db"]
    async with MemoryFleet(ROLES["asks"], resources={pool: stand_in}) as fleet:
        task = await fleet.publish("asks.a", "x")
        assert (await fleet.result(task))["pid"] == 7
    assert stand_in == {"pid": 7, "used": 1}
    assert lines(said) == []


async def test_a_fleet_in_memory_opens_and_closes_what_nothing_stands_in_for(said: Path) -> None:
    async with MemoryFleet(ROLES["plainly"]) as fleet:
        task = await fleet.publish("plainly.a", "x")
        assert (await fleet.result(task))["here"] == os.getpid()
        await fleet.crash_worker("plainly")
        task = await fleet.publish("plainly.a", "x")
        assert (await fleet.result(task))["here"] == os.getpid()
    assert lines(said)[-2:] == ["close session", "close pool"]
    with pytest.raises(ResourceFailed):
        async with MemoryFleet(ROLES["hopeless"]):
            pass


async def test_a_stop_does_not_wait_for_what_does_not_open(said: Path) -> None:
    """A database that hangs does not keep a worker from ending; what was open is closed."""
    opening_ = asyncio.Event()

    @resource
    async def hangs() -> AsyncIterator[int]:
        opening_.set()
        await asyncio.sleep(60)
        yield 1

    db = ROLES["asks"].resources["db"]

    @role("waits")
    async def waits(
        payload: str, ctx: Context, d: Annotated[Any, db], n: Annotated[int, hangs]
    ) -> None: ...

    fleet = LiveFleet(2.0)
    bus = Bus(MemoryBackend(fleet.broker), MemoryKeyValue(fleet.broker.store), clock=fleet.clock)
    who, roles = Identity.of_this_process(), [getattr(waits, MARK)]
    host = Host(roles, bus, who, fleet.clock, lease=2.0, drain=1.0, extender=fleet.extender)
    running = asyncio.create_task(host.run())
    async with asyncio.timeout(5.0):
        await opening_.wait()
        host.stop()
        await running
    assert host.unbound() == ["waits"]
    assert lines(said) == ["open pool", "close pool"]
    await bus.close()
    await fleet.client.close()
