"""What comes back from a crash: a pure judgement, and what a bus does about it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery
from bus.backends.memory import MemoryBackend
from bus.bus import Bus
from bus.errors import Unreachable
from bus.keyvalue.memory import MemoryKeyValue
from bus.settling import Policy, from_message
from bus.suspects import Blame, crashed, unless_known
from contracts.clock import ManualClock
from contracts.events import Kind, decode_events
from contracts.outcomes import Done, Reason, Reject
from contracts.results import Status
from tests.bus.rooms import NOW, Recording, delivery, envelope, finished, memory_bus, result

BLAME = Blame(Policy(attempts=3), "w2", 18)
ONCE = Blame(Policy(attempts=1), "w2", 18)


def test_a_first_hand_over_is_nobodys_fault() -> None:
    assert crashed(delivery(envelope()), BLAME, NOW) is None


def test_bytes_that_are_no_task_are_not_counted() -> None:
    """They become a dead letter where they are read, whether or not they come back."""
    assert crashed(delivery(earlier=3), BLAME, NOW) is None


@given(st.integers(1, 40), st.integers(0, 10), st.integers(0, 30))
@pytest.mark.promise(14)
def test_one_attempt_is_used_up_however_many_hand_overs_were_not_answered(
    earlier: int, attempt: int, copy: int
) -> None:
    """Only the first of them was ever shown to a handler."""
    task = envelope(attempt=attempt, copy=copy)
    end = crashed(delivery(task, earlier=earlier), BLAME, NOW)
    assert end is not None
    assert end.task is not None
    assert (end.task.attempt, end.task.copy) == (attempt, copy)
    assert end.task.suspect
    assert getattr(end.outcome, "last", None) is Reason.CRASH


def test_an_end_that_was_made_safe_before_is_the_end() -> None:
    end = crashed(delivery(envelope(copy=2), earlier=1), BLAME, NOW)
    assert end is not None
    succeeded = unless_known(end, result(fence=1))
    assert (succeeded.outcome, succeeded.known) == (Done(), True)
    failed = result(fence=2, status=Status.FAILED, reason=Reason.INVALID, error="no")
    rejected = unless_known(end, failed)
    assert (rejected.outcome, rejected.known) == (Reject("no", Reason.INVALID), True)
    replayed = result(fence=1, status=Status.FAILED, reason=Reason.INVALID)
    assert unless_known(end, replayed) is end
    assert unless_known(end, None) is end


class Scene:
    """A bus that counts, another member that dies, and time."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus, self.backend, self.broker = memory_bus(self.clock, lease=5.0)

    async def pull(self, blame: Blame | None = BLAME, *, ahead: int = 0) -> list[Delivery]:
        """What the bus shows; counting has had its turns."""
        free = 0 if ahead else 10
        found = await self.bus.pull("g", free=free, ahead=ahead, wait=0.0, blame=blame)
        await self.clock.advance(0.0)
        return found

    async def crash(self, times: int = 1) -> list[Delivery]:
        """Somebody takes all there is and dies without a word."""
        taken: list[Delivery] = []
        for _ in range(times):
            other = MemoryBackend(self.broker)
            taken = await other.pull("g", [HIGH, RETRY, NORMAL, LOW], limit=10, wait=0.0)
            self.broker.crash(other)
            await self.clock.advance(5.0)
        return taken

    async def begin(self, taken: list[Delivery], blame: Blame = BLAME) -> None:
        """Their handlers were called before their holder died."""
        for each in taken:
            await self.bus.crashes.begin(each, from_message(each.message), blame.policy)

    async def letters(self) -> list[Any]:
        """All dead letters."""
        return [letter async for letter in self.bus.dead.all()]


@pytest.fixture
async def scene() -> Any:
    made = Scene()
    await made.bus.bind("g", ["work.#"])
    yield made
    await made.bus.close()


