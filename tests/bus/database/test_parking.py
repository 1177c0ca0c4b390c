"""Rows, claims and bindings in the bus database."""

import asyncio
from dataclasses import replace

import pytest

from bus.backend import NORMAL, RETRY, Message
from bus.errors import Unroutable
from bus.parking.bindings import Bindings
from bus.parking.parking import Mark, Parking, Transmission, new_owner, rows_of
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import eventually, task
from tests.bus.database.worlds import StoreWorld

pytestmark = pytest.mark.postgres

RETRIES = [("retry", n) for n in range(16)]


class Scene:
    """A group bound in a world."""

    def __init__(self, world: StoreWorld) -> None:
        self.world = world

    async def begin(self) -> None:
        """Bind the group `g`."""
        self.database = await self.world.database()
        self.parking = Parking(self.database, 1.5)
        self.bindings = Bindings(self.database)
        async with self.bindings.changing("g") as link:
            self.gid = await self.bindings.bind(link, "g", ["work.#"], {})
        self.binding = await self.bindings.of("g")

    async def park(self, *messages: Message) -> None:
        """Publish rows."""
        rows = [row for m in messages for row in rows_of(m, [self.binding])]
        await self.parking.settle([], rows)

    async def take(self, most: int = 10) -> list[tuple[Mark, Message]]:
        """Pull rows."""
        found = await self.parking.take(self.gid, dict.fromkeys(RETRIES, most), new_owner())
        return [(mark, message) for mark, message, _ in found]

    async def claim(self, key: str, nonce: int, sent: float = 0.0) -> dict[str, int]:
        """Hand out one transmission."""
        seen = Transmission(key, nonce, NORMAL, sent or self.world.clock.wall())
        return await self.parking.claim(self.gid, [seen])


@pytest.fixture
async def scene(world: World) -> Scene:
    """A group of the test's own."""
    assert isinstance(world, StoreWorld)
    made = Scene(world)
    await made.begin()
    return made


async def test_of_each_key_only_the_first_transmission_is_handed_out(scene: Scene) -> None:
    """Each time it is, that counts; once done, no more."""
    first, second = new_owner(), new_owner()
    assert await scene.claim("k", first) == {"k": 1}
    assert await scene.claim("k", second) == {}
    assert await scene.claim("k", first) == {"k": 2}
    late, mark = Mark(scene.gid, "k", first, 1), Mark(scene.gid, "k", first, 2)
    assert await scene.parking.settle([late], []) == set()
    assert await scene.parking.settle([mark], []) == {mark.name}
    assert await scene.parking.settle([mark], []) == set()
    assert await scene.claim("k", first) == {}


async def test_a_row_is_kept_once_and_taken_once(scene: Scene) -> None:
    """Its key is known for ever after, until it is forgotten."""
    message = task("a", copy=1, group="g")
    await scene.park(message, message)
    await scene.park(message)
    ((mark, found),) = await scene.take()
    assert found == message
    assert await scene.take() == []
    assert await scene.parking.settle([mark], []) == {mark.name}
    await scene.park(message)
    assert await scene.take() == []


async def test_many_that_take_at_once_share_what_there_is(scene: Scene) -> None:
    """Nobody waits for another, nobody gets what another has."""
    await scene.park(*(task(f"t{n}", copy=1, group="g") for n in range(60)))
    found = await asyncio.gather(*(scene.take(10) for _ in range(12)))
    ids = [message.id for part in found for _, message in part]
    assert len(ids) == len(set(ids))
    rest = await scene.take(100)
    assert len(ids) + len(rest) == 60


