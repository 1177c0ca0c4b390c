"""`muster new role`: what it writes works."""

import subprocess
import sys

import pytest

from tests.cli.running import Muster


@pytest.mark.parametrize(
    "options",
    [[], ["--plain"], ["--resource"], ["--plain", "--resource"]],
    ids=["async", "plain", "resource", "both"],
)
def test_a_new_role_imports_and_its_test_passes(muster: Muster, options: list[str]) -> None:
    ended = muster("new", "role", "word_counter", *options, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["role"] == "word_counter"
    passed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=muster.folder,
        env=muster.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert passed.returncode == 0, passed.stdout
    refused = muster("publish", "word_counter.x", '{"txt": 1}')
    assert "text: Field required" in refused.lines[1]


def test_nothing_is_overwritten(muster: Muster) -> None:
    file = muster.write("agents/mine.py", "mine = 1\n")
    ended = muster("new", "role", "mine")
    assert ended.code == 2
    assert str(file) in ended.lines[0]
    assert file.read_text(encoding="utf-8") == "mine = 1\n"
    assert not (muster.folder / "tests").exists()


def test_names_that_cannot_be_are_refused_with_the_reason(muster: Muster) -> None:
    for name, reason in (("9x", "a letter first"), ("class", "Python"), ("writer", "built-in")):
        ended = muster("new", "role", name)
        assert ended.code == 2
        assert reason in ended.lines[1]
