"""The embedded Redis, RabbitMQ and Kafka: started once, found again, stopped by their own ids."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy import embedded, kafka_server
from deploy.brokers import BROKERS
from deploy.embedded import Embedded
from deploy.errors import ServerMissing
from deploy.program import Program
from tests.freezing import freeze
from tests.servers import missing

OTHERS = [
    pytest.param(name, id=name, marks=getattr(pytest.mark, name))
    for name in BROKERS
    if name != "nats"  # has tests of its own
]


@pytest.fixture(params=OTHERS)
def program(request: pytest.FixtureRequest) -> Program:
    """One of them, which is on this machine."""
    found = BROKERS[request.param]
    try:
        found.locate()
    except ServerMissing as error:
        missing(request.param, str(error))
    return found


@pytest.fixture
def state(tmp_path: Path, program: Program) -> Iterator[Path]:
    """A folder like `.muster`; whatever server it holds afterwards is stopped."""
    folder = tmp_path / "state"
    yield folder
    embedded.stop(program, folder)


def _kill(server: Embedded) -> None:
    process = psutil.Process(server.pid)
    process.kill()
    process.wait(10)


def _left(server: Embedded) -> list[str]:
    """Processes that stay: they work in the server's folder, or have it in their environment. What
    was told to end by its end may need a moment."""
    end = time.monotonic() + 5.0
    while found := _there(server):
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    return found


def _there(server: Embedded) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            here = process.environ().get("HOME") == str(server.folder)
            if here or process.cwd() == str(server.folder):
                found.append(process.name())
        except psutil.Error:
            continue
    return found


def test_it_is_found_again_and_survives_a_kill(program: Program, state: Path) -> None:
    """At the same address; also when its record was lost. Nobody else can connect, nothing of the
    address's login is shown, and nothing is left of it at the end."""
    assert embedded.find(program, state) is None
    first = embedded.start(program, state)
    assert embedded.start(program, state, port=first.port) == embedded.find(program, state) == first
    heard = psutil.Process(first.pid).net_connections()
    assert {c.laddr.ip.removeprefix("::ffff:") for c in heard if c.status == "LISTEN"} == {
        "127.0.0.1"
    }
    assert "@" not in str(first)
    (first.folder / "server.json").unlink()
    assert embedded.find(program, state) == first

    _kill(first)
    assert embedded.find(program, state) is None
    second = embedded.start(program, state)
    assert (second.url, second.version) == (first.url, first.version)
    assert second.pid != first.pid
    assert embedded.stop(program, state) is True
    assert _left(second) == []
    assert embedded.stop(program, state) is False


def test_a_copied_folder_does_not_lead_to_the_original(
    program: Program, state: Path, tmp_path: Path
) -> None:
    server = embedded.start(program, state)
    copied = tmp_path / "copied" / program.folder
    copied.mkdir(parents=True)
    for name in ("server.json", "server.conf"):
        shutil.copy(server.folder / name, copied / name)
    assert embedded.find(program, copied.parent) is None
    assert embedded.stop(program, copied.parent) is False
    assert embedded.find(program, state) == server
    freeze(server.pid)
    assert embedded.stop(program, state, timeout=0.5) is True, "one that hangs is killed"


@pytest.mark.parametrize("name", ["redis", "rabbitmq", "kafka"])
def test_one_that_is_not_on_this_machine_says_what_to_type(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("deploy.rabbitmq_server._PLACE", str(tmp_path))
    with pytest.raises(ServerMissing) as caught:
        embedded.start(BROKERS[name], tmp_path / "state")
    assert f"`make servers BROKERS={name}`" in caught.value.lines()[2]
    assert all(caught.value.lines())


def test_the_jars_of_kafka_are_those_that_are_named_then_those_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then those that were fetched."""
    homes = {name: tmp_path / name for name in ("named", "on-path")}
    for name, home in homes.items():
        (home / "libs").mkdir(parents=True)
        (home / "libs" / f"kafka_2.13-4.{len(name)}.0.jar").touch()
        (home / "bin").mkdir()
    fetched = tmp_path / "muster" / f"kafka-{kafka_server.FETCHED}"
    fetched.mkdir(parents=True)
    (fetched / f"kafka_2.13-{kafka_server.FETCHED}.jar").touch()
    for program in (homes["on-path"] / "bin" / "kafka-server-start.sh", tmp_path / "java"):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{homes['on-path'] / 'bin'}")
    monkeypatch.setenv("KAFKA_HOME", str(homes["named"]))
    assert kafka_server.locate().jars == homes["named"] / "libs"
    monkeypatch.delenv("KAFKA_HOME")
    assert kafka_server.locate().jars == homes["on-path"] / "libs"
    monkeypatch.setenv("PATH", str(tmp_path))
    found = kafka_server.locate()
    assert (found.jars, found.version) == (fetched, kafka_server.FETCHED)


def test_kafka_starts_from_the_classes_that_were_kept_beside_its_jars(tmp_path: Path) -> None:
    program = kafka_server.Program(tmp_path / "java", tmp_path, "4.3.1")
    assert "Shared" not in " ".join(program.command(tmp_path, "kafka.Kafka"))
    kept = tmp_path / "muster.jsa"
    kept.touch()
    assert f"-XX:SharedArchiveFile={kept}" in program.command(tmp_path, "kafka.Kafka")
