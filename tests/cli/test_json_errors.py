"""With `--json` every command says its errors as one line of JSON on standard output, and no other
word anywhere: found by walking the parser, so that a new command cannot be forgotten."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import typer

from workers.cli.main import app, run

FILLED = {"payload": "{}", "topic": "a.b", "shell": "bash"}
"""What stands for an argument that must be given, where `x` would not do."""

SETTLED = {("bench",), ("completion",)}
"""Commands that read no settings: the one would measure, the other says its script."""

ALONE = {
    ("up",),
    ("demo",),
    ("down",),
    ("new", "role"),
    ("config",),
    ("work",),
    ("asyncapi",),
    *SETTLED,
}
"""Commands that do their work where no bus runs, or start one."""

FIELDS = {"error", "message", "details", "actions", "retryable", "retry_after", "exit_code"}


Command = tuple[str, ...]


def _commands(command: Any, path: Command = ()) -> Iterator[tuple[Command, list[str]]]:
    """Every command of the parser, and how it is typed with the arguments it must be given."""
    asked = SimpleNamespace(resilient_parsing=False)
    if hasattr(command, "list_commands"):
        for name in command.list_commands(asked):
            yield from _commands(command.get_command(asked, name), (*path, name))
        return
    needed = [p.name for p in command.params if p.param_type_name == "argument" and p.required]
    yield path, [*path, *(FILLED.get(name, "x") for name in needed)]


EVERY: Mapping[Command, list[str]] = MappingProxyType(dict(_commands(typer.main.get_command(app))))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where no bus runs and no history."""
    monkeypatch.chdir(tmp_path)
    for name in ("MUSTER_BUS_URL", "MUSTER_HISTORY_URL", "MUSTER_FLEET_NAME", "MUSTER_ROLES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _refused(path: Command, *more: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """What it said, which is one error and nothing else."""
    code = run([*EVERY[path], *more, "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    (line,) = out.splitlines()
    said = json.loads(line)
    assert set(said) == FIELDS
    assert said["exit_code"] == code != 0
    assert all(isinstance(said[part], str) and said[part] for part in ("message", "details"))
    assert said["actions"]
    return said


def test_the_parser_was_walked() -> None:
    assert {("up",), ("dlq", "replay"), ("schedule", "add"), ("new", "role")} <= set(EVERY)
    assert len(EVERY) >= 37
    assert set(EVERY) >= ALONE


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_an_option_there_is_not(path: Command, capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused(path, "--no-such-option", capsys=capsys)
    assert said["exit_code"] == 2
    assert "--no-such-option" in said["message"]
    assert f"muster {' '.join(path)} --help" in said["actions"][0]


@pytest.mark.parametrize("path", [p for p in EVERY if p not in SETTLED], ids=" ".join)
def test_settings_that_cannot_be_read(
    path: Command, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "muster.toml").write_text("[bus\n", encoding="utf-8")
    assert _refused(path, capsys=capsys)["exit_code"] == 2


@pytest.mark.parametrize("path", [p for p in EVERY if p not in ALONE | {("doctor",)}], ids=" ".join)
def test_nothing_runs_here(path: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Of those that must be told more first, the error is about that."""
    assert _refused(path, capsys=capsys)["exit_code"] in {2, 3}


def test_what_is_checked_is_told_with_the_exit_code_of_the_worst(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`doctor` has no single error: it says all it has seen."""
    assert run(["doctor", "--json"]) == 3
    out, err = capsys.readouterr()
    assert err == ""
    assert {"fail"} <= {check["state"] for check in json.loads(out)["checks"]}
