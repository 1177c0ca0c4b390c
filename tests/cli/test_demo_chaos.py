"""`muster demo --chaos` as a user runs it: real kills, what is said of them, nothing left over."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy import embedded
from deploy.brokers import BROKERS, NATS
from deploy.errors import ServerMissing
from tests import brokers
from tests.cli.running import Ended, Muster
from tests.clusters import lay
from tests.servers import missing

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SECONDS = 90.0

KILL = re.compile(
    r"^ (researcher|coordinator|broker) +(\d+) +(.*?)  +(.*?)  +(\d+\.\d\d) s *$", re.MULTILINE
)
"""A line of what was killed: who, its process, what was under way, where work went on, seconds."""


@pytest.fixture
def folder(free_folder: Path) -> Iterator[Muster]:
    """A folder with everything embedded, in which nothing runs afterwards."""
    muster = Muster(free_folder)
    del muster.environment["MUSTER_HISTORY_URL"]
    muster.environment["COLUMNS"] = "160"
    lay(free_folder / ".muster")
    yield muster
    left = _left(free_folder)
    assert muster("down").code == 0
    assert left == []


def _left(folder: Path) -> list[str]:
    """The processes that work in the folder or below it."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(f"{process.pid}: {' '.join(process.cmdline())}")
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("name", brokers.ALONE)
def test_worker_coordinator_and_broker_are_killed_and_the_brief_is_right(
    folder: Muster, name: str
) -> None:
    """All that the demo shows: who was killed at what, when work went on, the brief that a single
    process makes, second attempts in history, a dead letter mended."""
    try:
        BROKERS[name].locate()
    except ServerMissing as error:
        missing(name, str(error))
    ended = folder("demo", "--chaos", "--bus", name, timeout=SECONDS)
    assert ended.code == 0, ended.err + ended.out
    assert f"bus: {BROKERS[name].title} " in ended.out
    kills = {who: rest for who, *rest in KILL.findall(ended.out)}
    assert list(kills) == ["researcher", "coordinator", "broker"], ended.out
    for who, (pid, _, _, seconds) in kills.items():
        assert not psutil.pid_exists(int(pid))
        assert re.search(rf"^ *\d+\.\d\d s  {who} +{pid}  KILLED -9: ", ended.out, re.MULTILINE)
        assert 0 < float(seconds) < SECONDS
    assert "reads" in kills["researcher"][1]
    assert "researchers at work" in kills["coordinator"][1]
    assert re.search(r"\d unfinished task", kills["broker"][1])
    assert "the brief is equal to the one" in ended.out
    assert _attempts(ended, "researcher") >= {"1", "2"}
    assert _attempts(ended, "coordinator") >= {"1", "2"}
    assert "as history tells" in ended.out
    assert "with the same brief" in ended.out


def _attempts(ended: Ended, role: str) -> set[str]:
    """The attempts of a role in the table of who did what."""
    table = ended.out.partition("who did what")[2]
    return set(re.findall(rf"^ {role} +\d+ +(\d+) ", table, re.MULTILINE))


@pytest.mark.nats
@pytest.mark.parametrize(
    ("moment", "impatient"), [(r"^history: ", False), (r"broker +\d+  KILLED -9", True)]
)
def test_an_end_in_the_middle_leaves_no_process_behind(
    folder: Muster, moment: str, impatient: bool
) -> None:
    """While processes start; and while the broker is dead, asked a second time at once."""
    demo = folder.start("demo", "--chaos")
    assert demo.stdout is not None
    assert any(re.search(moment, line) for line in demo.stdout)
    demo.send_signal(signal.SIGINT)
    if impatient:
        with pytest.raises(subprocess.TimeoutExpired):
            demo.wait(0.05)
        demo.send_signal(signal.SIGINT)
    _, said = demo.communicate(timeout=SECONDS)
    assert (demo.returncode, said.count("error: interrupted")) == (130, 1), said


@pytest.mark.nats
def test_a_broker_that_is_not_its_own_is_not_killed(muster: Muster) -> None:
    """One that is configured, whose password is not shown: nothing was started."""
    ended = muster("demo", "--chaos", "--bus", "nats://ada:secret@127.0.0.1:1")
    assert ended.code == 2
    assert "not the demo's own" in ended.lines[0]
    assert "127.0.0.1:1, from flag" in ended.lines[1]
    assert "secret" not in ended.err
    assert not (muster.folder / ".muster").exists()


@pytest.mark.nats
def test_the_broker_of_a_running_fleet_is_not_killed(muster: Muster) -> None:
    """One that runs in the folder already: others may work on it."""
    state = muster.folder / ".muster"
    server = embedded.start(NATS, state)
    try:
        ended = muster("demo", "--chaos")
        assert ended.code == 2
        assert f"process {server.pid} runs here already" in ended.lines[1]
        assert embedded.find(NATS, state) == server
    finally:
        embedded.stop(NATS, state)
