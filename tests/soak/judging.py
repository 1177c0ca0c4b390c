"""What a soak run has measured, and whether that is good. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression

WARM_UP = 180.0
"""Seconds until memory can be flat: the server keeps dedupe keys for two minutes."""

LEAST_SPAN = 30.0
"""Seconds of samples a slope is judged by, at least."""

SERVER = "server"

KEY = 280
"""Bytes the server holds for each message whose key it remembers (measured), for `WINDOW` seconds:
a rate that changes, as beside other work, is no leak."""

WINDOW = 120.0
ROOM: Mapping[bool, tuple[float, float]] = {False: (6.0, 0.05), True: (64.0, 0.15)}
"""MiB, and share of the mean, that memory may seem to have grown over the samples: workers, and
the server, whose collector works in larger steps."""

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
    """For each process whether its memory is flat once it is warm."""
    end = samples[-1].at
    warm = min(WARM_UP, end / 3)
    kept = [sample for sample in samples if sample.at >= warm]
    keys = {sample.at: _remembered(samples, sample) * KEY / 2**20 for sample in kept}
    return [_flat(name, kept, end, keys) for name in sorted(kept[-1].resident)]


def _remembered(samples: Sequence[Sample], now: Sample) -> int:
    """Messages of the last `WINDOW` seconds."""
    before = [sample.published for sample in samples if sample.at <= now.at - WINDOW]
    return now.published - (before[-1] if before else 0)


def _flat(name: str, kept: Sequence[Sample], end: float, keys: Mapping[float, float]) -> Verdict:
    what = f"memory of {name} is flat"
    first, span = kept[0].at, kept[-1].at - kept[0].at
    if span < LEAST_SPAN or (name == SERVER and first < WARM_UP):
        return Verdict(what, f"not judged: {end:.0f} s are too short", True)
    values = [sample.resident[name] for sample in kept]
    if name == SERVER:
        what += " beside the keys it remembers"
        values = [value - keys[s.at] for s, value in zip(kept, values, strict=True)]
    slope = linear_regression([sample.at for sample in kept], values).slope
    grown, mean = slope * span, sum(values) / len(values)
    least, share = ROOM[name == SERVER]
    found = f"{mean:.1f} MiB, {slope * 60:+.2f} MiB/min over {span:.0f} s"
    return Verdict(what, found, grown <= max(least, share * mean))


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
