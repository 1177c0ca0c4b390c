"""The files of `deploy/examples` are what they say: units that systemd takes, command lines that
the parser takes, a broker's configuration that keeps every promise; and they are really run."""

import configparser
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from deploy import nats_server, ports
from tests.cli.running import Ended, Muster
from tests.servers import NatsServer
from workers.cli.keeping import KILL_AFTER
from workers.cli.main import app
from workers.settings import FleetSettings, load

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "deploy" / "examples"
UNITS = sorted(EXAMPLES.glob("*.service"))
PROCFILES = [ROOT / "Procfile", EXAMPLES / "Procfile"]
VENV = Path(sys.prefix)
SECONDS = 30.0
SERVERS = 10.0
"""Seconds in which embedded servers end, see `deploy.embedded.stop`."""


def _unit(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(EXAMPLES / name, encoding="utf-8")
    return parser["Service"]


def _processes(procfile: Path) -> dict[str, str]:
    """The commands of a Procfile by name."""
    lines = procfile.read_text(encoding="utf-8").splitlines()
    found = {name: command for name, _, command in (line.partition(": ") for line in lines)}
    assert all(re.fullmatch(r"[\w-]+", name) for name in found)
    assert len(found) == len(lines)
    return found


def _environment() -> dict[str, str]:
    lines = (EXAMPLES / "environment").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_the_page_names_every_file() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert [file.name for file in EXAMPLES.iterdir() if f"`{file.name}`" not in page] == [
        "Procfile"
    ]
    assert "`deploy/examples/Procfile`" in page


def _takes(command: str) -> None:
    """The parser knows the command and its options."""
    words = shlex.split(command.replace("%i", "triager").removeprefix("exec "))
    assert words[0].endswith(".venv/bin/muster")
    group: Any = typer.main.get_command(app)
    with group.make_context("muster", words[1:2], resilient_parsing=True) as context:
        group.get_command(context, words[1]).make_context(words[1], words[2:])


def test_the_parser_takes_every_command_line() -> None:
    for unit in UNITS:
        command = _unit(unit.name)["ExecStart"]
        if "muster-nats" not in unit.name:
            _takes(command)
    for procfile in PROCFILES:
        for command in _processes(procfile).values():
            _takes(command)
    with pytest.raises(typer.TyperException):
        _takes(".venv/bin/muster work triager --restarts 3")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    """With the programs of this environment in the places that the units name."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze: its part is parsed only")
    text = unit.read_text(encoding="utf-8")
    for place in ("/opt/muster/.venv/bin", "/usr/local/bin"):
        text = text.replace(place, str(VENV / "bin"))
    copy = tmp_path / unit.name.replace("@", "@triager")
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["muster-up.service", "muster-worker@.service"])
def test_a_unit_gives_time_to_drain(name: str) -> None:
    """Workers, what kills those that do not end, and the servers after them."""
    unit = _unit(name)
    assert unit["KillMode"] == "mixed", "workers are told by `muster up`, and once"
    needed = FleetSettings().drain + KILL_AFTER + SERVERS
    assert needed <= float(unit["TimeoutStopSec"]) <= 2 * needed
    assert unit["OOMPolicy"] == "continue"


def test_the_environment_has_settings_there_are(tmp_path: Path) -> None:
    loaded = load(tmp_path, environment=_environment())
    assert loaded.settings.bus.url
    assert loaded.settings.history.url


def test_the_brokers_configuration_is_the_one_that_keeps_promises(tmp_path: Path) -> None:
    """Started as it stands, but for its folder and ports, with a user and a password."""
    config, port, monitor = tmp_path / "nats.conf", ports.free(), ports.free()
    text = (EXAMPLES / "nats.conf").read_text(encoding="utf-8")
    for old, new in (
        ("127.0.0.1:4222", f"127.0.0.1:{port}"),
        ("127.0.0.1:8222", f"127.0.0.1:{monitor}"),
        ("/var/lib/muster-nats", str(tmp_path / "store")),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    config.write_text(text, encoding="utf-8")
    program = nats_server.locate()
    environment = {**os.environ, "MUSTER_NATS_PASSWORD": "right"}
    with subprocess.Popen(
        [program.path, "-c", config], env=environment, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _until(lambda: nats_server.greeting(port) is not None)
            muster = Muster(tmp_path, MUSTER_BUS_URL=f"nats://muster:right@127.0.0.1:{port}")
            found = muster("doctor", "--json", "--monitor", f"http://127.0.0.1:{monitor}")
            checks = {check["what"]: check for check in found.json["checks"]}
            assert found.code == 0, checks
            assert {checks[what]["state"] for what in ("bus", "sync")} == {"ok"}
            muster.environment["MUSTER_BUS_URL"] = f"nats://muster:wrong@127.0.0.1:{port}"
            assert muster("ps").code == 5
        finally:
            server.terminate()


@pytest.fixture
def place(tmp_path: Path, nats_server: NatsServer) -> Muster:
    """A folder with this environment and the role of the README, and a fleet of its own."""
    (tmp_path / ".venv").symlink_to(VENV)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (role,) = re.findall(r"```python\n(from pydantic.+?)```", readme, re.DOTALL)
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "triager.py").write_text(role, encoding="utf-8")
    return Muster(
        tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=f"deploy-{secrets.token_hex(4)}"
    )


@contextmanager
def _started(muster: Muster, commands: Mapping[str, str]) -> Iterator[list[Any]]:
    """Each in a shell and a session of its own, as those who read Procfiles start them."""
    with ExitStack() as stack:
        log = stack.enter_context((muster.folder / "said.log").open("a"))
        running = [
            subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=muster.folder,
                env=muster.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for command in commands.values()
        ]
        for process in running:
            stack.callback(_end, process)
        yield running


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


TICKET = '{"text": "Where is my invoice?"}'


def _answered(muster: Muster) -> None:
    """A task goes through, as soon as somebody has bound its role."""
    ended: list[Ended] = []

    def taken() -> bool:
        ended.append(muster("publish", "support.ticket", TICKET, "--wait", "--timeout", "20s"))
        return ended[-1].code != 4

    _until(taken)
    assert ended[-1].code == 0, ended[-1].err
    assert ended[-1].json["queue"] == "billing"


def _roles_seen(muster: Muster) -> set[str]:
    """Those of the workers that can be seen: they run, and end in good order when told to."""
    return {worker["role"] for worker in muster("ps", "--json").json["workers"]}


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.nats
@pytest.mark.postgres
def test_the_procfile_runs_a_fleet_and_sigterm_drains_it(place: Muster, history_url: str) -> None:
    place.environment["MUSTER_HISTORY_URL"] = history_url
    commands = _processes(EXAMPLES / "Procfile")
    assert set(commands) == {"triager", "recorder", "scheduler"}
    with _started(place, commands) as running:
        _answered(place)
        _until(lambda: _roles_seen(place) == set(commands))
        for process in running:
            os.killpg(process.pid, signal.SIGTERM)
        assert [process.wait(SECONDS) for process in running] == [0, 0, 0]


@pytest.mark.nats
@pytest.mark.parametrize("name", ["muster-up.service", "muster-worker@.service"])
def test_a_unit_runs_a_task_and_sigterm_to_its_main_process_ends_it(
    place: Muster, name: str
) -> None:
    command = _unit(name)["ExecStart"].replace("/opt/muster/", "").replace("%i", "triager")
    place.write("muster.toml", "[roles]\n" + "".join(_none(role) for role in BUILT_IN))
    with _started(place, {"unit": f"exec {command}"}) as (unit,):
        _answered(place)
        unit.send_signal(signal.SIGTERM)
        assert unit.wait(float(_unit(name)["TimeoutStopSec"])) == 0
    assert place("ps", "--json").json["workers"] == []


BUILT_IN = tuple(_processes(ROOT / "Procfile"))


def _none(role: str) -> str:
    return f"{role}.replicas = 0\n"
