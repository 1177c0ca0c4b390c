"""How the bus database finds its rows, where there are many and nothing is known of them yet."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.database.database import BusDatabase
from bus.parking import statements
from bus.parking.bindings import Bindings
from bus.parking.parking import Parking
from tests.servers import PostgresServer

pytestmark = pytest.mark.postgres

_MANY = """
INSERT INTO tasks (gid, key, lane, slice, at, owner, handed, head, body)
SELECT $1, k::text, CASE WHEN k % 2 = 0 THEN 'retry' ELSE 'normal' END, 0,
    CASE WHEN k % 2 = 0 THEN now() + interval '1 hour' ELSE 'infinity' END, 7, 1, 'h', 'b'
FROM generate_series(1, 20000) k
"""
"""Half of them are held under a lease, half are claimed."""

_KEYS = [str(k) for k in range(1, 401)]


@pytest.fixture
async def young(postgres_server: PostgresServer) -> AsyncIterator[tuple[BusDatabase, int]]:
    """A database of which the planner has no statistics, and the number of a group in it."""
    with postgres_server.fresh_database() as url:
        database = await BusDatabase.open(url, fleet="plans")
        bindings = Bindings(database)
        async with database.link() as link:
            await link.execute("ALTER TABLE tasks SET (autovacuum_enabled = off)")
        async with bindings.changing("g") as link:
            gid = await bindings.bind(link, "g", ["work.#"], {})
        await database.fetch(_MANY, gid)
        yield database, gid
        database.close()


def scans(plan: Any) -> set[str]:
    """The indexes by which a plan reads `tasks`."""
    below = [index for part in plan.get("Plans", []) for index in scans(part)]
    return {*below, *([plan["Index Name"]] if "Index Name" in plan else [])}


@pytest.mark.parametrize("name", ["SETTLE", "DONE", "RENEW", "HOLD", "BACK", "LOST"])
async def test_rows_that_are_named_are_found_by_their_keys(
    young: tuple[BusDatabase, int], name: str
) -> None:
    """And no others are read: of a table without statistics the planner takes any index for
    as good as the key's, and reads all that is held to renew one lease."""
    database, gid = young
    count = len(_KEYS)
    marks: list[Any] = [[gid] * count, _KEYS, [7] * count, [1] * count]
    more: dict[str, list[Any]] = {
        "SETTLE": [[], [], [], [], [], [], [], [], "channel"],
        "RENEW": [10.0],
        "HOLD": [10.0, ["h"] * count, [b"b"] * count],
        "BACK": ["channel", 10.0],
        "LOST": [10.0],
    }
    sql = "EXPLAIN (FORMAT JSON) " + getattr(statements, name)
    told = await database.fetchval(sql, *marks, *more.get(name, []))
    assert scans(json.loads(told)[0]["Plan"]) - {"groups_pkey"} == {"tasks_pkey"}


async def test_many_claims_are_forgotten_in_parts(young: tuple[BusDatabase, int]) -> None:
    """None is left over, and what is not done stays."""
    database, gid = young
    done = "UPDATE tasks SET done = now() - interval '1 hour', sent = '-infinity' WHERE handed = 1"
    await database.fetch(done)
    await database.fetch("UPDATE tasks SET done = NULL WHERE key = '1'")
    await Parking(database, 1.5).forget(gid, 1e9)
    assert await database.fetchval("SELECT count(*) FROM tasks") == 1
