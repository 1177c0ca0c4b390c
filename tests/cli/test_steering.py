"""Cancel, retry, pause, resume and purge, as a person uses them."""

import os
import pty
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.cli.running import Muster, worked
from tests.servers import NatsServer

pytestmark = pytest.mark.nats

NAPPER = '''\
"""A role of these tests."""

import asyncio

from workers import Context, Reject, role


@role("napper", listens="nap.#", concurrency=1, attempts=1)
async def nap(seconds: float, ctx: Context) -> str | Reject:
    """Sleep."""
    if seconds < 0:
        return Reject("no such nap")
    await asyncio.sleep(seconds)
    return "slept"
'''


@pytest.fixture(scope="module")
def fleet(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """The command in a folder with the role `napper`, on a bus where one worker runs it."""
    folder = tmp_path_factory.mktemp("fleet")
    with worked(nats_server.url, folder, "napper", NAPPER) as muster:
        yield muster


def napper(fleet: Muster) -> dict[str, object]:
    """What `ps` shows of the role."""
    (row,) = [row for row in fleet("ps", "--json").json["roles"] if row["role"] == "napper"]
    return dict(row)


def test_a_task_is_cancelled_and_whoever_waits_is_told(fleet: Muster) -> None:
    waiting = fleet.start("publish", "nap.x", "600", "--wait")
    assert waiting.stderr is not None
    task = waiting.stderr.readline().split()[1]
    ended = fleet("task", "cancel", task, "--reason", "too long")
    assert ended.code == 0
    unsure = "whether there is such a task is not known: no history is kept"
    assert ended.out == f"cancelled {task} ({unsure})\n"
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 1
    what, why, do = err.rstrip().split("\n")[-3:]
    assert what == f"error: task {task} was cancelled"
    assert why.startswith("  why: cancelled by ")
    assert why.endswith(": too long")
    assert do.startswith("   do: ")


def test_pause_and_resume(fleet: Muster) -> None:
    """`ps` says so; a task that is published meanwhile runs after the resume."""
    assert fleet("pause", "napper").out == "paused napper\n"
    assert napper(fleet)["paused"] is True
    assert "paused" in fleet("ps").out
    task = fleet("publish", "nap.x", "0").out.strip()
    assert fleet("resume", "napper", "--json").json == {
        "done": "resumed",
        "role": "napper",
        "note": None,
    }
    assert napper(fleet)["paused"] is False
    assert fleet("resume", "napper").out == "resumed napper (it was not paused)\n"
    deadline = time.monotonic() + 20
    while napper(fleet)["waiting"] != {"high": 0, "retry": 0, "normal": 0, "low": 0}:
        assert time.monotonic() < deadline, f"{task} still waits"


def test_a_purge_says_how_many_waited(fleet: Muster) -> None:
    assert fleet("pause", "napper").code == 0
    for _ in range(2):
        assert fleet("publish", "nap.x", "0").code == 0
    waiting = fleet.start("publish", "nap.x", "0", "--wait")
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith("task ")
    ended = fleet("queue", "purge", "napper", "--yes")
    assert (ended.code, ended.out) == (0, "purged napper (3 tasks waited)\n")
    assert fleet("resume", "napper").code == 0
    _, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, "was cancelled" in err) == (1, True)


def test_a_dead_task_is_retried(fleet: Muster) -> None:
    ended = fleet("publish", "nap.x", "--wait", "--", "-1")
    assert ended.code == 1
    task = ended.err.split()[1]
    ended = fleet("task", "retry", task)
    assert (ended.code, ended.out) == (0, f"retried {task} (napper)\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("task", "retry", "no-such-id"), 4, "is not a dead letter of any role"),
        (("pause", "naper"), 4, "there is no role 'naper'"),
        (("resume", "naper"), 4, "there is no role 'naper'"),
        (("queue", "purge", "naper", "--yes"), 4, "there is no role 'naper'"),
        (("task", "cancel", "--role", "naper", "--yes"), 4, "there is no role 'naper'"),
        (("dlq", "replay", "--all", "--role", "naper"), 4, "there is no role 'naper'"),
        (("dlq", "purge", "--all", "--role", "naper"), 4, "there is no role 'naper'"),
        (("task", "cancel"), 2, "say which tasks are meant"),
        (("task", "cancel", "x", "--all"), 2, "say which tasks are meant"),
        (("task", "cancel", "--role", "napper", "--tenant", "t"), 2, "say which tasks are meant"),
        (("task", "cancel", "--role", "napper"), 5, "nobody can be asked"),
        (("task", "cancel", "--all"), 5, "nobody can be asked"),
        (("queue", "purge", "napper"), 5, "nobody can be asked"),
        (("publish", "nap.x", "0", "--delay", "367d"), 2, "cannot be put off for 367 days"),
    ],
)
def test_mistakes_are_told_in_three_lines(
    fleet: Muster, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = fleet(*arguments)
    assert ended.code == code
    what, why, do = ended.lines
    assert says in what
    assert why
    assert do
    if "naper" in arguments:
        assert why == "did you mean napper?"


def test_a_purge_that_nobody_agreed_to_purges_nothing(fleet: Muster) -> None:
    """In a pipe, also with an answer in it: a person has to be asked."""
    assert fleet("pause", "napper").code == 0
    waiting = fleet.start("publish", "nap.x", "0", "--wait")
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith("task ")
    ended = fleet("queue", "purge", "napper", given="y\n")
    assert (ended.code, ended.lines[2]) == (5, "repeat it with --yes")
    assert ended.lines[0] == "nobody can be asked: Cancel 1 task of napper, and what runs?"
    assert fleet("resume", "napper").code == 0
    out, _ = waiting.communicate(timeout=20)
    assert (waiting.returncode, out) == (0, '"slept"\n')


def test_one_that_is_refused_does_not_stop_the_others(fleet: Muster) -> None:
    ended = fleet("pause", "naper", "napper")
    assert (ended.code, ended.out) == (4, "paused napper\n")
    assert fleet("resume", "napper").code == 0


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130)])
def test_a_person_is_asked_before_many_tasks_are_cancelled(
    fleet: Muster, answer: str, code: int
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        fleet.command("task", "cancel", "--tenant", "nobody"),
        cwd=fleet.folder,
        env=fleet.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as asked:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        out, err = asked.communicate(timeout=30)
        os.close(ours)
    assert asked.returncode == code, err
    assert "Cancel every task of tenant nobody" in err
    assert out == ("cancelled every task of tenant nobody\n" if code == 0 else "")
