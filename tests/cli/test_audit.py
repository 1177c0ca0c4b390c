"""`muster audit`: each deed of each command is a row, by the real command, broker and database."""

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bus.deadletters import MAX_REPLAYS
from contracts.clock import SystemClock
from contracts.deeds import Action, Scope
from knowledge.history.deeds import DeedFilter
from knowledge.history.records import DeedRecord
from tests.cli.letters import letter, on_bus, put
from tests.cli.running import GREETER, Muster
from tests.servers import NatsServer, PostgresServer
from workers.fleet.operator import deed, whoami
from workers.history.opening import open_history
from workers.settings import load

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

SECONDS = 30.0

SEVERAL = """
import json, sys
from workers.cli.main import run

print(json.dumps([run(line) for line in json.loads(sys.argv[1])]), file=sys.stderr)
"""
"""Runs command lines one after the other, and says how each ended: Python starts once."""


@pytest.fixture(scope="module")
def fleet(
    nats_server: NatsServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Muster]:
    """The command on a fleet where nobody works, and what is told is recorded."""
    folder = tmp_path_factory.mktemp("audit")
    with postgres_server.fresh_database() as url:
        muster = _muster(folder, nats_server.url, url)
        muster.write("agents/greeter.py", GREETER)
        with _recorder(muster):
            yield muster


@contextmanager
def _recorder(muster: Muster) -> Iterator["subprocess.Popen[str]"]:
    process = muster.start("work", "recorder")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)


def _muster(folder: Path, bus: str, history: str) -> Muster:
    return Muster(
        folder,
        MUSTER_BUS_URL=bus,
        MUSTER_HISTORY_URL=history,
        MUSTER_FLEET_NAME=f"audit-{secrets.token_hex(4)}",
    )


@pytest.fixture
def role(fleet: Muster) -> str:
    """A role of the test's own, bound and without workers."""
    name = f"role-{secrets.token_hex(4)}"
    on_bus(fleet, lambda bus: bus.bind(name, [f"{name}.#"]))
    return name


def _done(muster: Muster, *commands: tuple[str, ...], codes: Sequence[int] = ()) -> None:
    """Run the command lines; all end with 0, or as `codes` say."""
    line = [sys.executable, "-c", SEVERAL, json.dumps(commands)]
    folder, environment = muster.folder, muster.environment
    ended = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert json.loads(ended.stderr.splitlines()[-1]) == list(codes or [0] * len(commands)), ended


def _deeds(muster: Muster, **chosen: Any) -> list[DeedRecord]:
    """The rows, first one first, once something told afterwards is recorded."""
    last = deed(Action.PAUSE, time.time(), Scope.ROLE, "last", role=secrets.token_hex(8))
    on_bus(muster, lambda bus: bus.tell_deed(last))

    async def read() -> list[DeedRecord]:
        loaded = load(muster.folder, environment=muster.environment)
        history = await open_history(loaded, SystemClock())
        try:
            async with asyncio.timeout(SECONDS):
                while not (await history.audit(DeedFilter(role=last.role))).items:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            page = await history.audit(DeedFilter(**chosen), limit=1000)
            return [found for found in reversed(page.items) if found.target != "last"]
        finally:
            await history.close()

    return asyncio.run(read())


def _whats(deeds: Sequence[DeedRecord]) -> list[str]:
    return [found.action for found in deeds]


def test_pausing_and_scaling_are_told_once_each(fleet: Muster, role: str) -> None:
    began = time.time()
    on_bus(fleet, lambda bus: bus.bind("greeter", ["greeter.#"]))
    _done(
        fleet,
        ("pause", role, "--reason", "it costs too much"),
        ("resume", role),
        ("resume", role),  # it was not paused
        ("scale", "greeter=2"),
        ("scale", "greeter=auto:1..8"),
        ("scale", "--reset", "greeter"),
        ("scale", "--reset", "greeter"),  # the settings decided already
    )
    pause, resume = _deeds(fleet, role=role)
    assert (pause.action, resume.action) == ("pause", "resume")
    assert (pause.by, pause.scope, pause.target) == (whoami(), "role", role)
    assert pause.details == {"reason": "it costs too much"}
    assert began <= pause.at <= resume.at <= time.time()
    scaled = _deeds(fleet, role="greeter", action="scale")
    plain = "as the settings say"
    assert [(found.before, found.after) for found in scaled] == [
        (plain, "2"),
        ("2", "auto:1..8"),
        ("auto:1..8", plain),
    ]


