"""A judge that lets nothing old pass, and takes nothing for old that is not."""

from math import inf

import pytest

from tests.freshness.judging import Lagging, Sample, Shown, Workers, judge, worst
from tests.freshness.steps import Steps, Turn, age, state_age
from tests.freshness.truth import Accepted, Run, Truth, runs

TRUTH = Truth(
    Accepted([(9.9, 2)], {"a": 10.0, "b": 10.0}),
    [
        Run(task="a", pid=1, start=11.0, end=15.0, how="succeeded"),
        Run(task="b", pid=2, start=11.0),
        Run(task="b", pid=1, start=24.0, end=26.0, how="failed"),
    ],
    {2: 20.0},
)
"""Two tasks; of one the worker was killed, and another ran it."""


def oldest(sample: Sample) -> float:
    """How old the worst figure of a sample is."""
    return max(finding.age for finding in judge(TRUTH, [sample]))


def workers(at: float, *shown: tuple[int, int, int, int]) -> Workers:
    """What `ps` said: process, running, succeeded, failed."""
    names = ("running", "succeeded", "failed")
    counts = {pid: dict(zip(names, numbers, strict=True)) for pid, *numbers in shown}
    return Workers("ps", (at, at), counts, whole=True)


def test_a_number_is_as_old_as_the_time_since_it_was_true() -> None:
    steps = Steps([(10.0, 1), (20.0, 1), (30.0, -1)])
    for seen, at, old in ((0, 9.0, 0.0), (1, 21.0, 1.0), (2, 21.0, 0.0), (2, 33.0, 3.0)):
        assert age(seen, steps, steps, (at, at)) == old
    assert age(1, steps, steps, (19.0, 22.0)) == 0.0, "it passed through it meanwhile"
    assert age(3, steps, steps, (20.0, 20.0)) == inf, "never true"


def test_between_what_is_certain_and_what_may_be_nothing_is_wrong() -> None:
    low, high = Steps([(11.0, 5)]), Steps([(10.0, 5)])
    assert age(3, low, high, (10.5, 10.5)) == 0.0
    assert age(0, low, high, (14.0, 14.0)) == 3.0


def test_a_state_is_as_old_as_the_time_since_it_ended() -> None:
    turns = [Turn(1.0, "waiting"), Turn(2.0, "running"), Turn(5.0, "succeeded")]
    assert state_age("running", turns, (5.5, 6.0)) == 0.5
    assert state_age("running", turns, (4.0, 6.0)) == 0.0
    assert state_age("succeeded", turns, (4.0, 4.5)) == 0.5, "said too early"
    assert state_age("failed", turns, (4.0, 4.5)) == inf


@pytest.mark.parametrize(
    "sample",
    [
        workers(12.0, (1, 1, 0, 0), (2, 1, 0, 0)),
        workers(16.0, (1, 0, 1, 0), (2, 1, 0, 0)),
        workers(20.5, (1, 0, 1, 0)),
        workers(27.0, (1, 0, 1, 1)),
        Lagging("lag", (9.0, 9.0), 0),
        Lagging("lag", (12.0, 12.0), 2),
        Lagging("lag", (25.0, 25.0), 1),
        Lagging("lag", (27.0, 27.0), 0),
        Shown("task show", (10.5, 10.6), "a", "waiting", gone=False),
        Shown("task show", (12.0, 12.0), "b", "running", gone=False),
        Shown("task show", (22.0, 22.0), "b", "running", gone=True),
        Shown("task show", (23.0, 23.0), "b", "retrying", gone=False),
        Shown("task show", (99.0, 99.0), "b", "failed", gone=False),
    ],
)
def test_what_is_true_is_not_old(sample: Sample) -> None:
    assert oldest(sample) == 0.0


@pytest.mark.parametrize(
    ("sample", "old"),
    [
        (workers(23.0, (1, 0, 1, 0), (2, 1, 0, 0)), 3.0),  # one that is dead is said to live
        (workers(18.0, (1, 0, 1, 0)), 2.0),  # one that lives is missing
        (workers(18.0, (1, 1, 1, 0), (2, 1, 0, 0)), 3.0),  # it does not run that any more
        (workers(18.0, (1, 0, 0, 0), (2, 1, 0, 0)), 3.0),  # nor has it done nothing
        (workers(29.0, (1, 0, 1, 0)), 3.0),  # a failure is not counted
        (Lagging("lag", (18.0, 18.0), 2), 3.0),
        (Lagging("lag", (18.0, 18.0), 5), inf),
        (Lagging("lag", (18.0, 18.0), None), inf),
        (Shown("task show", (18.0, 18.0), "a", "running", gone=False), 3.0),
        (Shown("task show", (22.0, 22.0), "b", "running", gone=False), 2.0),
        (Shown("task show", (12.5, 12.5), "b", "running", gone=True), 1.5),
        (Shown("task show", (12.0, 12.0), "a", "unknown", gone=False), inf),
    ],
)
def test_what_was_true_is_as_old_as_that(sample: Sample, old: float) -> None:
    assert oldest(sample) == pytest.approx(old)


@pytest.mark.parametrize(("behind", "said"), [(0.5, False), (1.5, False), (2.5, True)])
def test_what_is_old_by_no_more_than_it_says_is_told_apart(behind: float, said: bool) -> None:
    """History that cannot catch up within a second says so."""
    shown = Shown("task show", (18.0, 18.0), "a", "running", gone=False, behind=behind)
    (finding,) = judge(TRUTH, [shown])
    assert (finding.age, finding.said) == (3.0, said)


def test_the_worst_of_each_figure_is_named() -> None:
    samples = [Lagging("lag", (at, at), 2) for at in (12.0, 18.0, 16.0)]
    (finding,) = worst(judge(TRUTH, samples)).values()
    assert (finding.figure, finding.age) == ("lag: waiting + running", 3.0)
    assert "18.0" in finding.about


def test_a_task_that_ran_again_after_an_end_is_not_judged() -> None:
    """Its worker died between the end and what follows: either state is right in between."""
    twice = [
        Run(task="a", pid=2, start=11.0, end=19.9, how="succeeded"),
        Run(task="a", pid=1, start=22.0, end=23.0, how="succeeded"),
    ]
    truth = Truth(Accepted([(9.9, 1)], {"a": 10.0}), twice, {2: 20.0})
    assert truth.turns("a") is None
    assert judge(truth, [Shown("task show", (21.0, 21.0), "a", "running", gone=False)]) == []
    for tasks in (0, 1):
        assert [f.age for f in judge(truth, [Lagging("lag", (21.0, 21.0), tasks)])] == [0.0]


def test_a_run_in_a_child_process_is_that_of_its_worker() -> None:
    lines = ["start a 0 7,5,3 1.0", "end a 0 7,5,3 2.0", "start b 0 5,2,1 3.0"]
    found = runs([line.split() for line in lines], workers=[3, 5])
    assert [(run.task, run.pid, run.end) for run in found] == [("a", 5, 2.0), ("b", 5, None)]
    lines = ["start a 1 9,8,3 1.0"]
    assert [run.pid for run in runs([line.split() for line in lines], workers=[3])] == [3]
