"""`muster task show` and `task ls`: what history says of tasks, and what it does not know yet."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pydantic_core import to_json

from bus.backends.memory import MemoryBroker
from bus.errors import BusError
from bus.keyvalue import keys
from bus.keyvalue.memory import MemoryKeyValue
from contracts.clock import SystemClock
from contracts.events import Kind
from knowledge.history.history import History
from knowledge.history.records import TaskRecord
from knowledge.history.states import State
from tests.cli.running import GREETER, Muster, worked
from tests.knowledge.history.telling import task_id
from tests.knowledge.history.telling import told as told_event
from tests.servers import NatsServer, PostgresServer
from workers.cli import story
from workers.cli.bearers import Gone, missing
from workers.cli.story import Story, as_json, show
from workers.fleet.presence import Alive

pytestmark = [pytest.mark.nats, pytest.mark.postgres]


@pytest.fixture(scope="module")
def told(
    nats_server: NatsServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Muster]:
    """The command on a fleet with one worker, a recorder and a history of its own."""
    folder = tmp_path_factory.mktemp("told")
    with (
        postgres_server.fresh_database() as url,
        worked(nats_server.url, folder, "greeter", GREETER, history=url) as muster,
    ):
        yield muster


def _published(muster: Muster, payload: str, *options: str) -> str:
    """The id of a task that was accepted."""
    ended = muster("publish", "greeter.x", payload, *options)
    assert ended.code in {0, 1}, ended.err
    found = re.search(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", ended.out + ended.err)
    assert found, ended
    return found[0]


def test_a_task_that_ended_is_shown_with_what_it_got_and_gave(told: Muster) -> None:
    task = _published(told, '{"name": "Ada"}', "--wait")
    shown = told("task", "show", task)
    assert shown.code == 0, shown.err
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["task", task] in lines
    assert ["topic", "greeter.x"] in lines
    assert 'payload    {"name":"Ada"}' in shown.out
    assert 'result     {"text":"Hello, Ada"}' in shown.out
    assert any(line[:3] == ["greeter", "succeeded", "since"] for line in lines)
    said = told("task", "show", task, "--json").json
    assert (said["id"], said["roles"][0]["state"]) == (task, "succeeded")
    assert said["ends"][0]["payload"] == {"name": "Ada"}
    assert [run["outcome"] for run in said["runs"]] == ["succeeded"]
    assert {event["kind"] for event in said["events"]} >= {"published", "succeeded"}


def test_a_task_is_known_as_soon_as_it_is_accepted(told: Muster) -> None:
    """Right after `publish` has said its id, and long before anybody takes it."""
    task = _published(told, '{"name": "later"}', "--delay", "1h", "--priority", "high")
    shown = told("task", "show", task)
    assert shown.code == 0, shown.err
    assert "nobody yet delayed" in shown.out
    assert "priority   high" in shown.out


def test_one_that_failed_says_why(told: Muster) -> None:
    task = _published(told, '{"name": "nobody"}', "--wait")
    shown = told("task", "show", task)
    assert "greeter    failed" in shown.out
    assert "nobody is there" in shown.out
    listed = told("task", "ls", "--state", "failed", "--json").json
    assert task in {each["task"] for each in listed}


def test_tasks_are_listed_by_what_they_are(told: Muster) -> None:
    task = _published(told, '{"name": "tenant"}', "--tenant", "acme", "--wait")
    assert task in told("task", "show", task).out
    for options in (("--tenant", "acme"), ("--role", "greeter", "--since", "1h"), ("--text", task)):
        assert task in told("task", "ls", *options).out, options
    assert task not in told("task", "ls", "--until", "1h").out
    assert [each["task"] for each in told("task", "ls", "--limit", "1", "--json").json] == [task]


def test_an_id_that_was_never_accepted_is_not_there(told: Muster) -> None:
    """Once the recorder vouches for what it has: not within a lease of its start."""
    unknown = str(uuid.uuid4())
    ended = told("task", "show", unknown)
    for _ in range(30):
        if ended.code == 4:
            break
        assert ended.code == 3, ended.err
        assert "is not recorded" in ended.lines[0]
        ended = told("task", "show", unknown)
    assert ended.code == 4
    assert ended.lines[0] == f"there is no task '{unknown}'"
    said = told("task", "show", unknown, "--json")
    assert (said.code, json.loads(said.out)["error"]) == (4, "NotFound")
    delayed = _published(told, '{"name": "Ada"}', "--delay", "1h")
    cancelled = told("task", "cancel", unknown, delayed)
    assert (cancelled.code, cancelled.out) == (4, f"cancelled {delayed}\n")
    assert cancelled.lines[0] == f"there is no task '{unknown}'"


def test_a_cancel_says_what_it_has_met(told: Muster) -> None:
    """A task under way, or one that had ended; of none, see above."""
    ended = _published(told, '{"name": "Ada"}', "--wait")
    failed = _published(told, '{"name": "nobody"}', "--wait")
    delayed = _published(told, '{"name": "Ada"}', "--delay", "1h")
    for task, state in ((ended, "succeeded"), (failed, "failed")):
        while told("task", "show", task, "--json").json["roles"][0]["state"] != state:
            pass
    said = told("task", "cancel", ended, failed, delayed)
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        f"ended before {ended} (succeeded)",
        f"ended before {failed} (failed; its dead letter stays)",
        f"cancelled {delayed}",
    ]


def test_a_cancel_does_not_need_history(told: Muster, tmp_path: Path) -> None:
    task = _published(told, '{"name": "Ada"}', "--delay", "1h")
    away = Muster(told.folder, **{k: v for k, v in told.environment.items() if "MUSTER_" in k})
    away.environment["MUSTER_HISTORY_URL"] = f"postgresql://ada:secret@/x?host={tmp_path}"
    said = away("task", "cancel", task, "--json")
    assert (said.code, said.json["done"]) == (0, "cancelled")
    assert "the history database cannot be reached" in said.json["note"]


def test_a_story_says_how_far_history_is_behind_and_whether_the_worker_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    running = TaskRecord(
        task="t",
        role="greeter",
        topic="greeter.x",
        tenant="default",
        published=1.0,
        state=State.RUNNING,
        since=2.0,
        worker="w",
        pid=7,
    )
    fresh = Story([running], [], [], [], [], gone={}, as_of=3.0, behind=0.2)
    show(fresh)
    said = capsys.readouterr()
    assert "process 7)\n" in said.out
    assert "behind" not in said.err
    lost = replace(fresh, behind=42.0, gone={"greeter": Gone("w", 3.0, 13.0, 1)})
    show(lost)
    said = capsys.readouterr()
    assert "worker     w is gone since 1970-01-01" in said.out
    assert "history is 42 s behind" in said.err
    gone = [as_json(each)["roles"][0]["worker_gone"] for each in (fresh, lost)]
    assert gone == [False, True]
    assert as_json(replace(lost, gone=None))["roles"][0]["worker_gone"] is None, "not known"


async def test_whether_the_worker_of_a_running_task_is_there_is_asked_of_the_bus(
    history_url: str,
) -> None:
    """A worker that was killed tells no end: history alone would call its task running."""
    clock, task = SystemClock(), task_id()
    history = await History.open(history_url, clock)
    broker = MemoryBroker(clock)
    store = MemoryKeyValue(broker.store)
    alive = Alive(
        role="writer", worker="w-1", pid=7, host="h", since=1.0, at=clock.wall(), concurrency=8
    )

    async def ask(tasks: Sequence[TaskRecord]) -> Mapping[str, Gone] | None:
        try:
            return await missing(store, tasks, 10.0)
        except BusError:
            return None

    try:
        begun = told_event(Kind.STARTED, task, worker="w-1")
        await history.record([begun], (await history.watermark()).now)
        assert set((await story.told(history, task, ask)).gone or ()) == {"writer"}
        await store.put(keys.alive("writer", "w-1"), to_json(asdict(alive)))
        assert (await story.told(history, task, ask)).gone == {}
        broker.outage()
        assert (await story.told(history, task, ask)).gone is None
    finally:
        await history.close()


async def test_a_worker_that_told_the_end_before_it_went_left_nothing_behind(
    history_url: str,
) -> None:
    """It ends its last task, and is gone when the bus is asked; history hears of the end later."""
    clock, task = SystemClock(), task_id()
    history = await History.open(history_url, clock)
    store = MemoryKeyValue(MemoryBroker(clock).store)

    async def ask(tasks: Sequence[TaskRecord]) -> Mapping[str, Gone]:
        found = await missing(store, tasks, 10.0)
        ended = told_event(Kind.SUCCEEDED, task, 1.0, worker="w-1")
        await history.record([ended], (await history.watermark()).now + 60.0)
        return found

    try:
        begun = told_event(Kind.STARTED, task, worker="w-1")
        await history.record([begun], (await history.watermark()).now)
        found = await story.told(history, task, ask)
        assert ([each.state for each in found.tasks], found.gone) == ([State.SUCCEEDED], {})
    finally:
        await history.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--state", "runing"), "did you mean running?"),
        (("--since", "yesterday"), "neither a duration nor a time"),
        (("--limit", "0"), "expected"),
    ],
)
def test_a_listing_that_makes_no_sense_is_refused(
    told: Muster, options: tuple[str, ...], words: str
) -> None:
    ended = told("task", "ls", *options)
    assert ended.code == 2
    assert any(words in line for line in ended.lines)


def test_a_fleet_without_history_says_so(fleet: Muster) -> None:
    ended = fleet("task", "show", "x")
    assert ended.code == 2
    assert ended.lines[0] == "this fleet keeps no history"


def test_a_history_that_is_away_is_one_clear_error(muster: Muster, tmp_path: Path) -> None:
    muster.environment["MUSTER_HISTORY_URL"] = f"postgresql://ada:secret@/x?host={tmp_path}"
    ended = muster("task", "ls")
    assert ended.code == 3
    assert "secret" not in ended.err
    assert len(ended.lines) == 3