def test_cancelling_is_told_of_what_it_stopped(fleet: Muster, role: str) -> None:
    other = f"t-{role}"
    _done(
        fleet,
        ("publish", f"{role}.x", "{}"),
        ("publish", f"{role}.x", "{}", "--delay", "1h"),
        ("queue", "purge", role, "--yes", "--reason", "wrong"),
        ("task", "cancel", "--role", role, "--yes"),
        ("task", "cancel", "--tenant", other, "--yes"),
        ("task", "cancel", "--subject", other, "--yes"),
    )
    named = fleet("task", "cancel", f"a-{role}", f"b-{role}")
    assert named.code in {0, 4}, "history is behind, or knows that nobody published these"
    purged, cancelled = _deeds(fleet, role=role)
    assert (purged.action, purged.count) == ("queue purge", 2)
    assert (cancelled.action, cancelled.scope) == ("task cancel", "role")
    rows = _deeds(fleet, action="task cancel")
    told = [(found.scope, found.target) for found in rows if role in found.target]
    assert told == [
        ("role", role),
        ("tenant", other),
        ("subject", other),
        ("task", f"a-{role}"),
        ("task", f"b-{role}"),
    ]


def test_dead_letters_are_told_of_one_row_per_command(fleet: Muster, role: str) -> None:
    """However many letters it met; each is found by its id."""
    ids = [f"{n}-{role}" for n in range(6)]
    put(fleet, *(letter(id_, group=role) for id_ in ids))
    edit = ("dlq", "edit", ids[3], "--yes", "--payload")
    every = ("dlq", "replay", "--role", role, "--reason", "rejected")
    _done(
        fleet,
        ("dlq", "replay", ids[0]),
        ("task", "retry", ids[1]),
        ("dlq", "purge", ids[2], "--role", role, "--yes"),
        (*edit, '{"name": "Ada"}', "--keep"),
        (*edit, '{"name": "Bob"}'),
        every,
        every,  # none is left
    )
    deeds = _deeds(fleet, role=role)
    assert _whats(deeds) == [
        *("dlq replay", "task retry", "dlq purge", "dlq edit", "dlq edit", "dlq replay"),
        "dlq replay",
    ]
    assert [found.count for found in deeds] == [1, 1, 1, 1, 1, 1, 2]
    assert {found.role for found in deeds} == {role}
    many = deeds[-1]
    assert (many.tasks, many.target) == (tuple(ids[4:]), f"--role {role} --reason rejected")
    edited = deeds[3]
    assert edited.before != edited.after
    assert "nobody" not in str(edited)
    assert "Ada" not in str(edited)
    assert _whats(_deeds(fleet, task=ids[3])) == ["dlq edit", "dlq edit", "dlq replay"]
    assert _deeds(fleet, task=ids[5]) == [many]


def test_a_purge_of_many_is_one_row_with_their_number(fleet: Muster, role: str) -> None:
    put(fleet, *(letter(f"{n:03}-{role}", group=role) for n in range(120)))
    _done(fleet, ("dlq", "purge", "--all", "--role", role, "--yes"))
    (purged,) = _deeds(fleet, role=role)
    assert (purged.count, len(purged.tasks)) == (120, 20)


def test_retiring_a_role_is_told_with_what_was_lost(fleet: Muster, role: str) -> None:
    _done(
        fleet,
        ("publish", f"{role}.x", "{}"),
        ("roles", "rm", role, "--yes"),
        ("roles", "rm", role, "--drop", "--yes"),
        codes=(0, 5, 0),
    )
    (retired,) = _deeds(fleet, role=role)
    assert (retired.action, retired.count) == ("roles rm", 1)
    assert retired.details == {"dropped": True}


def test_schedules_are_told_of_with_what_they_were(fleet: Muster) -> None:
    """In the transaction that changes them: no bus is asked."""
    add = ("schedule", "add", "nightly", "report.x", "{}", "--cron")
    pause, resume, remove = (("schedule", what, "nightly") for what in ("pause", "resume", "rm"))
    _done(
        fleet,
        (*add, "0 8 * * *"),
        (*add, "0 8 * * *"),
        (*add, "0 9 * * *", "--replace"),
        *(pause, pause, resume, resume, remove, remove),
        codes=(0, 5, 0, 0, 0, 0, 0, 0, 4),
    )
    deeds = _deeds(fleet, action="schedule")
    assert _whats(deeds) == [f"schedule {what}" for what in ("add", "add", "pause", "resume", "rm")]
    before, after = "report.x at 0 8 * * * (UTC)", "report.x at 0 9 * * * (UTC)"
    assert [(d.before, d.after) for d in (deeds[0], deeds[1], deeds[-1])] == [
        ("", before),
        (before, after),
        (after, ""),
    ]
    assert {found.target for found in deeds} == {"nightly"}


