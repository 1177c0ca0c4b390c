"""Roles with resources, in a file of their own: child processes import it."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

from workers import Context, SyncContext, resource, role

SAYS = "GIVING_SAYS"
"""The variable that names the file in which openings and closings are noted."""


def say(*words: object) -> None:
    """A line for the test."""
    with Path(os.environ[SAYS]).open("a", encoding="utf-8") as file:
        file.write(" ".join(map(str, words)) + "\n")


@resource
async def pool() -> AsyncIterator[dict[str, int]]:
    """Opened in the event loop."""
    say("open pool", os.getpid())
    yield {"pid": os.getpid()}
    say("close pool", os.getpid())


@resource
def session(base: Annotated[dict[str, int], pool]) -> Iterator[dict[str, Any]]:
    """Needs the pool."""
    say("open session", os.getpid())
    yield {"base": base}
    say("close session", os.getpid())


@role("asks", listens="asks.#")
async def asks(payload: str, ctx: Context, db: Annotated[dict[str, int], pool]) -> Any:
    """Uses the pool."""
    db["used"] = db.get("used", 0) + 1
    return {**db, "here": os.getpid()}


@role("plainly", listens="plainly.#")
def plainly(payload: str, ctx: SyncContext, s: Annotated[dict[str, Any], session]) -> Any:
    """Uses both, in a thread."""
    return {**s["base"], "here": os.getpid()}


@role("apart-asks", listens="apart.#", isolation="process", attempts=1)
async def apart_asks(payload: str, ctx: Context, s: Annotated[dict[str, Any], session]) -> Any:
    """Uses both, in a process of its own."""
    return {**s["base"], "here": os.getpid()}


@resource
async def broken() -> AsyncIterator[int]:
    """Cannot be opened."""
    if SAYS:
        raise ConnectionError("nobody answers at db:5432")
    yield 1


@role("hopeless", listens="hopeless.#")
async def hopeless(
    payload: str, ctx: Context, db: Annotated[Any, pool], n: Annotated[int, broken]
) -> int:
    """Never gets what it asks for."""
    return n


@role("apart-hopeless", listens="ah.#", isolation="process", attempts=1)
async def apart_hopeless(payload: str, ctx: Context, n: Annotated[int, broken]) -> int:
    """The same, in a process of its own."""
    return n
