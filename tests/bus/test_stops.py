"""What a mark stops, as a pure function, and how marks are set."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.deadletters import _again
from bus.keyvalue import keys
from bus.keyvalue.memory import MemoryKeyValue, MemoryStore
from bus.keyvalue.protocol import Entry
from bus.settling import from_message, plan
from bus.stops import LATEST_DUE, Kind, Mark, Stops, check_due, is_stopped, read
from contracts.clock import ManualClock
from contracts.envelope import REPLAYED, Envelope
from contracts.errors import InvalidValue
from contracts.outcomes import Cancelled, Retry, Snooze
from contracts.results import Status
from tests.bus.rooms import NOW, envelope, finished, letter, memory_bus

BY_NAME = [Kind.TASK]
BY_TIME = [Kind.ROLE, Kind.TENANT, Kind.SUBJECT, Kind.CALLS]


def task(**fields: Any) -> Envelope:
    """A task that a mark of every kind could mean."""
    given = {"tenant": "acme", "subjects": ("ada", "bob"), "reply": "parent", **fields}
    return envelope("t1", **given)


def marks(kind: Kind | None, at: float) -> dict[str, Mark]:
    """One mark that means `task()`, of all tasks for None."""
    names = {Kind.TASK: "t1", Kind.ROLE: "g", Kind.TENANT: "acme", Kind.SUBJECT: "bob"}
    key = keys.stop(kind, {**names, Kind.CALLS: "parent"}[kind]) if kind else keys.STOP_ALL
    return {key: Mark(at)}


@pytest.mark.promise(23)
@pytest.mark.parametrize("kind", [*BY_NAME, *BY_TIME, None])
def test_what_was_published_before_a_mark_is_stopped(kind: Kind | None) -> None:
    for at in (NOW, NOW + 1.0):
        assert is_stopped(task(), "g", marks(kind, at)) == Mark(at)


@pytest.mark.parametrize("kind", [*BY_TIME, None])
def test_what_is_published_after_a_mark_of_many_is_not(kind: Kind | None) -> None:
    assert is_stopped(task(), "g", marks(kind, NOW - 0.001)) is None


def test_the_mark_of_a_task_stops_its_id_whenever_it_was_published() -> None:
    """Its publisher's clock may be ahead of that of whoever cancels it."""
    assert is_stopped(task(), "g", marks(Kind.TASK, NOW - 3600.0)) is not None


@pytest.mark.promise(23)
@pytest.mark.parametrize("outcome", [Retry(after=5.0), Snooze(after=5.0)])
@pytest.mark.parametrize("kind", [*BY_NAME, *BY_TIME, None])
def test_what_comes_back_is_as_old_as_its_task(kind: Kind | None, outcome: Retry | Snooze) -> None:
    """A copy that a run made after the mark, of a task from before."""
    end = finished(outcome, task=task(), ended=NOW + 100.0)
    (message,) = plan(end, random.Random(1)).then
    again = from_message(message)
    assert again.copy == 1
    assert is_stopped(again, "g", marks(kind, NOW + 50.0)) is not None


@pytest.mark.parametrize("kind", [*BY_NAME, *BY_TIME, None])
def test_a_replayed_dead_letter_is_stopped_by_later_marks_only(kind: Kind | None) -> None:
    """Somebody decided that it shall run."""
    dead = letter("t1", headers=dict(plan_headers(task())))
    again = from_message(_again(dead, NOW + 60.0))
    assert is_stopped(again, "g", marks(kind, NOW + 59.0)) is None
    assert is_stopped(again, "g", marks(kind, NOW + 61.0)) is not None
    once_more = again.again(attempt=1)
    assert is_stopped(once_more, "g", marks(kind, NOW + 59.0)) is None


def plan_headers(of: Envelope) -> dict[str, str]:
    """The headers of this task."""
    (message,) = plan(finished(Snooze(1.0), task=of), random.Random(1)).then
    return dict(message.headers)


def test_what_a_cancelled_task_called_is_stopped_with_it() -> None:
    """Directly, and through everything below it."""
    mark = {keys.stop(Kind.TASK, "root"): Mark(NOW - 10.0)}
    assert is_stopped(envelope("c", reply="root"), "g", mark)
    assert is_stopped(envelope("c", reply="x", correlation="root"), "g", mark)
    assert not is_stopped(envelope("c", reply="x", correlation="y"), "g", mark)
    replayed = {REPLAYED: str(NOW)}
    assert not is_stopped(envelope("c", correlation="root", extra=replayed), "g", mark)


