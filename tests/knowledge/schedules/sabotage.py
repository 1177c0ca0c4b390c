"""Schedules and schedulers that are broken on purpose, each with the tests that must fail of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from cronsim import CronSim
from typing_extensions import override

from bus.bus import Bus
from contracts.deeds import Deed
from contracts.envelope import Envelope
from contracts.ids import new_id
from knowledge.database.statements import statement
from knowledge.schedules import ticks
from knowledge.schedules.rows import Moved, PutOff, Schedule
from knowledge.schedules.store import Claim, Schedules, _schedule
from knowledge.schedules.ticks import Misfire, Plan, Timing
from tests.bus.sabotage.registry import OTHER
from tests.bus.sabotage.registry import breaks as breaks_promise
from workers.fleet import scheduler
from workers.fleet.scheduler import Scheduler

breaks = partial(breaks_promise, OTHER)
_sql = partial(statement, "knowledge.schedules")
_plan, _task = ticks.plan, scheduler._task

EACH = "test_each_tick_is_one_task_with_all_that_was_said"
SEVERAL = "test_several_schedulers_publish_each_tick_once"
UNWRITTEN = "test_one_that_cannot_write_down_what_it_did_doubles_nothing"
LEFT_OUT = "test_a_time_that_is_left_out_comes_right_after_once"
TWICE = "test_a_time_that_comes_twice_counts_once"
AGAIN = "test_looked_for_within_the_hour_that_comes_again_it_is_not_found_again"
MISSED = "test_what_was_missed_while_no_scheduler_ran"


@breaks(EACH, SEVERAL, UNWRITTEN, replaces=_task)
def keyless(schedule: Schedule, tick: float, now: float) -> Envelope:
    """Each publishing of a tick is a task of its own: its id is not made of schedule and tick."""
    return replace(_task(schedule, tick, now), id=new_id(now))


class _Unheld:
    """A bus that forgets for how long keys hold."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, tasks: Sequence[Envelope], **_: Any) -> frozenset[str]:
        """As the bus does, by the broker's window alone."""
        return await self._bus.publish(tasks)


@breaks("test_nor_does_one_that_takes_over_long_after_the_brokers_window")
class Forgetful(Scheduler):
    """A tick is known as published for as long as the broker's window, not for a day."""

    def __init__(self, bus: Bus, *more: Any) -> None:
        unheld: Any = _Unheld(bus)
        super().__init__(unheld, *more)


@breaks("test_what_one_had_claimed_that_died_of_publishing_is_fired_by_another")
class MovesFirst(Scheduler):
    """A schedule moves on before its task is published: who dies in between loses the tick."""

    @override
    async def _fire_due(self, schedules: Schedules, now: float) -> None:
        async with schedules.claim(now, limit=100) as claim:
            plans = [
                (one, _plan(one.timing, one.next or now, one.misfire, now))
                for one in claim.schedules
            ]
            await claim.settle([Moved(one.name, p.next, None, len(p.fire)) for one, p in plans])
        await self._bus.publish([_task(one, tick, now) for one, p in plans for tick in p.fire])


@breaks("test_a_topic_nobody_listens_to_is_tried_until_somebody_does")
class GivesUp(Scheduler):
    """A tick that the broker refuses is left out."""

    @override
    async def _fire(self, schedule: Schedule, now: float) -> Moved | PutOff:
        done = await super()._fire(schedule, now)
        if isinstance(done, PutOff):
            return Moved(schedule.name, schedule.timing.after(now), None, 0)
        return done


@breaks("test_what_is_added_is_seen_within_a_second")
class LooksSeldom(Scheduler):
    """It looks for new schedules every ten seconds."""

    @override
    async def _turn(self) -> float:
        wait = await super()._turn()
        return 10.0 if wait == scheduler.LOOK else wait


@breaks(
    EACH, SEVERAL, "test_what_is_in_time_fires_whatever_is_said_of_missed_ticks", replaces=_plan
)
def every_other(timing: Timing, tick: float, misfire: Misfire, now: float) -> Plan:
    """After each tick that is fired one is left out."""
    found = _plan(timing, tick, misfire, now)
    if not found.fire or found.next is None:
        return found
    return replace(found, next=timing.after(found.next))


@breaks(
    MISSED,
    "test_missed_ticks_are_skipped",
    "test_missed_ticks_are_all_made_up_for_in_parts",
    replaces=_plan,
)
def one_policy(timing: Timing, tick: float, misfire: Misfire, now: float) -> Plan:
    """Missed ticks become one task, whatever the schedule says."""
    return _plan(timing, tick, Misfire.ONCE, now)


