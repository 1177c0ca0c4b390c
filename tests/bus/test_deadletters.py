"""Promise 17: a dead letter keeps everything, is read without being consumed, and taken once."""

import asyncio

import pytest

from bus.backend import MAX_BODY, MAX_HEADERS
from bus.deadletters import MAX_ERROR, MAX_REPLAYS, DeadLetter, DeadLetters, State, decode
from bus.errors import NotDead, ReplayRefused, Unreachable, Unroutable
from bus.keyvalue import keys
from bus.keyvalue.protocol import MAX_VALUE, KeyValue
from contracts.envelope import decode as decode_envelope
from contracts.envelope import encode
from contracts.errors import DecodeError
from contracts.outcomes import Reason
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON, nothing, take
from tests.bus.rooms import NOW, Recording, envelope, letter
from tests.contracts.envelopes import golden


class Office:
    """The dead letters of a fleet with group `g`, and what its broker is asked."""

    def __init__(self, world: World, store: KeyValue, backend: Recording) -> None:
        self.world = world
        self.store = store
        self.backend = backend
        self.letters = DeadLetters(store, backend)

    @classmethod
    async def open(cls, world: World) -> "Office":
        backend = await world.backend()
        await backend.bind("g", ["work.#"])
        return cls(world, await world.keyvalue(), Recording(backend))

    async def replay(self, id_: str = "t1", *, force: bool = False) -> DeadLetter:
        replay = self.letters.replay("g", id_, now=NOW + 10.0, force=force)
        return await self.world.within(SOON, replay)


@pytest.mark.promise(17)
async def test_a_dead_letter_keeps_everything_it_came_with(world: World) -> None:
    """17: body, headers, topic, reason, error, attempts, worker, times."""
    office = await Office.open(world)
    kept = letter(body=bytes(range(256)), published=NOW - 5.0, replays=2)
    await office.letters.put(kept)
    assert await office.letters.get("g", "t1") == kept


@pytest.mark.promise(17)
async def test_reading_consumes_nothing(world: World) -> None:
    """17: as often as one likes, one by one or all of them."""
    office = await Office.open(world)
    for id_ in ("b", "a", "c/1 %"):
        await office.letters.put(letter(id_))
    await office.letters.put(letter("a", group="other"))
    for _ in range(2):
        found = [each.id async for each in office.letters.all("g")]
        assert sorted(found) == ["a", "b", "c/1 %"]
        assert len([each async for each in office.letters.all()]) == 4
        assert {each.group for each in await office.letters.find("a")} == {"g", "other"}
        assert (await office.letters.get("g", "c/1 %")).id == "c/1 %"


@pytest.mark.promise(17)
async def test_more_than_a_page_of_letters_is_listed_whole(world: World) -> None:
    office = await Office.open(world)
    expected = {f"t{number:03}" for number in range(230)}
    await asyncio.gather(*(office.letters.put(letter(id_)) for id_ in expected))
    found = [each.id async for each in office.letters.all("g")]
    assert len(found) == 230
    assert set(found) == expected


@pytest.mark.promise(17)
async def test_what_is_not_dead_is_said_to_be_so(world: World) -> None:
    office = await Office.open(world)
    for call in (office.letters.get, office.letters.purge):
        with pytest.raises(NotDead):
            await call("g", "nobody")
    with pytest.raises(NotDead):
        await office.replay("nobody")


@pytest.mark.promise(17)
async def test_a_replay_gives_the_task_back_to_its_group_and_forgets_the_letter(
    world: World,
) -> None:
    """17: the next copy, in the retry lane, with the count of replays in a header."""
    office = await Office.open(world)
    await office.letters.put(letter())
    replayed = await office.replay()
    assert (replayed.copy, replayed.replays) == (3, 1)
    (back,) = await take(world, office.backend, 1)
    task = decode_envelope(back.message.headers, back.message.body)
    assert (back.message.id, back.message.copy, task.copy) == ("t1", 3, 3)
    assert (task.body, task.extra["muster-replays"]) == (b'{"a":1}', "1")
    with pytest.raises(NotDead):
        await office.letters.get("g", "t1")


@pytest.mark.promise(17)
async def test_a_replayed_task_has_all_attempts_again_and_no_passed_deadline(
    world: World,
) -> None:
    """One that lies in the future stays."""
    office = await Office.open(world)
    for id_, deadline in (("past", NOW + 9.0), ("ahead", NOW + 11.0)):
        task = envelope(id_, attempt=4, deadline=deadline, reply="caller")
        await office.letters.put(letter(id_, headers=encode(task)))
        await office.replay(id_)
    found = await take(world, office.backend, 2)
    tasks = {t.id: t for t in (decode_envelope(d.message.headers, b"") for d in found)}
    assert {t.attempt for t in tasks.values()} == {0}
    assert {t.reply for t in tasks.values()} == {"caller"}
    assert (tasks["past"].deadline, tasks["ahead"].deadline) == (None, NOW + 11.0)


