"""The text of `docs/conformance.md`, from counts and sabotages."""

from collections.abc import Iterable, Mapping

from tests.bus.report.counting import IMPLEMENTATIONS
from tests.bus.sabotage.registry import Sabotage
from tests.promises import IN_FULL, OPEN, PROMISES, ROOT

PATH = ROOT / "docs" / "conformance.md"

RUN = "Last run: "
"""How the one line begins that is different after every run."""

_HEAD = """\
# Conformance

What the bus promises, and on which brokers a run has shown it. Made by `make conformance`;
`tests/bus/report/` fails when the tests or sabotages that exist are others than those listed here.

## The promises

Numbers are tests that passed: the same suite on every implementation, and the tests of the
rooms above it that show the promise. Tests that need no broker count as memory; there a broker is
killed by an outage, a process by cutting its connection.
"""

_SABOTAGE = """\
## The sabotages

Each promise that is tested is broken on purpose. With the broken part in place each of the tests
named fails by an assertion of its own; on the sound parts, in the same run, it passes.
"""


def text(passed: Mapping[str, int], sabotages: Iterable[Sabotage], run: str) -> str:
    """The whole document."""
    parts = [_HEAD, *_promises(passed), "", f"{RUN}{run}", "", _SABOTAGE, *_sabotages(sabotages)]
    return "\n".join(parts) + "\n"


def without_run(document: str) -> str:
    """What is the same after every run of the same tests."""
    return "\n".join(line for line in document.splitlines() if not line.startswith(RUN))


def _promises(passed: Mapping[str, int]) -> list[str]:
    lines = [_row("", "promise", *IMPLEMENTATIONS, "not tested yet", "in full by `make chaos`")]
    lines.append(_row("--:", "---", *("--:" for _ in IMPLEMENTATIONS), "---", "---"))
    for number, promise in PROMISES.items():
        counts = [passed.get(f"{number}/{name}", 0) for name in IMPLEMENTATIONS]
        if any(counts):
            cells = [str(count or "–") for count in counts]
            open_ = OPEN.get(number, "")
        else:
            cells = ["not tested yet" for _ in IMPLEMENTATIONS]
            open_ = "all of it"
        full = IN_FULL.get(number, "")
        lines.append(_row(str(number or "KV"), promise, *cells, open_, full))
    return lines


def _sabotages(sabotages: Iterable[Sabotage]) -> list[str]:
    lines = [_row("promise", "what is broken", "caught by"), _row("--:", "---", "---")]
    for sabotage in sabotages:
        tests = "<br>".join(f"`{test}`" for test in sabotage.caught_by)
        lines.append(_row(str(sabotage.promise or "KV"), sabotage.what, tests))
    return lines


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
