"""The embedded PostgreSQL: started once, found again, stopped by its own id."""

import asyncio
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy import accounts, postgres_server
from deploy import postgres as embedded
from deploy.errors import Busy, FolderUnusable, OtherVersion, ServerFailed, ServerMissing
from tests.clusters import lay
from tests.freezing import freeze
from tests.servers import missing

pytestmark = pytest.mark.postgres

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs the administrator")


@pytest.fixture
def state(free_folder: Path) -> Iterator[Path]:
    """A folder like `.muster`; whatever server it holds afterwards is stopped."""
    try:
        postgres_server.locate()
    except ServerMissing as error:
        missing("postgres", str(error))
    folder = free_folder / "state"
    yield folder
    embedded.stop(folder)


@pytest.fixture
def made(state: Path) -> Path:
    """One whose server has run before."""
    lay(state)
    return state


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


def _servers_of(state: Path) -> list[int]:
    data = str(state.resolve() / "postgres" / "data")
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[1:3] == ["-D", data]:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def _ask(url: str, statement: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval(statement))
    finally:
        await connection.close()


async def test_it_answers_when_start_returns(state: Path) -> None:
    server = embedded.start(state)
    assert await _ask(server.url, "SELECT current_database()") == "muster"
    assert (await _ask(server.url, "SHOW server_version")).startswith(f"{server.version}.")
    assert server.folder == state / "postgres"
    assert psutil.Process(server.pid).name() == "postgres"
    assert not list(server.folder.glob("data.new*"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("max_connections", "400"),
        ("timezone", "UTC"),
        ("server_encoding", "UTF8"),
    ],
)
async def test_it_loses_nothing_that_was_committed(
    postgres_server: object, history_url: str, setting: str, value: str
) -> None:
    assert await _ask(history_url, f"SHOW {setting}") == value


