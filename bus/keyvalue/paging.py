"""Listing everything under a prefix, page by page."""

from collections.abc import AsyncIterator

from bus.keyvalue.protocol import Entry, KeyValue

PAGE = 500
"""Entries asked for at once; fewer where values may be large."""


async def entries(store: KeyValue, prefix: str, *, page: int = PAGE) -> AsyncIterator[Entry]:
    """Every entry under `prefix`, in order of the keys. Raises what `KeyValue.list` raises."""
    after: str | None = None
    while found := await store.list(prefix, after=after, limit=page):
        for entry in found:
            yield entry
        after = found[-1].key
