"""The command itself: help, version, errors of usage."""

import subprocess
import sys

from tests.cli.running import Muster
from workers.cli.main import COMMANDS


def test_help_lists_every_command_with_its_line(muster: Muster) -> None:
    ended = muster("--help")
    assert ended.code == 0
    for name, (_, line) in COMMANDS.items():
        assert f"  {name} " in ended.out
        assert line in ended.out


def test_help_imports_no_more_than_typer() -> None:
    """What makes it quick; the time itself is measured by `muster bench`."""
    code = (
        "import sys; from workers.cli.main import run; run(['--help']);"
        "heavy = {'rich', 'pydantic', 'asyncio', 'nats', 'psutil', 'structlog'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_shows_its_help(muster: Muster) -> None:
    for name in COMMANDS:
        ended = muster(name, "--help")
        assert ended.code == 0, (name, ended.err)
        assert "--json" in ended.out


def test_no_arguments_show_the_help(muster: Muster) -> None:
    assert muster().out == muster("--help").out


def test_version(muster: Muster) -> None:
    ended = muster("--version")
    assert (ended.code, ended.out.split()[0]) == (0, "muster")


def test_an_unknown_command_names_the_nearest(muster: Muster) -> None:
    ended = muster("pubish")
    assert ended.code == 2
    what, why, _ = ended.lines
    assert "'pubish'" in what
    assert "publish" in why


def test_a_bad_option_is_wrong_usage_in_three_lines(muster: Muster) -> None:
    for arguments in (("--nope",), ("ps", "--nope"), ("publish", "a"), ("dlq",)):
        ended = muster(*arguments)
        assert ended.code == 2, arguments
        assert "--help" in ended.lines[2]


def test_a_value_of_the_wrong_type_is_wrong_usage(muster: Muster) -> None:
    ended = muster("work", "writer", "--concurrency", "many")
    assert ended.code == 2
    assert "--concurrency" in ended.lines[0]


def test_with_json_an_error_is_json_with_the_same_code(muster: Muster) -> None:
    for arguments in (("--json", "ps"), ("ps", "--json")):
        ended = muster(*arguments)
        assert ended.code == 3
        assert ended.json["error"] == "Unreachable"
        assert ended.json["exit_code"] == 3
        assert ended.json["actions"]
        assert ended.err == ""


def test_a_traceback_is_shown_only_with_debug(muster: Muster) -> None:
    assert "Traceback" not in muster("ps").err
    assert "Traceback" in muster("ps", "--debug").err


def test_a_folder_that_is_not_there_is_wrong_usage(muster: Muster) -> None:
    ended = muster("config", "--folder", "nowhere")
    assert ended.code == 2
    assert "nowhere" in ended.lines[0]


def test_config_masks_the_password_of_every_address(muster: Muster) -> None:
    """Also of settings whose names do not say that they hold one."""
    muster.write("muster.toml", '[telemetry]\notlp = "http://me:secret@127.0.0.1:4318"\n')
    said = muster("config", "--json").json
    shown = {setting["name"]: setting["value"] for setting in said["settings"]}
    assert shown["telemetry.otlp"] == "http://me:***@127.0.0.1:4318"
