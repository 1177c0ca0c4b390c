"""`scale` as a person uses it: over two machines, through deaths, and with bad input."""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.running import GREETER, Muster
from tests.servers import NatsServer
from workers.fleet import standing

pytestmark = pytest.mark.nats

LEASE = 2.0
SECONDS = 30.0

BREAKER = '''\
"""A role of these tests, before its deploy and after."""

from workers import Context, role

%s

@role("breaker", listens="breaker.#")
async def breaks(number: int, ctx: Context) -> None:
    """Nothing."""
'''


@pytest.fixture
def fleet(nats_server: NatsServer, tmp_path: Path) -> Iterator[Callable[[str], Muster]]:
    """Makes folders of one fleet, each as of another machine, which has one role."""
    made: list[Muster] = []
    settings = {
        "MUSTER_BUS_URL": nats_server.url,
        "MUSTER_FLEET_NAME": f"scale-{secrets.token_hex(4)}",
        "MUSTER_FLEET_LEASE": str(LEASE),
        "MUSTER_FLEET_DRAIN": "2",
    }

    def make(name: str) -> Muster:
        (tmp_path / name).mkdir()
        muster = Muster(tmp_path / name, **settings)
        muster.write("agents/greeter.py", GREETER)
        made.append(muster)
        return muster

    yield make
    for muster in made:
        if (muster.folder / ".muster").exists():
            assert muster("down").code == 0


def until(what: Callable[[], bool], seconds: float = SECONDS) -> float:
    """Wait for it; the seconds that took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() < began + seconds
        time.sleep(0.05)
    return time.monotonic() - began


def staff(muster: Muster, role: str = "greeter") -> Any:
    """What `scale` shows of a role."""
    (found,) = [one for one in muster("scale", "--json").json["roles"] if one["role"] == role]
    return found


def ready(muster: Muster) -> int:
    """How many processes of a folder work, by its record."""
    found = standing.find(muster.folder / ".muster")
    return sum(kept.state == "ready" for kept in found.workers) if found else 0


def test_two_machines_share_a_role_and_one_takes_over_the_other(
    fleet: Callable[[str], Muster], happened: Callable[[str], None]
) -> None:
    """Killed with its workers, a machine's processes run on the other within three leases."""
    one, two = fleet("one"), fleet("two")
    assert one("up", "greeter", "--detach").code == 0
    ended = one("scale", "greeter=4")
    assert (ended.code, ended.out) == (0, "scaled greeter (to 4)\n"), ended.err
    until(lambda: ready(one) == 4)
    assert two("up", "greeter", "--detach").code == 0
    until(lambda: (ready(one), ready(two)) == (2, 2))
    until(lambda: len(staff(one)["where"]) == 2)
    until(lambda: (staff(two)["wanted"], staff(two)["ready"]) == (4, 4))
    shown = staff(two)
    assert shown["why"].startswith("scaled by ")
    found = standing.find(two.folder / ".muster")
    assert found is not None
    victims = [found.pid, *(kept.pid for kept in found.workers if kept.pid)]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    seconds = until(lambda: ready(one) == 4)
    happened(f"a machine was killed: its 2 processes were ready on the other after {seconds:.1f} s")
    assert seconds < 3 * LEASE
    assert one("publish", "greeter.x", '{"name": "Ada"}', "--wait").code == 0
    assert not any(psutil.pid_exists(pid) and _lives(pid) for pid in victims)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_a_bus_that_was_away_moves_no_process(
    own_nats: Callable[[], NatsServer], fleet: Callable[[str], Muster]
) -> None:
    """For several leases, on two machines: every sign of life has lapsed when it is back."""
    server, one, two = own_nats(), fleet("one"), fleet("two")
    for each in (one, two):
        each.environment["MUSTER_BUS_URL"] = server.url
        assert each("up", "greeter", "--detach").code == 0
    assert one("scale", "greeter=4").code == 0
    until(lambda: (ready(one), ready(two)) == (2, 2))
    until(lambda: staff(one)["ready"] == 4)
    before = [*pids(one), *pids(two)]
    server.kill()
    time.sleep(4 * LEASE)  # the outage itself
    server.start()
    until(lambda: len(staff(one)["where"]) == 2 and staff(one)["ready"] == 4)
    assert one("publish", "greeter.x", '{"name": "Ada"}', "--wait").code == 0
    time.sleep(2 * LEASE)  # in which seats would be taken
    assert [*pids(one), *pids(two)] == before