async def test_a_lease_that_ran_out_is_lost_and_one_renewed_is_not(scene: Scene) -> None:
    """By the clock of the database; what comes back was handed out once before."""
    await scene.park(task("a", copy=1, group="g"))
    ((first, _),) = await scene.take()
    for _ in range(3):
        await asyncio.sleep(0.7)
        assert await scene.parking.renew([first]) == {first.name}
    await asyncio.sleep(1.6)
    assert await scene.parking.renew([first]) == set()
    assert await scene.parking.settle([first], [task_row(scene, "b")]) == set()
    ((second, message),) = await scene.take()
    assert (second.handed, message.id) == (2, "a")


def task_row(scene: Scene, id_: str) -> tuple[int, Message]:
    """A row beside a settled one."""
    return rows_of(task(id_, copy=1, group="g"), [scene.binding])[0]


async def test_a_claim_becomes_a_row_and_ends_as_one(scene: Scene) -> None:
    """What the broker hands out of it meanwhile is dropped."""
    nonce, message = new_owner(), task("a")
    assert await scene.claim(message.key(), nonce) == {message.key(): 1}
    mark = Mark(scene.gid, message.key(), nonce, 1)
    assert await scene.parking.hold([(mark, message)]) == {mark.name}
    assert await scene.parking.hold([(mark, message)]) == set()
    assert await scene.claim(message.key(), nonce) == {}
    assert await scene.parking.renew([mark]) == {mark.name}
    assert (await scene.parking.count(scene.gid)) == {("normal", 0): (0, 0, 1)}
    assert await scene.parking.settle([mark], [task_row(scene, "b")]) == {mark.name}
    assert [m.id for _, m in await scene.take()] == ["b"]


async def test_what_nobody_saw_does_not_count(scene: Scene) -> None:
    """A row may be taken at once; a claim waits for the broker."""
    await scene.park(task("a", copy=1, group="g"))
    ((mark, _),) = await scene.take()
    nonce = new_owner()
    await scene.claim("k", nonce)
    await scene.parking.back([mark, Mark(scene.gid, "k", nonce, 1)])
    ((again, _),) = await scene.take()
    assert again.handed == 1
    assert await scene.claim("k", nonce) == {"k": 1}


async def test_what_was_taken_without_an_answer_may_be_taken_at_once(scene: Scene) -> None:
    """And it does not count; what another has taken stays his."""
    await scene.park(*(task(f"t{n}", copy=1, group="g") for n in range(4)))
    one, two = new_owner(), new_owner()
    assert len(await scene.parking.take(scene.gid, {("retry", 0): 2}, one)) == 2
    kept = await scene.parking.take(scene.gid, {("retry", 0): 2}, two)
    await scene.parking.untake(scene.gid, one)
    again = await scene.take()
    assert [mark.handed for mark, _ in again] == [1, 1]
    assert not {m.id for _, m in again} & {m.id for _, m, _ in kept}
    marks = [mark for mark, _, _ in kept]
    assert await scene.parking.renew(marks) == {mark.name for mark in marks}


async def test_what_is_delayed_waits_for_its_time(scene: Scene) -> None:
    """`look` says for how long."""
    due = scene.world.clock.wall() + 0.6
    await scene.park(task("a", group="g", due=due))
    assert await scene.take() == []
    ready, seconds = await scene.parking.look(scene.gid, RETRIES, 10)
    assert ready == {}
    assert seconds is not None
    assert 0.0 < seconds <= 0.7

    async def there() -> bool:
        return bool((await scene.parking.look(scene.gid, RETRIES, 10))[0])

    await eventually(scene.world, 1.5, there)
    assert scene.world.clock.wall() >= due - 0.01
    ((_, message),) = await scene.take()
    assert (message.id, message.due, message.lane) == ("a", due, RETRY)


async def test_nothing_is_kept_for_a_group_that_was_unbound(scene: Scene) -> None:
    """And nothing is settled beside it; bound again, the group begins anew."""
    await scene.park(task("a", copy=1, group="g"))
    async with scene.bindings.changing("g") as link:
        await scene.bindings.unbind(link, "g")
    with pytest.raises(Unroutable):
        await scene.park(task("b", copy=1, group="g"))
    with pytest.raises(Unroutable):
        await scene.bindings.of("g")
    gid = scene.gid
    await scene.begin()
    assert scene.gid != gid
    assert await scene.take() == []


