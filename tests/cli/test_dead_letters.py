"""`muster dlq`: which letters are meant, replay of many, purge of many."""

import json
import secrets
import shlex
import signal
from pathlib import Path

import pytest

from contracts.outcomes import Reason
from tests.cli.letters import dead, letter, put, replayed
from tests.cli.running import Muster
from tests.cli.terminal import terminal
from tests.servers import NatsServer
from workers.fleet.operator import whoami

pytestmark = pytest.mark.nats

HOUR = 3600.0


@pytest.fixture
def muster(nats_server: NatsServer, tmp_path: Path) -> Muster:
    """The command on a fleet of its own, where nobody works."""
    name = f"dlq-{secrets.token_hex(4)}"
    return Muster(tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=name)


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ("", {"old", "young", "crashed", "acme"}),
        ("--role greeter", {"old", "young", "acme"}),
        ("--reason crash", {"crashed"}),
        ("--tenant acme", {"acme"}),
        ("--tenant default --role greeter", {"old", "young"}),
        ("--older 1h", {"old"}),
        ("--newer 1h", {"young", "crashed", "acme"}),
        ("--older 1h --reason crash", set()),
        ("--text NOBODY", {"old", "young", "acme"}),
        ("--text greeter.hello --newer 30m", {"young", "crashed", "acme"}),
        ("--text Ünïcode", {"acme"}),
    ],
)
def test_letters_are_found_by_what_they_are(many: Muster, options: str, meant: set[str]) -> None:
    ended = many("dlq", "ls", "--json", *options.split())
    assert ended.code == 0, ended.err
    assert {each["id"] for each in ended.json} == meant


