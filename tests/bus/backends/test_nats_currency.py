"""How current a NATS watch is said to be: by the clock's hand, on frozen servers and processes."""

import asyncio
import json
from collections.abc import Callable
from urllib.request import urlopen

import pytest

from bus.backends.nats.connect import connect
from bus.keyvalue.nats import NatsKeyValue
from bus.keyvalue.nats_currency import SLACK, Currency
from bus.keyvalue.protocol import Change, Current
from contracts.clock import ManualClock, SystemClock
from tests.servers import NatsServer

EVERY = 0.4


class Watch:
    """A currency by the clock's hand, and the questions it asked."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.asked: list[Current] = []
        self.currency = Currency(self.clock, EVERY, self.asked.append)

    def behind(self) -> float:
        """Seconds between now and what is known."""
        return self.clock.monotonic() - self.currency.at.monotonic


async def test_heartbeats_keep_it_current_without_a_question() -> None:
    watch = Watch()
    for _ in range(100):
        await watch.clock.advance(EVERY)
        watch.currency.heard(beat=True)
    assert watch.behind() < 0.001
    assert watch.asked == []


async def test_a_late_timer_is_made_up_for_by_few_questions() -> None:
    """The server's timer is a hundredth late each time."""
    watch = Watch()
    answered = 0
    for _ in range(500):
        await watch.clock.advance(EVERY * 1.01)
        watch.currency.heard(beat=True)
        if len(watch.asked) > answered:
            answered += 1
            watch.currency.answered(watch.asked[-1])
        assert watch.behind() <= SLACK + EVERY
    assert 1 <= answered <= 10


async def test_heartbeats_that_came_while_it_stood_still_prove_nothing() -> None:
    """Ten of them wait when the process goes on; the eleventh is not a sign of now either."""
    watch = Watch()
    start = watch.clock.monotonic()
    await watch.clock.advance(60.0)
    for number in range(1, 11):
        at = watch.currency.heard(beat=True)
        assert at is not None
        assert at.monotonic <= start + number * EVERY + 0.001
    assert len(watch.asked) == 1
    watch.currency.answered(watch.asked[0])
    assert watch.behind() < 0.001


async def test_an_answer_that_does_not_come_is_asked_for_again() -> None:
    watch = Watch()
    await watch.clock.advance(10.0)
    watch.currency.heard(beat=False)
    watch.currency.heard(beat=False)
    assert len(watch.asked) == 1
    watch.currency.answered(None)
    watch.currency.heard(beat=False)
    assert len(watch.asked) == 2


@pytest.mark.nats
async def test_a_server_that_hangs_makes_it_old_and_an_idle_one_is_asked_next_to_nothing(
    own_nats: Callable[[], NatsServer],
) -> None:
    server = own_nats()
    clock = SystemClock()
    link = await connect(server.url, fleet="currency", lease=5.0, clock=clock, name="test")
    store = NatsKeyValue(link)
    told: list[Change | Current] = []
    news = asyncio.Event()

    async def follow() -> None:
        async for change in store.follow("a/", every=EVERY):
            told.append(change)
            news.set()

    async def current_at(moment: float) -> None:
        async with asyncio.timeout(10):
            while not (isinstance(told[-1], Current) and told[-1].monotonic >= moment):
                news.clear()
                await news.wait()

    following = asyncio.create_task(follow())
    await news.wait()
    await current_at(clock.monotonic())
    before = await asyncio.to_thread(_heard, server)
    await current_at(clock.monotonic() + 3.0)
    asked = await asyncio.to_thread(_heard, server) - before
    await asyncio.to_thread(server.freeze)
    frozen = clock.monotonic()
    await asyncio.sleep(1.5)
    latest = max(c.monotonic for c in told if isinstance(c, Current))
    await asyncio.to_thread(server.thaw)
    await current_at(clock.monotonic())
    following.cancel()
    await asyncio.wait([following])
    await store.close()
    await link.close()
    print(f"messages to the server in three idle seconds: {asked}")
    assert asked <= 2
    assert latest <= frozen


def _heard(server: NatsServer) -> int:
    with urlopen(f"{server.monitor_url}/varz") as answer:  # noqa: S310 - loopback
        return int(json.load(answer)["in_msgs"])
