"""The shape of the code: what may import what, names, sizes, and what no file may name.

The import rule is checked twice, here and by import-linter. Here every import counts: those
inside functions and those under `TYPE_CHECKING` too.
"""

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("contracts", "bus", "consensus", "knowledge", "workers", "deploy")
MODULE_LINES = 300
FUNCTION_LINES = 40
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "base", "misc"}

SEES = {
    "contracts": (),
    "bus": ("contracts",),
    "consensus": ("contracts",),
    "knowledge": ("contracts",),
    "deploy": ("contracts",),
    "workers": ("contracts", "bus", "consensus", "knowledge", "deploy"),
    "workers.sdk": ("contracts",),
    "workers.documents": ("contracts",),
    "workers.roles": ("contracts", "workers.sdk", "workers.documents"),
}
"""What a package may import besides itself."""

NEVER = {
    "workers.fleet": ("workers.cli", "workers.wiring", "workers.testing", "workers.engine"),
    "workers.engine": ("workers.cli", "workers.wiring", "workers.fleet", "bus.backends"),
    "workers.wiring": ("workers.cli", "workers.testing"),
    "workers.testing": ("workers.cli", "workers.wiring"),
}
"""What the rooms inside workers may not import."""


def _files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Every module of `modules` that `tree` imports, wherever in it the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            while parts and ".".join(parts) not in modules:
                parts.pop()  # a class or function: the module that holds it
            if parts:
                yield ".".join(parts)


@cache
def graph() -> Mapping[str, frozenset[str]]:
    """Which module of the product imports which."""
    files = {_module(path): path for path in _files()}
    modules = set(files)
    return {
        name: frozenset(imported(_tree(path), modules)) - {name} for name, path in files.items()
    }


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def circle(edges: Mapping[str, frozenset[str]]) -> list[str]:
    """The modules of one circle of imports; empty if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_import_is_seen_wherever_it_stands() -> None:
    source = """
import bus.bus
from contracts import errors, MusterError
if TYPE_CHECKING:
    from workers.sdk.role import Role
def late():
    import knowledge
"""
    known = {"bus", "bus.bus", "contracts", "contracts.errors", "workers.sdk.role", "knowledge"}
    assert set(imported(ast.parse(source), known)) == {
        "bus.bus",
        "contracts.errors",
        "contracts",
        "workers.sdk.role",
        "knowledge",
    }


def test_a_circle_would_be_found() -> None:
    edges = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"a"})}
    assert set(circle(edges)) == {"a", "b", "c"}


def test_the_graph_is_not_empty() -> None:
    assert {name.partition(".")[0] for name in graph()} == set(PACKAGES)
    assert "contracts.errors" in graph()["deploy.errors"]


def test_no_circle_of_imports() -> None:
    assert circle(graph()) == []


@pytest.mark.parametrize("package", SEES)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    allowed = (package, *SEES[package])
    wrong = {
        f"{module} imports {target}"
        for module, targets in graph().items()
        for target in targets
        if _inside(module, package) and not any(_inside(target, name) for name in allowed)
    }
    assert wrong == set()


@pytest.mark.parametrize("package", NEVER)
def test_inside_workers_imports_go_downwards(package: str) -> None:
    wrong = {
        f"{module} imports {target}"
        for module, targets in graph().items()
        for target in targets
        if _inside(module, package) and any(_inside(target, name) for name in NEVER[package])
    }
    assert wrong == set()


def test_imports_name_their_module_in_full() -> None:
    relative = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _files()
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert relative == set()


def test_every_module_is_named_for_what_it_does() -> None:
    assert {name for name in graph() if NAMES_THAT_SAY_NOTHING & set(name.split("."))} == set()


def test_modules_are_short() -> None:
    long = {
        _module(path): lines
        for path in _files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES
    }
    assert long == {}


def test_functions_are_short() -> None:
    long = {
        f"{_module(path)}.{node.name}": lines
        for path in _files()
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}


# Put together from pieces, so that this file does not name what no file may name.
PACKAGE_INDEX = re.compile(
    r"(?i)\b(?:test\.|files\.|upload\.)?(?:py" + r"pi\.(?:org|io)|python" + r"hosted\.org)"
    r"|index" + r"-url|--find" + r"-links"
)
MACHINE_PATH = re.compile(
    r"(?<![\w.~$}/-])/(?:ho" + r"me|Us" + r"ers|ro" + r"ot|wo" + r"rk)/[\w.-]+"
)


def _tracked() -> list[Path]:
    """The files of the repository, those not yet committed too; ignored files are not."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    paths = (ROOT / name for name in listed.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize(
    "line",
    ["https://py" + "pi.org/simple", "files.python" + "hosted.org", "--index" + "-url x"],
)
def test_a_package_index_would_be_found(line: str) -> None:
    assert PACKAGE_INDEX.search(line)


@pytest.mark.parametrize("line", ["cd /ho" + "me/ada", '"/ro' + 'ot/.cache"', "/wo" + "rk/main"])
def test_a_path_of_one_machine_would_be_found(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize(
    "line", ["docs/work/main.md", "https://example.org/home/page", "$X/ro" + "ot/y"]
)
def test_other_paths_are_left_alone(line: str) -> None:
    assert not MACHINE_PATH.search(line)


@pytest.mark.parametrize("pattern", [PACKAGE_INDEX, MACHINE_PATH], ids=["index", "path"])
def test_no_file_names_an_index_of_packages_or_a_path_of_one_machine(
    pattern: re.Pattern[str],
) -> None:
    found = []
    for path in _tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in pattern.finditer(text)]
    assert found == []
