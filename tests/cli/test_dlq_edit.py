"""`muster dlq edit`: a payload is changed by a person, and nothing typed is ever lost."""

import json
import os
import pty
import re
import secrets
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.letters import dead, letter, put, replayed
from tests.cli.running import GREETER, Ended, Muster
from tests.servers import NatsServer
from workers.fleet.operator import whoami

pytestmark = pytest.mark.nats

EDITOR = '''\
"""Writes what is planned for this call instead of what it was given, and keeps the latter."""

import json
import sys
from pathlib import Path

plan = Path(__file__).with_name("plan.json")
steps = json.loads(plan.read_text())
step = steps.pop(0)
plan.write_text(json.dumps(steps))
file = Path(sys.argv[1])
with Path(__file__).with_name("seen.jsonl").open("a") as seen:
    seen.write(json.dumps(file.read_text()) + "\\n")
if isinstance(step, int):
    sys.exit(step)
if step is not None:
    file.write_bytes(step.encode("utf-8", "surrogateescape"))
'''


@pytest.fixture
def muster(nats_server: NatsServer, tmp_path: Path) -> Muster:
    """The command on a fleet of its own, with one dead letter `t1` of a role whose code is here."""
    name = f"edit-{secrets.token_hex(4)}"
    made = Muster(tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=name)
    made.environment["TMPDIR"] = str(tmp_path / "drafts")
    (tmp_path / "drafts").mkdir()
    made.write("agents/greeter.py", GREETER)
    put(made, letter("t1", body='{"name":"nobody","times":"möglich"}'.encode()))
    return made


def plan(muster: Muster, *steps: str | int | None) -> None:
    """What the editor does each time: write a text, end with a code, or leave all as it is."""
    script = muster.write("editor/editor.py", EDITOR)
    muster.write("editor/plan.json", json.dumps(steps))
    muster.environment["EDITOR"] = shlex.join([sys.executable, str(script)])
    muster.environment.pop("VISUAL", None)