@pytest.mark.promise(14)
async def test_what_comes_back_is_shown_as_a_suspect_copy_with_its_attempt_used_up(
    scene: Scene,
) -> None:
    await scene.bus.publish([envelope()])
    await scene.crash(times=3)
    assert await scene.pull() == []
    (again,) = await scene.pull()
    task = from_message(again.message)
    assert (task.copy, task.attempt, task.suspect) == (1, 1, True)
    assert (again.earlier, again.message.lane) == (0, RETRY)
    assert await scene.letters() == []


async def test_a_suspect_is_pulled_for_free_places_only(scene: Scene) -> None:
    await scene.bus.publish([envelope()])
    await scene.crash()
    assert await scene.pull(ahead=10) == []
    assert await scene.pull(ahead=10) == []
    assert len(await scene.pull()) == 1


@pytest.mark.promise(14)
async def test_when_its_attempts_are_used_up_it_is_a_dead_letter_of_a_crash(scene: Scene) -> None:
    await scene.bus.publish([envelope(reply="me")])
    for _ in range(3):
        await scene.begin(await scene.crash())
        await scene.pull()
    assert await scene.pull() == []
    (letter,) = await scene.letters()
    assert (letter.reason, letter.attempts, letter.copy) == (Reason.CRASH, 3, 2)
    assert "attempt 3" in letter.error
    end = await scene.bus.outcomes.get("me", "t1")
    assert end is not None
    assert (end.status, end.reason, end.attempt) == (Status.FAILED, Reason.CRASH, 3)


@pytest.mark.promise(14)
async def test_a_last_attempt_that_never_began_is_not_used_up(scene: Scene) -> None:
    """It was read ahead, lost on its way, or its settling was forgotten: however often, nobody
    dies of that."""
    await scene.bus.publish([envelope()])
    for copy in range(10):
        await scene.crash()
        assert await scene.pull(ONCE) == []
        (entry,) = [d for d in await scene.crash(times=1) if d.message.id == "t1"]
        task = from_message(entry.message)
        assert (task.copy, task.attempt, task.suspect) == (2 * copy + 1, 0, True)
        assert await scene.pull(ONCE) == []
    assert await scene.letters() == []


async def test_a_beginning_of_another_copy_says_nothing_about_this_one(scene: Scene) -> None:
    await scene.bus.publish([envelope()])
    (first,) = await scene.crash()
    await scene.bus.crashes.begin(first, envelope(copy=7), ONCE.policy)
    assert await scene.pull(ONCE) == []
    (again,) = await scene.pull(ONCE)
    assert from_message(again.message).attempt == 0


async def test_the_note_of_a_beginning_goes_when_the_run_is_settled(scene: Scene) -> None:
    await scene.bus.publish([envelope()])
    (mine,) = await scene.pull(ONCE)
    await scene.begin([mine], ONCE)
    assert len(await scene.bus.store.list("begun/")) == 1
    end = finished(of=mine, task=envelope(), attempts=1)
    await scene.bus.settle(replace(end, began=True))
    await scene.clock.advance(0.0)
    assert await scene.bus.store.list("begun/") == []


async def test_only_a_last_attempt_costs_a_note(scene: Scene) -> None:
    await scene.bus.publish([envelope()])
    (mine,) = await scene.pull()
    await scene.begin([mine])
    assert await scene.bus.store.list("begun/") == []


async def test_a_replayed_killer_stays_suspect_whatever_it_died_of_first(scene: Scene) -> None:
    """With one attempt it never was a suspect before it died."""
    await scene.bus.publish([envelope()])
    await scene.begin(await scene.crash(), ONCE)
    await scene.pull(ONCE)
    await scene.bus.dead.replay("g", "t1", now=NOW)
    (again,) = await scene.pull()
    task = from_message(again.message)
    assert (task.attempt, task.suspect) == (0, True)


@pytest.mark.promise(14)
async def test_what_lay_beside_it_loses_one_attempt_and_what_waited_loses_none(
    scene: Scene,
) -> None:
    await scene.bus.publish([envelope("killer"), envelope("innocent")])
    await scene.crash()
    await scene.bus.publish([envelope("late")])
    shown = {d.message.id: from_message(d.message) for d in await scene.pull()}
    shown |= {d.message.id: from_message(d.message) for d in await scene.pull()}
    assert {id_: task.attempt for id_, task in shown.items()} == {
        "killer": 1,
        "innocent": 1,
        "late": 0,
    }


