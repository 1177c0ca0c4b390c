"""A pytest plugin that runs each test on the sound parts, then once with each of its sabotages.

Loaded by `catches.run` in a process of its own. One JSON line per run is written to the file
named by `--sabotage-report`. Only the in-memory implementation is sabotaged.

What is broken may spin, wait for ever or swallow its cancellation, and an error raised once by a
signal ends only the asyncio task it happens to interrupt: a test that takes too long is therefore
interrupted again and again until it ends, in place of what `pytest-timeout` does.
"""

import json
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.brokers import BROKERS
from tests.bus.sabotage.registry import Sabotage, marked, sabotages

SOUND = "sound"
TIMED_OUT = "still running after"
_AGAIN = 0.5
"""Seconds between interruptions of a test that takes too long."""
_ROOT = Path(__file__).resolve().parents[3]
_TESTS = _ROOT / "tests"
_NEAR = _TESTS / "bus" / "sabotage"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to write what happened; the module of the sabotages, if it is not the bus's; how many
    seconds the setup, the call and the teardown of a test may take each."""
    parser.addoption("--sabotage-report", required=True, type=Path)
    parser.addoption("--sabotages")
    parser.addoption("--too-long", type=float, default=30.0)
    parser.addini("timeout", "seconds of a test, of no effect here")


def pytest_configure(config: pytest.Config) -> None:
    """What `pytest-timeout`, which is not loaded, would say."""
    config.addinivalue_line("markers", "timeout(seconds): of no effect here")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test on the sound parts and with each sabotage it is said to catch."""
    test, module = metafunc.function.__name__, metafunc.config.getoption("--sabotages")
    every = marked(module) if module else sabotages()
    mine = [pytest.param(s, id=s.name) for s in every if test in s.caught_by]
    metafunc.parametrize("sabotage", [pytest.param(None, id=SOUND), *mine], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Memory only; the sound parts first, so that nothing a sabotage left behind is blamed."""
    kept = [i for i in items if not any(i.get_closest_marker(name) for name in BROKERS)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = sorted(kept, key=lambda item: _sabotage(item) is not None)


@pytest.fixture(autouse=True)
def sabotage(request: pytest.FixtureRequest) -> Generator[None]:
    """The broken thing in its place for the length of the test."""
    chosen: Sabotage | None = request.param
    with pytest.MonkeyPatch.context() as patch:
        if chosen is not None:
            chosen.install(patch)
        yield


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Fail what takes longer, as often as it takes."""

    def alarm(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"{TIMED_OUT} {seconds:g} s", pytrace=False)

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Limited in time."""
    with _limited(item.config.getoption("--too-long")):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Limited in time."""
    with _limited(item.config.getoption("--too-long")):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Limited in time."""
    with _limited(item.config.getoption("--too-long")):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how the test ended; of setting up and tearing down only what went wrong."""
    report = yield
    if report.when == "call" or (call.excinfo is not None and not report.passed):
        chosen = _sabotage(item)
        line = {
            "test": item.nodeid.partition("[")[0].rpartition("::")[2],
            "sabotage": chosen.name if chosen else SOUND,
            "end": _end(report, call),
            "why": str(call.excinfo.value).partition("\n")[0] if call.excinfo else "",
        }
        path: Path = item.config.getoption("--sabotage-report")
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return report


def _end(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """Passed, caught (an assertion of the test itself failed) or crashed (anything else)."""
    if call.excinfo is None:
        return "passed"
    error = call.excinfo.value
    asserted = isinstance(error, AssertionError | pytest.fail.Exception) or _counted(error)
    timed_out = str(error).startswith(TIMED_OUT)
    if report.when == "call" and asserted and not timed_out and _in_a_test(call.excinfo):
        return "caught"
    return "crashed"


def _counted(error: BaseException) -> bool:
    """`(one,) = found`: an assertion of how many there are."""
    return isinstance(error, ValueError) and "values to unpack" in str(error)


def _in_a_test(caught: pytest.ExceptionInfo[BaseException]) -> bool:
    """Whether it was raised by the tests, not by the product or by a broken thing."""
    ours = [Path(e.path) for e in caught.traceback if Path(e.path).is_relative_to(_ROOT)]
    ours = [path for path in ours if ".venv" not in path.parts]
    return bool(ours) and ours[-1].is_relative_to(_TESTS) and not ours[-1].is_relative_to(_NEAR)


def _sabotage(item: pytest.Item) -> Any:
    return item.callspec.params["sabotage"] if isinstance(item, pytest.Function) else None
