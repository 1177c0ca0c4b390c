"""The commands on a bus where a worker runs, as a person uses them one after the other."""

import json
import signal
import time
import urllib.request
from dataclasses import asdict

import pytest
from pydantic_core import to_json

from bus.bus import Bus
from bus.keyvalue import keys
from tests.cli.letters import on_bus
from tests.cli.running import Muster
from workers.fleet.presence import Alive

pytestmark = pytest.mark.nats


def test_a_worker_whose_sign_of_life_is_overdue_is_silent_and_runs_nothing_that_is_known(
    fleet: Muster,
) -> None:
    """As of a machine that died with its supervisor: nobody says good-bye for it."""
    now = time.time()
    lost = Alive(
        role="greeter",
        worker="lost",
        pid=4_000_000,
        host="away",
        since=now - 99.0,
        at=now - 9.0,
        concurrency=8,
        running=5,
    )

    async def put(bus: Bus) -> None:
        await bus.store.put(keys.alive("greeter", "lost"), to_json(asdict(lost)), ttl=6.0)

    on_bus(fleet, put)
    found = fleet("ps", "--json").json
    (role,) = [each for each in found["roles"] if each["role"] == "greeter"]
    assert (role["workers"], role["silent"], role["running"]) == (2, 1, 0)
    silent = {each["host"]: each["silent"] for each in found["workers"]}
    assert 9.0 <= silent.pop("away") < 60.0
    assert set(silent.values()) == {None}
    on_bus(fleet, put)
    (line,) = [line for line in fleet("ps").out.splitlines() if "4000000" in line]
    assert "?/8" in line
    assert "silent for " in line


def test_publish_prints_the_id(fleet: Muster) -> None:
    ended = fleet("publish", "greeter.hello", '{"name": "Ada"}')
    assert ended.code == 0
    assert len(ended.out.split()) == 1
    shown = fleet("publish", "greeter.hello", '{"name": "Ada"}', "--json").json
    assert shown["topic"] == "greeter.hello"


def test_publish_and_wait_shows_progress_and_result(fleet: Muster) -> None:
    ended = fleet("publish", "greeter.hello", '{"name": "Ada"}', "--wait", "--timeout", "30")
    assert ended.code == 0, ended.err
    assert ended.json == {"text": "Hello, Ada"}
    assert ended.err.startswith("task ")


def test_a_key_published_again_is_the_first_task_with_its_result(fleet: Muster) -> None:
    order = ("publish", "greeter.hello", '{"name": "Ada"}', "--key", "order-7", "--key-for", "7d")
    first = fleet(*order, "--json").json
    assert first["repeated"] is False
    again = fleet(*order, "--json").json
    assert again == {**first, "repeated": True}
    shown = fleet("publish", "greeter.hello", '{"name": "Bob"}', "--key", "order-7", "--wait")
    assert shown.json == {"text": "Hello, Ada"}
    assert shown.err.startswith(f"task {first['id']}, published before under its key")


def test_an_empty_key_is_no_key(fleet: Muster) -> None:
    """Not publishing without one: whoever repeats it expects one task."""
    ended = fleet("publish", "greeter.hello", '{"name": "Ada"}', "--key", "")
    assert (ended.code, ended.lines[0]) == (2, "a key cannot be empty")


def test_a_key_cannot_hold_for_no_time(fleet: Muster) -> None:
    ended = fleet("publish", "greeter.hello", "{}", "--key", "k", "--key-for", "0")
    assert ended.code == 2
    assert "--key-for" in ended.lines[0]


def test_a_failed_task_is_exit_code_1_with_its_reason(fleet: Muster) -> None:
    ended = fleet("publish", "greeter.hello", '{"name": "nobody"}', "--wait")
    assert ended.code == 1
    what, why, do = ended.lines
    assert "rejected" in what
    assert "nobody is there" in why
    assert "dlq show" in do


def test_lines_are_published_and_waited_for_in_their_order(fleet: Muster) -> None:
    given = "".join(json.dumps({"name": f"n{i}"}) + "\n" for i in range(5))
    ended = fleet("publish", "greeter.hello", "-", "--lines", "--wait", given=given)
    assert ended.code == 0, ended.err
    said = [json.loads(line)["result"]["text"] for line in ended.out.splitlines()]
    assert said == [f"Hello, n{i}" for i in range(5)]


def test_a_file_larger_than_one_batch_prints_every_id(fleet: Muster) -> None:
    fleet.write("many.jsonl", '{"name": "x"}\n' * 1201)
    ended = fleet("publish", "greeter.hello", "@many.jsonl", "--lines")
    assert ended.code == 0, ended.err
    assert len(set(ended.out.split())) == 1201


def test_a_topic_nobody_listens_to_names_near_ones(fleet: Muster) -> None:
    ended = fleet("publish", "greter.hello", '{"name": "Ada"}')
    assert ended.code == 4
    what, why, _ = ended.lines
    assert "greter.hello" in what
    assert "greeter.#" in why


def test_a_body_over_the_limit_is_refused(fleet: Muster) -> None:
    fleet.write("large.json", json.dumps({"name": "x" * 1_000_000}))
    ended = fleet("publish", "greeter.hello", "@large.json")
    assert ended.code == 5
    assert "1,000,0" in ended.lines[0]


