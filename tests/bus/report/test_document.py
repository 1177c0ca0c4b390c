"""`docs/conformance.md` lists the tests and sabotages there are, and tells what is missing."""

from pathlib import Path

from tests.bus.report import counts, document
from tests.bus.sabotage.registry import sabotages
from tests.promises import IN_FULL, OPEN, PROMISES, marked_tests


def test_the_document_is_that_of_the_tests_and_sabotages_there_are(tmp_path: Path) -> None:
    """Nothing is run: the tests that exist are counted as if they had passed."""
    there = counts.collected(tmp_path)
    expected = document.text(there.of, sabotages(), "")
    committed = document.PATH.read_text(encoding="utf-8")
    assert document.without_run(committed) == document.without_run(expected), (
        "tests or sabotages have changed: run `make conformance` and commit docs/conformance.md"
    )
    (run,) = (line for line in committed.splitlines() if line.startswith(document.RUN))
    assert f" {there.tests} tests and {len(sabotages())} sabotages" in run


def test_a_promise_without_a_test_is_said_to_be_untested() -> None:
    rows = document.text({"1/memory": 3}, [], "").splitlines()
    assert "| 3 | – |" in next(row for row in rows if row.startswith("| 1 |"))
    for number in range(2, 23):
        row = next(row for row in rows if row.startswith(f"| {number} |"))
        assert "| not tested yet | not tested yet | all of it |" in row


def test_marks_name_promises_there_are() -> None:
    assert list(PROMISES) == [*range(1, 26), 0]
    assert {number for test in marked_tests().values() for number in test.promises} <= set(PROMISES)
    assert set(OPEN) | set(IN_FULL) <= set(PROMISES)
