"""The type of a connection on loan, known to type checkers only."""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Link: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Apart: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Row: TypeAlias = asyncpg.Record
