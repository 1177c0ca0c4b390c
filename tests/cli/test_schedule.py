"""`muster schedule` on a real database, with a scheduler that runs, and with wrong input."""

import time
from collections.abc import Iterator

import pytest

from tests.cli.running import GREETER, Muster, worked
from tests.servers import NatsServer, PostgresServer

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

HELLO = '{"name": "Ada"}'
LATER = ("--at", "2090-01-31T08:00")


@pytest.fixture
def kept(muster: Muster, history_url: str) -> Muster:
    """The command in a folder with a history and no bus."""
    muster.environment["MUSTER_HISTORY_URL"] = history_url
    return muster


@pytest.fixture(scope="module")
def ticking(
    nats_server: NatsServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Muster]:
    """The command in a folder with the role `greeter`, where `up` runs a worker and a scheduler."""
    folder = tmp_path_factory.mktemp("ticking")
    with (
        postgres_server.fresh_database() as url,
        worked(nats_server.url, folder, "greeter", GREETER, history=url) as muster,
    ):
        yield muster


def test_up_runs_a_scheduler_and_what_is_due_runs(ticking: Muster) -> None:
    workers = ticking("ps", "--json").json["up"]["workers"]
    assert {"greeter", "scheduler"} <= {worker["role"] for worker in workers}
    added = ticking("schedule", "add", "soon", "greeter.x", HELLO, "--at", "1s", "--json")
    assert added.code == 0, added.err
    assert len(added.json["coming"]) == 1
    end = time.monotonic() + 30
    while (shown := ticking("schedule", "show", "soon", "--json").json)["state"] != "done":
        assert time.monotonic() < end
    assert (shown["fired"], shown["next"], shown["error"]) == (1, None, None)
    assert shown["last"] == added.json["next"]


def test_what_cannot_be_published_says_why(ticking: Muster) -> None:
    assert ticking("schedule", "add", "lost", "nobody.x", HELLO, "--cron", "* * * * * *").code == 0
    end = time.monotonic() + 30
    while (shown := ticking("schedule", "show", "lost", "--json").json)["state"] != "failing":
        assert time.monotonic() < end
    assert "nobody.x" in shown["error"]
    assert "nobody.x" in ticking("schedule", "ls").out
    assert ticking("schedule", "rm", "lost").code == 0


def test_a_scheduler_can_be_run_by_hand(ticking: Muster) -> None:
    both = ticking("work", "scheduler", "greeter")
    assert both.code == 2
    assert "process of its own" in both.lines[0]


def test_a_schedule_from_beginning_to_end(kept: Muster) -> None:
    options = ("--cron", "30 8 * * MON-FRI", "--tz", "Europe/Berlin", "--tenant", "acme")
    more = ("--misfire", "skip", "--deadline", "5m", "--budget", "0.25", "--priority", "high")
    added = kept("schedule", "add", "daily", "report.x", HELLO, *options, *more)
    assert added.code == 0, added.err
    assert "schedule  daily (active)" in added.out
    assert len([line for line in added.out.splitlines() if " 08:30:00+0" in line]) == 5
    (row,) = kept("schedule", "ls", "--json").json
    said = {name: row[name] for name in ("cron", "zone", "misfire", "deadline", "budget", "tenant")}
    assert said == {
        "cron": "30 8 * * MON-FRI",
        "zone": "Europe/Berlin",
        "misfire": "skip",
        "deadline": 300.0,
        "budget": 250_000,
        "tenant": "acme",
    }
    assert len(kept("schedule", "next", "daily", "-n", "7").out.splitlines()) == 7
    assert kept("schedule", "pause", "daily").out == "paused: daily\n"
    assert kept("schedule", "show", "daily", "--json").json["state"] == "paused"
    assert "daily (active)" in kept("schedule", "resume", "daily").out
    assert kept("schedule", "rm", "daily").out == "removed: daily\n"
    assert kept("schedule", "ls", "--json").json == []


def test_a_name_is_taken_until_it_is_replaced(kept: Muster) -> None:
    add = ("schedule", "add", "once", "report.x", HELLO)
    assert kept(*add, *LATER).code == 0
    again = kept(*add, "--cron", "@daily")
    assert again.code == 5
    assert "--replace" in again.lines[2]
    assert kept(*add, "--cron", "@daily", "--replace").code == 0
    assert kept("schedule", "show", "once", "--json").json["cron"] == "@daily"


