"""The history database as the commands start, check and end it."""

import asyncio
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy import ports, postgres, postgres_server
from knowledge.database.database import Database
from tests.cli.running import GREETER, Muster
from tests.clusters import lay
from tests.servers import PostgresServer
from workers.services import SERVICES

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

SECONDS = 30.0


@pytest.fixture
def folder(free_folder: Path) -> Iterator[Muster]:
    """A folder with one role and everything embedded, in which nothing runs afterwards."""
    muster = Muster(free_folder)
    del muster.environment["MUSTER_HISTORY_URL"]
    muster.environment["MUSTER_FLEET_DRAIN"] = "2"
    muster.write("agents/greeter.py", GREETER)
    yield muster
    assert muster("down").code == 0


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def _server(folder: Muster) -> postgres.Embedded:
    found = postgres.find(folder.folder / ".muster")
    assert found is not None
    return found


def _checks(muster: Muster) -> dict[str, Any]:
    return {check["what"]: check for check in muster("doctor", "--json").json["checks"]}


def test_up_starts_it_and_down_ends_it(folder: Muster, happened: Callable[[str], None]) -> None:
    up = folder("up", "greeter", "--detach", "--json")
    assert up.code == 0, up.err
    happened(f"from an empty folder, both servers embedded: ready after {up.json['ready']} s")
    server = _server(folder)
    assert up.json["history"].endswith(f"/muster?host={server.folder}")
    checks = _checks(folder)
    assert {checks[what]["state"] for what in ("history", "durability", "connections")} == {"ok"}
    assert "fsync is on, synchronous_commit is on" in checks["durability"]["said"]
    down = folder("down", "--json")
    assert sorted(down.json["ended"]) == sorted(
        ["bus", "greeter", "history", "supervisor", *SERVICES]
    )
    assert not psutil.pid_exists(server.pid)


def test_a_killed_one_is_started_again_at_its_address(folder: Muster) -> None:
    lay(folder.folder / ".muster")
    assert folder("up", "greeter", "--detach").code == 0
    server = _server(folder)
    os.kill(server.pid, signal.SIGKILL)
    state = folder.folder / ".muster"
    _until(lambda: (found := postgres.find(state)) is not None and found.pid != server.pid)
    assert _server(folder).url == server.url
    again = "the history had ended; started again as process"
    _until(lambda: again in (state / "up.log").read_text())


def test_one_that_ran_before_outlives_up(folder: Muster) -> None:
    lay(folder.folder / ".muster")
    server = postgres.start(folder.folder / ".muster")
    up = folder.start("up", "greeter")
    assert up.stdout is not None
    said = [up.stdout.readline() for _ in range(4)]
    assert [line.split()[0] for line in said] == ["bus", "history", "crew", "ready"]
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=SECONDS)
    assert _server(folder) == server
    assert folder("down").out == "ended: history\n"


def test_what_is_configured_is_not_started(folder: Muster, history_url: str) -> None:
    folder.environment["MUSTER_HISTORY_URL"] = history_url
    up = folder("up", "greeter", "--detach", "--json")
    assert up.code == 0, up.err
    assert postgres.find(folder.folder / ".muster") is None
    assert not (folder.folder / ".muster" / "postgres").exists()


def test_a_fleet_may_keep_none(folder: Muster) -> None:
    folder.environment["MUSTER_HISTORY_URL"] = "none"
    up = folder("up", "greeter", "--detach", "--json")
    assert (up.code, up.json["history"]) == (0, "none")
    assert not (folder.folder / ".muster" / "postgres").exists()
    assert "none is kept" in _checks(folder)["history"]["said"]


async def _of_a_newer_release(url: str, schema: str) -> None:
    database = await Database.open(url, schema=schema)
    async with database.link() as link:
        await link.execute("INSERT INTO migrations (number, name, digest) VALUES (99, 'x', 'x')")
    await database.close()


def test_a_database_of_a_newer_release_is_left_alone_and_tasks_run(
    folder: Muster, history_url: str
) -> None:
    """As after a step back to an older release: history refuses, work goes on."""
    asyncio.run(_of_a_newer_release(history_url, "muster_default"))
    folder.environment["MUSTER_HISTORY_URL"] = history_url
    what = "the history database belongs to a newer release"
    for command in (("task", "ls"), ("task", "show", "x"), ("schedule", "ls")):
        ended = folder(*command)
        assert (ended.code, ended.lines[0]) == (3, what)
        assert "is at step 99, this release knows" in ended.lines[1]
    up = folder("up", "greeter", "--detach")
    assert (up.code, up.lines[0]) == (0, what)
    assert "tasks run, and nothing is recorded of them:" in up.err
    assert folder("publish", "greeter.x", '{"name": "Ada"}', "--wait").code == 0
    check = _checks(folder)["history"]
    assert (check["state"], check["said"].partition(":")[0]) == ("fail", what)


