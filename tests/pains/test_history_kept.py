"""Pain 15: history gone at a restart, errors swallowed, figures invented. Here every exception ends
in an event, every figure is a sum of events, and a restart changes nothing."""

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import tests.pains.ways
from contracts.outcomes import Reason
from contracts.topics import RECORDER
from knowledge.history.asking import DeathFilter
from knowledge.history.history import History
from knowledge.history.states import FINISHED, State
from tests.brokers import Broker
from tests.forms import form
from tests.pains.journal import sleepers
from tests.pains.remembering import Remembering, remembering, scraped, until
from tests.pains.ways import WAYS
from tests.servers import PostgresServer
from workers.fleet.options import Options
from workers.fleet.presence import present

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

ROLES = ("awaits", "plain", "apart")

SAYS = {
    "plain": "ValueError: no such value",
    "odd": "OddError: nul",
    "unspeakable": "UnspeakableError: ",
    "endless": "ValueError: very very",
    "group": "ExceptionGroup: several (2 sub-exceptions)",
    "deep": "RecursionError: ",
    "late": "TimeoutError: ",
    "stop": "RuntimeError: coroutine raised StopIteration",
    "exit": "SystemExit: 3",
    "silent": "SilentError: not an Exception",
    "base-group": "BaseExceptionGroup: base (1 sub-exception)",
    "generator": "GeneratorExit",
    "interrupt": "KeyboardInterrupt: as if somebody",
    "cancelled": "CancelledError: of itself",
    "reject": "not wanted",
    "retry": "again, please",
}
"""How the error of a way to fail begins in history; of the others it says something."""

SHORT_OF_MEMORY = ("apart", "memory")
"""A process that says it has no memory counts as one that died of it; no other way to fail does."""

TIMES = form(1, 20)
"""Each way, so often."""


