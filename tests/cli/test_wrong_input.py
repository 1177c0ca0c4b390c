"""Wrong input, before any bus is asked: three lines that help, and the promised exit code."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.running import GREETER, Muster

BROKEN = '"""Broken."""\n\nimport no_such_module_anywhere\n'


def test_invalid_json_says_where_and_shows_it(muster: Muster) -> None:
    ended = muster("publish", "a.b", '{"a": 1 "b": 2}')
    assert ended.code == 5
    what, why, _ = ended.lines
    assert what == "the payload is not JSON"
    assert "line 1, column 9" in why
    assert '{"a": 1 ▸"b": 2}' in why


def test_a_bad_line_refuses_the_whole_file(muster: Muster) -> None:
    muster.write("tasks.jsonl", '{"a": 1}\n\n{"a":\n{"a": 2}\nNaN\n')
    ended = muster("publish", "a.b", "@tasks.jsonl", "--lines")
    assert ended.code == 5
    what, why, _ = ended.lines
    assert what == "2 lines are refused, nothing was published"
    assert "line 3, column" in why
    assert "line 5: NaN is not JSON" in why


def test_a_file_that_is_not_there(muster: Muster) -> None:
    ended = muster("publish", "a.b", "@missing.json")
    assert ended.code == 4
    assert "missing.json" in ended.lines[0]


def test_a_payload_that_does_not_fit_names_field_and_value(muster: Muster) -> None:
    muster.write("agents/greeter.py", GREETER)
    ended = muster("publish", "greeter.hello", '{"name": "Ada", "times": "often"}')
    assert ended.code == 5
    what, why, _ = ended.lines
    assert "greeter" in what
    assert "times: Input should be a valid integer" in why
    assert "got 'often'" in why


def test_a_line_that_does_not_fit_is_named_by_number(muster: Muster) -> None:
    muster.write("agents/greeter.py", GREETER)
    given = '{"name": "Ada"}\n{"nome": "Ada"}\n'
    ended = muster("publish", "greeter.hello", "-", "--lines", given=given)
    assert ended.code == 5
    assert "line 2: name: Field required" in ended.lines[1]


def test_a_deadline_in_the_past(muster: Muster) -> None:
    for deadline in ("-5", "0", "2020-01-01T00:00:00Z", "1500000000"):
        ended = muster("publish", "a.b", "{}", "--deadline", deadline)
        assert ended.code == 5, deadline
        assert "has passed" in ended.lines[0]


def test_a_deadline_before_the_start(muster: Muster) -> None:
    ended = muster("publish", "a.b", "{}", "--deadline", "1m", "--delay", "2m")
    assert ended.code == 5
    assert "before the task may start" in ended.lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--delay", "soon"),
        ("--delay", "-3"),
        ("--at", "tomorrow"),
        ("--budget", "cheap"),
        ("--budget", "-1"),
        ("--priority", "urgent"),
        ("--timeout", "5"),
        ("--delay", "5", "--at", "6"),
        ("--key", "k", "--lines"),
    ],
)
def test_options_that_cannot_be(muster: Muster, arguments: tuple[str, ...]) -> None:
    ended = muster("publish", "a.b", "{}", *arguments)
    assert ended.code == 2
    assert arguments[0] in ended.lines[0]


def test_a_topic_that_is_none(muster: Muster) -> None:
    ended = muster("publish", "a..b", "{}")
    assert ended.code == 2
    assert "'a..b'" in ended.lines[0]


def test_no_bus_is_running(muster: Muster) -> None:
    ended = muster("publish", "a.b", "{}")
    assert ended.code == 3
    assert "muster up" in ended.lines[2]


def test_an_unreachable_bus_is_named_without_its_password(muster: Muster) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        began = time.monotonic()
        ended = muster("ps", "--bus", f"nats://user:secret@{address}")
    assert time.monotonic() - began < 10
    assert ended.code == 3
    assert address in ended.lines[0]
    assert "secret" not in ended.err


def test_a_port_in_use_names_who_has_it(muster: Muster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        muster.write("muster.toml", f"[bus]\nport = {port}\n")
        ended = muster("up")
        detached = muster("up", "--detach")
    for each in (ended, detached):
        assert each.code == 3
        assert f"port {port} is in use" in each.lines[0]
        assert str(os.getpid()) in each.lines[1]
    assert not (muster.folder / ".muster" / "up.json").exists()


def test_a_port_for_probes_that_is_taken(muster: Muster) -> None:
    """Said at once, before the bus is asked."""
    muster.write("agents/greeter.py", GREETER)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        muster.environment["MUSTER_HEALTH_PORT"] = str(port)
        ended = muster("work", "greeter")
    assert ended.code == 3
    assert f"port {port} is in use" in ended.lines[0]
    assert str(os.getpid()) in ended.lines[1]


def test_an_address_for_probes_that_is_not_ours(muster: Muster) -> None:
    muster.write("agents/greeter.py", GREETER)
    muster.environment["MUSTER_HEALTH_HOST"] = "192.0.2.1"
    ended = muster("work", "greeter")
    assert ended.code == 2
    assert "192.0.2.1" in ended.lines[0]
    assert "health.host" in ended.lines[1]


def test_one_port_for_the_probes_of_many_processes(muster: Muster) -> None:
    muster.write("agents/greeter.py", GREETER)
    muster.environment["MUSTER_HEALTH_PORT"] = "8080"
    ended = muster("up", "greeter=2")
    assert ended.code == 2
    assert "8080" in ended.lines[0]
    assert "MUSTER_HEALTH_PORT" in ended.lines[1]


def test_a_role_that_does_not_import_is_named_with_its_line(muster: Muster) -> None:
    file = muster.write("agents/broken.py", BROKEN)
    for command in (("work", "broken"), ("up",), ("up", "--detach")):
        ended = muster(*command)
        assert ended.code == 2
        what, why, _ = ended.lines
        assert str(file) in what
        assert f"{file}:3" in why
    assert not (muster.folder / ".muster" / "nats").exists()


def test_two_roles_of_one_name(muster: Muster) -> None:
    first = muster.write("agents/one.py", GREETER)
    second = muster.write("agents/two.py", GREETER)
    ended = muster("work", "greeter")
    assert ended.code == 2
    what, why, _ = ended.lines
    assert "greeter" in what
    assert str(first) in why
    assert str(second) in why


def test_an_unknown_role_names_the_nearest(muster: Muster) -> None:
    for command in (("work", "reseacher"), ("up", "reseacher=2")):
        ended = muster(*command)
        assert ended.code == 4
        assert "researcher" in ended.lines[1]


def test_a_number_of_processes_that_is_none(muster: Muster) -> None:
    ended = muster("up", "researcher=0")
    assert ended.code == 2
    assert "researcher=0" in ended.lines[0]


def test_an_unknown_setting_names_the_nearest(muster: Muster) -> None:
    muster.write("muster.toml", '[bus]\nurll = "nats://127.0.0.1"\n')
    ended = muster("config")
    assert ended.code == 2
    what, why, _ = ended.lines
    assert "bus.urll" in what
    assert "bus.url?" in why
    assert "muster.toml" in why


@pytest.mark.parametrize(
    "url",
    [
        "nats://127.0.0.1:99999",
        "nats://127.0.0.1:0",
        "nats://127.0.0.1:port",
        "nats://",
        "nats://ada:se/cret@127.0.0.1",
        "nats://[::1:4222",
    ],
)
def test_an_address_that_leads_nowhere_is_not_asked(muster: Muster, url: str) -> None:
    """It is wrong usage, no broker that is away; what cannot be read may be a password."""
    ended = muster("ps", "--bus", url)
    assert ended.code == 2
    assert ended.lines[0] == "the address in bus.url cannot be used"
    assert "cret" not in ended.err


def test_what_is_empty_is_not_the_default(muster: Muster) -> None:
    """`--fleet "$FLEET"` of a variable that is not set means no other fleet."""
    for option in ("--fleet", "--bus"):
        ended = muster("queue", "purge", "greeter", "--yes", option, "")
        assert (ended.code, ended.lines[0]) == (2, f"{option} is empty")
    for variable in ("MUSTER_FLEET_NAME", "MUSTER_BUS_URL"):
        muster.environment[variable] = ""
        ended = muster("ps")
        assert ended.code == 2
        assert variable in ended.lines[1]
        del muster.environment[variable]


@pytest.mark.parametrize("option", ["--at", "--deadline"])
def test_a_day_that_does_not_exist_is_named(muster: Muster, option: str) -> None:
    ended = muster("publish", "a.b", "{}", option, "2030-02-31T08:00")
    assert ended.code == 2
    what, why, _ = ended.lines
    assert what == f"{option} cannot be '2030-02-31T08:00'"
    assert why == "there is no such time: day is out of range for month"


def test_a_file_in_the_place_of_a_folder_and_a_folder_in_that_of_a_file(muster: Muster) -> None:
    muster.write(".muster", "")
    for command in (("up",), ("up", "--detach")):
        ended = muster(*command)
        assert ended.code == 5
        assert ended.lines[0] == f"the folder {muster.folder / '.muster'} cannot be used"
        assert ended.lines[1] == "File exists"
    (muster.folder / "muster.toml").mkdir()
    ended = muster("config")
    assert (ended.code, ended.lines[0]) == (2, f"{muster.folder / 'muster.toml'} cannot be read")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_an_output_that_takes_nothing_is_told_on_the_other(muster: Muster) -> None:
    for options in ((), ("--json",)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                muster.command("config", *options),
                cwd=muster.folder,
                env=muster.environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("error: ")
        assert "No space left on device" in done.stderr.splitlines()[0]


def test_a_number_that_a_setting_cannot_have_says_why(muster: Muster) -> None:
    muster.write("muster.toml", "[roles.writer]\nreplicas = -1\n")
    ended = muster("ps")
    assert (ended.code, ended.lines[0]) == (2, "the setting roles.writer.replicas cannot be -1")
    assert ended.lines[1].startswith("from muster.toml: it is no number from 0 to 1000")


def test_a_bus_nobody_can_speak_to(muster: Muster) -> None:
    ended = muster("ps", "--bus", "nast://127.0.0.1")
    assert ended.code == 2
    assert "nats" in ended.lines[1]


def test_a_folder_without_readable_documents(muster: Muster, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    ended = muster("demo", "--folder", str(empty))
    assert ended.code == 5
    assert str(empty) in ended.lines[0]
