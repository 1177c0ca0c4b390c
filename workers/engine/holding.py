"""The places of limited concurrencies that one run holds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bus.places import Places
from bus.scopes import Scope


class Holding:
    """What a run holds; it is given back while the run waits for its children, which may need it:
    else a limited fleet would wait for itself for ever. `again` takes one scope's place, however
    long that takes."""

    def __init__(self, places: Places, again: Callable[[Scope], Awaitable[None]]) -> None:
        self._places = places
        self._again = again
        self._scopes: list[Scope] = []
        self._held = 0
        self._calls = 0
        self._coming = asyncio.Lock()

    def add(self, scope: Scope) -> None:
        """A place of `scope` is in hand."""
        self._scopes.append(scope)
        self._held += 1

    def give(self) -> None:
        """Give back what is held."""
        for scope in self._scopes[: self._held]:
            self._places.give(scope.name)
        self._held = 0

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Hold nothing for the length of the block; the last block to end takes everything again.
        A block that raises does not: the run is likely to end."""
        self._calls += 1
        self.give()
        try:
            yield
        finally:
            self._calls -= 1
        async with self._coming:
            for scope in self._scopes[self._held :]:
                if not self._calls:
                    await self._again(scope)
                    self._held += 1
            if self._calls:
                self.give()