@pytest.mark.promise(14)
async def test_a_task_that_had_ended_before_it_came_back_is_no_crash(scene: Scene) -> None:
    """Its worker died, or its broker forgot, between the outcome and the settle."""
    await scene.bus.publish([envelope(reply="me")])
    await scene.crash()
    await scene.bus.outcomes.put("me", result(value=7))
    assert await scene.pull(ONCE) == []
    assert await scene.pull(ONCE) == []
    assert (await scene.letters(), scene.broker.lag("g")[NORMAL].leased) == ([], 0)
    assert [m.topic for m in scene.backend.settled[-1][1]] == ["muster.events"]
    end = await scene.bus.outcomes.get("me", "t1")
    assert end is not None
    assert end.value == 7


async def test_a_dead_letter_that_was_put_before_the_crash_is_not_put_again(scene: Scene) -> None:
    """A person may have dealt with it meanwhile."""
    await scene.bus.publish([envelope(reply="me")])
    await scene.crash()
    failed = result(status=Status.FAILED, reason=Reason.REJECTED, error="no")
    await scene.bus.outcomes.put("me", failed)
    assert await scene.pull() == []
    assert await scene.pull() == []
    assert await scene.letters() == []


async def test_rubbish_that_comes_back_is_shown_as_it_is(scene: Scene) -> None:
    """19: it never ran; whoever reads it makes it a dead letter."""
    message = delivery().message
    await scene.backend.settle((), then=[message])
    await scene.crash(times=4)
    (shown,) = await scene.pull()
    assert shown.message.body == message.body


async def test_who_counts_nothing_is_shown_everything(scene: Scene) -> None:
    """Groups that only listen have no attempts."""
    await scene.bus.publish([envelope()])
    await scene.crash()
    (shown,) = await scene.pull(None)
    assert shown.earlier == 1


async def test_a_pull_that_is_cancelled_still_counts_what_it_took(scene: Scene) -> None:
    await scene.bus.publish([envelope()])
    await scene.crash()
    pulling = asyncio.create_task(scene.bus.pull("g", free=1, wait=60.0, blame=BLAME))
    await scene.clock.advance(0.0)
    pulling.cancel()
    await asyncio.gather(pulling, return_exceptions=True)
    (again,) = await scene.pull()
    assert from_message(again.message).attempt == 1


async def test_a_crash_that_cannot_be_counted_is_counted_by_whoever_has_it_next(
    scene: Scene,
) -> None:
    """The one that wanted to count it was cut off; no attempt is used twice."""
    await scene.bus.publish([envelope()])
    await scene.crash()

    async def cut_off(*_: Any, **__: Any) -> list[Delivery]:
        raise Unreachable("cut off")

    backend = Recording(MemoryBackend(scene.broker))
    other = Bus(backend, MemoryKeyValue(scene.broker.store), clock=scene.clock)
    backend.settle = cut_off  # type: ignore[method-assign]
    assert await other.pull("g", free=1, wait=0.0, blame=BLAME) == []
    await scene.clock.advance(60.0)
    assert await scene.pull() == []
    (again,) = await scene.pull()
    assert from_message(again.message).attempt == 1
    await other.close()


async def test_the_crash_is_told(scene: Scene) -> None:
    await scene.bus.bind("ear", ["muster.events"])
    await scene.bus.publish([envelope()])
    await scene.crash()
    await scene.pull()
    await scene.clock.advance(1.0)
    heard = await scene.bus.pull("ear", free=10, wait=0.0)
    _, told = [event for d in heard for event in decode_events(d.message.body)]
    assert (told.kind, told.worker, told.attempt) == (Kind.RETRIED, "w2", 1)
    assert "died" in told.data["reason"]
