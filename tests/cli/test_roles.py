"""`muster roles`: what is bound to what, and the end of a role."""

import secrets
from pathlib import Path

import pytest

from bus.bus import Bus
from bus.stops import Kind
from tests.cli.letters import letter, on_bus, put
from tests.cli.running import Muster
from tests.servers import NatsServer

pytestmark = pytest.mark.nats


@pytest.fixture
def muster(nats_server: NatsServer, tmp_path: Path) -> Muster:
    """The command on a fleet of its own, where nobody works."""
    name = f"roles-{secrets.token_hex(4)}"
    return Muster(tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=name)


def test_a_role_is_shown_with_its_members_and_what_they_declare(fleet: Muster) -> None:
    (found,) = [each for each in fleet("roles", "ls", "--json").json if each["role"] == "greeter"]
    assert (found["workers"], found["concurrency"], found["limits"]) == (1, 8, [])
    assert found["versions"] == [["greeter.#"]]
    (member,) = found["members"]
    assert (member["listens"], member["draining"]) == (["greeter.#"], False)
    assert member["memory"] > 10_000_000
    listed = fleet("roles", "ls").out
    assert "greeter.#" in listed
    assert " now " in listed
    shown = fleet("roles", "show", "greeter")
    assert shown.code == 0
    assert "agents/greeter.py:13: 1 attempts of 120 s, 8 at once" in shown.out
    assert member["worker"] in shown.out
    said = fleet("roles", "show", "greeter", "--json").json
    assert (said["dead"], said["code"]["attempts"]) == (0, 1)


def test_a_role_that_is_not_there_names_the_nearest(fleet: Muster) -> None:
    for command in ("show", "rm"):
        ended = fleet("roles", command, "greter", *(["--yes"] if command == "rm" else []))
        assert ended.code == 4
        assert ended.lines[1] == "did you mean greeter?"


@pytest.mark.promise(22)
def test_a_role_with_a_living_worker_is_not_retired(fleet: Muster) -> None:
    """22: it would bind itself again; the error says which process it is."""
    ended = fleet("roles", "rm", "greeter", "--drop", "--yes")
    assert ended.code == 5
    what, why, _ = ended.lines
    assert what == "1 worker of greeter still lives"
    assert str(fleet("ps", "--json").json["workers"][0]["pid"]) in why
    assert fleet("publish", "greeter.x", '{"name": "Ada"}', "--wait").code == 0


@pytest.mark.promise(22)
def test_a_role_is_retired_when_nothing_waits_or_what_waits_is_given_up(muster: Muster) -> None:
    """22: refused while anything waits, and in a pipe without --yes; its dead letters stay."""
    put(muster, letter("t1"))
    assert muster("publish", "greeter.x", '{"name": "Ada"}').code == 0
    ended = muster("roles", "rm", "greeter", "--yes")
    assert ended.code == 5
    assert ended.lines[0] == "1 waiting task of greeter"
    assert "muster roles rm greeter --drop" in ended.lines[2]
    ended = muster("roles", "rm", "greeter", "--drop")
    assert ended.code == 5
    assert ended.lines[0] == "nobody can be asked: Retire greeter and lose 1 waiting task?"
    ended = muster("roles", "rm", "greeter", "--drop", "--yes")
    assert (ended.code, ended.out) == (0, "retired greeter (1 waiting task lost)\n")
    assert muster("publish", "greeter.x", '{"name": "Ada"}').code == 4
    assert muster("roles", "ls", "--json").json == []
    assert [each["id"] for each in muster("dlq", "ls", "--json").json] == ["t1"]


def test_the_group_of_history_is_not_retired(muster: Muster) -> None:
    muster.environment["MUSTER_HISTORY_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
    assert muster("roles", "ls").code == 0
    ended = muster("roles", "rm", "recorder", "--drop", "--yes")
    assert ended.code == 5
    assert "history.url = none" in ended.lines[2]


def test_who_paused_a_role_is_shown_and_its_retirement_ends_the_pause(muster: Muster) -> None:
    put(muster, letter("t1"))

    async def pause(bus: Bus) -> None:
        await bus.stops.put(Kind.PAUSE, "greeter", by="ada@host", reason="to look")

    on_bus(muster, pause)
    assert "by ada@host: to look" in muster("roles", "show", "greeter").out
    (found,) = muster("roles", "ls", "--json").json
    assert (found["paused"], found["pause"]["by"], found["seen"]) == (True, "ada@host", None)
    assert "never" in muster("roles", "ls").out
    assert muster("roles", "rm", "greeter", "--yes", "--json").json == {
        "done": "retired",
        "role": "greeter",
        "lost": None,
    }

    async def paused(bus: Bus) -> list[str]:
        return list(await bus.stops.paused())

    assert on_bus(muster, paused) == []