async def test_only_its_owner_can_connect(state: Path) -> None:
    server = embedded.start(state)
    assert await _ask(server.url, "SHOW listen_addresses") == ""
    assert not [
        c
        for c in psutil.Process(server.pid).net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700


@AS_ROOT
def test_as_the_administrator_it_runs_as_an_account_of_its_own(state: Path) -> None:
    state.parent.chmod(0o700)
    server = embedded.start(state)
    account = pwd.getpwnam(accounts.NAME)
    assert psutil.Process(server.pid).uids().real == account.pw_uid
    assert psutil.Process(server.pid).gids().real == account.pw_gid
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o701


@AS_ROOT
def test_an_ordinary_user_runs_it_as_himself(free_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(free_folder, nobody.pw_uid, nobody.pw_gid)
    code = (
        "import os, sys; from pathlib import Path; from deploy import postgres\n"
        "state, uid, gid = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])\n"
        "os.setgroups([]); os.setgid(gid); os.setuid(uid)\n"
        "print(postgres.start(state).pid, flush=True); sys.stdin.readline()\n"
        "assert postgres.stop(state)"
    )
    ids = [str(nobody.pw_uid), str(nobody.pw_gid)]
    command = [sys.executable, "-c", code, str(free_folder / "state"), *ids]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        pid = int(user.stdout.readline())
        assert psutil.Process(pid).uids().real == nobody.pw_uid
        user.communicate("\n", timeout=30)
    assert user.returncode == 0
    assert _gone(pid)


def test_a_second_start_finds_the_first(made: Path) -> None:
    assert embedded.find(made) is None
    first = embedded.start(made)
    assert embedded.start(made) == first
    assert embedded.find(made) == first


def test_it_does_not_belong_to_the_terminal(made: Path) -> None:
    server = embedded.start(made)
    assert os.getsid(server.pid) == server.pid != os.getsid(0)


async def test_what_was_committed_survives_a_kill_at_the_same_address(made: Path) -> None:
    first = embedded.start(made)
    connection = await asyncpg.connect(first.url)
    await connection.execute("CREATE TABLE kept AS SELECT 'here' AS what")
    _kill(first.pid)
    assert embedded.find(made) is None
    second = embedded.start(made)
    connection.terminate()

    assert second.pid != first.pid
    assert second.url == first.url
    assert await _ask(second.url, "SELECT what FROM kept") == "here"


def test_it_survives_its_starter(made: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from deploy import postgres\n"
        "print(postgres.start(Path(sys.argv[1])).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made)], capture_output=True, text=True, check=False
    )
    found = embedded.find(made)
    assert found is not None
    assert found.pid == int(done.stdout)


@pytest.mark.parametrize("moment", ["initdb", "--single", "config_file"])
def test_a_starter_killed_in_the_middle_leaves_nothing_half_made(state: Path, moment: str) -> None:
    """Killed as it starts one of its programs, which goes on alone."""
    code = (
        "import os, signal, subprocess, sys; from pathlib import Path\n"
        "from deploy import postgres\n"
        "class Popen(subprocess.Popen):\n"
        "    def __init__(self, command, **more):\n"
        "        super().__init__(command, **more)\n"
        "        if any(sys.argv[2] in str(part) for part in command):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "subprocess.Popen = Popen\n"
        "postgres.start(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(state), moment], check=False)
    assert done.returncode == -9
    server = embedded.start(state)
    assert embedded.find(state) == server
    assert _servers_of(state) == [server.pid]


def test_stop_ends_it_and_says_whether_one_ran(made: Path) -> None:
    server = embedded.start(made)
    assert embedded.stop(made) is True
    assert _gone(server.pid)
    assert embedded.find(made) is None
    assert embedded.stop(made) is False


def test_stop_without_a_folder_makes_none(state: Path) -> None:
    assert embedded.stop(state) is False
    assert not state.exists()


async def test_stop_does_not_wait_for_clients(made: Path) -> None:
    server = embedded.start(made)
    connection = await asyncpg.connect(server.url)
    assert embedded.stop(made, timeout=5.0) is True
    assert _gone(server.pid)
    connection.terminate()


def test_a_hanging_server_is_killed_by_stop(made: Path) -> None:
    server = embedded.start(made)
    freeze(server.pid)
    assert embedded.stop(made, timeout=0.5) is True
    assert _gone(server.pid)


def test_a_hanging_server_is_replaced_by_start(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_KILL_SECONDS", 0.5)
    server = embedded.start(made)
    freeze(server.pid)
    again = embedded.start(made, timeout=2.0)
    assert again.pid != server.pid
    assert _gone(server.pid)


def test_a_recorded_process_that_is_another_program_is_left_alone(
    made: Path, sleeper: psutil.Process
) -> None:
    server = embedded.start(made)
    _kill(server.pid)
    record = server.folder / "data" / "postmaster.pid"
    record.write_text(record.read_text().replace(str(server.pid), str(sleeper.pid), 1))

    assert embedded.find(made) is None
    assert embedded.stop(made) is False
    assert embedded.start(made).pid != sleeper.pid
    assert sleeper.is_running()


async def test_a_copied_folder_does_not_lead_to_the_original(made: Path, free_folder: Path) -> None:
    server = embedded.start(made)
    await _ask(server.url, "CHECKPOINT")
    copied = free_folder / "copied"
    shutil.copytree(
        made / "postgres", copied / "postgres", ignore=shutil.ignore_patterns(".s.PGSQL*")
    )

    assert embedded.find(copied) is None
    assert embedded.stop(copied) is False
    assert embedded.find(made) == server


@pytest.mark.parametrize("content", [b"", b"x\n", b"\xff\xfe"])
def test_a_spoilt_record_is_reported(made: Path, content: bytes) -> None:
    """Only a person can know that no server runs on these data."""
    server = embedded.start(made)
    embedded.stop(made)
    (server.folder / "data" / "postmaster.pid").write_bytes(content)
    assert embedded.find(made) is None
    with pytest.raises(ServerFailed) as caught:
        embedded.start(made)
    assert "postmaster.pid" in caught.value.details


def test_two_processes_that_start_at_once_get_one_server(state: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from deploy import postgres; sys.stdin.readline();"
        "print(postgres.start(Path(sys.argv[1])).pid)"
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
    assert _servers_of(state) == list(pids)


def test_start_says_so_when_another_process_holds_the_lock(state: Path) -> None:
    (state / "postgres").mkdir(parents=True)
    code = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(state / "postgres" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy) as caught:
            embedded.start(state, timeout=0.2)
        holder.communicate(b"\n")
    assert caught.value.retryable


def test_data_of_another_version_are_refused_and_left_alone(state: Path) -> None:
    data = state / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(OtherVersion, match="PostgreSQL 16, this is PostgreSQL 18") as caught:
        embedded.start(state)
    assert all(caught.value.lines())
    assert [file.name for file in data.iterdir()] == ["PG_VERSION"]


@pytest.mark.parametrize("name", ["x" * 90, "with space", "mit-ümläut", "a,b"])
def test_a_path_that_cannot_hold_a_socket_gets_a_short_one(free_folder: Path, name: str) -> None:
    state = free_folder / name / "state"
    lay(state)
    server = embedded.start(state)
    try:
        sockets = Path(server.url.partition("host=")[2])
        assert not sockets.is_relative_to(free_folder)
        assert len(bytes(postgres_server.socket_file(sockets))) <= 103
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert asyncio.run(_ask(server.url, "SELECT 1")) == "1"
        _kill(server.pid)
        assert embedded.start(state).url == server.url
    finally:
        assert embedded.stop(state)
    assert not sockets.exists()


def test_a_socket_folder_of_somebody_else_is_not_taken(
    free_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Wherever everybody may make folders, anybody may have made ours before."""
    short = free_folder / "t"
    short.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(short))
    deep = free_folder / ("x" * 90)
    lay(deep)
    server = embedded.start(deep)
    embedded.stop(deep)
    taken = Path(server.url.partition("host=")[2])
    taken.symlink_to(tmp_path)
    with pytest.raises(FolderUnusable, match=str(taken)):
        embedded.start(deep)


def test_a_server_that_ends_at_once_is_reported_with_its_log(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "configuration", lambda _: "max_connections = 'many'\n")
    with pytest.raises(ServerFailed, match="ended at once") as caught:
        embedded.start(made)
    assert "FATAL" in caught.value.tail[-1]
    assert "server.conf" in caught.value.details
    assert _servers_of(made) == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderUnusable) as caught:
        embedded.start(tmp_path / "file")
    assert all(caught.value.lines())