def test_what_was_refused_is_not_told(fleet: Muster, role: str) -> None:
    put(fleet, letter(f"often-{role}", group=role, replays=MAX_REPLAYS))
    _done(
        fleet,
        ("pause", f"no-{role}"),
        ("task", "retry", f"no-{role}"),
        ("dlq", "replay", f"often-{role}"),
        ("dlq", "purge", f"no-{role}", "--yes"),
        ("dlq", "purge", "--all", "--role", role),  # nobody can be asked
        ("dlq", "replay", "--role", role, "--reason", "rejected", "--dry-run"),
        codes=(4, 4, 5, 5, 5, 0),
    )
    assert [found for found in _deeds(fleet) if role in str(found)] == []


def test_a_task_shows_what_was_done_to_it(fleet: Muster, role: str) -> None:
    """By its id; not what was done to others."""
    task = f"done-{role}"
    put(fleet, letter(task, group=role))
    on_bus(fleet, lambda bus: bus.bind("greeter", ["greeter.#"]))
    _done(
        fleet,
        ("task", "retry", task),
        ("pause", "greeter"),
        ("pause", role),
        ("task", "cancel", task, "--reason", "typed twice"),
        ("task", "cancel", f"other-{role}"),
        codes=(0, 0, 0, 0, 4),  # a mark for an id that nobody knows
    )
    assert _whats(_deeds(fleet, task=task)) == ["task retry", "task cancel"]
    shown = fleet("task", "show", task, "--json").json
    assert [found["action"] for found in shown["deeds"]] == ["task retry", "pause", "task cancel"]
    said = fleet("task", "show", task).out
    assert f"task cancel by {whoami()}: typed twice" in said
    assert f"pause of role {role} by {whoami()}" in said


def test_deeds_are_found_by_who_what_and_when(fleet: Muster, role: str) -> None:
    _done(fleet, ("pause", role))
    assert _whats(_deeds(fleet, role=role)) == ["pause"]
    user = whoami().partition("@")[0]
    listed = fleet("audit", "--json", "--who", user, "--what", "pause", "--since", "1h").json
    assert role in [found["target"] for found in listed]
    assert whoami() in fleet("audit", "--role", role, "--limit", "1").out
    assert whoami() not in fleet("audit", "--role", role, "--until", "1h").out
    wrong = fleet("audit", "--what", "pauze")
    assert (wrong.code, wrong.lines[1]) == (2, "did you mean pause?")


def test_a_recorder_that_dies_loses_and_doubles_nothing(
    nats_server: NatsServer, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Killed with -9 between two deeds, and one of them is told again and again."""
    with postgres_server.fresh_database() as url:
        muster = _muster(tmp_path, nats_server.url, url)
        on_bus(muster, lambda bus: bus.bind("writer", ["writer.#"]))
        again = deed(Action.SCALE, time.time(), Scope.ROLE, "writer", role="writer")
        with _recorder(muster) as first:
            on_bus(muster, lambda bus: bus.tell_deed(again))
            assert _whats(_deeds(muster)) == ["scale"]
            first.kill()
            first.wait(SECONDS)
            on_bus(muster, lambda bus: bus.tell_deed(again))
            _done(muster, ("pause", "writer"))
        with _recorder(muster):
            on_bus(muster, lambda bus: bus.tell_deed(again))
            assert _whats(_deeds(muster)) == ["scale", "pause"]


def test_a_fleet_without_history_is_told_nothing(nats_server: NatsServer, tmp_path: Path) -> None:
    """And works as ever."""
    muster = _muster(tmp_path, nats_server.url, "none")
    on_bus(muster, lambda bus: bus.bind("writer", ["writer.#"]))
    _done(muster, ("pause", "writer"), ("queue", "purge", "writer", "--yes"))
    ended = muster("audit")
    assert (ended.code, ended.lines[0]) == (2, "this fleet keeps no history")
