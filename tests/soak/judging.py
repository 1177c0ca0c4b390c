"""What a soak run has measured, and whether that is good. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression

WARM_UP = 180.0
"""Seconds until memory can be flat: the server remembers keys for two minutes."""

LEAST_SPAN = 30.0
"""Seconds of samples a slope is judged by, at least."""

SERVER = "server"

ROOM = (6.0, 0.05)
"""MiB, and share of the mean, that a worker's memory may seem to have grown over the samples."""

SAW = 180.0
"""Seconds that hold a highest point of the server's live memory: it remembers the key of each
message for two minutes (about 280 bytes), forgets them in sweeps, and its tables grow by
doubling. Measured at 14,000 tasks/s: between 340 and 600 MiB, a high every 150 s."""

SERVER_ROOM = 0.25
"""Share by which a later highest point may lie above an earlier one: the rate changes, too."""

IDLE = 1.0
"""Operations per second and worker that an idle fleet stays under (promise 18)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: `at` seconds after the start; MiB by process; tasks so far."""

    at: float
    resident: Mapping[str, float]
    published: int
    done: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was to hold."""

    what: str
    found: str
    good: bool


def memory(samples: Sequence[Sample]) -> list[Verdict]:
    """For each process whether its memory is flat once it is warm; of the server it is what its
    collector found in use."""
    end = samples[-1].at
    warm = min(WARM_UP, end / 3)
    kept = [sample for sample in samples if sample.at >= warm]
    names = sorted(kept[-1].resident)
    return [(_levelled if name == SERVER else _flat)(name, kept) for name in names]


def _flat(name: str, kept: Sequence[Sample]) -> Verdict:
    what = f"memory of {name} is flat"
    span = kept[-1].at - kept[0].at
    if span < LEAST_SPAN:
        return _not_judged(what, kept)
    values = [sample.resident[name] for sample in kept]
    slope = linear_regression([sample.at for sample in kept], values).slope
    grown, mean = slope * span, sum(values) / len(values)
    least, share = ROOM
    found = f"{mean:.1f} MiB, {slope * 60:+.2f} MiB/min over {span:.0f} s"
    return Verdict(what, found, grown <= max(least, share * mean))


def _levelled(name: str, kept: Sequence[Sample]) -> Verdict:
    """Whether the highest point of the second half is no higher than that of the first."""
    what = f"memory of {name} levels off"
    middle = (kept[0].at + kept[-1].at) / 2
    if kept[0].at < WARM_UP or middle - kept[0].at < SAW:
        return _not_judged(what, kept)
    first = max(sample.resident[name] for sample in kept if sample.at <= middle)
    second = max(sample.resident[name] for sample in kept if sample.at >= middle)
    found = f"in use at most {first:.0f} MiB until {middle:.0f} s, {second:.0f} MiB after"
    return Verdict(what, found, second <= first * (1 + SERVER_ROOM))


def _not_judged(what: str, kept: Sequence[Sample]) -> Verdict:
    return Verdict(what, f"not judged: {kept[-1].at:.0f} s are too short", True)


def rest(
    *, lost: int, waiting: int, left: Mapping[str, int], idle: float, seconds: float
) -> list[Verdict]:
    """Whether everything is done, nothing is left, and it is quiet: `waiting` of any lane, `left`
    messages by stream, `idle` operations per second and worker over `seconds`."""
    streams = ", ".join(f"{name} {count}" for name, count in sorted(left.items()))
    return [
        Verdict("every task was done", f"{lost} missing", lost == 0),
        Verdict("no lag is left", f"{waiting} waiting, delayed or leased", waiting == 0),
        Verdict("streams are empty", streams or "none", not any(left.values())),
        Verdict("idle is quiet", f"{idle:.2f} operations/s each, {seconds:.0f} s", idle < IDLE),
    ]
