"""The embedded NATS server: started once, found again, stopped by its own id."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import psutil
import pytest

from contracts.errors import InvalidValue, MusterError
from deploy import embedded, nats_server, ports
from deploy.brokers import NATS
from deploy.errors import (
    AlreadyRunning,
    Busy,
    FolderUnusable,
    PortTaken,
    ServerFailed,
    ServerMissing,
)
from tests.freezing import freeze
from tests.servers import missing

pytestmark = pytest.mark.nats


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A folder like `.muster`; whatever server it holds afterwards is stopped."""
    try:
        nats_server.locate()
    except ServerMissing as error:
        missing("nats", str(error))
    folder = tmp_path / "state"
    yield folder
    embedded.stop(NATS, folder)


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    """A process that is none of ours."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        yield psutil.Process(child.pid)
        child.kill()


def _kill(pid: int) -> None:
    process = psutil.Process(pid)
    process.kill()
    process.wait(10)


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _processes_of(state: Path) -> list[int]:
    config = str(state / "nats" / "server.conf")
    found = []
    for process in psutil.process_iter():
        try:
            if config in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_it_answers_when_start_returns(state: Path) -> None:
    server = embedded.start(NATS, state)
    said = nats_server.greeting(server.port)
    assert said is not None
    assert said["jetstream"] is True
    assert said["max_payload"] == 1024 * 1024
    assert said["version"] == server.version
    assert server.url == f"nats://127.0.0.1:{server.port}"
    assert server.folder == state / "nats"
    assert psutil.Process(server.pid).name().startswith("nats-server")


def test_only_this_machine_can_connect(state: Path) -> None:
    server = embedded.start(NATS, state)
    listening = {
        c.laddr.ip
        for c in psutil.Process(server.pid).net_connections()
        if c.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_every_write_is_synced(state: Path) -> None:
    server = embedded.start(NATS, state)
    assert "sync_interval: always" in (server.folder / "server.conf").read_text()


def test_a_second_start_finds_the_first(state: Path) -> None:
    assert embedded.find(NATS, state) is None
    first = embedded.start(NATS, state)
    assert embedded.start(NATS, state) == first
    assert embedded.start(NATS, state, port=first.port) == first
    assert embedded.find(NATS, state) == first


def test_it_does_not_belong_to_the_terminal(state: Path) -> None:
    server = embedded.start(NATS, state)
    assert os.getsid(server.pid) == server.pid != os.getsid(0)


async def test_data_and_port_survive_a_kill(state: Path) -> None:
    first = embedded.start(NATS, state)
    connection = await nats.connect(first.url)
    await connection.jetstream().add_stream(name="kept", subjects=["kept"])
    await connection.jetstream().publish("kept", b"here")
    await connection.close()

    _kill(first.pid)
    assert embedded.find(NATS, state) is None
    second = embedded.start(NATS, state)

    assert second.port == first.port
    assert second.pid != first.pid
    connection = await nats.connect(second.url)
    message = await connection.jetstream().get_msg("kept", seq=1)
    await connection.close()
    assert message.data == b"here"


def test_another_port_is_used_when_the_last_one_was_taken_meanwhile(state: Path) -> None:
    first = embedded.start(NATS, state)
    embedded.stop(NATS, state)
    with socket.create_server(("127.0.0.1", first.port)):
        second = embedded.start(NATS, state)
    assert second.port != first.port


def test_stop_ends_it_and_says_whether_one_ran(state: Path) -> None:
    server = embedded.start(NATS, state)
    assert embedded.stop(NATS, state) is True
    assert _gone(server.pid)
    assert embedded.find(NATS, state) is None
    assert embedded.stop(NATS, state) is False


def test_stop_without_a_folder_makes_none(state: Path) -> None:
    assert embedded.stop(NATS, state) is False
    assert not state.exists()


def test_a_hanging_server_is_killed_by_stop(state: Path) -> None:
    server = embedded.start(NATS, state)
    freeze(server.pid)
    assert embedded.stop(NATS, state, timeout=0.5) is True
    assert _gone(server.pid)


def test_a_hanging_server_is_replaced_by_start(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_KILL_SECONDS", 0.5)
    server = embedded.start(NATS, state)
    freeze(server.pid)
    again = embedded.start(NATS, state, timeout=2.0)
    assert again.pid != server.pid
    assert _gone(server.pid)


def test_a_recorded_process_that_is_another_program_is_left_alone(
    state: Path, sleeper: psutil.Process
) -> None:
    server = embedded.start(NATS, state)
    _kill(server.pid)
    record = {"pid": sleeper.pid, "created": sleeper.create_time()}
    (server.folder / "server.json").write_text(json.dumps(record))

    assert embedded.find(NATS, state) is None
    assert embedded.stop(NATS, state) is False
    assert sleeper.is_running()
    assert embedded.start(NATS, state).pid != sleeper.pid
    assert sleeper.is_running()


def test_a_copied_folder_does_not_lead_to_the_original(state: Path, tmp_path: Path) -> None:
    server = embedded.start(NATS, state)
    copied = tmp_path / "copied"
    (copied / "nats").mkdir(parents=True)
    for name in ("server.json", "server.conf"):
        (copied / "nats" / name).write_bytes((server.folder / name).read_bytes())

    assert embedded.find(NATS, copied) is None
    assert embedded.stop(NATS, copied) is False
    assert embedded.find(NATS, state) == server


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"pid": "x"}', b'{"pid": -1}']
)
def test_a_spoilt_record_starts_cleanly(state: Path, content: bytes) -> None:
    (state / "nats").mkdir(parents=True)
    (state / "nats" / "server.json").write_bytes(content)
    assert embedded.find(NATS, state) is None
    assert embedded.start(NATS, state) == embedded.find(NATS, state)


@pytest.mark.parametrize("content", [None, b"{", b'{"pid": 1, "created": 0}'])
def test_a_running_server_whose_record_was_lost_is_found(
    state: Path, content: bytes | None
) -> None:
    server = embedded.start(NATS, state)
    record = server.folder / "server.json"
    if content is None:
        record.unlink()
    else:
        record.write_bytes(content)
    assert embedded.start(NATS, state) == server
    assert embedded.stop(NATS, state) is True
    assert _gone(server.pid)


def test_a_port_in_use_is_refused_with_its_owner(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            embedded.start(NATS, state, port=port)
    assert caught.value.port == port
    assert f"process {os.getpid()}" in caught.value.details
    assert all(caught.value.lines())
    assert embedded.find(NATS, state) is None


def test_the_asked_port_is_used(state: Path) -> None:
    port = ports.free()
    assert embedded.start(NATS, state, port=port).port == port


def test_a_running_server_is_not_moved_to_another_port(state: Path) -> None:
    server = embedded.start(NATS, state)
    with pytest.raises(AlreadyRunning, match=str(server.port)):
        embedded.start(NATS, state, port=ports.free())
    assert embedded.find(NATS, state) == server


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(state: Path, port: int) -> None:
    with pytest.raises(InvalidValue, match=str(port)):
        embedded.start(NATS, state, port=port)


def test_two_processes_that_start_at_once_get_one_server(state: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from deploy import embedded; "
        "from deploy.brokers import NATS; sys.stdin.readline();"
        "print(embedded.start(NATS, Path(sys.argv[1])).pid)"
    )
    command = [sys.executable, "-c", code, str(state)]
    starters = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    pids = {int(starter.communicate(timeout=30)[0]) for starter in starters}
    assert _processes_of(state) == list(pids)


def test_start_says_so_when_another_process_holds_the_lock(state: Path) -> None:
    (state / "nats").mkdir(parents=True)
    code = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(state / "nats" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy) as caught:
            embedded.start(NATS, state, timeout=0.2)
        holder.communicate(b"\n")
    assert caught.value.retryable


def test_a_server_that_ends_at_once_is_reported_with_its_log(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        return "listen: 127.0.0.1:4\njetstream { store_dir: 1"

    monkeypatch.setattr(nats_server, "configuration", broken)
    with pytest.raises(ServerFailed) as caught:
        embedded.start(NATS, state)
    assert "Parse error" in caught.value.tail[-1]
    assert _processes_of(state) == []


def test_a_server_whose_command_line_is_not_there_yet_is_not_taken_for_ended(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after its start a process has an empty command line; it must be waited for."""
    real, asked = psutil.Process.cmdline, 0

    def late(process: psutil.Process) -> list[str]:
        nonlocal asked
        asked += 1
        return [] if asked < 4 else real(process)

    monkeypatch.setattr(psutil.Process, "cmdline", late)
    assert embedded.start(NATS, state).pid


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderUnusable) as caught:
        embedded.start(NATS, tmp_path / "file")
    assert isinstance(caught.value, MusterError)
    assert all(caught.value.lines())
