"""The promises of the bus to its users, and which tests show them; 0 is its key-value store."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[1]

PROMISES: Mapping[int, str] = MappingProxyType(
    {
        1: "What `publish` returned for survives a kill -9 of the broker, for every group bound",
        2: "What nobody listens to, or is too large, is refused before anything is sent",
        3: "A batch is all accepted or an error says so; repeating it is safe",
        4: "The same dedupe key within two minutes runs once",
        5: "Every group gets every matching message; within a group it has one holder",
        6: "`pull` returns at most `limit`, waits about `wait`, wakes when a message arrives",
        7: "Higher lanes start first, lower ones do not starve, slices take fair turns",
        8: "Nothing is handed out before it is due, all of it within a second after",
        9: "What was settled is never handed out again by a live or restarted broker",
        10: "`settle(…, then=…)` loses neither `then` nor the input",
        11: "A hand-back is available at once and uses no attempt",
        12: "A holder killed, frozen or cut off loses its messages within lease + 1 s",
        13: "`extend` keeps a message for as long as it is called",
        14: "Crashes count: a task that kills its process is dead after its attempts",
        15: "A stale holder does no harm",
        16: "After a restart or a cut network work goes on: never connected and deaf",
        17: "A dead letter keeps everything, is read without being consumed, taken once",
        18: "`lag` is true within a second, and an idle fleet leaves its broker alone",
        19: "A poison message becomes a dead letter: never a loop, never a silent drop",
        20: "A graceful stop finishes or hands back; nothing waits for a lease",
        21: "A full broker refuses publishing only, and drains to zero",
        22: "Binding again loses nothing accepted; `unbind` is refused while anything waits",
        23: "What was stopped does not start from a second after on, and ends as cancelled",
        24: "What was accepted, and how it ended, is told as safely as it is kept",
        25: "What may be started once is started at most once, and ends",
        0: "The key-value store: compare-and-set, pages, expiry, snapshot and changes",
    }
)

OPEN: Mapping[int, str] = MappingProxyType({})
"""What a promise says that no test shows yet."""

IN_FULL: Mapping[int, str] = MappingProxyType(
    {
        1: "10,000 tasks, 100 kills",
        7: "100,000 of one tenant",
        8: "1,000 due in one second, a million delayed",
        12: "frozen for three leases of 10 s",
        13: "10 minutes at a lease of 10 s",
        16: "32 outages",
        24: "the history away for a minute, 1 GiB unread",
    }
)
"""What of a promise the long forms show, which `make chaos` runs; `make test` runs short ones."""


@dataclass(frozen=True, slots=True)
class MarkedTest:
    """A test that shows promises; `path` is relative to the checkout."""

    path: str
    promises: frozenset[int]


@cache
def marked_tests() -> Mapping[str, MarkedTest]:
    """Every test marked with a promise, by name; read from the sources, nothing is imported."""
    found: dict[str, MarkedTest] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, numbers in _marks(ast.parse(path.read_text(encoding="utf-8"))):
            assert name not in found, f"two tests that show a promise are called {name}"
            found[name] = MarkedTest(path.relative_to(ROOT).as_posix(), numbers)
    return found


def _marks(tree: ast.Module) -> Iterator[tuple[str, frozenset[int]]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.promise":
                    numbers = frozenset(ast.literal_eval(number) for number in mark.args)
                    yield node.name, numbers