def pids(muster: Muster) -> list[int]:
    """The processes of a folder, by its record."""
    found = standing.find(muster.folder / ".muster")
    return sorted(kept.pid or 0 for kept in found.workers) if found else []


def test_up_with_a_number_holds_until_somebody_scales_and_after_a_reset(
    fleet: Callable[[str], Muster],
) -> None:
    one = fleet("one")
    ended = one("up", "greeter=2", "--detach", "--json")
    assert ended.json["workers"] == {"greeter": 2}
    assert staff(one)["why"] == "2 by `up greeter=N`"
    assert one("scale", "greeter=1", "--json").json == {
        "done": "scaled",
        "role": "greeter",
        "to": "to 1",
        "note": None,
    }
    until(lambda: ready(one) == 1)
    assert one("scale", "--reset", "greeter").out == "reset greeter (to its settings)\n"
    until(lambda: ready(one) == 2)
    assert "they decided before" in one("scale", "--reset", "greeter").out


def test_a_broken_deploy_is_shown_and_the_other_roles_run(
    fleet: Callable[[str], Muster],
) -> None:
    """By `ps` and by `scale`: how often it died, of what, and when it is started again. Also a
    worker of another role that is started again meanwhile finds its code."""
    one = fleet("one")
    one.write("agents/breaker.py", BREAKER % "")
    assert one("up", "greeter", "breaker", "--detach").code == 0
    one.write("agents/breaker.py", BREAKER % "import not_installed")
    found = standing.find(one.folder / ".muster")
    assert found is not None
    for kept in found.workers:
        assert kept.pid is not None
        os.kill(kept.pid, signal.SIGKILL)
    until(
        lambda: any(
            crash["role"] == "breaker" and crash["exit_code"] == 2 for crash in crashes(one)
        )
    )
    until(lambda: staff(one)["ready"] == 1)
    said = one("scale").err
    assert "breaker died" in said
    assert "last with exit code 2; it is started again" in said
    shown = staff(one, "breaker")
    assert (shown["wanted"], shown["ready"], shown["starting"]) == (1, 0, 1)
    assert one("publish", "greeter.x", '{"name": "Ada"}', "--wait").code == 0


def crashes(muster: Muster) -> Any:
    """What `ps` shows of processes that die again and again."""
    ended = muster("ps", "--json")
    assert ended.code == 0, ended.out + ended.err
    return ended.json["crashes"]


def test_a_task_brings_the_first_process_of_a_role_that_has_none(
    fleet: Callable[[str], Muster],
) -> None:
    """By the settings' range; the role counts as worked on meanwhile."""
    one = fleet("one")
    one.write("muster.toml", "[roles.greeter]\nreplicas = { min = 0, max = 2 }\n")
    assert one("up", "greeter", "--detach", "--json").json["workers"] == {}
    assert one("publish", "greeter.x", '{"name": "Ada"}', "--wait").code == 0
    assert staff(one)["why"].startswith("settings: auto:0..2; ")


def test_it_is_kept_where_no_fleet_is_up(fleet: Callable[[str], Muster]) -> None:
    one = fleet("one")
    ended = one("scale", "greeter=3")
    assert ended.out == "scaled greeter (to 3, no fleet is up: it holds when one comes)\n"
    assert staff(one)["wanted"] == 3
    ended = one("up", "greeter=1", "--detach", "--json")
    assert ended.json["workers"] == {"greeter": 3}
    assert "greeter=1 does not count: " in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["greeter=-1"], 2, "'-1' is not a number of processes"),
        (["greeter=1001"], 2, "'1001' is not a number of processes"),
        (["greeter=auto:8..1"], 2, "'auto:8..1' is not a number of processes"),
        (["greeter=auto:0..0"], 2, "'auto:0..0' is not a number of processes"),
        (["greeter=many"], 2, "'many' is not a number of processes"),
        (["greeter"], 2, "'greeter' is not ROLE=N"),
        (["greeter=1", "greeter=2"], 2, "greeter is scaled twice"),
        (["greeter=1", "--reset", "greeter"], 2, "greeter is scaled and reset"),
        (["--queue-depth", "5"], 2, "a queue depth belongs to a range"),
        (["greeter=1", "--queue-depth", "5"], 2, "'1' is not a number of processes"),
        (["greter=1"], 4, "there is no role 'greter'"),
        (["--reset", "greter"], 4, "there is no role 'greter'"),
    ],
)
def test_wrong_input(
    fleet: Callable[[str], Muster], arguments: list[str], code: int, what: str
) -> None:
    ended = fleet("one")("scale", *arguments)
    assert ended.code == code, ended.err
    assert ended.lines[0] == what
