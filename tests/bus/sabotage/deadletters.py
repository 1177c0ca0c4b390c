"""Promises 17 and 19: dead letters, and what becomes of bytes nobody can read."""

import random
from dataclasses import replace
from typing import Any

from pydantic_core import from_json
from typing_extensions import override

from bus.deadletters import DeadLetter, DeadLetters, State, decode
from bus.keyvalue import keys
from bus.keyvalue.protocol import Revision
from bus.settling import Finished, Plan, hand_back, plan
from contracts.envelope import Envelope
from tests.bus.sabotage.registry import breaks
from workers.engine.steps import validate
from workers.sdk.role import Role

POISON = "test_bytes_that_are_no_envelope_are_a_dead_letter_with_exactly_these_bytes"


@breaks(17, "test_a_dead_letter_keeps_everything_it_came_with")
class LetterWithoutHeaders(DeadLetters):
    """A dead letter keeps the body and the reason, and loses its headers."""

    @override
    async def put(self, letter: DeadLetter) -> None:
        await super().put(replace(letter, headers={}))


@breaks(17, "test_reading_consumes_nothing")
class ReadingConsumes(DeadLetters):
    """A dead letter that was read is gone, as from a queue."""

    @override
    async def find(self, task: str) -> list[DeadLetter]:
        found = await super().find(task)
        for letter in found:
            await self._store.delete(keys.dead(letter.group, letter.id))
        return found


@breaks(17, "test_replay_and_purge_at_once_are_one_of_the_two")
class PurgedWhileReplayed(DeadLetters):
    """A purge does not look whether a replay has begun."""

    @override
    async def purge(self, group: str, task: str) -> DeadLetter:
        entry = await self._entry(group, task)
        await self._store.delete(entry.key)
        return replace(decode(entry.value), state=State.DEAD)


@breaks(17, "test_a_replay_that_died_before_publishing_is_completed_by_asking_again")
class InterruptedReplayUnseen(DeadLetters):
    """A replay that was interrupted looks as if it had never begun."""

    @override
    async def _claim(
        self, letter: DeadLetter, revision: Revision, force: bool
    ) -> tuple[DeadLetter, Revision]:
        claimed, revision = await super()._claim(letter, revision, force)
        key = keys.dead(letter.group, letter.id)
        return claimed, await self._store.put(key, letter.encode(), expect=revision)


@breaks(17, "test_a_replay_gives_the_task_back_to_its_group_and_forgets_the_letter")
class LetterStays(DeadLetters):
    """A replay leaves the dead letter where it was, to be replayed again."""

    @override
    async def replay(self, group: str, task: str, **how: Any) -> DeadLetter:
        letter = await self.get(group, task)
        replayed = await super().replay(group, task, **how)
        await self.put(letter)
        return replayed


@breaks(17, "test_replays_are_refused_after_three_unless_forced")
class ReplaysUnguarded(DeadLetters):
    """A task may be replayed as often as one likes."""

    @override
    async def _claim(
        self, letter: DeadLetter, revision: Revision, force: bool
    ) -> tuple[DeadLetter, Revision]:
        return await super()._claim(letter, revision, True)


@breaks(17, "test_who_replayed_and_forced_is_told_when_the_task_dies_again")
class ReplaysUnsigned(DeadLetters):
    """Nobody can tell afterwards who replayed a task."""

    @override
    async def replay(self, group: str, task: str, **how: Any) -> DeadLetter:
        return await super().replay(group, task, **{**how, "by": ""})


@breaks(17, "test_of_two_people_who_edit_the_second_is_refused")
class LastEditWins(DeadLetters):
    """Who edits a letter does not see that it was changed since he looked at it."""

    @override
    async def edit(self, seen: DeadLetter, body: bytes, *, by: str, now: float) -> DeadLetter:
        latest = await self.get(seen.group, seen.id)
        return await super().edit(latest, body, by=by, now=now)


@breaks(19, POISON, replaces=plan)
def poison_dropped(f: Finished, rng: random.Random) -> Plan:
    """Bytes that are no task are forgotten without a trace."""
    return plan(f, rng) if f.task is not None else Plan()


@breaks(19, POISON, replaces=plan)
def poison_comes_again(f: Finished, rng: random.Random) -> Plan:
    """Bytes that are no task are handed back, for ever."""
    if f.task is not None:
        return plan(f, rng)
    return Plan(then=(replace(hand_back(f.delivery, None), due=f.ended + 0.2),))


@breaks(19, POISON)
class PoisonIsCleaned(DeadLetters):
    """Bytes that are no task are kept as text, so that nobody can see what came."""

    @override
    async def put(self, letter: DeadLetter) -> None:
        text = letter.body.decode("utf-8", "replace")
        await super().put(replace(letter, body=text.encode()))


@breaks(19, "test_a_payload_that_does_not_fit_never_reaches_the_handler", replaces=validate)
def any_payload_runs(role: Role, task: Envelope) -> Any:
    """A payload of another type than the role declares reaches its handler."""
    return from_json(task.body)
