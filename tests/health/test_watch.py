"""When a process is alive and ready, and when it gives up; by the clock's hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import pytest

from bus.contact import Contact
from bus.errors import Unreachable
from contracts.clock import ManualClock
from workers.health.endpoint import Page
from workers.health.watch import DEAD, NOT_READY, Watch


class Working:
    """What the watch is over, as a test wants it to be."""

    def __init__(self) -> None:
        self.stopping = False
        self.keeps = True
        self.waiting: list[str] = []
        self.bad: dict[str, str] = {}
        self.there = True

    def unbound(self) -> list[str]:
        return self.waiting

    def troubles(self) -> Mapping[str, str]:
        return self.bad

    async def ask(self) -> None:
        if not self.there:
            raise Unreachable("away")


class Scene:
    """A watch at its work."""

    def __init__(self, give_up: float = 60.0) -> None:
        self.clock = ManualClock()
        self.works = Working()
        self.given_up = 0
        self.watch = Watch(self.clock, give_up=give_up, gave_up=self._gave_up)

    def start(self) -> None:
        self.watch.over(self.works, Contact(self.works.ask, self.clock))
        self.task = asyncio.create_task(self.watch.run())

    async def _gave_up(self) -> None:
        self.given_up += 1

    def ready(self) -> list[str]:
        return why(self.watch.readyz(), "ready")

    def alive(self) -> list[str]:
        return why(self.watch.livez(), "alive")


def why(page: Page, what: str) -> list[str]:
    """The reasons on a page, whose status and words must agree."""
    body = json.loads(page.body)
    reasons: list[str] = body["why"]
    assert body == {what: not reasons, "why": reasons}
    assert page.status == (503 if reasons else 200)
    return reasons


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    made.start()
    await made.clock.advance(10.0)
    yield made
    made.watch.end()
    await made.clock.advance(0.0)
    await asyncio.wait([made.task], timeout=5.0)


def test_a_process_that_starts_is_alive_and_not_ready() -> None:
    scene = Scene()
    scene.clock._now += 2 * DEAD
    assert (scene.alive(), scene.ready()) == ([], ["the process is starting"])


async def test_one_that_works_is_alive_and_ready(scene: Scene) -> None:
    await scene.clock.advance(3600.0)
    assert (scene.alive(), scene.ready()) == ([], [])
    assert scene.given_up == 0


async def test_an_unbound_role_a_drain_and_an_ended_keeper_are_not_ready(scene: Scene) -> None:
    """At once; only the keeper is a matter of life. A drain is watched to its end."""
    scene.works.waiting = ["coder"]
    assert scene.ready() == ["the role coder is not bound"]
    scene.works.waiting, scene.works.stopping = [], True
    scene.watch.stop()
    await scene.clock.advance(10 * DEAD)
    assert (scene.alive(), scene.ready()) == ([], ["the process drains"])
    scene.works.stopping, scene.works.keeps = False, False
    assert scene.ready() == scene.alive() == ["the thread that keeps the leases has ended"]


@pytest.mark.promise(16)
async def test_without_the_broker_it_is_not_ready_after_five_seconds(scene: Scene) -> None:
    """Not before, and ready again with the first answer."""
    scene.works.there = False
    await scene.clock.advance(2.0)
    assert scene.ready() == []
    await scene.clock.advance(NOT_READY)
    (reason,) = scene.ready()
    assert reason.startswith("the broker has not answered for ")
    assert scene.alive() == [], "killing it would help nobody"
    scene.works.there = True
    await scene.clock.advance(1.0)
    assert scene.ready() == []


@pytest.mark.promise(16)
async def test_what_cannot_be_pulled_or_renewed_is_not_ready_after_five_seconds(
    scene: Scene,
) -> None:
    """Also while the broker answers; one trouble after another is not one that lasts."""
    for _ in range(4):
        scene.works.bad = {"pulling for coder": "no such stream"}
        await scene.clock.advance(4.0)
        scene.works.bad = {}
        await scene.clock.advance(1.0)
        assert scene.ready() == []
    scene.works.bad = {"pulling for coder": "no such stream"}
    await scene.clock.advance(NOT_READY + 1.0)
    assert scene.ready() == ["pulling for coder: no such stream"]
    scene.works.bad = {}
    await scene.clock.advance(1.0)
    assert scene.ready() == []


@pytest.mark.promise(16)
@pytest.mark.parametrize("deaf", [True, False])
async def test_it_gives_up_when_the_broker_stays_away(scene: Scene, deaf: bool) -> None:
    """After `give_up` seconds, whether it does not answer or only nothing can be pulled."""
    if deaf:
        scene.works.bad = {"pulling for coder": "deaf"}
    else:
        scene.works.there = False
    await scene.clock.advance(56.0)
    assert not scene.task.done()
    await scene.clock.advance(6.0)
    assert scene.task.done()
    with pytest.raises(Unreachable) as given_up:
        scene.task.result()
    assert scene.given_up == 1
    assert "gives up" in given_up.value.message
    assert given_up.value.actions
    assert ("deaf" if deaf else "has not answered") in given_up.value.details


async def test_a_broker_that_comes_back_in_time_is_not_given_up(scene: Scene) -> None:
    for _ in range(5):
        scene.works.there = False
        await scene.clock.advance(55.0)
        scene.works.there = True
        await scene.clock.advance(5.0)
        assert scene.ready() == []
    assert not scene.task.done()


async def test_a_loop_that_stands_still_is_not_ready_and_then_not_alive(scene: Scene) -> None:
    """And nobody gives the broker up for it."""
    scene.clock._now += NOT_READY
    assert scene.ready() == ["a handler blocks the event loop for 5 s"]
    assert scene.alive() == []
    scene.clock._now += DEAD
    assert scene.alive() == ["the event loop has stood still for 35 s"]
    scene.clock._now += 3600.0
    await scene.clock.advance(0.6)
    assert (scene.alive(), scene.ready()) == ([], [])
    assert not scene.task.done()
