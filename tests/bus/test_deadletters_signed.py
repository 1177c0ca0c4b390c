"""Promise 17: who replayed, forced or changed a dead letter stays with it, and with its task."""

import asyncio
from collections.abc import Sequence

import pytest

from bus.backend import MAX_BODY, Message
from bus.deadletters import MAX_REPLAYS, State
from bus.errors import Conflict, Full, NotDead, ReplayRefused, TooLarge, Unreachable
from bus.settling import Finished, Policy, plan
from contracts.clock import ManualClock
from contracts.deeds import Deed, decode_told
from contracts.envelope import decode as decode_envelope
from contracts.events import Kind, decode_events
from contracts.outcomes import Reject
from contracts.topics import EVENTS
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON, take
from tests.bus.rooms import NOW, letter, memory_bus
from tests.bus.test_deadletters import Office

ADA = "ada@möbius host"


async def dies_again(office: Office) -> None:
    """The task that was replayed is taken and rejected."""
    (delivery,) = await take(office.world, office.backend, 1)
    task = decode_envelope(delivery.message.headers, delivery.message.body)
    finished = Finished(
        delivery=delivery,
        task=task,
        outcome=Reject("no"),
        policy=Policy(),
        worker="w2",
        pid=2,
        started=NOW,
        ended=NOW + 1.0,
    )
    dead = plan(finished, None).dead  # type: ignore[arg-type]
    assert dead is not None
    await office.letters.put(dead)
    await office.backend.settle([delivery])


@pytest.mark.promise(17)
async def test_who_replayed_and_forced_is_told_when_the_task_dies_again(world: World) -> None:
    """17: recorded, however often; a later replay that needs no force does not look forced."""
    office = await Office.open(world)
    await office.letters.put(letter(replays=MAX_REPLAYS))
    replay = office.letters.replay("g", "t1", now=NOW, force=True, by=ADA)
    await world.within(SOON, replay)
    await dies_again(office)
    again = await office.letters.get("g", "t1")
    assert (again.replays, again.replayed_by, again.forced) == (MAX_REPLAYS + 1, ADA, True)


@pytest.mark.promise(17)
async def test_a_force_that_was_not_needed_is_not_told(world: World) -> None:
    office = await Office.open(world)
    await office.letters.put(letter())
    await world.within(SOON, office.letters.replay("g", "t1", now=NOW, force=True, by=ADA))
    await dies_again(office)
    again = await office.letters.get("g", "t1")
    assert (again.replayed_by, again.forced) == (ADA, False)
    assert (again.edited_by, again.edited) == ("", "")


@pytest.mark.promise(17)
async def test_an_interrupted_replay_tells_whose_it_was(world: World) -> None:
    """Also after another has completed it."""
    office = await Office.open(world)
    await office.letters.put(letter())
    office.backend.failures.append(Unreachable("cut"))
    with pytest.raises(Unreachable):
        await world.within(SOON, office.letters.replay("g", "t1", now=NOW, by=ADA))
    seen = await office.letters.get("g", "t1")
    assert (seen.state, seen.replayed_by) == (State.REPLAYING, ADA)
    await world.within(SOON, office.letters.replay("g", "t1", now=NOW, by="bob@x"))
    await dies_again(office)
    assert (await office.letters.get("g", "t1")).replayed_by == ADA


@pytest.mark.promise(24)
async def test_a_replay_is_told_in_the_very_call_that_sends_the_task() -> None:
    """24: with who did it; of bytes that are no task there is nothing to tell."""
    bus, backend, _ = memory_bus(ManualClock())
    await bus.bind("g", ["work.#"])
    await bus.bind("ear", [EVENTS])
    calls: list[list[str]] = []
    publish = backend.publish

    async def noted(messages: Sequence[Message], *, follow_up: bool = False) -> None:
        calls.append([message.topic for message in messages])
        await publish(messages, follow_up=follow_up)

    backend.publish = noted  # type: ignore[method-assign]
    await bus.dead.put(letter())
    await bus.dead.put(letter("noise", headers={}, body=b"\xff"))
    await bus.dead.replay("g", "t1", now=NOW, by=ADA)
    await bus.dead.replay("g", "noise", now=NOW, by=ADA)
    assert calls == [["work.a", EVENTS], ["work.a"]]
    (heard,) = await bus.pull("ear", free=2)
    (event,) = decode_events(heard.message.body)
    assert (event.kind, event.task, event.role, event.copy) == (Kind.REPLAYED, "t1", "g", 3)
    assert event.data["by"] == ADA


