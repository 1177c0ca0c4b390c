"""Group commit: concurrent asks leave together, and nobody suffers for another."""

import asyncio
from collections.abc import Sequence

import pytest

from bus.batching import Batcher
from bus.errors import Closed, TooLarge, Unreachable

SOON = 5.0


class Sender:
    """Notes each call; holds it until `gate` is open; fails calls that contain a bad item."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.called = asyncio.Event()
        self.twice = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.most = 0
        self._under_way = 0

    async def send(self, items: Sequence[str]) -> Sequence[str]:
        self.calls.append(list(items))
        self.called.set()
        if len(self.calls) == 2:
            self.twice.set()
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            await self.gate.wait()
        finally:
            self._under_way -= 1
        if "large" in items:
            raise TooLarge("too large")
        if "away" in items:
            raise Unreachable("away")
        if "bug" in items:
            raise ValueError("a bug")
        return [item.upper() for item in items]


async def held(batcher: Batcher[str, str], sender: Sender) -> asyncio.Task[Sequence[str]]:
    """A first ask whose call is under way, so that later asks gather behind it."""
    sender.gate.clear()
    first = asyncio.create_task(batcher.ask(["first"]))
    await asyncio.wait_for(sender.called.wait(), SOON)
    return first


async def asked(
    batcher: Batcher[str, str], *asks: Sequence[str]
) -> list[asyncio.Task[Sequence[str]]]:
    """These asks, waiting in this order."""
    tasks = [asyncio.create_task(batcher.ask(items)) for items in asks]
    await asyncio.sleep(0)
    return tasks


async def answers(*tasks: asyncio.Task[Sequence[str]]) -> list[Sequence[str]]:
    """What they come to, in order."""
    return [await asyncio.wait_for(task, SOON) for task in tasks]


async def test_a_lone_ask_leaves_at_once() -> None:
    sender = Sender()
    assert await Batcher(sender.send).ask(["a", "b"]) == ["A", "B"]
    assert sender.calls == [["a", "b"]]


async def test_single_items_gather_with_other_asks_and_get_their_own_answers() -> None:
    sender = Sender()
    batcher = Batcher(sender.send, blames=(TooLarge,))
    first = await held(batcher, sender)
    one, another = batcher.ask_one("one"), batcher.ask_one("large")
    many = (await asked(batcher, ["two", "three"]))[0]
    sender.gate.set()
    assert (await first, await one, await many) == (["FIRST"], "ONE", ["TWO", "THREE"])
    with pytest.raises(TooLarge):
        await another
    await batcher.close()
    with pytest.raises(Closed):
        batcher.ask_one("late")


async def test_asks_that_gather_leave_as_one_call_and_each_gets_its_own_answer() -> None:
    sender = Sender()
    batcher = Batcher(sender.send)
    first = await held(batcher, sender)
    rest = await asked(batcher, ["a"], ["b", "c"], [], ["d"])
    sender.gate.set()
    assert await answers(first, *rest) == [["FIRST"], ["A"], ["B", "C"], [], ["D"]]
    assert sender.calls == [["first"], ["a", "b", "c", "d"]]


async def test_a_call_has_whole_asks_up_to_the_limit_and_a_larger_one_goes_alone() -> None:
    sender = Sender()
    batcher = Batcher(sender.send, limit=3)
    first = await held(batcher, sender)
    rest = await asked(batcher, ["a", "b"], ["c"], ["d", "e", "f", "g"], ["h"])
    sender.gate.set()
    await asyncio.gather(first, *rest)
    assert sender.calls[1:] == [["a", "b", "c"], ["d", "e", "f", "g"], ["h"]]


async def test_no_more_calls_are_under_way_than_there_are_lanes() -> None:
    sender = Sender()
    batcher = Batcher(sender.send, lanes=2, limit=1)
    sender.gate.clear()
    tasks = await asked(batcher, *([str(number)] for number in range(9)))
    await asyncio.wait_for(sender.twice.wait(), SOON)
    sender.gate.set()
    await asyncio.gather(*tasks)
    assert sender.most == 2
    assert len(sender.calls) == 9


async def test_an_error_that_belongs_to_one_ask_meets_nobody_else() -> None:
    sender = Sender()
    batcher = Batcher(sender.send, blames=(TooLarge,))
    first = await held(batcher, sender)
    good, bad, also_good = await asked(batcher, ["a"], ["large"], ["b"])
    sender.gate.set()
    assert await answers(first, good, also_good) == [["FIRST"], ["A"], ["B"]]
    with pytest.raises(TooLarge):
        await bad
    assert sender.calls[2:] == [["a"], ["large"], ["b"]]


@pytest.mark.parametrize(("item", "error"), [("away", Unreachable), ("bug", ValueError)])
async def test_any_other_error_is_the_answer_to_all_of_the_call(
    item: str, error: type[Exception]
) -> None:
    sender = Sender()
    batcher = Batcher(sender.send, blames=(TooLarge,))
    first = await held(batcher, sender)
    tasks = await asked(batcher, ["a"], [item])
    sender.gate.set()
    await first
    for task in tasks:
        with pytest.raises(error):
            await task
    assert await batcher.ask(["later"]) == ["LATER"]


async def test_a_cancelled_caller_takes_nothing_back_and_harms_nobody() -> None:
    sender = Sender()
    batcher = Batcher(sender.send)
    first = await held(batcher, sender)
    gone, stays = await asked(batcher, ["a"], ["b"])
    gone.cancel()
    await asyncio.wait([gone])
    sender.gate.set()
    assert await answers(first, stays) == [["FIRST"], ["B"]]
    assert sender.calls[1:] == [["a", "b"]]


async def test_closing_waits_for_what_was_asked_and_refuses_what_comes_after() -> None:
    sender = Sender()
    batcher = Batcher(sender.send, limit=1)
    first = await held(batcher, sender)
    (second,) = await asked(batcher, ["a"])
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(Closed):
        await batcher.ask(["late"])
    assert not closing.done()
    sender.gate.set()
    await asyncio.wait_for(closing, SOON)
    assert [first.result(), second.result()] == [["FIRST"], ["A"]]


async def test_a_cancelled_close_does_not_cancel_what_was_asked() -> None:
    """Whoever waits for an answer still gets it."""
    sender = Sender()
    batcher = Batcher(sender.send, limit=1)
    first = await held(batcher, sender)
    (second,) = await asked(batcher, ["a"])
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    sender.gate.set()
    assert await answers(first, second) == [["FIRST"], ["A"]]


async def test_closing_twice_and_closing_unused_is_fine() -> None:
    batcher = Batcher(Sender().send)
    await batcher.close()
    await batcher.close()


async def test_what_is_asked_the_moment_a_call_ends_is_sent_too() -> None:
    """Whoever got an answer asks again before the flusher that gave it is known to have ended."""

    async def send(items: Sequence[int]) -> Sequence[int]:
        return items

    batcher = Batcher(send)
    async with asyncio.timeout(5.0):
        for number in range(100):
            assert await batcher.ask([number]) == [number]


@pytest.mark.parametrize("goes_on", [1, 3])
async def test_of_two_lanes_that_end_at_once_none_leaves_an_ask_behind(goes_on: int) -> None:
    """One asker goes on, the other does not: nobody else will send what the first one asks."""
    gate, both = asyncio.Event(), asyncio.Barrier(3)

    async def send(items: Sequence[int]) -> Sequence[int]:
        if 2 not in items:
            await both.wait()
        await gate.wait()
        return items

    async def ask(batcher: Batcher[int, int], item: int) -> None:
        await batcher.ask([item])
        if item == goes_on:
            await batcher.ask([2])

    batcher = Batcher(send, lanes=2)
    first = asyncio.create_task(ask(batcher, 1))
    await asyncio.sleep(0)
    second = asyncio.create_task(ask(batcher, 3))
    async with asyncio.timeout(5.0):
        await both.wait()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, second)
