"""A bus database that stops answering in the middle of a pull: what came from RabbitMQ until then
is handed out again, although the connection it came by lives on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
import pytest

from bus.backend import Backend, Delivery
from bus.errors import Unreachable
from contracts.clock import SystemClock
from tests.bus.backends.test_rabbitmq_outages import connected
from tests.bus.conformance.steps import ORDER, ids, task, tasks
from tests.rabbitmq_server import RabbitServer

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]

CLOCK = SystemClock()
PATIENCE = 1.5
SOON = 10.0

_WAITS = """
CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::int); RETURN NEW; END $$
"""
_STOPS = {
    "claim": "INSERT ON muster_bus.tasks FOR EACH ROW WHEN (NEW.at = 'infinity')",
    "take": "UPDATE ON muster_bus.tasks FOR EACH ROW WHEN (OLD.at < 'infinity')",
    "back": "UPDATE ON muster_bus.tasks FOR EACH ROW WHEN (NEW.handed < OLD.handed)",
}
_WAITING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"
)


@dataclass(frozen=True, slots=True)
class Stops:
    """What the database is asked in a pull, each of which can be made to wait."""

    link: "asyncpg.Connection[asyncpg.Record]"

    async def shut(self, *names: str) -> None:
        """From now on these wait."""
        for name in names:
            await self.link.execute("SELECT pg_advisory_lock($1)", self._number(name))

    async def open(self, *names: str) -> None:
        """They wait no more."""
        for name in names:
            await self.link.execute("SELECT pg_advisory_unlock($1)", self._number(name))

    async def reached(self, name: str) -> None:
        """Return when one waits."""
        while not await self.link.fetchval(_WAITING, self._number(name)):
            await CLOCK.sleep(0.01)

    def _number(self, name: str) -> int:
        return 1 + [*_STOPS].index(name)


@asynccontextmanager
async def stops(server: RabbitServer) -> AsyncIterator[Stops]:
    """Of this server's bus database, all open."""
    link = await asyncpg.connect(server.database)
    await link.execute(_WAITS)
    for number, (name, when) in enumerate(_STOPS.items(), 1):
        await link.execute(f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION waits({number})")
    try:
        yield Stops(link)
    finally:
        await link.close()


async def drained(backend: Backend, count: int) -> list[Delivery]:
    """So many deliveries; `TimeoutError` if they do not come soon."""
    found: list[Delivery] = []
    async with asyncio.timeout(SOON):
        while len(found) < count:
            with suppress(Unreachable):
                found += await backend.pull("g", ORDER, limit=count, wait=0.5)
    return found


@pytest.mark.timeout(40)
@pytest.mark.promise(1, 14)
@pytest.mark.parametrize("stopped", ["claim", "take"])
async def test_a_pull_of_which_a_half_is_not_answered_keeps_nothing(
    own_rabbitmq: Callable[..., RabbitServer], stopped: str
) -> None:
    """New messages and rows, of which the database answers for the ones alone: the pull fails, and
    all of them come to another process; all that it answered for as if nobody had been handed any.
    A statement that it ends after it was given up may count as a hand-over."""
    server = own_rabbitmq()
    rows = [task(f"r{n}", copy=1, group="g") for n in range(5)]
    async with connected(server, patience=PATIENCE) as parts, connected(server) as other:
        await parts.backend.bind("g", ["work.#"])
        async with stops(server) as gate:
            await parts.backend.publish([*tasks(5), *rows])
            await gate.shut(stopped)
            with pytest.raises(Unreachable):
                await parts.backend.pull("g", ORDER, limit=20, wait=5.0)
            await gate.open(stopped)
            found = await drained(other.backend, 10)
        assert sorted(ids(found)) == sorted(m.id for m in [*tasks(5), *rows])
        sure = [d for d in found if stopped == "claim" or not d.message.copy]
        assert [d.earlier for d in sure] == [0] * len(sure)
        assert await other.backend.settle(found) == []


async def refused(backend: Backend) -> None:
    """A question of this process to a database that does not answer has failed, and with it each
    that it had asked before."""
    with pytest.raises(Unreachable):
        await backend.pull("later", ORDER, limit=1, wait=5.0)


@pytest.mark.timeout(40)
@pytest.mark.promise(1)
@pytest.mark.parametrize("stopped", ["claim", "back"])
@pytest.mark.parametrize("again", [False, True], ids=["new", "redelivered"])
async def test_a_pull_that_nobody_waits_for_any_more_keeps_nothing(
    own_rabbitmq: Callable[..., RabbitServer], stopped: str, again: bool
) -> None:
    """Its caller was cancelled, and then the database did not answer: all comes to another."""
    server = own_rabbitmq()
    async with connected(server, patience=PATIENCE) as parts, connected(server) as other:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.bind("later", ["later.#"])
        await parts.backend.publish([*tasks(5), task("row", copy=1, group="later")])
        if again:
            async with connected(server) as first:
                assert len(await drained(first.backend, 5)) == 5
        async with stops(server) as gate:
            await gate.shut("claim", "take", "back")
            pull = asyncio.create_task(parts.backend.pull("g", ORDER, limit=20, wait=30.0))
            await gate.reached("claim")
            pull.cancel()
            await asyncio.wait([pull])
            if stopped == "back":
                await gate.open("claim")
                await gate.reached("back")
            await refused(parts.backend)
            await gate.open("take", "back")
            if stopped == "claim":
                await gate.open("claim")
            found = await drained(other.backend, 5)
        assert sorted(ids(found)) == [m.id for m in tasks(5)]
        assert await other.backend.settle(found) == []