def test_marks_of_others_stop_nothing() -> None:
    others = {
        keys.stop(kind, name): Mark(NOW + 9.0)
        for kind, name in [
            (Kind.TASK, "t2"),
            (Kind.ROLE, "h"),
            (Kind.TENANT, "default"),
            (Kind.SUBJECT, "eve"),
            (Kind.PAUSE, "g"),
            (Kind.CALLS, "t1"),
        ]
    }
    assert is_stopped(task(), "g", others) is None


def test_a_task_without_a_time_is_stopped_by_its_own_mark_only() -> None:
    """A foreign publisher that tells none: a purge of long ago must not swallow its tasks."""
    timeless = task(time=0.0)
    for kind in (*BY_TIME, None):
        assert is_stopped(timeless, "g", marks(kind, NOW)) is None
    assert is_stopped(timeless, "g", marks(Kind.TASK, NOW)) is not None


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_names_do_not_run_into_each_other(one: str, other: str) -> None:
    """Whatever is in them, slashes too."""
    assert (keys.stop(Kind.TENANT, one) == keys.stop(Kind.TENANT, other)) is (one == other)


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"at": null}', b"\xff"])
def test_a_mark_that_cannot_be_read_stops_all_the_same(value: bytes) -> None:
    found = read(Entry(keys.stop(Kind.TASK, "t1"), value, 1))
    assert is_stopped(task(), "g", {keys.stop(Kind.TASK, "t1"): found}) is not None


async def test_a_mark_says_when_who_and_why_and_is_never_set_back() -> None:
    clock = ManualClock()
    store = MemoryKeyValue(MemoryStore(clock))

    async def at_once(call: Any) -> Any:
        return await call()

    stops = Stops(store, clock, at_once)
    first = await stops.put(Kind.ROLE, "a/b", by="ada@host", reason="wrong")
    assert first == Mark(clock.wall(), "ada@host", "wrong")
    entry = await store.get(keys.stop(Kind.ROLE, "a/b"))
    assert entry is not None
    assert read(entry) == first
    assert first.outcome() == Cancelled("cancelled by ada@host: wrong")
    behind = Stops(store, ManualClock(clock.wall() - 60.0), at_once)
    assert (await behind.put(Kind.ROLE, "a/b")).at == first.at


async def test_marks_of_tasks_expire_after_the_latest_due() -> None:
    """Those of roles, tenants, subjects and of all do not."""
    clock = ManualClock()
    bus, _, _ = memory_bus(clock)
    await bus.stops.put(Kind.TASK, "t1")
    await bus.stops.put(Kind.CALLS, "t1")
    await bus.stops.put(Kind.ROLE, "g")
    await bus.stops.put_all()
    await clock.advance(LATEST_DUE + 1.0)
    assert len(await bus.store.list(keys.STOPS)) == 4
    await clock.advance(keys.STOP_TTL)
    assert [e.key for e in await bus.store.list(keys.STOPS)] == ["stop/all", "stop/role/g"]
    await bus.close()


async def test_nothing_can_be_put_off_beyond_the_life_of_a_mark() -> None:
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    with pytest.raises(InvalidValue, match="put off for 367 days"):
        await bus.publish([envelope()], due=clock.wall() + 367 * keys.DAY)
    assert backend.published == []
    await bus.publish([envelope()], due=clock.wall() + 366 * keys.DAY)
    check_due(0.0, clock.wall())
    await bus.close()


async def test_pauses_are_listed_and_lifted() -> None:
    bus, _, _ = memory_bus(ManualClock())
    await bus.stops.put(Kind.PAUSE, "g", by="ada@host")
    assert {role: mark.by for role, mark in (await bus.stops.paused()).items()} == {"g": "ada@host"}
    assert await bus.stops.lift(Kind.PAUSE, "g")
    assert not await bus.stops.lift(Kind.PAUSE, "g")
    assert await bus.stops.paused() == {}
    await bus.close()


def test_a_cancelled_task_leaves_a_result_an_event_and_no_dead_letter() -> None:
    found = plan(finished(Cancelled("by ada"), task=task()), random.Random(1))
    assert found.then == ()
    assert found.dead is None
    assert found.result is not None
    assert (found.result.status, found.result.error) == (Status.CANCELLED, "by ada")
    assert found.event is not None
    assert (found.event.kind, found.event.data["error"]) == ("cancelled", "by ada")
    nobody = plan(finished(Cancelled(), task=replace(task(), reply=None)), random.Random(1))
    assert nobody.result is None
