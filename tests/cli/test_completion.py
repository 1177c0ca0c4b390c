"""What a shell offers: commands and options, and names of the fleet, at once or not at all."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.letters import letter, put
from tests.cli.running import GREETER, Muster
from tests.servers import NatsServer


def offered(muster: Muster, line: str) -> list[str]:
    """What a shell offers for the last word of `line`."""
    words = line.split(" ")
    muster.environment |= {
        "_MUSTER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    try:
        ended = muster()
    finally:
        for name in ("_MUSTER_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
            del muster.environment[name]
    assert (ended.code, ended.err) == (0, "")
    return ended.out.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("muster do", ["down", "doctor"]),
        ("muster dlq re", ["replay"]),
        ("muster dlq replay --rea", ["--reason"]),
        ("muster dlq replay --reason re", ["rejected"]),
        ("muster completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_commands_and_options_are_offered(muster: Muster, line: str, words: list[str]) -> None:
    assert offered(muster, line) == words


def test_roles_to_work_on_are_those_whose_code_is_here(muster: Muster) -> None:
    """Found in the text: nothing is imported, so what is broken is offered too."""
    muster.write("agents/greeter.py", GREETER)
    muster.write("agents/broken.py", 'import nothing_such\n\n@role(\n    "groaner", listens="x")\n')
    assert offered(muster, "muster work gr") == ["greeter", "groaner"]
    assert "researcher" in offered(muster, "muster up ")


@pytest.mark.nats
def test_names_of_the_fleet_are_offered(nats_server: NatsServer, tmp_path: Path) -> None:
    """Roles, topics as far as their patterns say, ids of dead letters; where the options point."""
    muster = Muster(tmp_path)
    far = f"--bus {nats_server.url} --fleet completion"
    muster.environment |= {"MUSTER_BUS_URL": nats_server.url, "MUSTER_FLEET_NAME": "completion"}
    put(muster, letter("t-1"), letter("t/2 ä", group="gardener"), letter("u-3"))
    assert offered(muster, "muster roles show g") == ["gardener", "greeter"]
    assert offered(muster, "muster dlq ls --role gr") == ["greeter"]
    assert offered(muster, "muster publish gr") == ["greeter."]
    assert offered(muster, "muster dlq show u") == ["u-3"]
    assert offered(muster, "muster task retry t-") == ["t-1"]
    for name in ("MUSTER_BUS_URL", "MUSTER_FLEET_NAME"):
        del muster.environment[name]
    assert offered(muster, f"muster {far} pause gr") == ["greeter"]


def test_a_bus_that_is_away_or_silent_is_not_waited_for(muster: Muster) -> None:
    """No name, no word of error, and no longer than a person would wait."""
    assert offered(muster, "muster roles show g") == []
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        assert offered(muster, f"muster --bus {address} roles show g") == []
        assert time.monotonic() - began < 5.0
    assert offered(muster, "muster --bus nast://x roles show g") == []
    muster.write("muster.toml", "broken = [")
    assert offered(muster, "muster roles show g") == []


def test_completing_a_name_imports_no_client_library() -> None:
    """What makes it quick."""
    code = (
        "import sys; from workers.cli.main import run; run();"
        "heavy = {'nats', 'rich', 'structlog', 'filelock', 'bus.bus', 'workers.wiring'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    line = {"_MUSTER_COMPLETE": "complete_bash", "COMP_WORDS": "muster pause g", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **line},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_works_in_bash(muster: Muster, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "muster"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(muster.command())} "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(muster completion bash)" && COMP_WORDS=(muster ver nothing) && COMP_WORDS[1]=lag'
        ' && COMP_CWORD=1 && _muster_completion muster && echo "${COMPREPLY[@]}"'
    )
    muster.environment["PATH"] = f"{program.parent}:{muster.environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=muster.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["lag"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(muster: Muster, shell: str) -> None:
    ended = muster("completion", shell)
    assert ended.code == 0
    assert f"complete_{shell}" in ended.out


def test_another_shell_is_wrong_usage(muster: Muster) -> None:
    ended = muster("completion", "tcsh")
    assert ended.code == 2
    assert "'tcsh'" in ended.lines[0]