@pytest.mark.promise(17)
async def test_an_edited_letter_is_replayed_with_its_new_body_and_says_who_changed_it(
    world: World,
) -> None:
    """17: all else of it stays; the change stays with the task."""
    office = await Office.open(world)
    kept = letter()
    await office.letters.put(kept)
    new = await office.letters.edit(kept, b'{"a": 2}', by=ADA, now=NOW + 5.0)
    assert new == await office.letters.get("g", "t1")
    assert (new.body, new.edited_by) == (b'{"a": 2}', ADA)
    assert (new.error, new.attempts, new.copy, new.replays) == (
        kept.error,
        kept.attempts,
        kept.copy,
        kept.replays,
    )
    assert new.edited.endswith("Z")
    await office.replay()
    assert office.backend.published[-1].body == b'{"a": 2}'
    await dies_again(office)
    again = await office.letters.get("g", "t1")
    assert (again.body, again.edited_by, again.edited) == (b'{"a": 2}', ADA, new.edited)


@pytest.mark.promise(17)
async def test_of_two_people_who_edit_the_second_is_refused(world: World) -> None:
    """17: nobody's change is lost unseen."""
    office = await Office.open(world)
    seen = letter()
    await office.letters.put(seen)
    await office.letters.edit(seen, b"1", by=ADA, now=NOW)
    with pytest.raises(Conflict, match="changed meanwhile"):
        await office.letters.edit(seen, b"2", by="bob@x", now=NOW)
    assert (await office.letters.get("g", "t1")).body == b"1"


@pytest.mark.promise(17)
async def test_what_is_being_replayed_or_gone_is_not_edited(world: World) -> None:
    office = await Office.open(world)
    for kept, why in ((None, "is not a dead letter"), (State.REPLAYING, "is being replayed")):
        seen = letter(state=kept or State.DEAD)
        if kept:
            await office.letters.put(seen)
        with pytest.raises(NotDead, match=why):
            await office.letters.edit(seen, b"2", by=ADA, now=NOW)


async def test_a_body_no_task_may_have_is_refused(world: World) -> None:
    office = await Office.open(world)
    seen = letter()
    await office.letters.put(seen)
    with pytest.raises(TooLarge):
        await office.letters.edit(seen, b"x" * (MAX_BODY + 1), by=ADA, now=NOW)
    assert await office.letters.get("g", "t1") == seen


async def test_that_it_was_part_of_a_deed_leaves_with_the_task() -> None:
    """In one call: a replay that was refused or could not be sent is not told."""
    bus, backend, _ = memory_bus(ManualClock())
    await bus.bind("g", ["work.#"])
    await bus.bind("ear", [EVENTS])
    await bus.dead.put(letter())
    await bus.dead.put(letter("often", replays=MAX_REPLAYS))
    said = Deed(id="d1", at=NOW, by=ADA, action="dlq replay", scope="letters")
    with pytest.raises(ReplayRefused):
        await bus.dead.replay("g", "often", now=NOW, deed=said)
    backend.failures.append(Unreachable("cut"))
    with pytest.raises(Unreachable):
        await bus.dead.replay("g", "t1", now=NOW, deed=said)
    await bus.dead.replay("g", "t1", now=NOW, deed=said)
    told = [decode_told(heard.message.body) for heard in await bus.pull("ear", free=9)]
    assert [deed for each in told for deed in each.deeds] == [said.to("t1", "g", 2)]
    assert backend.settled == []


async def test_a_deed_is_told_whatever_the_broker_does_meanwhile() -> None:
    """It is waited for; and there may be nobody who wants to know."""
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    said = Deed(id="d1", at=NOW, by=ADA, action="pause", scope="role", target="g")
    await bus.tell_deed(said)
    await bus.bind("ear", [EVENTS])
    backend.failures += [Unreachable("cut"), Full("full")]
    telling = asyncio.create_task(bus.tell_deed(said))
    await clock.advance(5.0)
    await telling
    (heard,) = await bus.pull("ear", free=9)
    assert decode_told(heard.message.body).deeds == [said]