@pytest.mark.promise(19)
async def test_bytes_that_are_no_envelope_are_replayed_as_they_came(world: World) -> None:
    """19: the next time somebody may be able to read them."""
    office = await Office.open(world)
    await office.letters.put(letter("x" * 64, headers={"x-foreign": "1"}, body=b"\xff\x00"))
    await office.replay("x" * 64)
    (back,) = await take(world, office.backend, 1)
    assert back.message.body == b"\xff\x00"
    assert back.message.headers["x-foreign"] == "1"
    assert back.message.id == "x" * 64


@pytest.mark.promise(17)
async def test_many_replays_at_once_put_one_task_on_the_bus(world: World) -> None:
    """17: exactly once, whoever asks; the others are told."""
    office = await Office.open(world)
    await office.letters.put(letter())
    replays = (office.letters.replay("g", "t1", now=NOW) for _ in range(10))
    ends = await world.within(SOON, gathered(*replays))
    assert any(isinstance(end, DeadLetter) for end in ends)
    assert all(isinstance(end, DeadLetter | NotDead) for end in ends)
    assert {end.copy for end in ends if isinstance(end, DeadLetter)} == {3}
    await take(world, office.backend, 1)
    await nothing(world, office.backend)


@pytest.mark.promise(17)
async def test_replay_and_purge_at_once_are_one_of_the_two(world: World) -> None:
    """17: what is purged does not run, what runs was not purged."""
    office = await Office.open(world)
    for round_ in range(8):
        id_ = f"t{round_}"
        await office.letters.put(letter(id_))
        replay = office.letters.replay("g", id_, now=NOW)
        purges = [office.letters.purge("g", id_) for _ in range(3)]
        calls = [replay, *purges] if round_ % 2 else [*purges, replay]
        ends = await world.within(SOON, gathered(*calls))
        taken = [end for end in ends if isinstance(end, DeadLetter)]
        assert len(taken) == 1
        replayed = taken[0].state is State.REPLAYING
        expected = [id_] if replayed else []
        assert [message.id for message in office.backend.published] == expected
        office.backend.published.clear()


async def gathered(*calls: object) -> list[object]:
    """What the calls come to, errors too."""
    return list(await asyncio.gather(*calls, return_exceptions=True))  # type: ignore[call-overload]


@pytest.mark.promise(17)
async def test_a_replay_that_died_before_publishing_is_completed_by_asking_again(
    world: World,
) -> None:
    """17: it stays visible as `replaying`, and counts as one replay."""
    office = await Office.open(world)
    await office.letters.put(letter())
    office.backend.failures.append(Unreachable("cut"))
    with pytest.raises(Unreachable):
        await office.replay()
    seen = await office.letters.get("g", "t1")
    assert (seen.state, seen.copy, seen.replays) == (State.REPLAYING, 3, 1)
    again = await office.replay()
    assert (again.copy, again.replays) == (3, 1)
    (back,) = await take(world, office.backend, 1)
    assert back.message.copy == 3
    assert [each async for each in office.letters.all()] == []


@pytest.mark.promise(17)
async def test_a_replay_that_died_after_publishing_adds_nothing_when_asked_again(
    world: World,
) -> None:
    """17: the same dedupe key, and the letter is gone afterwards."""
    office = await Office.open(world)
    await office.letters.put(letter())
    dying = DeadLetters(Undeletable(office.store), office.backend)  # type: ignore[arg-type]
    with pytest.raises(Unreachable):
        await world.within(SOON, dying.replay("g", "t1", now=NOW))
    assert (await office.letters.get("g", "t1")).state is State.REPLAYING
    await office.replay()
    await take(world, office.backend, 1)
    await nothing(world, office.backend)
    assert [each async for each in office.letters.all()] == []


class Undeletable:
    """A store whose connection is cut before each delete."""

    def __init__(self, store: KeyValue) -> None:
        self.get, self.put, self.list = store.get, store.put, store.list

    async def delete(self, *_: object, **__: object) -> bool:
        raise Unreachable("cut")


@pytest.mark.promise(17)
async def test_what_is_being_replayed_is_not_purged(world: World) -> None:
    """17: its task may be on its way; the error says how to go on."""
    office = await Office.open(world)
    await office.letters.put(letter(state=State.REPLAYING))
    with pytest.raises(NotDead, match="is being replayed") as caught:
        await office.letters.purge("g", "t1")
    assert "muster dlq replay t1" in caught.value.lines()[2]
    assert (await office.letters.get("g", "t1")).state is State.REPLAYING


@pytest.mark.promise(17)
async def test_a_replay_to_a_group_that_is_gone_leaves_the_letter_as_it_was(
    world: World,
) -> None:
    """17: nothing was sent, so nothing is counted; it can be replayed or purged later."""
    office = await Office.open(world)
    kept = letter(group="retired")
    await office.letters.put(kept)
    with pytest.raises(Unroutable):
        await world.within(SOON, office.letters.replay("retired", "t1", now=NOW))
    assert await office.letters.get("retired", "t1") == kept
    assert await office.letters.purge("retired", "t1") == kept


