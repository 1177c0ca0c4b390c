"""How the bus database finds the rows of Kafka's tasks, where there are many and nothing is known
of them yet."""

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from bus.backends.kafka import statements
from bus.backends.kafka.arrays import keys, numbers
from bus.backends.kafka.receipts import terms
from bus.database.database import BusDatabase
from tests.servers import PostgresServer

pytestmark = pytest.mark.postgres

_MANY = """
INSERT INTO kafka_tasks (gid, at, owner, handed, key, part, off, lane, slice, size)
SELECT $1, now() + interval '1 hour' * (k % 2), CASE WHEN k % 2 = 1 THEN 7 END, 1,
    lpad(k::text, 36, '0') || '/*/0', 1, k,
    CASE WHEN k % 2 = 1 THEN 2 ELSE 9 END, 0, 500
FROM generate_series(1, $2) k ON CONFLICT DO NOTHING
"""
"""Half of them are held under a lease, half are done."""

_FEW, _ALL = 400, 20_000

_KEYS = [f"{k:036}/*/0" for k in range(1, 401)]
_OWNED = terms([(1, key, 7) for key in _KEYS])
_RECORDS = (
    *([1], [0], [400], [200_000], [time.time()]),
    *(keys(_KEYS), *map(numbers, ([1] * 400, range(400), [2] * 400, [0] * 400, [500] * 400))),
)
_ASKED: Mapping[str, tuple[Any, ...]] = {
    "SETTLE": _OWNED,
    "EXTEND": (*_OWNED, 10.0),
    "GIVE_BACK": _OWNED,
    "CLAIM": (1, 10.0, 7, *_RECORDS),
    "COMPETE": (1, 10.0, 7, *_RECORDS, "channel"),
    "CLAIM_BOTH": (1, 10.0, 7, *_RECORDS, [2], [0], [400]),
    "TAKE": (1, 10.0, 7, [2], [0], [400]),
    "STATE": (1, 1, [0, 1, 2, 3], [0] * 4, 400, 10.0),
}


@pytest.fixture
async def young(postgres_server: PostgresServer) -> AsyncIterator[BusDatabase]:
    """A database of which the planner has no statistics."""
    with postgres_server.fresh_database() as url:
        database = await BusDatabase.open(url, fleet="plans")
        async with database.link() as link:
            await link.execute("ALTER TABLE kafka_tasks SET (autovacuum_enabled = off)")
        yield database
        database.close()


def parts(plan: Any) -> Iterator[Mapping[str, Any]]:
    """The parts of a plan that read tasks."""
    if plan.get("Relation Name") == "kafka_tasks" or "kafka_tasks" in plan.get("Index Name", ""):
        yield plan
    for each in plan.get("Plans", ()):
        yield from parts(each)


@pytest.mark.parametrize("name", _ASKED)
async def test_rows_are_found_by_what_names_them(young: BusDatabase, name: str) -> None:
    """Neither the whole table is read nor all that is held: what a statement reads is what it
    names."""
    sql = getattr(statements, name)
    await young.fetch(_MANY, 1, _ALL)
    text = await young.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *_ASKED[name])
    check(text)


@pytest.mark.parametrize("name", _ASKED)
async def test_a_plan_that_was_made_when_there_were_few_holds_for_many(
    young: BusDatabase, name: str
) -> None:
    """A connection plans each statement once, and may be the first to do so in its database."""
    given = ", ".join(map(literal, _ASKED[name]))
    async with young.link(sure=False) as link:
        for few in (0, _FEW):
            await link.fetch(_MANY, 1, few)
            await link.execute(f"PREPARE asked_{few} AS {getattr(statements, name)}")
            await link.execute(f"EXPLAIN EXECUTE asked_{few} ({given})")
        await link.fetch(_MANY, 1, _ALL)
        for few in (0, _FEW):
            explained = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked_{few} ({given})"
            check(await link.fetchval(explained))


def check(text: str) -> None:
    """What is read is what is named, or little more."""
    found = [*parts(json.loads(text)[0]["Plan"])]
    assert found
    assert not [each for each in found if each["Node Type"] == "Seq Scan"]
    for each in found:
        read = each["Actual Rows"] + each.get("Rows Removed by Filter", 0)
        assert read * each["Actual Loops"] <= 800, each


def literal(value: object) -> str:
    """An argument as SQL has it."""
    if isinstance(value, list):
        return "'{" + ",".join(map(str, value)) + "}'"
    return f"'{value}'" if isinstance(value, str) else str(value)
