"""The key-value store on Redis: each call is one script, which also tells who watches.

Keys lie in a sorted set, so pages are in order; when they end, in another. Whatever any process
does next removes what has come to its end, and so does a watch of it.
"""

from collections.abc import AsyncIterator
from math import ceil
from pathlib import Path

from bus.backends.redis.link import RedisLink
from bus.backends.redis.scripts import script
from bus.errors import Closed, Conflict
from bus.keyvalue.protocol import ABSENT, Absent, Change, Current, Entry, Revision, Wish
from bus.keyvalue.redis_listing import page
from bus.keyvalue.redis_watch import follow, watch
from bus.sizes import check_value

_FOLDER = Path(__file__).parent / "redis_scripts"
_GET = script("get", "no-writes", _FOLDER)
_PUT = script("put", folder=_FOLDER)
_DELETE = script("delete", folder=_FOLDER)


class RedisKeyValue:
    """See `bus.keyvalue.protocol.KeyValue`. The link stays open when the store is closed."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._closed = False

    async def get(self, key: str) -> Entry | None:
        """See `KeyValue.get`."""
        self._check()
        found = await self._link.run(_GET, key, doing=f"reading {key!r}")
        return None if found is None else Entry(key, found[1], int(found[0]))

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        ttl: float | None = None,
        expect: Revision | Absent | None = None,
    ) -> Revision:
        """See `KeyValue.put`."""
        check_value(key, value)
        self._check()
        life = "" if ttl is None else 1000 * max(1, ceil(ttl))
        expected = "" if expect is None else "absent" if expect is ABSENT else str(expect)
        doing = f"writing {key!r}"
        answer = await self._link.run(_PUT, key, value, life, expected, doing=doing)
        if isinstance(answer, int):
            return answer
        found = answer[1].decode()
        raise Conflict(
            f"the entry {key!r} is not what was expected",
            details=f"expected {'no entry' if expect is ABSENT else f'revision {expect}'}, "
            f"found {f'revision {found}' if found else 'none'}",
        )

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """See `KeyValue.delete`."""
        self._check()
        expected = "" if expect is None else str(expect)
        return bool(await self._link.run(_DELETE, key, expected, doing=f"deleting {key!r}"))

    async def list(self, prefix: str, *, after: str | None = None, limit: int = 500) -> list[Entry]:
        """See `KeyValue.list`."""
        self._check()
        return [listed.entry for listed in await page(self._link, prefix, after, limit)]

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """See `KeyValue.watch`."""
        return watch(self._link, prefix, self._check)

    def follow(
        self, prefix: str, *, every: float, wish: Wish | None = None
    ) -> AsyncIterator[Change | Current]:
        """See `KeyValue.follow`."""
        return follow(self._link, prefix, self._check, every=every, wish=wish)

    async def close(self) -> None:
        """See `KeyValue.close`."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise Closed("the key-value store is closed")
