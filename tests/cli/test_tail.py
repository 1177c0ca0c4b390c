"""`muster task tail`: what happens, while it happens."""

import json
import signal

import pytest

from tests.cli.running import Muster

pytestmark = pytest.mark.nats


def test_what_happens_to_a_task_is_told_until_ctrl_c(fleet: Muster) -> None:
    """And only of what was asked for; nothing is left on the bus."""
    tail = fleet.start("task", "tail", "--role", "greeter", "--topic", "greeter.#")
    assert tail.stderr is not None
    assert tail.stderr.readline() == "listening from now on; Ctrl-C ends it\n"
    assert tail.stdout is not None
    failed = fleet("publish", "greeter.hello", '{"name": "nobody"}', "--wait")
    task = failed.err.split()[1]
    line = ""
    while " failed " not in line:
        line = tail.stdout.readline()
        assert task in line
    assert "greeter" in line
    assert "nobody is there" in line or "rejected" in line
    tail.send_signal(signal.SIGINT)
    tail.communicate(timeout=20)
    assert tail.returncode == 0
    assert not [e for e in fleet("roles", "ls", "--json").json if e["role"].startswith("listener-")]


def test_events_are_json_lines_and_end_after_so_many(fleet: Muster) -> None:
    arguments = ("task", "tail", "--json", "--kind", "succeeded", "--limit", "2", "--for", "50s")
    tail = fleet.start(*arguments)
    while not any(e["role"].startswith("listener-") for e in fleet("roles", "ls", "--json").json):
        assert tail.poll() is None
    first = fleet("publish", "greeter.hello", '{"name": "Ada"}', "--wait", "--json").json["id"]
    second = fleet("publish", "greeter.hello", '{"name": "Bob"}', "--wait", "--json").json["id"]
    out, err = tail.communicate(timeout=30)
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["task"] for event in events] == [first, second]
    assert {event["kind"] for event in events} == {"succeeded"}
    assert all(event["data"]["seconds"] >= 0 for event in events)
    assert (tail.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--topic", "a..b"), "'a..b' is not a valid pattern"),
        (("--for", "soon"), "--for cannot be 'soon'"),
        (("--for", "-5"), "--for cannot be '-5'"),
        (("--kind", "vanished"), "--kind"),
        (("--limit", "0"), "--limit"),
    ],
)
def test_mistakes_are_wrong_usage(fleet: Muster, arguments: tuple[str, ...], says: str) -> None:
    ended = fleet("task", "tail", *arguments)
    assert ended.code == 2
    assert says in ended.lines[0]


def test_time_that_is_up_ends_it(fleet: Muster) -> None:
    ended = fleet("task", "tail", "01a1fe54", "--for", "100ms")
    assert (ended.code, ended.out) == (0, "")
