"""Whoever cannot install a server for the tests is told why, and the tests are run without it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "install"
NEEDED = ("bash", "dirname", "rm", "mkdir", "mktemp", "cp", "sed", "flock", "touch", "mv", "chmod")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with what every machine has, and no server, to be the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def a_program(folder: Path, name: str, does: str) -> None:
    """One that does this."""
    (folder / name).write_text(f"#!{folder}/bash\n{does}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def run(name: str, programs: Path) -> str:
    """Run the script, which must end well, and answer what it said."""
    place = {"PATH": str(programs), "HOME": str(programs.parent)}
    more = {key: value for key, value in os.environ.items() if key == "LC_ALL"}
    done = subprocess.run(
        [programs / "bash", SCRIPTS / name],
        env=place | more,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_a_machine_without_apt_is_told(programs: Path) -> None:
    assert "there is no apt-get here" in run("redis.sh", programs)


def test_who_is_not_root_is_told_what_to_type(programs: Path) -> None:
    a_program(programs, "apt-get", "exit 9")
    a_program(programs, "id", "echo 1000")
    said = run("redis.sh", programs)
    assert "needs root: sudo bash" in said
    assert str(SCRIPTS / "redis.sh") in said


def test_a_package_that_cannot_be_had_is_told(programs: Path) -> None:
    a_program(programs, "id", "echo 0")
    a_program(programs, "apt-get", "exit 100")
    assert "apt-get could not install it" in run("redis.sh", programs)


def test_a_machine_without_java_is_told(programs: Path) -> None:
    assert "java is not installed" in run("kafka.sh", programs)


def test_an_old_java_is_told(programs: Path) -> None:
    a_program(programs, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    a_program(programs, "mvn", "exit 9")
    assert "java 11 is too old, 17 is needed" in run("kafka.sh", programs)


def test_jars_that_cannot_be_fetched_are_told(programs: Path) -> None:
    a_program(programs, "java", "echo 'openjdk version \"17.0.2\"' >&2")
    a_program(programs, "mvn", "exit 1")
    assert "mvn could not fetch it" in run("kafka.sh", programs)
    assert not [*programs.parent.glob(".cache/muster/kafka-*")]
