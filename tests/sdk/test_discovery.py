"""Roles are found in folders, by the decorator; what is wrong with a file is said with its line."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workers.sdk.discovery import discover, pick
from workers.sdk.errors import RoleError, UnknownRole

HEAD = "from workers import Context, role\n\n"


def source(name: str, *, head: str = HEAD, body: str = "return payload") -> str:
    """A file with one role, whose decorator stands on line 3."""
    handler = f"async def handle(payload: int, ctx: Context) -> int:\n    {body}\n"
    return f"{head}@role({name!r})\n{handler}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; what was imported from it is forgotten afterwards."""
    path, modules = list(sys.path), set(sys.modules)
    made = tmp_path / "agents"
    made.mkdir()
    yield made
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    """Writes a file into the folder."""

    def put(name: str, text: str) -> Path:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return put


def broken(*folders: Path) -> RoleError:
    """Why these folders cannot be used."""
    with pytest.raises(RoleError) as caught:
        discover(folders)
    return caught.value


def test_every_role_of_a_folder_is_found(folder: Path, write: Callable[[str, str], Path]) -> None:
    """Several in one file too."""
    write("one.py", source("alpha") + source("beta", head="\n\n").replace("handle", "other"))
    file = write("two.py", source("gamma"))
    found = discover([folder])
    assert sorted(found) == ["alpha", "beta", "gamma"]
    assert (found["gamma"].file, found["gamma"].line) == (file, 3)


def test_other_files_are_left_out(folder: Path, write: Callable[[str, str], Path]) -> None:
    """Those that begin with `_`, `.` or `test_`, sub-folders, and what is no Python."""
    for name in ("_private.py", "__init__.py", ".hidden.py", "test_one.py", "notes.txt"):
        write(name, "raise RuntimeError('imported')")
    write("inside/deep.py", "raise RuntimeError('imported')")
    write("plain.py", "x = 1\n")
    assert discover([folder]) == {}


def test_a_folder_that_does_not_exist_is_left_out(tmp_path: Path) -> None:
    assert discover([tmp_path / "nowhere"]) == {}


def test_a_single_file_may_be_named(folder: Path, write: Callable[[str, str], Path]) -> None:
    write("other.py", source("other"))
    assert list(discover([write("one.py", source("alpha"))])) == ["alpha"]


def test_the_same_file_named_twice_is_one_role(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    """As a folder, as a file, by another way to it, and again later."""
    file = write("one.py", source("alpha"))
    link = folder.parent / "link"
    link.symlink_to(folder)
    found = discover([folder, file, link, folder / ".." / "agents"])
    assert list(found) == ["alpha"]
    assert discover([folder])["alpha"] is found["alpha"]


def test_two_roles_of_one_name_are_refused_with_both_places(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    first, second = write("a.py", source("same")), write("b.py", "\n\n" + source("same"))
    error = broken(folder)
    assert error.message == "two roles are called 'same'"
    assert error.details == f"{first}:3 and {second}:5"


def test_a_role_imported_from_a_neighbour_is_the_neighbours(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    write("a_user.py", "from b_home import handle\n\nuses = handle\n")
    file = write("b_home.py", source("home"))
    found = discover([folder])
    assert [each.file for each in found.values()] == [file]


def test_neighbours_can_be_imported(folder: Path, write: Callable[[str, str], Path]) -> None:
    """Also those that are left out themselves."""
    write("_tools.py", "NAME = 'by-tools'\n")
    head = "from _tools import NAME\nfrom workers import Context, role\n\n"
    write("one.py", source("x", head=head).replace("'x'", "NAME"))
    assert list(discover([folder])) == ["by-tools"]


def test_a_broken_file_does_not_concern_those_who_want_other_roles(
    folder: Path, write: Callable[[str, str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A supervised worker that is started again after a broken deploy."""
    write("one.py", source("alpha"))
    write("two.py", "import not_installed\n" + source("beta"))
    assert list(discover([folder], wanted=["alpha"])) == ["alpha"]
    assert "two.py does not import" in caplog.text
    with pytest.raises(RoleError):
        discover([folder], wanted=["beta"])


def test_a_syntax_error_is_said_with_file_and_line(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    file = write("bad.py", "x = 1\ny = 2\ndef broken(:\n")
    error = broken(folder)
    assert error.message == f"a role in {file} does not import"
    assert error.details.startswith(f"{file}:3: SyntaxError")
    assert error.actions


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("raise ValueError('no')", "ValueError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_an_error_inside_a_file_is_said_with_its_line(
    folder: Path, write: Callable[[str, str], Path], line: str, kind: str
) -> None:
    file = write("bad.py", f"x = 1\n\n\n{line}\n")
    assert broken(folder).details.startswith(f"{file}:4: {kind}: ")


def test_an_error_deeper_down_is_said_with_the_line_of_the_file_that_led_there(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    write("_deep.py", "def fail():\n    raise ValueError('deep')\n")
    file = write("bad.py", "import _deep\n\n_deep.fail()\n")
    assert broken(folder).details == f"{file}:3: ValueError: deep"


def test_a_syntax_error_in_a_neighbour_is_said_with_the_line_that_imports_it(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    write("_deep.py", "\n\ndef broken(:\n")
    file = write("bad.py", "x = 1\nimport _deep\n")
    details = broken(folder).details
    assert details.startswith(f"{file}:2: SyntaxError")
    assert "_deep.py, line 3" in details


def test_a_wrong_declaration_says_where_it_stands(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    file = write("bad.py", source("Wrong Name"))
    error = broken(folder)
    assert error.message == "role 'Wrong Name' cannot be used"
    assert error.details.startswith(f"{file}:3: ")


def test_a_file_that_was_mended_is_imported_anew(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    """A failed import leaves nothing behind."""
    for wrong in ("raise ValueError('no')\n", source("Wrong Name")):
        write("one.py", wrong)
        broken(folder)
    write("one.py", source("alpha"))
    assert list(discover([folder])) == ["alpha"]


def test_files_of_one_name_in_two_folders_are_two_files(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    write("one.py", source("alpha"))
    other = folder.parent / "more"
    other.mkdir()
    (other / "one.py").write_text(source("beta"), encoding="utf-8")
    assert sorted(discover([folder, other])) == ["alpha", "beta"]


def test_named_roles_are_picked_and_others_are_unknown_with_the_nearest_named(
    folder: Path, write: Callable[[str, str], Path]
) -> None:
    write("one.py", source("researcher"))
    roles = discover([folder])
    assert [each.name for each in pick(roles, ["researcher"])] == ["researcher"]
    with pytest.raises(UnknownRole, match="there is no role 'reasearcher'") as caught:
        pick(roles, ["reasearcher"])
    assert caught.value.details == "did you mean researcher?"
    with pytest.raises(UnknownRole) as caught:
        pick(roles, ["zzz"])
    assert caught.value.details == "known: researcher"