@pytest.mark.promise(17)
async def test_a_task_that_dies_again_at_once_keeps_its_new_letter(world: World) -> None:
    """17: the replay that is about to forget the old letter leaves the new one alone."""
    office = await Office.open(world)
    await office.letters.put(letter())
    again = letter(copy=3, replays=1, error="again")

    class DiesAtOnce(Recording):
        async def publish(self, messages: object, *, follow_up: bool = False) -> None:
            await super().publish(messages, follow_up=follow_up)  # type: ignore[arg-type]
            await office.letters.put(again)

    backend = DiesAtOnce(office.backend)
    letters = DeadLetters(office.store, backend)
    await world.within(SOON, letters.replay("g", "t1", now=NOW))
    assert await office.letters.get("g", "t1") == again


@pytest.mark.promise(17)
async def test_replays_are_refused_after_three_unless_forced(world: World) -> None:
    """17: the error says how often it died; a forced one is counted too."""
    office = await Office.open(world)
    await office.letters.put(letter(replays=MAX_REPLAYS - 1))
    assert (await office.replay()).replays == MAX_REPLAYS
    await office.letters.put(letter(copy=5, replays=MAX_REPLAYS))
    with pytest.raises(ReplayRefused, match="3 times already"):
        await office.replay()
    assert (await office.letters.get("g", "t1")).state is State.DEAD
    assert (await office.replay(force=True)).replays == MAX_REPLAYS + 1


@pytest.mark.promise(17)
async def test_a_purge_returns_what_it_forgot(world: World) -> None:
    office = await Office.open(world)
    await office.letters.put(letter())
    assert await office.letters.purge("g", "t1") == letter()
    with pytest.raises(NotDead):
        await office.letters.purge("g", "t1")


@pytest.mark.promise(17)
async def test_a_letter_put_again_gives_way_to_the_later_one(world: World) -> None:
    """A settle that is repeated, or a task that died again."""
    office = await Office.open(world)
    await office.letters.put(letter())
    await office.letters.put(letter(copy=7))
    assert (await office.letters.get("g", "t1")).copy == 7


@pytest.mark.promise(17)
@pytest.mark.parametrize("header", ['"' * 8000, "ä" * 4000, "\x01" * 8000, "x" * 8000])
@pytest.mark.parametrize("error", ["\n" * 20_000, '"' * 20_000, "\x01" * 20_000, "é" * 20_000])
async def test_the_largest_message_fits_into_one_entry(header: str, error: str) -> None:
    """17: a letter that did not fit would make its task come back for ever."""
    headers = {"x-a": header, "x-b": header[: (MAX_HEADERS - 8100 - 6) // 2]}
    kept = letter("i" * 200, body=b"x" * MAX_BODY, headers=headers, error=error, worker="w" * 99)
    value = kept.encode()
    assert len(value) <= MAX_VALUE
    assert decode(value).body == kept.body
    assert len(decode(value).error.encode()) <= MAX_ERROR


@pytest.mark.promise(17)
async def test_the_largest_letter_goes_through_the_store(world: World) -> None:
    """17: and can be replayed."""
    office = await Office.open(world)
    kept = letter(body=b"x" * MAX_BODY, error="\n" * 9000)
    await office.letters.put(kept)
    assert (await office.letters.get("g", "t1")).body == kept.body
    await office.replay()
    (back,) = await take(world, office.backend, 1)
    assert back.message.body == kept.body


@pytest.mark.promise(17)
async def test_the_error_is_cut_to_eight_kibibytes_of_whole_printable_characters() -> None:
    """17: half characters and control characters do not survive."""
    found = decode(letter(error="a" + "é" * MAX_ERROR).encode()).error
    assert len(found.encode()) == MAX_ERROR - 1
    assert set(found) == {"a", "é"}
    assert decode(letter(error="a\x00b\udcffc\nd\te").encode()).error == "a�b�c\nd\te"


@pytest.mark.promise(17)
async def test_an_entry_that_cannot_be_read_is_an_error_that_says_so(world: World) -> None:
    store = await world.keyvalue()
    await store.put(keys.dead("g", "t1"), b"not json\nbody")
    with pytest.raises(DecodeError, match="dead letter"):
        await DeadLetters(store, await world.backend()).get("g", "t1")


def test_the_format_is_the_one_in_the_golden_file() -> None:
    """A line of JSON, then the body as it came; both ways."""
    kept = letter(published=NOW - 5.0, replays=1, reason=Reason.TIMEOUT)
    text = golden("dead_letter.txt").removesuffix("\n").encode()
    assert decode(text) == kept
    assert decode(kept.encode()) == kept
    assert kept.encode().partition(b"\n")[2] == text.partition(b"\n")[2] == kept.body


async def test_a_letter_that_cannot_be_read_does_not_hide_the_others(world: World) -> None:
    """It is listed under its own id, with the reason it cannot be read."""
    store, backend = await world.keyvalue(), await world.backend()
    letters = DeadLetters(store, backend)
    await store.put("dead/triager/from-a-later-release", b'{"reason": "levitated"}\n')
    (found,) = [letter async for letter in letters.all()]
    assert (found.group, found.id) == ("triager", "from-a-later-release")
    assert "cannot be read" in found.error
