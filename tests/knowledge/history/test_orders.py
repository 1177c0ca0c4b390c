"""Whatever order events are told in, however often and by whomever, they tell one history."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import asyncpg
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.clock import SystemClock
from contracts.events import TERMINAL, Event, Kind
from knowledge.history.history import History
from tests.forms import form
from tests.knowledge.history.model import Model, Seen
from tests.knowledge.history.telling import told

EXAMPLES = form(40, 2000)


_KINDS = [*Kind, *sorted(TERMINAL)]
"""Ends twice: what two of one copy come to is where most can go wrong."""
_KINDS.remove(Kind.PUBLISHED)


@st.composite
def happenings(draw: st.DrawFn) -> list[Event]:
    """Anything that may be told of one task, each at a time of its own."""
    task = str(uuid4())
    times = iter(draw(st.permutations(range(1, 13))))
    events = [told(Kind.PUBLISHED, task, 0)] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(_KINDS))
        events.append(
            told(
                *(kind, task, next(times)),
                role=draw(st.sampled_from(["writer", "checker"])),
                copy=draw(st.sampled_from([0, 0, 1, 2])),
                worker=draw(st.sampled_from(["w-1", "w-2"])),
                number=number,
                seconds=0.25,
                result=f'"{number}"',
            )
        )
    return events


Telling = tuple[list[Event], list[list[Event]]]
"""What happened to a task, and batches that tell of it."""

Told = tuple[list[Seen], tuple[int, int, float]]
"""What is seen of the task, and what it added to the usage."""


@st.composite
def tellings(draw: st.DrawFn) -> Telling:
    """What happened, and batches that tell all of it: in any order, some twice."""
    events = draw(happenings())
    again = draw(st.lists(st.sampled_from(events), max_size=8))
    order = list(draw(st.permutations([*events, *again])))
    first = [e for e in order if e.kind is Kind.PUBLISHED]
    rest = [e for e in order if e.kind is not Kind.PUBLISHED]
    order = draw(st.sampled_from([order, first + rest, rest + first]))
    cuts = [n for n in range(1, len(order)) if draw(st.booleans())]
    return events, [order[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]


@contextmanager
def opened(url: str) -> Iterator[Callable[[Sequence[Sequence[Event]], bool], Told]]:
    """Tells batches, one after the other or at once, and sees what became of them."""
    with asyncio.Runner() as runner:
        runner.run(_hurry(url))
        history = runner.run(History.open(url, SystemClock()))
        yield lambda batches, at_once: runner.run(_told(history, batches, at_once))
        runner.run(history.close())


def test_any_order_tells_one_history(history_url: str) -> None:
    with opened(history_url) as tell:

        @settings(max_examples=EXAMPLES)
        @given(tellings(), st.booleans())
        def one_history(telling: Telling, at_once: bool) -> None:
            events, batches = telling
            model = Model(events)
            assert tell(batches, at_once) == (model.roles(), model.usage())

        one_history()


async def _hurry(url: str) -> None:
    """Thousands of small transactions: their order is looked at, not what a power cut leaves."""
    link = await asyncpg.connect(url)
    name = await link.fetchval("SELECT current_database()")
    await link.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await link.close()


async def _told(history: History, batches: Sequence[Sequence[Event]], at_once: bool) -> Told:
    before = await _used(history)
    if at_once:
        await asyncio.gather(*(history.record(batch) for batch in batches))
    else:
        for batch in batches:
            await history.record(batch)
    after = await _used(history)
    seen = await _seen(history, batches[0][0].task)
    return seen, (after[0] - before[0], after[1] - before[1], after[2] - before[2])


async def _used(history: History) -> tuple[int, int, float]:
    found = (await history.usage(by=[])).found
    return (found[0].runs, found[0].succeeded, found[0].seconds) if found else (0, 0, 0.0)


async def _seen(history: History, task: str) -> list[Seen]:
    runs = (await history.runs(task)).found
    results = {r.role: r.result for r in (await history.result(task)).found}
    return [
        Seen(
            t.role,
            t.state.value,
            t.copy,
            t.since,
            tuple((r.copy, r.outcome) for r in runs if r.role == t.role),
            results.get(t.role),
        )
        for t in (await history.task(task)).found
    ]
