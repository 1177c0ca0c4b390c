"""`up` and `down` with the embedded bus: from an empty folder to nothing left."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.running import GREETER, Muster

pytestmark = pytest.mark.nats

SECONDS = 30.0


@pytest.fixture
def folder(muster: Muster) -> Iterator[Muster]:
    """A folder with one role, in which nothing runs when the test is over."""
    muster.environment["MUSTER_FLEET_DRAIN"] = "2"
    muster.write("agents/greeter.py", GREETER)
    yield muster
    assert muster("down").code == 0


def _record(folder: Path) -> Any:
    return json.loads((folder / ".muster" / "up.json").read_text(encoding="utf-8"))


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def _gone(pids: list[int]) -> bool:
    return not any(_lives(pid) for pid in pids)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_up_work_down_leaves_nothing_and_keeps_the_tasks(folder: Muster) -> None:
    ended = folder.anew("up", "greeter=2", "--detach", "--json")
    assert ended.code == 0, ended.err
    record = _record(folder.folder)
    assert [worker["state"] for worker in record["workers"]] == ["ready", "ready"]
    assert folder("publish", "greeter.x", '{"name": "Ada"}', "--wait").code == 0
    pids = [record["pid"], *(worker["pid"] for worker in record["workers"])]
    down = folder("down", "--json")
    assert down.code == 0
    assert sorted(down.json["ended"]) == ["bus", "greeter", "greeter", "supervisor"]
    assert _gone(pids)
    again = folder("down")
    assert (again.code, again.out) == (0, "nothing runs here\n")
    assert folder("publish", "greeter.x", '{"name": "Ada"}').code == 3


def test_a_killed_worker_is_started_again(folder: Muster) -> None:
    assert folder("up", "greeter", "--detach").code == 0
    victim = _record(folder.folder)["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    _until(lambda: _record(folder.folder)["workers"][0]["pid"] not in {victim, None})
    worker = _record(folder.folder)["workers"][0]
    assert (worker["restarts"], worker["exit_code"]) == (1, -signal.SIGKILL)
    assert folder("publish", "greeter.x", '{"name": "Ada"}', "--wait").code == 0


def test_a_killed_bus_is_started_again_and_work_goes_on(folder: Muster) -> None:
    assert folder("up", "greeter", "--detach").code == 0
    server = folder.folder / ".muster" / "nats" / "server.json"
    victim = json.loads(server.read_text(encoding="utf-8"))["pid"]
    os.kill(victim, signal.SIGKILL)
    _until(lambda: json.loads(server.read_text(encoding="utf-8"))["pid"] != victim)
    ended = folder("publish", "greeter.x", '{"name": "Ada"}', "--wait", "--timeout", "30")
    assert ended.code == 0, ended.err


def test_workers_end_when_their_supervisor_is_killed(folder: Muster) -> None:
    assert folder("up", "greeter=2", "--detach").code == 0
    record = _record(folder.folder)
    os.kill(record["pid"], signal.SIGKILL)
    _until(lambda: _gone([worker["pid"] for worker in record["workers"]]))
    again = folder("up", "greeter", "--detach", "--json")
    assert again.json["workers"] == {"greeter": 1}, "nobody waits for the killed one's lease"


def test_ctrl_c_drains_and_ends_everything(folder: Muster) -> None:
    up = folder.start("up", "greeter")
    assert up.stdout is not None
    said = [up.stdout.readline() for _ in range(4)]
    assert said[3].startswith("ready ")
    pids = [worker["pid"] for worker in _record(folder.folder)["workers"]]
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=SECONDS)
    assert up.returncode == 0, err
    assert _gone(pids)
    assert not (folder.folder / ".muster" / "up.json").exists()
    assert folder("down").out == "nothing runs here\n"


NAPPER = '''\
"""A role of these tests, which says on disk that it has begun."""

import asyncio
from pathlib import Path

from workers import Context, role


@role("napper", listens="nap.#")
async def nap(seconds: float, ctx: Context) -> None:
    """Sleep."""
    Path("begun").touch()
    await asyncio.sleep(seconds)
    Path("ended").touch()
'''


def test_ctrl_c_lets_what_runs_end(folder: Muster) -> None:
    folder.write("agents/napper.py", NAPPER)
    folder.environment["MUSTER_FLEET_DRAIN"] = "20"
    up = folder.start("up", "napper")
    _until(lambda: folder("publish", "nap.x", "2").code == 0)
    _until((folder.folder / "begun").exists)
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=SECONDS)
    assert up.returncode == 0, err
    assert (folder.folder / "ended").exists()
    assert "killed" not in err


def test_replicas_come_from_the_settings(folder: Muster) -> None:
    roles = ("analyst", "coordinator", "researcher", "validator", "writer")
    none = "".join(f"[roles.{role}]\nreplicas = 0\n" for role in roles)
    folder.write("muster.toml", f"{none}[roles.greeter]\nreplicas = 2\n")
    ended = folder("up", "--detach", "--json")
    assert ended.json["workers"] == {"greeter": 2}
