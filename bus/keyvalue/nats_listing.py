"""Pages of entries from a NATS bucket, in the order of their keys."""

import asyncio
import json
from collections.abc import Sequence

from bus.backends.nats.errors import unreachable
from bus.backends.nats.link import PATIENCE, NatsLink
from bus.backends.nats.wire import Headers, parse_headers, pub
from bus.errors import BusError
from bus.keyvalue.nats_keys import filter_of, is_marker, key_of, sequence_of, subject_of
from bus.keyvalue.protocol import Entry

_AT_ONCE = 1000
"""Subjects in one batched direct get; the server allows 1,024 (NATS ADR-31)."""

_DOING = "listing entries"


class TooMany(Exception):
    """The server counts more subjects than one batched direct get may have."""


class Listing:
    """Finds the keys under a prefix, then reads those of one page."""

    def __init__(self, link: NatsLink, root: str) -> None:
        self._link = link
        self._root = root
        self._known: tuple[str, tuple[int, int, int], list[str]] | None = None

    async def page(self, prefix: str, after: str | None, limit: int) -> list[Entry]:
        """Up to `limit` entries after `after`."""
        if after is None:
            try:
                found = await self._read([filter_of(self._root, prefix)])
            except TooMany:
                pass
            else:
                return found[:limit]
        keys = await self._keys(prefix)
        if after is not None:
            keys = [key for key in keys if key > after]
        entries: list[Entry] = []
        for start in range(0, len(keys), limit):
            wanted = keys[start : start + limit]
            entries += await self._entries(wanted)
            if len(entries) >= limit:
                break
        return entries[:limit]

    async def _entries(self, keys: Sequence[str]) -> list[Entry]:
        entries: list[Entry] = []
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            entries += await self._read([subject_of(self._root, key) for key in part])
        return entries

    async def _keys(self, prefix: str) -> list[str]:
        """All keys under `prefix`, sorted, some of which may be gone.

        The names are fetched again only when the stream has changed since: its last sequence
        and counts are asked for first, so what is kept is never stale.
        """
        state = await self._state()
        if self._known is not None and self._known[:2] == (prefix, state):
            return self._known[2]
        subjects = await self._subjects(filter_of(self._root, prefix))
        keys = sorted(key_of(self._root, subject) for subject in subjects)
        self._known = (prefix, state, keys)
        return keys

    async def _state(self) -> tuple[int, int, int]:
        answer = await self._link.api(f"STREAM.INFO.{self._link.names.bucket}", doing=_DOING)
        state = answer["state"]
        return state["last_seq"], state["messages"], state.get("num_deleted", 0)

    async def _subjects(self, filter_: str) -> list[str]:
        subjects: list[str] = []
        while True:
            query = {"subjects_filter": filter_, "offset": len(subjects)}
            name = f"STREAM.INFO.{self._link.names.bucket}"
            answer = await self._link.api(name, query, doing=_DOING)
            page = answer["state"].get("subjects") or {}
            subjects += page
            if not page or len(subjects) >= answer.get("total", 0):
                return subjects

    async def _read(self, subjects: Sequence[str]) -> list[Entry]:
        """The entries of `subjects` (names or filters), sorted by key."""
        found: dict[str, Entry] = {}
        query: dict[str, object] = {"multi_last": list(subjects), "batch": _AT_ONCE}
        while True:
            end = await self._batch(query, found)
            if end is None or int(end.server.get("Nats-Num-Pending", "0")) == 0:
                return [found[key] for key in sorted(found)]
            query["seq"] = int(end.server["Nats-Last-Sequence"]) + 1
            query["up_to_seq"] = int(end.server["Nats-UpTo-Sequence"])

    async def _batch(self, query: object, found: dict[str, Entry]) -> Headers | None:
        """Read one batch into `found`; the headers of its end, None when nothing matched."""
        await self._link.ready(_DOING)
        done: asyncio.Future[Headers | None] = asyncio.get_running_loop().create_future()

        def receive(body: bytes, block: bytes | None) -> bool:
            headers = parse_headers(block)
            if headers.status == 0:
                if not is_marker(headers):
                    key = key_of(self._root, headers.server["Nats-Subject"])
                    found[key] = Entry(key, body, sequence_of(headers))
                return False
            if not done.done():
                _finish(done, headers)
            return True

        def fail(error: Exception) -> None:
            if not done.done():
                done.set_exception(error)

        reply = self._link.expect(receive, fail)
        subject = f"$JS.API.DIRECT.GET.{self._link.names.bucket}"
        try:
            self._link.send(pub(subject, reply, json.dumps(query).encode()), _DOING)
            async with asyncio.timeout(4 * PATIENCE):
                return await done
        except TimeoutError as error:
            raise unreachable(_DOING, "no end of the answer") from error
        finally:
            self._link.ignore(reply)


def _finish(done: "asyncio.Future[Headers | None]", headers: Headers) -> None:
    if headers.status == 204:
        done.set_result(headers)
    elif headers.status == 404:
        done.set_result(None)
    elif headers.status == 413:
        done.set_exception(TooMany())
    else:
        error: BusError = unreachable(_DOING, f"status {headers.status} {headers.reason}")
        done.set_exception(error)
