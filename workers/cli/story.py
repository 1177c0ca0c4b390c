"""One task as history tells it."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from workers.cli import output
from workers.cli.audit import said
from workers.cli.bearers import Asked, Gone, nobody
from workers.cli.past import known
from workers.cli.times import clock_time

if TYPE_CHECKING:
    from contracts.events import Event
    from knowledge.history.history import History
    from knowledge.history.records import DeedRecord, ResultRecord, RunRecord, TaskRecord

_MANY = frozenset({"role", "tenant", "subject", "fleet"})

_FRESH = 0.5
"""Seconds that what is known may be behind before history is asked to catch up."""

_CATCH_UP = 1.0
"""Seconds in which it may do so: something is known already."""

_LATE = 1.0
"""Seconds behind which history says so."""

_LONGEST = 2000
"""Characters of a payload or result that are shown; `--json` has all that is kept."""


@dataclass(frozen=True, slots=True)
class Story:
    """A task in its roles, its runs, its ends, what happened and what operators did, true as of
    `as_of`, when history was `behind` seconds; by role, workers that hold it and are gone as the
    bus tells, None if it does not."""

    tasks: "Sequence[TaskRecord]"
    runs: "Sequence[RunRecord]"
    results: "Sequence[ResultRecord]"
    events: "Sequence[Event]"
    deeds: "Sequence[DeedRecord]"
    gone: "Mapping[str, Gone] | None"
    as_of: float
    behind: float


async def told(
    history: "History", task: str, ask: Asked = nobody, *, patience: float = _CATCH_UP
) -> Story:
    """All that history knows of a task, given `patience` seconds to catch up; `ask` tells who of
    those that hold it is gone. Raises `NotFound`, `NotRecordedYet`."""
    first = await known(history, task)
    mark = await history.catch_up(patience, fresh=_FRESH)
    tasks = (await history.task(task)).found or first.found
    lost = await ask(tasks)
    if lost:  # what it told last was accepted before it went: have that recorded, too
        mark = await history.catch_up(patience)
        tasks = (await history.task(task)).found or tasks
        held = {(task.role, task.worker) for task in tasks if task.state == "running"}
        lost = {role: left for role, left in lost.items() if (role, left.worker) in held}
    return Story(
        tasks=tasks,
        runs=(await history.runs(task)).found,
        results=(await history.result(task)).found,
        events=(await history.events(task)).found,
        deeds=await history.deeds(tasks),
        gone=lost,
        as_of=mark.upto,
        behind=mark.behind,
    )


def as_json(story: Story) -> dict[str, Any]:
    """Everything, for a program. Payloads and results are JSON values where they are JSON."""
    first = story.tasks[0]
    ends = [
        asdict(r) | {"payload": _value(r.payload), "result": _value(r.result)}
        for r in story.results
    ]
    return {
        "id": first.task,
        "topic": first.topic,
        "tenant": first.tenant,
        "published": first.published,
        "as_of": story.as_of,
        "behind": round(story.behind, 3),
        "roles": [_role(task, story.gone) for task in story.tasks],
        "runs": [asdict(run) for run in story.runs],
        "ends": ends,
        "events": [
            {"id": e.id, **asdict(replace(e, data={})), "data": dict(e.data)} for e in story.events
        ],
        "deeds": [asdict(deed) for deed in story.deeds],
        "gone": story.gone and {role: asdict(gone) for role, gone in story.gone.items()},
    }


def _role(task: "TaskRecord", gone: "Mapping[str, Gone] | None") -> dict[str, Any]:
    lost = None if gone is None and task.state == "running" else task.role in (gone or ())
    return {**asdict(task), "worker_gone": lost}


def _value(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


def show(story: Story) -> None:
    """For people."""
    first = story.tasks[0]
    output.say(f"task       {first.task}")
    for line in _head(first):
        output.say(line)
    for task in story.tasks:
        output.say("")
        for line in _told_of(story, task):
            output.say(line)
    if story.runs:
        columns = "ROLE COPY ATTEMPT WORKER STARTED SECONDS OUTCOME REASON".split()
        output.table(columns, map(_run, story.runs))
    for deed in story.deeds:
        output.say(output.printable(_deed(deed)))
    if story.gone is None:
        output.note("the bus does not answer: whether its worker is still there is not known")
    if story.as_of:
        output.note(f"as of {clock_time(story.as_of)}{_behind(story.behind)}")


def _behind(seconds: float) -> str:
    if seconds < _LATE:
        return ""
    return f": history is {seconds:.0f} s behind, what happened since is not in it"


def _told_of(story: Story, task: "TaskRecord") -> Iterator[str]:
    """How it stands in one role."""
    yield from _state(task, (story.gone or {}).get(task.role), time.time())
    for result in story.results:
        if result.role == task.role:
            yield from _bodies(result)


def _head(task: "TaskRecord") -> Iterator[str]:
    yield f"topic      {task.topic}"
    yield f"published  {clock_time(task.published)}"
    if task.tenant != "default":
        yield f"tenant     {task.tenant}"
    if task.priority not in {None, "normal"}:
        yield f"priority   {task.priority}"
    if task.deadline is not None:
        yield f"deadline   {clock_time(task.deadline)}"
    if task.correlation is not None:
        yield f"part of    {task.correlation}"


def _state(task: "TaskRecord", left: "Gone | None", now: float) -> Iterator[str]:
    who = task.role or "nobody yet"
    attempt = f", attempt {task.attempt}" if task.attempt else ""
    state = f"{task.state} since" if left is None else "started at"
    yield f"{who:<10} {state} {clock_time(task.since)}{attempt}"
    if task.due is not None and not task.finished:
        yield f"due        {clock_time(task.due)}"
    if left is not None:
        yield from _left(left, now)
    elif task.worker and task.state == "running":
        yield f"worker     {task.worker} (process {task.pid})"
    if task.share is not None and not task.finished:
        yield f"progress   {task.share:.0%} {task.note or ''}".rstrip()
    if task.reason:
        yield f"reason     {task.reason}"
    if task.error and task.error != task.reason:
        yield f"error      {task.error}"


def _left(left: "Gone", now: float) -> Iterator[str]:
    """What becomes of a task whose worker is gone."""
    yield f"worker     {left.worker} is gone since {clock_time(left.since)}"
    if not left.others:
        yield "           nobody else works on this role: the task waits for somebody who does"
    elif now < left.over_by:
        yield f"           the task is taken over at {clock_time(left.over_by)} at the latest"
    else:
        yield "           the task waits for a worker with a free place"


def _bodies(result: "ResultRecord") -> Iterator[str]:
    for name, text, size in (
        ("payload", result.payload, result.payload_bytes),
        ("result", result.result, result.result_bytes),
    ):
        if text is not None:
            cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
            yield f"{name:<10} {cut}"
        elif size is not None:
            yield f"{name:<10} not kept: {size:,} bytes"


def _deed(deed: "DeedRecord") -> str:
    """What an operator did to it, or to all of something that it is of."""
    many = f" of {deed.scope} {deed.target}".rstrip() if deed.scope in _MANY else ""
    more = said(deed)
    told = f"{clock_time(deed.at)} {deed.action}{many} by {deed.by}"
    return f"{told}: {more}" if more else told


def _run(run: "RunRecord") -> list[object]:
    began = clock_time(run.started) if run.started is not None else ""
    seconds = f"{run.seconds:.3f}" if run.seconds is not None else ""
    ended = run.outcome or "under way"
    return [run.role, run.copy, run.attempt, run.worker, began, seconds, ended, run.reason or ""]
