"""Opening a database: what can be wrong with it is said in three lines, by one class each."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deploy import ports
from knowledge.database.database import Database
from knowledge.database.errors import (
    AccessDenied,
    BadAddress,
    Busy,
    Closed,
    DatabaseError,
    NoSuchDatabase,
    Unfitting,
    Unreachable,
)


async def _refusal(url: str) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        await Database.open(url)
    error = caught.value
    assert all(error.lines()), "what, why, what to do"
    return error


async def test_a_server_that_is_away_is_unreachable() -> None:
    error = await _refusal(f"postgresql://ada:hush@127.0.0.1:{ports.free()}/muster")
    assert isinstance(error, Unreachable)
    assert error.retryable
    assert "hush" not in str(error)
    assert "ada" not in str(error)


async def test_a_host_that_does_not_exist_is_unreachable() -> None:
    error = await _refusal("postgresql://ada:hush@nowhere.invalid/muster")
    assert isinstance(error, Unreachable)


async def test_a_socket_that_is_not_there_is_unreachable() -> None:
    error = await _refusal("postgresql://ada@/muster?host=/nowhere/at/all")
    assert isinstance(error, Unreachable)


@pytest.mark.parametrize(
    "url", ["", "muster", "redis://localhost", "postgresql://localhost:port/x", "mysql://a/b"]
)
async def test_an_address_of_something_else_is_refused(url: str) -> None:
    error = await _refusal(url)
    assert isinstance(error, BadAddress)
    assert not error.retryable


async def test_a_database_that_does_not_exist_is_said(history_url: str) -> None:
    url = history_url.replace("/test_", "/nobody_made_test_")
    assert url != history_url
    error = await _refusal(url)
    assert isinstance(error, NoSuchDatabase)
    assert "nobody_made_test_" in error.details


async def test_a_user_who_may_not_is_refused(history_url: str) -> None:
    server = await asyncpg.connect(history_url)
    await server.execute("CREATE ROLE stranger LOGIN")
    await server.execute(
        "REVOKE ALL ON DATABASE "
        + await server.fetchval("SELECT current_database()")
        + " FROM PUBLIC"
    )
    try:
        error = await _refusal(history_url.replace("//postgres", "//stranger", 1))
        assert isinstance(error, AccessDenied)
        assert not error.retryable
    finally:
        await server.execute("DROP ROLE stranger")
        await server.close()


@asynccontextmanager
async def _listening(answer: bytes | None) -> AsyncIterator[int]:
    """A server of something else: it says `answer`, or nothing at all."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            await reader.read(1)
            writer.write(answer)
            writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, family=socket.AF_INET)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown\r\n"])
async def test_another_kind_of_server_is_told_from_postgresql(answer: bytes) -> None:
    async with _listening(answer) as port:
        error = await _refusal(f"postgresql://ada:hush@127.0.0.1:{port}/muster")
    assert isinstance(error, BadAddress)
    assert not error.retryable
    assert "hush" not in str(error)


async def test_a_server_that_hangs_up_is_unreachable() -> None:
    async with _listening(b"") as port:
        error = await _refusal(f"postgresql://ada:hush@127.0.0.1:{port}/muster")
    assert isinstance(error, Unreachable)


async def test_a_value_no_column_takes_is_not_to_be_repeated(database: Database) -> None:
    with pytest.raises(Unfitting) as caught:
        async with database.link() as link:
            await link.execute("SELECT 'x'::int")
    assert not caught.value.retryable


async def _lock(database: Database) -> None:
    async with database.transaction() as link:
        await link.execute("SET LOCAL lock_timeout = '10ms'")
        await link.execute("SELECT pg_advisory_xact_lock(1)")


async def test_a_statement_that_waits_too_long_for_a_lock_may_be_repeated(
    database: Database,
) -> None:
    async with database.transaction() as link:
        await link.execute("SELECT pg_advisory_xact_lock(1)")
        with pytest.raises(Busy) as caught:
            await _lock(database)
    assert caught.value.retryable
    await _lock(database)


async def test_more_questions_at_once_than_connections_wait_for_each_other(
    history_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await Database.open(history_url, connections=2)

    async def ask() -> None:
        async with database.link() as link:
            await link.fetchval("SELECT pg_sleep(0.01)")

    await asyncio.gather(*(ask() for _ in range(20)))
    monkeypatch.setattr("knowledge.database.database._CONNECT", 0.05)
    async with database.link(), database.link():
        with pytest.raises(Busy) as caught:
            await ask()
    assert caught.value.retryable
    await ask()
    await database.close()


async def test_a_closed_database_says_so(history_url: str) -> None:
    database = await Database.open(history_url)
    await database.close()
    with pytest.raises(Closed):
        async with database.link():
            pass


@pytest.mark.parametrize("schema", ["", "Muster", 'a"b', "pg_mine", "x" * 64, "1a"])
async def test_a_schema_of_another_form_is_refused(history_url: str, schema: str) -> None:
    with pytest.raises(BadAddress):
        await Database.open(history_url, schema=schema)


async def test_two_schemas_of_one_database_share_nothing(history_url: str) -> None:
    one = await Database.open(history_url, schema="muster-a")
    other = await Database.open(history_url, schema="muster-b")
    async with one.link() as link:
        await link.execute("INSERT INTO watermark (upto) VALUES (5) ON CONFLICT DO NOTHING")
        await link.execute("UPDATE watermark SET upto = 5")
    async with other.link() as link:
        assert await link.fetchval("SELECT upto FROM watermark") == 0
    await one.close()
    await other.close()
