"""What docs/deployment.md says of backups: a fleet comes back from them elsewhere."""

import subprocess
from pathlib import Path

import pytest

from deploy import postgres_server
from tests.cli.running import GREETER, Muster
from tests.clusters import lay
from tests.servers import PostgresServer

pytestmark = [pytest.mark.nats, pytest.mark.postgres]


def _folder(where: Path) -> Muster:
    where.mkdir()
    muster = Muster(where, MUSTER_FLEET_DRAIN="2")
    del muster.environment["MUSTER_HISTORY_URL"]
    muster.write("agents/greeter.py", GREETER)
    return muster


@pytest.mark.slow
def test_the_copied_folder_of_a_fleet_that_is_down_is_that_fleet(free_folder: Path) -> None:
    """Embedded: what waited runs, what was paused is paused, what happened is known."""
    here, there = _folder(free_folder / "here"), _folder(free_folder / "there")
    lay(here.folder / ".muster")
    try:
        assert here("up", "greeter", "--detach").code == 0
        assert here("pause", "greeter").code == 0
        task = here("publish", "greeter.x", '{"name": "Ada"}').out.strip()
        daily = ("schedule", "add", "daily", "greeter.x", '{"name": "Ada"}', "--cron", "@daily")
        assert here(*daily).code == 0
    finally:
        assert here("down").code == 0
    command = ["cp", "-a", str(here.folder / ".muster"), str(there.folder / ".muster")]
    subprocess.run(command, check=True)
    try:
        assert there("up", "greeter", "--detach").code == 0
        assert there("resume", "greeter").out == "resumed greeter\n"
        while "Hello, Ada" not in there("task", "show", task).out:
            pass
        (schedule,) = there("schedule", "ls", "--json").json
        assert schedule["name"] == "daily"
    finally:
        assert there("down").code == 0


def test_a_dump_of_history_is_restored_into_an_empty_database(
    muster: Muster, postgres_server: PostgresServer, history_url: str, tmp_path: Path
) -> None:
    muster.environment["MUSTER_HISTORY_URL"] = history_url
    at = ("--at", "2090-01-31T08:00")
    assert muster("schedule", "add", "once", "greeter.x", "{}", *at).code == 0
    dump = tmp_path / "history.dump"
    _postgres("pg_dump", "--format=custom", f"--file={dump}", history_url)
    with postgres_server.fresh_database() as empty:
        _postgres("pg_restore", "--exit-on-error", f"--dbname={empty}", str(dump))
        muster.environment["MUSTER_HISTORY_URL"] = empty
        (schedule,) = muster("schedule", "ls", "--json").json
        assert (schedule["name"], schedule["topic"]) == ("once", "greeter.x")


@pytest.fixture
def muster(tmp_path: Path) -> Muster:
    """The command in an empty folder."""
    return Muster(tmp_path)


def _postgres(program: str, *arguments: str) -> None:
    path = postgres_server.locate().folder / program
    subprocess.run([path, *arguments], check=True, capture_output=True)