def seen(muster: Muster) -> list[str]:
    """What the editor was given, each time."""
    text = (muster.folder / "editor/seen.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def drafts(muster: Muster) -> list[Path]:
    """The files that were kept."""
    return [file for file in (muster.folder / "drafts").rglob("*") if file.is_file()]


@pytest.mark.promise(17)
def test_a_payload_is_changed_in_the_editor_and_replayed(muster: Muster) -> None:
    """17: it is shown as JSON one can read; the task that runs says who changed it."""
    plan(muster, '{"name": "Ada"}\n')
    ended = muster("dlq", "edit", "t1", "--yes")
    assert (ended.code, ended.out) == (0, "edited and replayed t1 of greeter\n"), ended.err
    assert seen(muster) == ['{\n  "name": "nobody",\n  "times": "möglich"\n}\n']
    assert '-  "name": "nobody",' in ended.err
    assert '+  "name": "Ada"' in ended.err
    message = replayed(muster, 1)["t1"].message
    assert message.body == b'{"name":"Ada"}'
    assert message.headers["muster-edited-by"] == whoami()
    assert dead(muster) == {}
    assert drafts(muster) == []


def test_a_payload_is_changed_without_an_editor(muster: Muster) -> None:
    """From an argument or standard input; `--keep` replays nothing, and `show` tells who it was."""
    first = muster("dlq", "edit", "t1", "--payload", '{"name": "Bob"}', "--keep", "--yes", "--json")
    assert first.json == {"id": "t1", "role": "greeter", "done": "edited"}
    kept = dead(muster)["t1"]
    assert (kept.body, kept.edited_by) == (b'{"name":"Bob"}', whoami())
    assert re.search(rf"^edited +\S+Z by {re.escape(whoami())}$", show(muster), re.MULTILINE)
    given = '{"name": "Cleo"}'
    assert muster("dlq", "edit", "t1", "--payload", "-", "--yes", given=given).code == 0
    assert replayed(muster, 1)["t1"].message.body == b'{"name":"Cleo"}'


def show(muster: Muster) -> str:
    """What `dlq show` says of it."""
    return muster("dlq", "show", "t1").out


@pytest.mark.parametrize(
    ("typed", "says", "why"),
    [
        ('{"name": "Ada"', "the payload is not JSON", "line 1"),
        ("", "the payload is not JSON", "line 1"),
        ('{"nome": "Ada"}', "does not fit role greeter", "name: Field required"),
        ("\udcff", "the payload is not JSON", "not UTF-8"),
    ],
)
def test_what_cannot_be_taken_is_kept_in_a_file_and_said_where(
    muster: Muster, typed: str, says: str, why: str
) -> None:
    plan(muster, typed)
    before = dead(muster)
    ended = muster("dlq", "edit", "t1", "--yes")
    assert ended.code == 5
    what, reason, do = ended.lines
    assert says in what
    assert why in reason
    (file,) = drafts(muster)
    assert file.read_bytes() == typed.encode("utf-8", "surrogateescape")
    assert f"what you typed is in {file}" in do
    assert file.parent.stat().st_mode & 0o077 == 0
    assert dead(muster) == before


def test_what_nobody_agreed_to_is_kept_in_a_file(muster: Muster) -> None:
    """The file can be given back as it is."""
    plan(muster, '{"name": "Ada"}')
    ended = muster("dlq", "edit", "t1")
    assert (ended.code, ended.lines[0][:19]) == (5, "nobody can be asked")
    (file,) = drafts(muster)
    assert dead(muster)["t1"].edited_by == ""
    assert muster("dlq", "edit", "t1", "--payload", f"@{file}", "--yes").code == 0
    assert replayed(muster, 1)["t1"].message.body == b'{"name":"Ada"}'


@pytest.mark.parametrize(("step", "code"), [(None, 0), (1, 130)])
def test_who_changes_nothing_or_gives_up_has_changed_nothing(
    muster: Muster, step: int | None, code: int
) -> None:
    plan(muster, step)
    before = dead(muster)
    ended = muster("dlq", "edit", "t1", "--yes")
    assert (ended.code, ended.out) == (code, "")
    assert dead(muster) == before
    assert drafts(muster) == []


def test_a_mistake_opens_the_editor_again_with_the_text_kept(muster: Muster) -> None:
    """On a terminal; then the change is shown and agreed to."""
    plan(muster, '{"name": 5}', '{"name": "Ada"}')
    ended, shown = on_terminal(muster, "y\ny\n", "dlq", "edit", "t1")
    assert ended.code == 0, ended.err
    assert "name: Input should be a valid string" in shown
    assert "edit it again? [Y/n]" in shown
    assert "Replay it so: t1 of greeter? [y/N]" in shown
    assert seen(muster)[1] == '{"name": 5}'
    assert replayed(muster, 1)["t1"].message.body == b'{"name":"Ada"}'


def test_who_does_not_mend_a_mistake_keeps_the_text(muster: Muster) -> None:
    plan(muster, '{"name": 5}')
    ended, _ = on_terminal(muster, "n\n", "dlq", "edit", "t1")
    assert ended.code == 5
    (file,) = drafts(muster)
    assert file.read_text(encoding="utf-8") == '{"name": 5}'
    assert dead(muster)["t1"].edited_by == ""


def on_terminal(muster: Muster, answers: str, *arguments: str) -> tuple[Ended, str]:
    """The command with a terminal to ask; how it ended and what it wrote there."""
    ours, theirs = pty.openpty()
    os.write(ours, answers.encode())
    with subprocess.Popen(
        muster.command(*arguments),
        cwd=muster.folder,
        env=muster.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as asked:
        os.close(theirs)
        out, err = asked.communicate(timeout=30)
        os.close(ours)
    return Ended(asked.returncode, out, err), err


@pytest.mark.promise(17)
def test_what_was_replayed_often_is_refused_before_the_editor_opens(muster: Muster) -> None:
    """17: unless forced; what was changed stays changed when the replay is refused later."""
    put(muster, letter("t1", replays=3))
    plan(muster, '{"name": "Ada"}')
    assert muster("dlq", "edit", "t1", "--yes").code == 5
    assert not (muster.folder / "editor/seen.jsonl").exists()
    assert muster("dlq", "edit", "t1", "--yes", "--force").code == 0
    assert "muster-replay-forced" in replayed(muster, 1)["t1"].message.headers


def test_without_an_editor_it_says_how_to_do_without(muster: Muster) -> None:
    muster.environment.pop("EDITOR", None)
    muster.environment.pop("VISUAL", None)
    ended = muster("dlq", "edit", "t1")
    assert ended.code == 2
    assert "--payload" in ended.lines[2]
    muster.environment["EDITOR"] = "/no/such/editor"
    ended = muster("dlq", "edit", "t1")
    assert (ended.code, "/no/such/editor" in ended.lines[0]) == (2, True)


def test_a_role_whose_code_is_elsewhere_is_not_checked_here(muster: Muster) -> None:
    """It says so; its worker will check."""
    put(muster, letter("t2", group="stranger"))
    ended = muster("dlq", "edit", "t2", "--payload", "[1]", "--yes", "--keep")
    assert ended.code == 0
    assert "the code of role stranger is elsewhere" in ended.err
    assert dead(muster)["t2"].body == b"[1]"
