"""Places: never more than there are, but for runs that are ending."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.slots import MOST_WAITING, Place, Slots

steps = st.lists(
    st.tuples(st.sampled_from("start call answer fail cancel end".split()), st.integers(0)),
    max_size=40,
)


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Runner:
    """Runs whose calls wait until they are answered."""

    def __init__(self, size: int) -> None:
        self.slots = Slots(size)
        self.runs: list[asyncio.Task[None]] = []
        self.calls: list[tuple[asyncio.Future[None], asyncio.Task[None]]] = []
        self._ends: list[asyncio.Future[None]] = []
        self._places: list[object] = []
        self.holding = 0

    async def start(self) -> None:
        if self.slots.free:
            place = self.slots.take()
            self._places.append(place)

    async def call(self, pick: int) -> None:
        if self._places:
            place = self._places[pick % len(self._places)]
            answer = asyncio.get_running_loop().create_future()

            async def wait() -> None:
                async with place.lent():  # type: ignore[attr-defined]
                    await answer

            self.calls.append((answer, asyncio.create_task(wait())))
            await turns()

    async def step(self, what: str, pick: int) -> None:
        if what == "start":
            await self.start()
        elif what == "call":
            await self.call(pick)
        elif what == "resize":
            self.slots.resize(1 + pick % 4)
        elif what == "end" and self._places:
            self._places.pop(pick % len(self._places)).leave()  # type: ignore[attr-defined]
        elif self.calls:
            answer, task = self.calls.pop(pick % len(self.calls))
            if what == "answer":
                answer.set_result(None)
            elif what == "fail":
                answer.set_exception(ValueError("no"))
            else:
                task.cancel()
            self.finished.append(task)
        await turns()

    finished: list[asyncio.Task[None]]

    async def run(self, script: list[tuple[str, int]]) -> None:
        self.finished = []
        for what, pick in script:
            await self.step(what, pick)
        for place in self._places:
            place.leave()  # type: ignore[attr-defined]
        await turns()
        for answer, task in self.calls:
            answer.set_result(None)
            self.finished.append(task)
        await asyncio.gather(*self.finished, return_exceptions=True)


@given(st.integers(1, 3), steps)
def test_whatever_happens_every_place_is_free_at_the_end(
    size: int, script: list[tuple[str, int]]
) -> None:
    """Calls answered, failed and cancelled in any order, runs that end before their calls."""

    async def scenario() -> None:
        runner = Runner(size)
        await runner.run(script)
        slots = runner.slots
        assert (slots._taken, slots._waiting, slots.free) == (0, 0, size)

    asyncio.run(scenario())


resized = st.lists(
    st.tuples(st.sampled_from("start call answer end resize".split()), st.integers(0)), max_size=40
)


@given(st.integers(1, 3), resized)
def test_places_that_come_and_go_lose_none_and_wake_whoever_waits(
    size: int, script: list[tuple[str, int]]
) -> None:
    """As under pressure on the machine, and after it."""

    async def scenario() -> None:
        runner = Runner(size)
        await runner.run([*script, ("resize", size - 1)])
        assert not runner.slots._returning
        slots = runner.slots
        assert (slots._taken, slots._waiting, slots.free) == (0, 0, size)

    asyncio.run(scenario())


async def test_more_places_go_to_runs_that_return_first() -> None:
    slots = Slots(2)
    first, second = slots.take(), slots.take()
    slots.resize(1)
    returning = asyncio.create_task(_lend(first))
    await turns()
    assert (returning.done(), slots.free) == (False, 0)  # the second has the only one
    slots.resize(2)
    async with asyncio.timeout(1):
        await returning
    assert slots.free == 0
    first.leave()
    second.leave()
    assert slots.free == 2


async def _lend(place: Place) -> None:
    async with place.lent():
        await asyncio.sleep(0)


@given(st.integers(1, 3), steps)
def test_no_more_runs_hold_a_place_than_there_are_places(
    size: int, script: list[tuple[str, int]]
) -> None:
    """Those whose call failed, or was cancelled, excepted: they are ending."""

    async def scenario() -> None:
        runner = Runner(size)
        runner.finished = []
        forced = 0
        for what, pick in script:
            await runner.step(what, pick)
            forced += what in {"fail", "cancel"}
            held = sum(place._held for place in runner._places)  # type: ignore[attr-defined]
            assert held <= size + forced
            assert held <= runner.slots._taken
        await runner.run([])

    asyncio.run(scenario())


async def test_a_place_is_lent_as_long_as_one_call_waits() -> None:
    slots = Slots(1)
    place = slots.take()
    assert slots.free == 0
    async with place.lent():
        assert slots.free == 1
        async with place.lent():
            assert slots.free == 1
        assert slots.free == 1
    assert slots.free == 0
    place.leave()
    assert slots.free == 1


async def test_one_that_returns_waits_for_a_place_and_goes_before_new_ones() -> None:
    slots = Slots(1)
    place, answer = slots.take(), asyncio.Event()

    async def parent() -> None:
        async with place.lent():
            await answer.wait()

    waiting = asyncio.create_task(parent())
    await turns()
    other = slots.take()
    answer.set()
    await turns()
    assert not waiting.done()
    assert slots.free == 0
    slots.changed.clear()
    other.leave()
    await asyncio.wait_for(waiting, 5.0)
    assert slots.free == 0
    assert not slots._returning
    place.leave()
    assert slots.free == 1
    assert slots.changed.is_set()


async def test_one_that_is_cancelled_while_it_returns_blocks_nobody() -> None:
    slots = Slots(1)
    place, answer = slots.take(), asyncio.Event()

    async def parent() -> None:
        async with place.lent():
            await answer.wait()

    waiting = asyncio.create_task(parent())
    await turns()
    other = slots.take()
    answer.set()
    await turns()
    waiting.cancel()
    await asyncio.wait([waiting])
    place.leave()
    other.leave()
    assert slots.free == 1


async def test_a_call_that_fails_holds_its_place_at_once() -> None:
    """The run is likely to end; it must not wait for that."""
    slots = Slots(1)
    place = slots.take()

    async def failing() -> None:
        async with place.lent():
            slots.take()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(failing(), 5.0)
    assert slots._taken == 2


async def test_runs_that_wait_are_limited_and_a_place_is_announced_when_one_returns() -> None:
    slots = Slots(1)
    answers: list[asyncio.Event] = []
    tasks = []
    for _ in range(MOST_WAITING):
        place, answer = slots.take(), asyncio.Event()

        async def parent(place: object = place, answer: asyncio.Event = answer) -> None:
            async with place.lent():  # type: ignore[attr-defined]
                await answer.wait()
            place.leave()  # type: ignore[attr-defined]

        answers.append(answer)
        tasks.append(asyncio.create_task(parent()))
        await asyncio.sleep(0)
    assert slots.free == 0
    slots.changed.clear()
    answers[0].set()
    await tasks[0]
    assert slots.changed.is_set()
    assert slots.free == 1
    for answer in answers:
        answer.set()
    await asyncio.gather(*tasks)
