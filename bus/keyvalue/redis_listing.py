"""Pages of entries in Redis, in order of their keys: bytes of UTF-8 sort as code points do."""

from pathlib import Path
from typing import NamedTuple

from bus.backends.redis.link import RedisLink
from bus.backends.redis.scripts import script
from bus.keyvalue.protocol import Entry

_LIST = script("list", "no-writes", Path(__file__).parent / "redis_scripts")

_MOST_BYTES = 16 * 1024 * 1024
"""Bytes after which a page ends."""

PAGE = 500


class Listed(NamedTuple):
    """An entry, and the seconds it has left, if it has an end."""

    entry: Entry
    left: float | None


async def page(link: RedisLink, prefix: str, after: str | None, limit: int = PAGE) -> list[Listed]:
    """Up to `limit` entries under `prefix`, those greater than `after`."""
    low = f"[{prefix}" if prefix else "-"
    if after is not None and after >= prefix:
        low = f"({after}"
    high = b"(" + prefix.encode() + b"\xff" if prefix else b"+"  # no byte of UTF-8
    found = await link.run(_LIST, low, high, limit, _MOST_BYTES, doing=f"listing {prefix!r}")
    return [
        Listed(Entry(key.decode(), value, int(revision)), int(left) / 1000 if left != b"" else None)
        for key, revision, left, value in found
    ]
