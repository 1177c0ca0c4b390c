"""`muster doctor` where something is wrong."""

import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.bus import Bus
from bus.examined import Examined
from bus.keyvalue import keys
from contracts.topics import EVENTS
from tests.cli.letters import on_bus
from tests.cli.running import GREETER, Ended, Muster
from tests.servers import NatsServer
from workers.cli import broker, machine
from workers.cli.checks import State
from workers.fleet.presence import Alive
from workers.settings import load


def states(ended: Ended) -> dict[str, str]:
    """How each check ended."""
    return {check["what"]: check["state"] for check in ended.json["checks"]}


def test_it_works_without_a_bus_and_says_what_to_do(muster: Muster) -> None:
    ended = muster("doctor")
    assert ended.code == 3
    assert "python" in ended.out
    assert "muster up" in ended.lines[2]


def test_a_broken_role_is_found(muster: Muster) -> None:
    """With its line; where the bus is away too, that decides the exit code."""
    file = muster.write("agents/broken.py", "import no_such_module_anywhere\n")
    ended = muster("doctor", "--json")
    roles = next(check for check in ended.json["checks"] if check["what"] == "roles")
    assert (ended.code, roles["state"]) == (3, "fail")
    assert f"{file}:1" in roles["said"]


@pytest.fixture
def served(nats_server: NatsServer, tmp_path: Path) -> Muster:
    """The command on a fleet of its own, where nobody works."""
    name = f"doctor-{secrets.token_hex(4)}"
    return Muster(tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=name)


@pytest.mark.nats
def test_with_the_bus_well_what_is_red_is_exit_code_1(served: Muster) -> None:
    served.write("agents/broken.py", "import no_such_module_anywhere\n")
    ended = served("doctor", "--json")
    assert (ended.code, ended.json["exit_code"]) == (1, 1)
    found = states(ended)
    assert (found["roles"], found["bus"], found["workers"]) == ("fail", "ok", "warn")


@pytest.mark.nats
@pytest.mark.promise(1)
def test_whether_writes_are_synced_is_seen_by_the_monitoring_of_that_server(
    served: Muster, nats_server: NatsServer, own_nats: Callable[[], NatsServer]
) -> None:
    """1: never by that of another one."""
    assert states(served("doctor", "--json", "--monitor", nats_server.monitor_url))["sync"] == "ok"
    ended = served("doctor", "--monitor", own_nats().monitor_url)
    assert ended.code == 0
    assert "warn sync: a client cannot see whether it syncs every write" in ended.out
    assert "  why: promise 1: what was accepted survives" in ended.out
    assert "   do: look there for `jetstream { sync_interval: always }`" in ended.out


@pytest.mark.nats
@pytest.mark.promise(1)
def test_a_server_that_does_not_sync_every_write_is_found(tmp_path: Path) -> None:
    store = tmp_path / "store"
    weak = f'jetstream {{ store_dir: "{store}", sync_interval: 2m }}\n'
    server = NatsServer(tmp_path / "weak", more=weak)
    server.start()
    try:
        ended = Muster(tmp_path)("doctor", "--bus", server.url, "--monitor", server.monitor_url)
    finally:
        server.stop()
    assert "warn sync: writes are not synced at once" in ended.out


@pytest.mark.nats
def test_version_clock_and_room_are_told(served: Muster) -> None:
    said = {check["what"]: check["said"] for check in served("doctor", "--json").json["checks"]}
    assert said["bus"].startswith("nats-server 2.")
    assert "the broker's clock is 0.0" in said["skew"]
    assert said["room"].startswith("tasks fill 0.0 of 10.0 GB")


@pytest.mark.nats
def test_groups_of_killed_listeners_are_told_and_how_to_retire_them(served: Muster) -> None:
    group = "listener-tail-0"

    async def killed(bus: Bus) -> None:
        await bus.bind(group, [EVENTS])
        await bus.store.put(keys.listener(group, "bound"), b"")

    on_bus(served, killed)
    ended = served("doctor")
    assert "warn listeners: 1 groups of listeners that were killed" in ended.out
    assert served("task", "tail", "--for", "100ms").code == 0
    assert "listeners" not in states(served("doctor", "--json"))


def test_few_open_files_are_told_with_what_to_type(muster: Muster) -> None:
    muster.write("agents/greeter.py", GREETER)
    shell = ["sh", "-c", 'ulimit -Sn 128 && exec "$@"', "sh", *muster.command("doctor")]
    done = subprocess.run(
        shell,
        cwd=muster.folder,
        env=muster.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "warn open files: at most 128, 6 workers and a broker need 280" in done.stdout
    assert "   do: `ulimit -n 280`" in done.stdout


BROKER = Examined(program="nats-server", version="2.15.1", identity="N", used=0, limit=10**10)


@pytest.mark.parametrize(
    ("ahead", "doubt", "state"),
    [(0.2, 0.001, "ok"), (1.5, 0.001, "warn"), (-3600.0, 0.01, "warn"), (1.5, 0.8, "ok")],
)
def test_a_clock_is_wrong_when_it_is_surely_off_by_a_second(
    ahead: float, doubt: float, state: str
) -> None:
    told = Examined(program="s", version="1", identity="", ahead=ahead, doubt=doubt)
    assert broker._skew(told).state == state


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"used": 9 * 10**9, "limit": 10**10}, "tasks fill 9.0 of 10.0 GB"),
        ({"limit": 10**10, "storage": 10**9, "stored": 0}, "the account may store 1.0"),
        ({"limit": 10**18}, "of this disk are free"),
    ],
)
def test_too_little_room_is_told(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    given = {"used": 0, **fields}
    told = Examined(program="s", version="1", identity="", **given)
    check = broker._room(load(tmp_path, environment={}), told)
    assert (check.state, check.promise) == (State.WARN, 21)
    assert says in check.said
    assert check.do


def test_room_that_suffices_is_well(tmp_path: Path) -> None:
    assert broker._room(load(tmp_path, environment={}), BROKER).state is State.OK


def test_a_clock_of_another_host_that_is_ahead_is_told() -> None:
    now = time.time()
    one = Alive(role="r", worker="w", pid=1, host="h", since=now, at=now + 5.0, concurrency=1)
    check = broker._workers([one], now)
    assert (check.state, "5.0 s ahead" in check.said) == (State.WARN, True)


def test_a_worker_near_the_limit_of_its_files_is_named() -> None:
    """Of this machine only."""
    here = {"host": socket.gethostname(), "pid": 1}
    shown = {"role": "r", "worker": "w", "since": 0.0, "at": 0.0, "concurrency": 1, **here}
    assert machine.worker_files([Alive(**shown)]) == []  # type: ignore[arg-type]
    with subprocess.Popen(
        ["sh", "-c", "ulimit -n 3 && echo x && read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as many:
        assert many.stdout is not None
        many.stdout.readline()
        (check,) = machine.worker_files([Alive(**{**shown, "pid": many.pid})])  # type: ignore[arg-type]
        many.communicate(b"\n")
    assert f"process {many.pid} has " in check.said
    assert " of 3 files open" in check.said
