"""The programs of this folder are what they say: somebody else's."""

import ast

import pytest

from tests.interop.running import HERE
from tests.test_architecture import PACKAGES

PROGRAMS = sorted(each.name for kind in ("plain", "faststream") for each in HERE.glob(f"{kind}_*"))


def test_there_are_two_for_each_broker() -> None:
    assert len(PROGRAMS) == 8


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_knows_nothing_of_ours(program: str) -> None:
    tree = ast.parse((HERE / program).read_text())
    names = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in names} & {*PACKAGES, "tests"}