def test_a_quota_that_is_used_up_refuses_the_whole_call(fleet: Muster) -> None:
    """Nothing of it is sent; the error says when to come back, to a program too."""
    settings = fleet.write("muster.toml", '[limits.tenants.acme]\nquota = "2/day"\n')
    try:
        lines = '{"name": "Ada"}\n{"name": "Bob"}\n'
        arguments = ("publish", "greeter.hello", "-", "--lines", "--tenant", "acme")
        assert fleet(*arguments, given=lines).code == 0
        ended = fleet(*arguments, given=lines)
        shown = fleet("--json", *arguments, given=lines)
    finally:
        settings.unlink()
    assert (ended.code, ended.out) == (5, "")
    what, why, do = ended.lines
    assert what == "the quota of tenant 'acme' does not allow 2 more"
    assert "2 of 2" in why
    assert "publish again in" in do
    assert (shown.code, shown.json["retryable"]) == (5, True)
    assert 0 < shown.json["retry_after"] <= 86_400


def test_time_that_is_up_ends_the_waiting_only(fleet: Muster) -> None:
    ended = fleet(
        "publish", "greeter.x", '{"name": "y"}', "--delay", "60", "--wait", "--timeout", "1"
    )
    assert ended.code == 1
    assert "within 1 s" in ended.lines[0]
    assert "it goes on" in ended.lines[1]


def test_interrupting_the_waiting_says_that_the_task_goes_on(fleet: Muster) -> None:
    waiting = fleet.start("publish", "greeter.x", '{"name": "z"}', "--delay", "60", "--wait")
    assert waiting.stderr is not None
    first = waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    try:
        _, said = waiting.communicate(timeout=20)
    finally:
        waiting.kill()
    assert first.startswith("task ")
    assert waiting.returncode == 130
    assert "goes on" in said


def test_ps_shows_role_worker_and_lag(fleet: Muster) -> None:
    said = fleet("ps", "--json").json
    while said["workers"][0]["restarts"] is None:  # its machine tells that once a second
        said = fleet("ps", "--json").json
    role = next(role for role in said["roles"] if role["role"] == "greeter")
    assert role["listens"] == ["greeter.#"]
    assert role["workers"] == 1
    assert set(role["waiting"]) == {"high", "retry", "normal", "low"}
    worker = said["workers"][0]
    assert worker["pid"] == said["up"]["workers"][0]["pid"]
    assert worker["restarts"] == 0
    with urllib.request.urlopen(f"{worker['health']}/readyz", timeout=5) as answer:  # noqa: S310
        assert json.load(answer) == {"ready": True, "why": []}
    assert worker["health"].removeprefix("http://") in fleet("ps").out
    assert "greeter.#" in fleet("ps").out


def test_doctor_is_content(fleet: Muster) -> None:
    ended = fleet("doctor", "--json")
    assert ended.code == 0, ended.out
    states = {check["what"]: check["state"] for check in ended.json["checks"]}
    assert states["bus"] == states["roles"] == states["workers"] == "ok"
    assert states["sync"] == "warn"


def _dead(fleet: Muster) -> str:
    ended = fleet("publish", "greeter.hello", '{"name": "nobody"}', "--wait")
    assert ended.code == 1
    return ended.err.splitlines()[0].split()[1]


def test_a_dead_letter_is_listed_shown_replayed_and_purged(fleet: Muster) -> None:
    task = _dead(fleet)
    listed = fleet("dlq", "ls", "--role", "greeter", "--reason", "rejected", "--json").json
    assert task in {letter["id"] for letter in listed}
    shown = fleet("dlq", "show", task)
    assert '"name": "nobody"' in shown.out
    assert "nobody is there" in shown.out
    assert fleet("dlq", "show", task[:-1], "--json").json[0]["id"] == task
    replayed = fleet("dlq", "replay", task)
    assert (replayed.code, replayed.out) == (0, f"replayed {task} of greeter\n")
    deadline = time.monotonic() + 20
    while fleet("dlq", "show", task).code == 4:  # it dies again
        assert time.monotonic() < deadline
    assert fleet("dlq", "show", task, "--json").json[0]["replays"] == 1
    assert fleet("dlq", "purge", task).code == 0
    assert fleet("dlq", "show", task).code == 4


def test_replay_of_an_id_that_is_not_dead(fleet: Muster) -> None:
    ended = fleet("dlq", "replay", "01a1fe03-794d-7fe0-8161-528d6bd8307c")
    assert ended.code == 5
    what, _, do = ended.lines
    assert "is not a dead letter" in what
    assert "dlq ls" in do


def test_replay_of_everything_needs_its_role(fleet: Muster) -> None:
    for arguments in (("--all",), (), ("x", "--all", "--role", "greeter")):
        assert fleet("dlq", "replay", *arguments).code == 2


def test_a_second_up_is_refused(fleet: Muster) -> None:
    for arguments in (("up",), ("up", "--detach")):
        ended = fleet(*arguments)
        assert ended.code == 3
        assert "is up already" in ended.lines[0]


def test_config_masks_the_password_and_tells_origins(fleet: Muster) -> None:
    said = fleet("config", "--json", "--bus", "nats://me:secret@127.0.0.1:4222").json
    settings = {each["name"]: each for each in said["settings"]}
    assert settings["bus.url"]["value"] == "nats://me:***@127.0.0.1:4222"
    assert settings["bus.url"]["origin"] == "flag"
    assert settings["fleet.name"]["origin"] == "MUSTER_FLEET_NAME"
    assert settings["fleet.lease"]["origin"] == "default"


def test_lag_shows_what_waits_and_who_was_there(fleet: Muster) -> None:
    groups = {group["group"]: group for group in fleet("lag", "--json").json["groups"]}
    greeter = groups["greeter"]
    assert (greeter["workers"], greeter["deserted"]) == (1, False)
    assert abs(time.time() - greeter["seen"]) < 120
    assert set(greeter["waiting"]) == {"high", "retry", "normal", "low"}
    assert "greeter" in fleet("lag").out
