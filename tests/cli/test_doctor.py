"""`muster doctor` where something is wrong."""

from tests.cli.running import Muster


def test_it_works_without_a_bus_and_says_what_to_do(muster: Muster) -> None:
    ended = muster("doctor")
    assert ended.code == 3
    assert "python" in ended.out
    assert "muster up" in ended.lines[2]


def test_a_broken_role_is_found(muster: Muster) -> None:
    file = muster.write("agents/broken.py", "import no_such_module_anywhere\n")
    said = muster("doctor", "--json").json
    roles = next(check for check in said["checks"] if check["what"] == "roles")
    assert roles["state"] == "fail"
    assert f"{file}:1" in roles["said"]