def test_a_port_for_probes_is_the_workers_own(folder: Muster) -> None:
    """Services beside it answer on others."""
    lay(folder.folder / ".muster")
    folder.environment["MUSTER_HEALTH_PORT"] = str(ports.free())
    up = folder("up", "greeter", "--detach", "--json")
    assert up.code == 0, up.err
    assert up.json["workers"] == {"greeter": 1, **dict.fromkeys(SERVICES, 1)}


def test_data_of_another_version_stop_up_and_leave_nothing(folder: Muster) -> None:
    folder.write(".muster/postgres/data/PG_VERSION", "16\n")
    for detach in ([], ["--detach"]):
        up = folder("up", "greeter", *detach)
        assert up.code == 3
        assert "PostgreSQL 16" in up.lines[0]
    assert folder("down").out == "nothing runs here\n"


@contextmanager
def _another_program(says: bytes) -> Iterator[int]:
    """The port of a program that speaks something else."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            with other.accept()[0] as connection:
                connection.recv(1024)
                connection.sendall(says)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield other.getsockname()[1]
        thread.join(SECONDS)


def _history(muster: Muster, url: str) -> tuple[str, str]:
    """What `doctor` says of the database at `url`, with its exit code 3, and never the password."""
    muster.environment["MUSTER_HISTORY_URL"] = url
    ended = muster("doctor", "--json")
    assert ended.code == 3
    assert "secret" not in ended.out + ended.err
    assert "secret" not in muster("config").out
    (found,) = [check for check in ended.json["checks"] if check["what"] == "history"]
    assert found["state"] == "fail"
    assert found["do"]
    return found["said"], found["do"]


def test_one_that_is_not_there_is_said_so(muster: Muster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said, _ = _history(muster, f"postgresql://ada:secret@127.0.0.1:{port}/history")
    assert "cannot be reached" in said
    assert f"127.0.0.1:{port}/history" in said


def test_a_database_that_is_not_there_is_named(
    muster: Muster, postgres_server: PostgresServer
) -> None:
    said, do = _history(muster, postgres_server.url.replace("/muster?", "/nowhere?"))
    assert "no such database" in said
    assert "nowhere" in said
    assert "createdb" in do


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO {}\r\n", b""])
def test_another_program_at_that_port_is_noticed(muster: Muster, says: bytes) -> None:
    with _another_program(says) as port:
        said, _ = _history(muster, f"postgresql://ada:secret@127.0.0.1:{port}/h?sslmode=disable")
    assert "not PostgreSQL" in said or "cannot be reached" in said


@pytest.mark.parametrize(
    "url", ["mysql://ada:secret@h/x", "ada:secret", "postgresql://a:secret@[:1/x"]
)
def test_an_address_of_something_else_is_refused(muster: Muster, url: str) -> None:
    said, do = _history(muster, url)
    assert "cannot be used" in said
    assert "postgresql://" in do


def test_a_wrong_password_is_refused(
    muster: Muster, own_postgres: Callable[[], PostgresServer]
) -> None:
    server = own_postgres()
    server.run("CREATE ROLE ada LOGIN PASSWORD 'right'")
    rules = server.state / "postgres" / "data" / "pg_hba.conf"
    rules.write_text(f"local all ada scram-sha-256\n{rules.read_text()}")
    server.run("SELECT pg_reload_conf()")
    sockets = server.url.partition("host=")[2]

    def wrong() -> bool:
        said, _ = _history(muster, f"postgresql://ada:secret@/muster?host={sockets}")
        return "refused the login" in said

    _until(wrong)


def test_settings_that_lose_what_was_committed_are_found(
    muster: Muster, own_postgres: Callable[[], PostgresServer]
) -> None:
    server = own_postgres()
    server.run("ALTER SYSTEM SET fsync = off")
    server.run("ALTER DATABASE muster SET synchronous_commit = off")
    server.run("ALTER SYSTEM SET max_connections = 50")
    server.restart()
    muster.environment["MUSTER_HISTORY_URL"] = server.url
    checks = _checks(muster)
    assert checks["durability"]["state"] == checks["connections"]["state"] == "warn"
    assert checks["durability"]["said"] == "fsync, synchronous_commit: off"
    assert "set fsync, synchronous_commit to on" in checks["durability"]["do"]
    assert str(postgres_server.MAX_CONNECTIONS) in checks["connections"]["do"]


def test_the_demo_ends_what_it_has_started(folder: Muster) -> None:
    lay(folder.folder / ".muster")
    folder.write("documents/true.txt", "The price of tea is 4 euros per 100 g.")
    ended = folder(
        "demo",
        "--json",
        "--folder",
        str(folder.folder / "documents"),
        "--ask",
        "What is the price of tea?",
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["status"] == "answered"
    assert "history: PostgreSQL 18 in " in ended.err
    assert re.search(r"^\d+ tasks in \d+ runs .* as history ", ended.err, re.MULTILINE)
    assert folder("down").out == "nothing runs here\n"