@breaks(
    MISSED, "test_missed_ticks_become_one", "test_one_for_all_is_the_last_of_them", replaces=_plan
)
def oldest(timing: Timing, tick: float, misfire: Misfire, now: float) -> Plan:
    """Of missed ticks that become one, the first is fired instead of the last."""
    found = _plan(timing, tick, misfire, now)
    return replace(found, fire=(tick,)) if found.missed and misfire is Misfire.ONCE else found


@asynccontextmanager
async def _claimed(
    schedules: Schedules, now: float, limit: int, old: str, new: str
) -> AsyncIterator[Claim]:
    """A claim by a statement in which `old` is `new`."""
    text = _sql("claim")
    assert old in text
    async with schedules._database.transaction() as link:
        rows = await link.fetch(text.replace(old, new), now, limit)
        yield Claim([_schedule(row) for row in rows], link)


@breaks(
    "test_what_one_has_claimed_nobody_else_gets",
    "test_what_is_paused_or_removed_waits_for_a_claim_under_way",
)
class Shared(Schedules):
    """What one has claimed others claim too."""

    @override
    @asynccontextmanager
    async def claim(self, now: float, *, limit: int) -> AsyncIterator[Claim]:
        async with _claimed(self, now, limit, "FOR UPDATE SKIP LOCKED", "") as claim:
            yield claim


@breaks("test_only_what_is_due_is_claimed")
class Hasty(Schedules):
    """What is due within a second is claimed as well."""

    @override
    @asynccontextmanager
    async def claim(self, now: float, *, limit: int) -> AsyncIterator[Claim]:
        async with _claimed(self, now + 1, limit, "", "") as claim:
            yield claim


@breaks(
    "test_only_what_is_due_is_claimed",
    "test_one_that_is_paused_fires_nothing_until_it_is_resumed",
)
class Unpausing(Schedules):
    """One that is paused is claimed as any other."""

    @override
    @asynccontextmanager
    async def claim(self, now: float, *, limit: int) -> AsyncIterator[Claim]:
        async with _claimed(self, now, limit, "NOT paused AND", "") as claim:
            yield claim

    @override
    async def due(self) -> float | None:
        async with self._database.link() as link:
            found: float | None = await link.fetchval("SELECT min(due) FROM schedules")
        return found


@breaks(
    "test_resumed_it_leaves_out_what_has_passed",
    "test_one_that_is_paused_fires_nothing_until_it_is_resumed",
)
class ResumesWithThePast(Schedules):
    """One that is resumed makes up for what has passed while it was paused."""

    @override
    async def resume(self, name: str, now: float, deed: Deed | None = None) -> Schedule | None:
        found = await self.get(name)
        if found is None or not found.paused:
            return found
        async with self._database.transaction() as link:
            await link.execute(_sql("resume"), name, found.next)
        return await self.get(name)


@breaks("test_a_claim_that_fails_leaves_them_as_they_were")
class SettlesAtOnce(Claim):
    """What is settled holds at once, also where the claim fails afterwards."""

    @override
    async def settle(self, decided: Sequence[Moved | PutOff]) -> None:
        await super().settle(decided)
        await self._link.execute("COMMIT")
        await self._link.execute("BEGIN")


@breaks("test_what_was_put_off_keeps_its_tick_and_comes_again")
class PutsOffTheTick(Claim):
    """What is put off moves its tick as well: it is another task then."""

    @override
    async def settle(self, decided: Sequence[Moved | PutOff]) -> None:
        await super().settle(decided)
        for one in decided:
            if isinstance(one, PutOff):
                text = "UPDATE schedules SET next = due WHERE name = $1"
                await self._link.execute(text, one.name)


@breaks(LEFT_OUT, TWICE)
class Utc(Timing):
    """Every schedule goes by UTC, whatever its zone."""

    @override
    def after(self, moment: float) -> float | None:
        return Timing(self.cron, self.at, "UTC").after(moment)


@breaks(LEFT_OUT, TWICE)
class Fixed(Timing):
    """The distance from UTC is that of the last tick: a change of the clock is seen one late."""

    @override
    def after(self, moment: float) -> float | None:
        here = datetime.fromtimestamp(moment, ticks.zone_of(self.zone))
        away = timezone(here.utcoffset() or timedelta())
        if self.cron is None:
            return super().after(moment)
        return next(CronSim(self.cron, datetime.fromtimestamp(moment, away))).timestamp()


@breaks(TWICE, AGAIN)
class BothTimes(Timing):
    """What is due in an hour that comes twice fires twice."""

    @override
    def after(self, moment: float) -> float | None:
        first = super().after(moment)
        if first is None or self.cron is None:
            return first
        zone = ticks.zone_of(self.zone)
        for hours in (0, 1):
            tick = datetime.fromtimestamp(moment - 3600 * hours, zone)
            again = Timing.after(self, tick.timestamp() - 1)
            if again is not None:
                second = datetime.fromtimestamp(again, zone).replace(fold=1).timestamp()
                if moment < second < first:
                    return second
        return first
