"""Parts of results in a store: what a reader sees of them, whenever it comes."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from bus.bus import Bus
from bus.parts import Assembly, Batch, Part, Parts
from tests.bus.conformance.harness import World
from tests.bus.rooms import result


async def parts(world: World) -> Parts:
    """The parts of one more process."""
    return Bus(await world.backend(), await world.keyvalue(), clock=world.clock).parts


def batch(run: int, first: int, *, role: str = "g", values: Sequence[object] = ()) -> Batch:
    """A batch of an attempt that is one above its run."""
    return Batch(run, role, run + 1, first, values)


async def test_parts_are_read_in_order_by_whoever_comes_early_or_late(world: World) -> None:
    """Runs in order, numbers in order, also beyond what sorts by itself as text."""

    async def scenario() -> tuple[list[Batch], list[Batch]]:
        writer, reader = await parts(world), await parts(world)
        expected, early = 24, list[Batch]()

        async def read() -> None:
            async with aclosing(reader.watch("me/1", "t/1")) as batches:  # type: ignore[type-var]
                async for each in batches:
                    early.append(each)
                    if len(early) == expected:
                        return

        reading = asyncio.create_task(read())
        for run in (0, 9, 10):
            for first in (1, 2, 9, 10, 11, 99, 100, 101):
                given = batch(run, first)
                await writer.put("me/1", "t/1", given, [b'"a"', b'{"n":%d}' % first])
        await writer.put("me/1", "t", batch(0, 1), [b"1"])
        await reading
        return early, await reader.read("me/1", "t/1")

    early, late = await world.within(20.0, scenario())
    assert early == late
    numbers = [(found.run, found.attempt, found.first) for found in late]
    assert numbers == [(r, r + 1, f) for r in (0, 9, 10) for f in (1, 2, 9, 10, 11, 99, 100, 101)]
    assert late[3].values == ["a", {"n": 10}]


def test_an_assembly_gives_each_part_once() -> None:
    """A watch that was made anew tells everything again."""
    assembly = Assembly()
    first, second = batch(0, 1, values=["a", "b"]), batch(0, 3, values=["c"])
    found = [p for b in (first, second, first, second) for p in assembly.take(b)]
    assert [(part.number, part.value) for part in found] == [(1, "a"), (2, "b"), (3, "c")]


def test_a_run_that_was_replaced_is_heard_no_more() -> None:
    assembly = Assembly()
    assembly.take(batch(0, 1, values=["old"]))
    assert assembly.take(batch(2, 1, values=["new"])) == [Part(None, 0, 3), Part("new", 1, 3)]
    assert assembly.take(batch(1, 1, values=["late"])) == []
    assert assembly.take(batch(0, 2, values=["later"])) == []


def test_a_reader_that_had_nothing_is_not_told_that_it_is_void() -> None:
    assert Assembly().take(batch(3, 1, values=["x"])) == [Part("x", 1, 4)]


def test_of_two_roles_that_answer_one_task_the_first_is_heard() -> None:
    assembly = Assembly()
    assembly.take(batch(0, 1, values=["mine"]))
    assert assembly.take(batch(0, 1, role="other", values=["theirs"])) == []


@pytest.mark.parametrize(("fence", "left"), [(0, ["a"]), (1, ["b"]), (2, [])])
def test_at_the_end_only_the_parts_of_that_run_are_left(fence: int, left: list[str]) -> None:
    """Also where a run that nobody waits for any more has streamed since."""
    assembly = Assembly()
    batches = [batch(0, 1, values=["a"]), batch(1, 1, values=["b"]), batch(3, 1, values=["x"])]
    found = assembly.take(batches[0])
    found += assembly.end(batches, result(fence=fence))
    numbers = [n for n, part in enumerate(found) if part.restarts]
    assert [part.value for part in found[numbers[-1] + 1 if numbers else 0 :]] == left
