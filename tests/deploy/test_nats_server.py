"""The program nats-server: which binary is taken, what is written for it, what it says."""

import socket
import sysconfig
import threading
from pathlib import Path

import pytest

from deploy import nats_server, ports
from deploy.errors import ServerMissing


def _program(folder: Path, says: str) -> Path:
    folder.mkdir()
    program = folder / "nats-server"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    return program


def test_the_one_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _program(tmp_path / "bin", "echo 'nats-server: v2.99.7'")
    monkeypatch.setenv("PATH", str(program.parent))
    assert nats_server.locate() == nats_server.Program(program, "2.99.7")


@pytest.mark.nats
@pytest.mark.parametrize("says", ["echo 'nats-server: v2.11.99'", "echo hello", "exit 1"])
def test_one_on_path_that_is_too_old_is_passed_over(
    says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(_program(tmp_path / "bin", says).parent))
    assert nats_server.locate().path.parent == Path(sysconfig.get_path("scripts"))


def test_none_at_all_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ServerMissing) as caught:
        nats_server.locate([str(tmp_path)])
    assert all(caught.value.lines())


def test_one_that_is_too_old_is_named(tmp_path: Path) -> None:
    program = _program(tmp_path / "bin", "echo 'nats-server: v2.9.0'")
    with pytest.raises(ServerMissing, match=r"older than 2\.12") as caught:
        nats_server.locate([str(program.parent)])
    assert str(program) in caught.value.details


def test_the_port_of_a_configuration_can_be_read_back(tmp_path: Path) -> None:
    config = tmp_path / "server.conf"
    config.write_text(nats_server.configuration(tmp_path, port=4321, name="n", monitor=8765))
    assert nats_server.configured_port(config) == 4321


@pytest.mark.parametrize("content", [b"", b"listen: here\n", b"\xff\xfe"])
def test_another_text_has_no_port(content: bytes, tmp_path: Path) -> None:
    config = tmp_path / "server.conf"
    config.write_bytes(content)
    assert nats_server.configured_port(config) is None


def test_a_missing_configuration_has_no_port(tmp_path: Path) -> None:
    assert nats_server.configured_port(tmp_path / "none") is None


@pytest.mark.parametrize(
    "says", [b"", b"SSH-2.0\r\n", b"INFO {\r\n", b"INFO []\r\n", b"INFO \xff\r\n"]
)
def test_another_program_is_not_taken_for_a_server(says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(says)

        thread = threading.Thread(target=answer)
        thread.start()
        assert nats_server.greeting(other.getsockname()[1]) is None
        thread.join()


def test_nobody_greets_on_a_free_port() -> None:
    assert nats_server.greeting(ports.free()) is None


def test_a_held_port_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert not ports.is_free(other.getsockname()[1])


def test_a_port_nobody_holds_has_no_known_owner() -> None:
    assert ports.owner(ports.free()) == "another program"