@pytest.fixture(scope="module")
def many(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Muster:
    """Four different letters, to be looked at."""
    folder = tmp_path_factory.mktemp("many")
    name = f"dlq-{secrets.token_hex(4)}"
    muster = Muster(folder, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=name)
    put(
        muster,
        letter("old", ago=2 * HOUR),
        letter("young"),
        letter("crashed", group="other", reason=Reason.CRASH, error="gone", body=b"{}"),
        letter("acme", tenant="acme", body='{"name":"nobody ünïcode"}'.encode()),
    )
    return muster


def test_the_latest_come_first_and_the_rest_is_counted(many: Muster) -> None:
    ended = many("dlq", "ls", "--role", "greeter", "--limit", "1")
    assert "old" not in ended.out
    assert "acme" in ended.out
    assert ended.err == "2 more: see them with --limit\n"
    assert "TENANT" in ended.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("ls", "--older", "soon"), 2, "--older cannot be 'soon'"),
        (("ls", "--newer", "-5m"), 2, "--newer cannot be '-5m'"),
        (("ls", "--reason", "boredom"), 2, "--reason"),
        (("replay",), 2, "say which dead letters are meant"),
        (("replay", "--role", "greeter"), 2, "say which dead letters are meant"),
        (("replay", "old", "--reason", "crash"), 2, "say which dead letters are meant"),
        (("replay", "--all"), 2, "--all alone"),
        (("replay", "--tenant", "acme", "--rate", "fast"), 2, "'fast' is not a rate"),
        (("replay", "nobody"), 5, "is not a dead letter: it cannot be replayed"),
        (("purge", "nobody"), 5, "is not a dead letter: it cannot be purged"),
        (("purge", "--all", "--role", "greeter"), 5, "nobody can be asked: Purge 3 dead letters"),
        (("edit", "nobody"), 5, "is not a dead letter: it cannot be edited"),
        (("show", "nobody"), 4, "there is no dead letter 'nobody'"),
    ],
)
def test_mistakes_are_told_in_three_lines_and_change_nothing(
    many: Muster, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = many("dlq", *arguments)
    assert ended.code == code
    what, why, do = ended.lines
    assert says in what
    assert (bool(why), bool(do)) == (True, True)
    assert set(dead(many)) == {"old", "young", "crashed", "acme"}


@pytest.mark.promise(17)
def test_letters_are_replayed_by_what_they_are(muster: Muster) -> None:
    """17: a dry run changes nothing; the guard holds for each; who did it is told."""
    put(
        muster,
        letter("a", tenant="acme"),
        letter("b", tenant="acme"),
        letter("often", tenant="acme", replays=3),
        letter("other"),
    )
    order = ("dlq", "replay", "--tenant", "acme")
    dry = muster(*order, "--dry-run", "--json").json
    assert {x["id"]: x["would"] for x in dry} == {
        "a": "replayed",
        "b": "replayed",
        "often": "refused",
    }
    assert "would be replayed: 3 dead letters, 1 of them refused" in muster(*order, "--dry-run").err
    assert set(dead(muster)) == {"a", "b", "often", "other"}
    ended = muster(*order)
    assert ended.code == 5
    assert sorted(ended.out.splitlines()) == ["replayed a of greeter", "replayed b of greeter"]
    assert "has been replayed 3 times already" in ended.err
    assert ended.err.endswith("replayed 2 of 3, 1 refused\n")
    assert set(dead(muster)) == {"often", "other"}
    forced = muster(*order, "--force", "--json")
    assert (forced.code, forced.json["done"]) == (0, "replayed")
    back = replayed(muster, 3)
    headers = {id_: delivery.message.headers for id_, delivery in back.items()}
    assert {each["muster-replayed-by"] for each in headers.values()} == {whoami()}
    assert [id_ for id_, each in headers.items() if "muster-replay-forced" in each] == ["often"]


@pytest.mark.promise(17)
def test_ctrl_c_in_a_replay_of_many_leaves_nothing_half_done(muster: Muster) -> None:
    """17: it says how far it got, and the command that goes on with the rest."""
    put(muster, *(letter(f"t{n:02}", ago=60.0 - n) for n in range(12)))
    going = muster.start("dlq", "replay", "--all", "--role", "greeter", "--rate", "4/s")
    assert going.stdout is not None
    first = [going.stdout.readline() for _ in range(2)]
    assert first == ["replayed t00 of greeter\n", "replayed t01 of greeter\n"]
    going.send_signal(signal.SIGINT)
    out, err = going.communicate(timeout=30)
    assert going.returncode == 130
    done = 2 + len(out.splitlines())
    what, why, do = err.rstrip("\n").split("\n")[-3:]
    assert what == f"error: interrupted: {done} of 12 replayed, 0 refused"
    assert why.endswith(f"the other {12 - done} are as they were")
    left = dead(muster)
    assert sorted(left) == [f"t{n:02}" for n in range(done, 12)]
    assert {each.replays for each in left.values()} == {0}
    put(muster, letter("t00", ago=-60.0, replays=1))  # it died again: not a second time
    again = shlex.split(do.split("`")[1])
    assert again[-2:] == ["--rate", "4/s"]
    ended = muster(*again[1:-2])
    assert (ended.code, ended.err) == (0, f"replayed {12 - done} of {12 - done}\n")
    assert set(dead(muster)) == {"t00"}


def test_on_a_terminal_many_letters_are_a_bar_and_a_sum(muster: Muster) -> None:
    put(muster, *(letter(f"t{n:02}") for n in range(25)))
    with terminal(muster, "dlq", "replay", "--all", "--role", "greeter", "--rate", "50/s") as seen:
        seen.until("/25", "replayed 25 of 25")
        assert seen.ended() == 0
        assert "replayed t00" not in seen.shown
    assert dead(muster) == {}


def test_letters_are_purged_by_what_they_are(muster: Muster) -> None:
    """Only when a person agrees."""
    put(muster, letter("old", ago=2 * HOUR), letter("young"))
    order = ("dlq", "purge", "--older", "1h")
    assert muster(*order).code == 5
    assert set(dead(muster)) == {"old", "young"}
    ended = muster(*order, "--yes", "--json")
    assert (ended.code, json.loads(ended.out)["id"]) == (0, "old")
    assert set(dead(muster)) == {"young"}
    assert muster(*order).code == 0  # nothing is left, so nobody is asked