def test_a_time_without_a_zone_is_one_of_the_schedules_zone(kept: Muster) -> None:
    add = ("schedule", "add", "once", "report.x", HELLO)
    assert kept(*add, *LATER, "--tz", "Asia/Kathmandu").code == 0
    assert kept("schedule", "next", "once").out == "2090-01-31 08:00:00+05:45\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cron", "0 0 30 2 *"), "is not a cron expression"),
        (("--cron", "every day"), "is not a cron expression"),
        (("--cron", "* * * * *", "--tz", "Europe/Berlim"), "is not a time zone"),
        (("--at", "2030-02-30T08:00"), "--at cannot be"),
        (("--at", "2031-03-30T02:30", "--tz", "Europe/Berlin"), "--at cannot be"),
        (("--at", "2020-01-01"), "--at cannot be"),
        (("--at", "-5m"), "--at cannot be"),
        ((*LATER, "--misfire", "twice"), "--misfire cannot be"),
        ((*LATER, "--deadline", "0"), "--deadline cannot be"),
        ((*LATER, "--budget", "much"), "--budget cannot be"),
        ((*LATER, "--tenant", ""), "is not the name of a tenant"),
        ((*LATER, "--cron", "* * * * *"), "either --cron or --at"),
        ((), "either --cron or --at"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_asked(
    muster: Muster, options: tuple[str, ...], said: str
) -> None:
    ended = muster("schedule", "add", "x", "report.x", HELLO, *options)
    assert ended.code == 2
    assert said in ended.lines[0]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--cron", "0 0 31 2 *"), "its day-of-month cannot be '31' in month 2"),
        (("--cron", "0 0 61 * * *"), "its hour cannot be '61'"),
        (("--cron", "61 * * * *"), "its minute cannot be '61'"),
        (("--cron", "* * *"), "wrong number of fields"),
        (("--at", "2030-02-31T08:00"), "there is no such time: day is out of range for month"),
        (("--at", "2030-02-28T25:00"), "there is no such time: hour must be in 0..23"),
        (("--at", "tomorrow"), "it is neither a duration nor a time"),
    ],
)
def test_a_time_that_never_comes_says_why(
    muster: Muster, options: tuple[str, ...], why: str
) -> None:
    ended = muster("schedule", "add", "x", "report.x", HELLO, *options)
    assert (ended.code, ended.lines[1]) == (2, why)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("a b", "report.x", HELLO), 2),
        (("x", "report..x", HELLO), 2),
        (("x", "muster.x", HELLO), 2),
        (("x", "report.x", "{"), 5),
        (("x", "report.x", "@missing.json"), 4),
    ],
)
def test_wrong_arguments_are_refused(muster: Muster, arguments: tuple[str, ...], code: int) -> None:
    ended = muster("schedule", "add", *arguments, *LATER)
    assert ended.code == code
    assert all(ended.lines)


def test_a_payload_that_does_not_fit_its_role_is_refused(muster: Muster) -> None:
    muster.write("agents/greeter.py", GREETER)
    ended = muster("schedule", "add", "x", "greeter.x", '{"times": 1}', *LATER)
    assert ended.code == 5


@pytest.mark.parametrize("command", ["show", "pause", "resume", "rm", "next"])
def test_one_that_is_not_there_is_said_so(kept: Muster, command: str) -> None:
    ended = kept("schedule", command, "nobody")
    assert ended.code == 4
    assert "'nobody'" in ended.lines[0]


def test_without_a_history_there_are_no_schedules(muster: Muster) -> None:
    ended = muster("schedule", "ls")
    assert ended.code == 2
    assert "no history" in ended.lines[0]
    del muster.environment["MUSTER_HISTORY_URL"]
    ended = muster("schedule", "ls")
    assert ended.code == 3
    assert "muster up" in ended.lines[2]


def test_a_role_cannot_have_the_name_of_a_service(muster: Muster) -> None:
    muster.write(
        "agents/scheduler.py", GREETER.replace('"greeter", listens', '"scheduler", listens')
    )
    ended = muster("up", "scheduler")
    assert ended.code == 2
    assert "scheduler" in ended.lines[0]