async def test_a_claim_is_forgotten_when_no_repetition_can_come(scene: Scene) -> None:
    """Not before a window has passed since it was done, and not while what was published within a
    window of it may still wait at the broker."""
    nonce = new_owner()
    now = scene.world.clock.wall()
    await scene.claim("k", nonce, sent=now - 1000.0)
    mark = Mark(scene.gid, "k", nonce, 1)
    await scene.parking.settle([mark], [])
    assert await scene.parking.newest(scene.gid) == {("normal", 0): pytest.approx(now - 1000.0)}
    await scene.parking.forget(scene.gid, now)
    assert await scene.claim("k", new_owner()) == {}, "forgotten at once"
    age = "UPDATE tasks SET done = now() - interval '3 minutes' WHERE gid = $1"
    await scene.database.fetch(age, scene.gid)
    await scene.parking.forget(scene.gid, now - 900.0)
    assert await scene.claim("k", new_owner()) == {}, "a repetition may wait"
    await scene.parking.forget(scene.gid, now)
    assert await scene.claim("k", new_owner()) == {"k": 1}


async def test_a_claim_that_nobody_can_hold_any_more_is_nothing(scene: Scene) -> None:
    """Its end was forgotten by a database that was killed: the group can be unbound, and the claim
    goes when nothing waits at the broker. One that went back to the broker stays until then."""
    now, message = scene.world.clock.wall(), task("a")
    await scene.claim(message.key(), 7, sent=now - 1000.0)
    await scene.claim("back", 8, sent=now - 1000.0)
    assert await held(scene) == 2
    await scene.parking.lost([Mark(scene.gid, "back", 8, 1)])
    assert await held(scene) == 1
    age = "UPDATE tasks SET since = since - interval '3 minutes' WHERE gid = $1"
    await scene.database.fetch(age, scene.gid)
    assert await held(scene) == 0
    await scene.parking.forget(scene.gid, now, idle=["high"])
    assert await scene.claim("back", 9) == {}, "it may come from the broker again"
    await scene.parking.forget(scene.gid, now, idle=["normal"])
    assert await scene.claim("back", 9) == {"back": 1}


async def held(scene: Scene) -> int:
    """Claims that somebody can hold."""
    counts = (await scene.parking.count(scene.gid, claims=4.0)).values()
    return sum(leased for _, _, leased in counts)


async def test_what_is_left_of_a_group_goes_and_nothing_else(scene: Scene) -> None:
    """Also what was claimed in the moment in which it was unbound."""
    await scene.park(task("a", copy=1, group="g"))
    left = scene.gid
    async with scene.bindings.changing("g") as link:
        await scene.bindings.unbind(link, "g")
    await scene.claim("late", 7)
    await scene.begin()
    await scene.park(task("b", copy=1, group="g"))
    await scene.parking.sweep()
    count = "SELECT count(*) FROM tasks WHERE gid = $1"
    assert await scene.database.fetchval(count, left) == 0
    assert await scene.database.fetchval(count, scene.gid) == 1


async def test_publishers_find_groups_and_names_near_them(scene: Scene) -> None:
    """A topic nobody wants, unless it is owed to nobody."""
    wanted, lost = task("a"), replace(task("b"), topic="wrok.a")
    known = await scene.bindings.targets([wanted], strict=True, fresh=False)
    assert [[each.group for each in to] for to in known] == [["g"]]
    with pytest.raises(Unroutable):
        await scene.bindings.targets([wanted, lost], strict=True, fresh=False)
    assert await scene.bindings.targets([lost], strict=False, fresh=True) == [[]]
    with pytest.raises(Unroutable, match="gg"):
        await scene.bindings.targets([task("c", group="gg")], strict=False, fresh=False)
