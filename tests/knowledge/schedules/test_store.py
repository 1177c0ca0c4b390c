"""Schedules in PostgreSQL: kept, changed, and claimed by one at a time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from knowledge.database.database import Database
from knowledge.database.errors import DatabaseError
from knowledge.schedules.rows import Moved, PutOff, Schedule
from knowledge.schedules.store import Schedules
from knowledge.schedules.ticks import Misfire, Timing

NOW = 1_768_478_400.0
MINUTELY = Timing("* * * * *", None, "UTC")

pytestmark = pytest.mark.postgres


@pytest.fixture
def schedules(database: Database) -> Schedules:
    """None yet."""
    return Schedules(database)


def _made(name: str = "a", *, due: float = NOW, timing: Timing = MINUTELY) -> Schedule:
    return Schedule(
        name=name,
        topic="report.daily",
        payload='{"who":"Ada \\u0000"}',
        timing=timing,
        tenant="acme",
        priority="low",
        deadline=60.0,
        budget=5,
        made=NOW - 1,
        next=due,
    )


async def _names(schedules: Schedules, now: float = NOW) -> list[str]:
    async with schedules.claim(now, limit=10) as claim:
        return [schedule.name for schedule in claim.schedules]


async def test_what_was_added_is_found_as_it_was(schedules: Schedules) -> None:
    assert await schedules.add(_made())
    found = await schedules.get("a")
    assert found is not None
    assert found.due == NOW
    assert found == Schedule(**{**{n: getattr(_made(), n) for n in Schedule.__slots__}, "due": NOW})
    assert await schedules.get("b") is None


async def test_a_name_is_taken_once_and_may_be_changed(schedules: Schedules) -> None:
    assert await schedules.add(_made())
    await schedules.pause("a")
    assert not await schedules.add(_made(due=NOW + 5))
    assert await schedules.add(_made(due=NOW + 7), replace=True)
    found = await schedules.get("a")
    assert found is not None
    assert (found.next, found.paused) == (NOW + 7, True)


async def test_they_are_listed_by_tenant_and_name(schedules: Schedules) -> None:
    for name in ("b", "a"):
        await schedules.add(_made(name))
    assert [one.name for one in await schedules.all()] == ["a", "b"]
    assert [one.name for one in await schedules.all("acme")] == ["a", "b"]
    assert await schedules.all("other") == []


async def test_only_what_is_due_is_claimed(schedules: Schedules) -> None:
    await schedules.add(_made("a"))
    await schedules.add(_made("b", due=NOW + 1))
    await schedules.add(_made("c"))
    await schedules.pause("c")
    assert await _names(schedules) == ["a"]
    assert await schedules.due() == NOW
    assert await _names(schedules, NOW + 1) == ["a", "b"]


async def test_what_one_has_claimed_nobody_else_gets(schedules: Schedules) -> None:
    await schedules.add(_made("a"))
    async with schedules.claim(NOW, limit=10) as mine:
        assert len(mine.schedules) == 1
        assert await _names(schedules) == []
        assert await schedules.due() == NOW
        await mine.settle([Moved("a", NOW + 60, NOW, 1)])
    assert await _names(schedules) == []
    found = await schedules.get("a")
    assert found is not None
    assert (found.next, found.last, found.fired) == (NOW + 60, NOW, 1)


async def test_a_claim_that_fails_leaves_them_as_they_were(schedules: Schedules) -> None:
    await schedules.add(_made("a"))

    async def fail() -> None:
        async with schedules.claim(NOW, limit=10) as claim:
            await claim.settle([Moved("a", NOW + 60, NOW, 1)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await _names(schedules) == ["a"]


async def test_what_was_put_off_keeps_its_tick_and_comes_again(schedules: Schedules) -> None:
    await schedules.add(_made("a"))
    async with schedules.claim(NOW, limit=10) as claim:
        await claim.settle([PutOff("a", NOW + 5, "nobody listens")])
    assert await _names(schedules, NOW + 4) == []
    assert await _names(schedules, NOW + 5) == ["a"]
    found = await schedules.get("a")
    assert found is not None
    assert (found.next, found.error) == (NOW, "nobody listens")
    async with schedules.claim(NOW + 5, limit=10) as claim:
        await claim.settle([Moved("a", NOW + 60, NOW, 1)])
    found = await schedules.get("a")
    assert found is not None
    assert found.error is None


async def test_what_has_ended_is_never_due(schedules: Schedules) -> None:
    await schedules.add(_made("a", timing=Timing(None, NOW, "UTC")))
    async with schedules.claim(NOW, limit=10) as claim:
        await claim.settle([Moved("a", None, NOW, 1)])
    assert await schedules.due() is None
    assert await _names(schedules, NOW * 2) == []


@pytest.mark.parametrize("change", ["pause", "remove"])
async def test_what_is_paused_or_removed_waits_for_a_claim_under_way(
    schedules: Schedules, change: str
) -> None:
    """When it returns, nothing more is published."""
    await schedules.add(_made("a"))
    act: Callable[[str], Awaitable[bool]] = getattr(schedules, change)
    async with schedules.claim(NOW, limit=10) as claim:
        changing = asyncio.ensure_future(act("a"))
        done, _ = await asyncio.wait([changing], timeout=0.2)
        assert not done
        await claim.settle([Moved("a", NOW + 60, NOW, 1)])
    assert await changing is True
    assert await _names(schedules, NOW + 3600) == []
    assert await act("nobody") is False


async def test_resumed_it_leaves_out_what_has_passed(schedules: Schedules) -> None:
    await schedules.add(_made("a"))
    await schedules.add(_made("once", timing=Timing(None, NOW, "UTC")))
    for name in ("a", "once"):
        await schedules.pause(name)
    found = await schedules.resume("a", NOW + 90)
    assert found is not None
    assert (found.paused, found.next) == (False, NOW + 120)
    once = await schedules.resume("once", NOW + 90)
    assert once is not None
    assert (once.next, once.misfire) == (NOW, Misfire.ONCE)
    assert await schedules.resume("nobody", NOW) is None


async def test_one_that_is_not_paused_is_not_moved_by_resume(schedules: Schedules) -> None:
    await schedules.add(_made("a"))
    found = await schedules.resume("a", NOW + 90)
    assert found is not None
    assert found.next == NOW


async def test_a_claimer_that_stands_still_loses_its_claim(
    schedules: Schedules, history_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "knowledge.schedules.store._IDLE",
        "SET LOCAL idle_in_transaction_session_timeout = '200ms'",
    )
    await schedules.add(_made("a"))
    other = Schedules(await Database.open(history_url))

    async def stand_still() -> None:
        async with schedules.claim(NOW, limit=10) as claim:
            while True:
                if await _names(other):
                    break
                await asyncio.sleep(0.02)
            await claim.settle([Moved("a", NOW + 60, NOW, 1)])

    with pytest.raises(DatabaseError):
        await asyncio.wait_for(stand_still(), 30.0)
    assert await _names(other) == ["a"]
    await other.close()
