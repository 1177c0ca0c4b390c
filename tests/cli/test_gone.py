"""What is shown of a task whose worker was killed, and who else is shown to be there."""

import asyncio
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bus.bus import Bus
from bus.keyvalue import keys
from contracts.clock import SystemClock
from contracts.events import Event, Kind
from tests.cli.letters import on_bus
from tests.cli.running import Muster
from tests.servers import NatsServer, PostgresServer
from workers.fleet.presence import Alive, present
from workers.history.opening import open_history
from workers.settings import load

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

SECONDS = 30.0

SLEEPER = '''\
import asyncio

from workers import Context, role


@role("sleeper", listens="sleeper.#")
async def sleep(payload: int, ctx: Context) -> None:
    """Take long."""
    await asyncio.sleep(payload)
'''


@pytest.fixture
def fleet(
    nats_server: NatsServer, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[Muster]:
    """The command on a fleet whose processes the tests start."""
    with postgres_server.fresh_database() as url:
        muster = Muster(
            tmp_path,
            MUSTER_BUS_URL=nats_server.url,
            MUSTER_HISTORY_URL=url,
            MUSTER_FLEET_NAME=f"gone-{secrets.token_hex(4)}",
        )
        muster.write("agents/sleeper.py", SLEEPER)
        yield muster


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end


def _works(stack: ExitStack, muster: Muster, *roles: str) -> "list[subprocess.Popen[str]]":
    """Processes that work, and end with the stack."""
    found = []
    for role in roles:
        process = muster.start("work", role)

        def end(process: "subprocess.Popen[str]" = process) -> None:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS)

        stack.callback(end)
        found.append(process)
    _until(lambda: len(_present(muster)) == len(roles))
    return found


def _present(muster: Muster) -> list[Alive]:
    return on_bus(muster, lambda bus: present(bus.store))


def _busy(muster: Muster) -> list[Alive]:
    """The worker that runs the task, once it has left word that it does."""

    async def look(bus: Bus) -> list[Alive]:
        found = [one for one in await present(bus.store, "sleeper") if one.running]
        return [one for one in found if await bus.store.get(keys.last(one.worker)) is not None]

    return on_bus(muster, look)


def test_a_task_of_a_killed_worker_is_not_said_to_run(fleet: Muster) -> None:
    """Since when the worker is gone, and by when another has the task; else that nobody has."""
    with ExitStack() as stack:
        one, other, _ = _works(stack, fleet, "sleeper", "sleeper", "recorder")
        task = fleet("publish", "sleeper.x", "300", "--json").json["id"]
        _until(lambda: len(_busy(fleet)) == 1)
        (worker,) = _busy(fleet)
        _until(lambda: "sleeper    running since" in fleet("task", "show", task).out)
        os.kill(worker.pid, signal.SIGKILL)
        killed = time.time()
        expires = keys.alive("sleeper", worker.worker)
        on_bus(fleet, lambda bus: bus.store.delete(expires))  # as its 15 s do
        shown = fleet("task", "show", task)
        assert "running" not in shown.out
        assert re.search("^sleeper    started at .*, attempt 1$", shown.out, re.MULTILINE)
        assert f"worker     {worker.worker} is gone since " in shown.out
        assert "the task is taken over at " in shown.out
        gone = fleet("task", "show", task, "--json").json["gone"]["sleeper"]
        assert killed - 7.0 < gone["since"] <= killed
        assert gone["since"] + 11.0 < gone["over_by"] < killed + 20.0
        rest = other if worker.pid == one.pid else one
        rest.send_signal(signal.SIGTERM)
        rest.communicate(timeout=SECONDS)
        assert "nobody else works on this role" in fleet("task", "show", task).out


def test_tasks_that_only_seem_to_go_on_are_named(fleet: Muster) -> None:
    """By their command, and counted by the doctor."""
    fleet.environment["MUSTER_FLEET_LEASE"] = "2"  # a recorder vouches after it
    on_bus(fleet, lambda bus: bus.bind("sleeper", ["sleeper.#"]))
    assert fleet("publish", "sleeper.x", "0").code == 0
    told = {"left": _started("left", "sleeper"), "retired": _started("retired", "nobody")}

    async def record() -> None:
        loaded = load(fleet.folder, environment=fleet.environment)
        history = await open_history(loaded, SystemClock())
        await history.record(list(told.values()))
        await history.close()

    with ExitStack() as stack:
        _works(stack, fleet, "recorder")
        asyncio.run(record())
        _until(lambda: bool(fleet("task", "reconcile", "--json").json))
        found = fleet("task", "reconcile", "--json")
        assert found.code == 0
        assert {each["task"]: each["verdict"] for each in found.json} == {n: n for n in told}
        only = fleet("task", "reconcile", "--role", "nobody")
        assert "its role was retired" in only.out
        assert "no sign of life" not in only.out
        checks = {check["what"]: check for check in fleet("doctor", "--json").json["checks"]}
        assert checks["unfinished"]["said"] == "1 left, 1 retired"


def _started(task: str, role: str) -> Event:
    """Told a minute ago, by a worker that is gone."""
    at = time.time() - 60.0
    given: dict[str, Any] = {
        "copy": 0,
        "attempt": 1,
        "worker": "gone-1",
        "pid": 7,
        "published": at - 1.0,
    }
    return Event(kind=Kind.STARTED, at=at, task=task, topic=f"{role}.x", role=role, **given)


def test_the_scheduler_is_shown_as_the_recorder_is(fleet: Muster) -> None:
    with ExitStack() as stack:
        _works(stack, fleet, "recorder", "scheduler")
        shown = fleet("ps", "--json").json
        assert [one["role"] for one in shown["workers"]] == ["recorder", "scheduler"]
        (row,) = [row for row in shown["roles"] if row["role"] == "scheduler"]
        assert (row["workers"], row["delayed"], set(row["waiting"].values())) == (1, 0, {0})
        assert re.search("^ *scheduler +the clock +1 ", fleet("ps").out, re.MULTILINE)
        assert "publishes by the clock" in fleet("roles", "ls").out
        assert "scheduler" not in fleet("lag").out
    assert _present(fleet) == []
