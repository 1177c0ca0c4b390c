"""Which process did what, and when: made of events and of nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from contracts.events import OF_NO_RUN, TERMINAL, Event, Kind

ENDS = TERMINAL | {Kind.RETRIED, Kind.SNOOZED, Kind.RETURNED}
"""What tells the end of a run."""

Run = tuple[str, int, str]
"""A run of a task: the task, its copy, the worker."""

WIDTH = 20
"""Characters of the bar that stands for the whole time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one task. `start` and `end` in seconds since the first event; `end` is None
    for a run that did not tell its end, such as one whose process was killed: then `noticed` is
    when another process told that it had ended, None while none did."""

    role: str
    pid: int
    task: str
    copy: int
    attempt: int
    start: float
    end: float | None
    how: str
    note: str
    noticed: float | None = None


def run_of(event: Event) -> Run:
    """The run an event of a worker tells of."""
    return event.task, event.copy, event.worker


def rows(events: Iterable[Event]) -> list[Row]:
    """The runs in order of their start."""
    runs: dict[Run, list[Event]] = {}
    told = {e.id: e for e in events if e.kind not in OF_NO_RUN}
    for event in sorted(told.values(), key=lambda e: e.at):
        runs.setdefault(run_of(event), []).append(event)
    if not runs:
        return []
    zero = min(told[0].at for told in runs.values())
    found = sorted((_row(told, zero) for told in runs.values()), key=lambda row: row.start)
    return _obituaries(found)


def _obituaries(found: Sequence[Row]) -> list[Row]:
    """What another process tells of a run that never ended, such as that its worker died, is
    part of that run."""
    told: dict[Row, Row] = {}
    for row in found:
        if row.end == row.start and row.how == Kind.RETRIED:
            lost = (run for run in found if run.end is None and run.pid != row.pid)
            same = (run for run in lost if (run.task, run.role) == (row.task, row.role))
            for run in same:
                if run.copy == row.copy:
                    told[run], told[row] = replace(run, noticed=row.end, note=row.note), row
    return [told.get(row, row) for row in found if told.get(row) is not row]


def _row(told: Sequence[Event], zero: float) -> Row:
    first, last = told[0], told[-1]
    ended = last.kind in ENDS
    notes = [str(e.data.get("note", "")) for e in told if e.kind is Kind.PROGRESS]
    return Row(
        role=first.role,
        pid=first.pid,
        task=first.task,
        copy=first.copy,
        attempt=first.attempt,
        start=first.at - zero,
        end=last.at - zero if ended else None,
        how=str(last.kind) if ended else "never ended",
        note=notes[-1] if notes else str(last.data.get("reason", "")),
    )


def bar(row: Row, whole: float) -> str:
    """Where the run lies in the `whole` time, in seconds."""
    scale = WIDTH / max(whole, 1e-9)
    start = min(WIDTH - 1, int(row.start * scale))
    over = row.noticed if row.end is None else row.end
    end = WIDTH if over is None else max(start + 1, round(over * scale))
    mark = "━" if row.end is not None else "╌"
    return " " * start + mark * (end - start) + " " * (WIDTH - end)
