"""How old each figure was that somebody was shown, by what really happened."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tests.freshness.steps import Window, age, state_age
from tests.freshness.truth import FAILED, RUNNING, SUCCEEDED, WAITING, Truth

WITHIN = 1.0
"""Seconds that a figure may be old."""

SAID = 1.0
"""Seconds from which on `task show` says that history is behind."""

_MEANS = {"delayed": WAITING, "retrying": WAITING, "snoozed": WAITING}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `by`: who was asked: `ps`, `lag`, `task show`, `/metrics`."""

    by: str
    window: Window


@dataclass(frozen=True, slots=True)
class Workers(Sample):
    """Who lives, by process id, and of each what it runs, how much succeeded and failed. `whole`:
    nobody else does."""

    counts: Mapping[int, Mapping[str, int]]
    whole: bool


@dataclass(frozen=True, slots=True)
class Lagging(Sample):
    """Tasks that wait, are put off, or are in the hands of a worker; None if not known."""

    tasks: int | None


@dataclass(frozen=True, slots=True)
class Shown(Sample):
    """The state of a task; `gone`: its worker is not there any more; `behind`: how many seconds
    history was said to be behind."""

    task: str
    state: str
    gone: bool
    behind: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """How old one figure of a sample was, in seconds; `said`: who asked was told so."""

    figure: str
    age: float
    about: str
    said: bool = False


def judge(truth: Truth, samples: Sequence[Sample]) -> list[Finding]:
    """Every figure of every sample."""
    return [finding for sample in samples for finding in _judge(truth, sample)]


def worst(findings: Sequence[Finding]) -> dict[str, Finding]:
    """The oldest of each figure."""
    found: dict[str, Finding] = {}
    for finding in findings:
        if finding.figure not in found or finding.age > found[finding.figure].age:
            found[finding.figure] = finding
    return dict(sorted(found.items()))


def counted(findings: Sequence[Finding]) -> dict[str, int]:
    """How many there are of each figure."""
    found: defaultdict[str, int] = defaultdict(int)
    for finding in findings:
        found[finding.figure] += 1
    return found


def _judge(truth: Truth, sample: Sample) -> Iterator[Finding]:
    match sample:
        case Workers():
            yield from _of_workers(truth, sample)
        case Lagging(tasks=int(tasks)):
            found = age(tasks, truth.low, truth.high, sample.window)
            yield Finding(f"{sample.by}: waiting + running", found, f"said {tasks}, {sample}")
        case Lagging():
            yield Finding(f"{sample.by}: waiting + running", inf, "not known")
        case Shown():
            turns = truth.turns(sample.task)
            if turns is not None:
                lost = sample.gone and sample.state == RUNNING
                state = WAITING if lost else _MEANS.get(sample.state, sample.state)
                found = state_age(state, turns, sample.window)
                said = sample.behind > SAID and found <= sample.behind + WITHIN
                figure = f"{sample.by}: state, said to be behind" if said else f"{sample.by}: state"
                yield Finding(figure, found, f"{sample}, {turns}", said=said)


def _of_workers(truth: Truth, sample: Workers) -> Iterator[Finding]:
    begin, end = sample.window
    for pid, counts in sample.counts.items():
        died = truth.died.get(pid, inf)
        yield Finding(f"{sample.by}: who lives", max(0.0, begin - died), f"{pid} is dead, {sample}")
        if died >= begin:
            for what in (RUNNING, SUCCEEDED, FAILED):
                steps = truth.count(pid, what)
                found = age(counts[what], steps, steps, sample.window)
                yield Finding(f"{sample.by}: {what}", found, f"{pid}, {sample}")
    for pid, since in truth.pids.items() if sample.whole else ():
        if pid not in sample.counts and since < begin and truth.died.get(pid, inf) > end:
            missing = min(begin - since, truth.died.get(pid, inf) - end)
            yield Finding(f"{sample.by}: who lives", missing, f"{pid} is missing, {sample}")