@pytest.mark.long(400)
async def test_every_exception_ends_in_an_event_and_every_figure_is_a_sum_of_events(
    broker: Broker, history_url: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Every way to fail that Python has, on the event loop, in a thread and in a child process. The
    handlers' own count, the events, the sums, `/metrics`, what workers show of themselves and the
    dead letters agree."""
    name, file = f"ways-{secrets.token_hex(4)}", Path(tests.pains.ways.__file__)
    more = {"WAYS": str(tmp_path / "begun.txt")}
    arguments = (broker, history_url, name, tmp_path)
    async with remembering(*arguments, roles=file, lease=5.0, more=more) as it:
        for role in (*ROLES, RECORDER):
            it.workers.start(role)
        for role in ROLES:
            await it.seen(role)
        wanted = [(role, way) for role in ROLES for way in WAYS] * TIMES
        tasks = await it.fleet.publish_many([(f"fail.{role}", way) for role, way in wanted])
        async with asyncio.timeout(form(100, 300)):
            ends = await asyncio.gather(*(task.outcome() for task in tasks))
        async with it.history() as history:
            await it.read()
            errors = {task.id: await failed(history, task.id) for task in tasks}
            figures = await all_figures(it, history, tmp_path / "begun.txt")
    for pair, task, end in zip(wanted, tasks, ends, strict=True):
        said = errors[task.id]
        assert said, pair
        assert said.startswith(SAYS.get(pair[1], "")), (pair, said)
        assert (end.reason is Reason.CRASH) is (pair == SHORT_OF_MEMORY), pair
    same(figures)
    happened(
        f"{len(tasks)} tasks that failed in {len(WAYS)} ways: each told with its error; figures "
        f"by six sources agree: {figures['events']}"
    )


async def failed(history: History, task: str) -> str:
    """The error with which it ended, by its record, its last event and its death alike."""
    (record,) = (await history.task(task)).found
    *_, last = (await history.events(task)).found
    (death,) = (await history.deaths(DeathFilter(task=task))).items
    assert record.state is State.FAILED
    assert record.error == last.data["error"] == death.error
    return str(record.error)


Figures = Mapping[str, Mapping[str, int]]
"""By source, of each role: tasks published, handlers called, runs retried, tasks failed; a source
that does not tell one of them leaves it out."""


async def all_figures(it: Remembering, history: History, begun: Path) -> dict[str, Figures]:
    """What each source says."""
    return {
        "handlers": handlers(begun),
        "events": await from_events(history),
        "usage": await from_usage(history),
        "metrics": await from_metrics(it),
        "presence": await from_presence(it),
        "letters": await from_letters(it),
    }


def same(figures: Mapping[str, Figures]) -> None:
    """Every source says of every role what its events say."""
    events = figures["events"]
    assert set(events) == set(ROLES)
    for source, found in figures.items():
        for role, counts in found.items():
            known = {what: events[role][what] for what in counts}
            assert dict(counts) == known, (source, role)
        assert set(found) == set(ROLES), source


def handlers(begun: Path) -> Figures:
    """What the handlers wrote down themselves."""
    calls = Counter(line.split()[0] for line in begun.read_text(encoding="utf-8").splitlines())
    return {role: {"called": count} for role, count in calls.items()}


async def from_events(history: History) -> Figures:
    """Counted one by one."""
    async with history.database.link() as link:
        rows = await link.fetch("SELECT topic, kind, task, copy FROM events")
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    runs: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for row in rows:
        role = row["topic"].removeprefix("fail.")
        kinds[role][row["kind"]] += 1
        if row["kind"] != "published":
            runs[role].add((row["task"], row["copy"]))
    return {
        role: {
            "published": found["published"],
            "called": len(runs[role]),
            "retried": found["retried"],
            "failed": found["failed"],
        }
        for role, found in kinds.items()
    }


async def from_usage(history: History) -> Figures:
    """As it is summed up; what was published has no role there."""
    found = (await history.usage(by=("role",))).found
    return {
        row.role: {"called": row.runs, "retried": row.retried, "failed": row.failed}
        for row in found
        if row.role
    }


async def from_metrics(it: Remembering) -> Figures:
    """What every worker answers on `/metrics`."""
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    names = {
        "muster_tasks_started_total": "called",
        "muster_tasks_retried_total": "retried",
        "muster_tasks_failed_total": "failed",
    }
    for one in await present(it.fleet.bus.store):
        if one.role in ROLES:
            for sample in await scraped(one.health):
                if what := names.get(sample.name):
                    totals[one.role][what] += int(sample.value)
    return totals


async def from_presence(it: Remembering) -> Figures:
    """What `ps` shows; it is a second old at most."""
    counts: Figures = {}

    async def shown() -> bool:
        nonlocal counts
        found = [one for one in await present(it.fleet.bus.store) if one.role in ROLES]
        counts = {one.role: {"failed": one.failed, "retried": one.again} for one in found}
        return all(each["failed"] == len(WAYS) * TIMES for each in counts.values())

    await until(shown, 10.0)
    return counts


async def from_letters(it: Remembering) -> Figures:
    """The dead, as the broker keeps them."""
    found = Counter([letter.group async for letter in it.fleet.bus.dead.all()])
    return {role: {"failed": count} for role, count in found.items()}


@pytest.mark.long(400)
async def test_a_restart_of_everything_leaves_history_as_it_was(
    own_broker: Callable[[], Broker],
    own_postgres: Callable[[], PostgresServer],
    tmp_path: Path,
    happened: Callable[[str], None],
) -> None:
    """Database, broker, recorder and worker are killed with -9, together; every answer history
    gives afterwards is the one it gave before, and it goes on from there."""
    server, database, roles = own_broker(), own_postgres(), sleepers(tmp_path)
    arguments = (server, database.url, f"kept-{secrets.token_hex(4)}", tmp_path)
    times, count = form(1, 5), form(60, 200)
    async with remembering(*arguments, roles=roles) as it:
        pids = it.workers.start("sleeper") + it.workers.start(RECORDER)
        await it.seen("sleeper")
        known: list[str] = []
        before: dict[str, Any] = {}
        for number in range(times):
            known += await worked(it, count)
            async with it.history() as history:
                before = await told(history, known)
            for pid in pids:
                it.workers.kill(pid)
            await asyncio.to_thread(database.kill)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(database.start)
            async with it.history() as history:
                after = await told(history, known)
                assert after == before, number
            pids = it.workers.start("sleeper") + it.workers.start(RECORDER)
        known += await worked(it, count)
        async with it.history() as history:
            states = await unended(history, known)
    happened(
        f"everything killed and started again {times} times: {len(before)} answers about "
        f"{len(known)} tasks are the same; then it went on"
    )
    assert states == Counter({State.DELAYED: times + 1})


async def worked(it: Remembering, count: int) -> list[str]:
    """Tasks of all kinds: ended, dead, cancelled, and one that waits; all of it is recorded."""
    fine = await it.fleet.publish_many([("nap.x", {"seconds": 0.0})] * count)
    dead = await it.fleet.publish_many([("nap.x", {"seconds": "never"})] * 3)
    later = Options(delay=3600.0)
    gone, waiting = await it.fleet.publish_many([("nap.x", {"seconds": 0.0})] * 2, later)
    await it.fleet.cancel(gone.id)
    await asyncio.gather(*(task.outcome(30) for task in (*fine, *dead)))
    await it.read()
    return [task.id for task in (*fine, *dead, waiting)]


async def unended(history: History, tasks: Sequence[str]) -> Counter[State]:
    """How many of these are in which state that is none of an end."""
    found = [record for task in tasks for record in (await history.task(task)).found]
    return Counter(record.state for record in found if record.state not in FINISHED)


async def told(history: History, tasks: Sequence[str]) -> dict[str, Any]:
    """Everything that can be asked, but for how far history reaches."""
    page, pages = await history.tasks(limit=1000), []
    while True:
        pages += [asdict(record) for record in page.items]
        if page.after is None:
            break
        page = await history.tasks(after=page.after, limit=1000)
    answers: dict[str, Any] = {"tasks": pages}
    answers["usage"] = (await history.usage()).found
    answers["deaths"] = (await history.deaths(limit=1000)).items
    for task in tasks:
        runs, events = await history.runs(task), await history.events(task)
        answers[task] = (runs.found, events.found, (await history.result(task)).found)
    return answers
