"""The key-value store on NATS JetStream: a bucket as in NATS ADR-8, with expiry that is seen.

Reads are direct gets: on one server they are as of the last `put` that has returned. With
replicas (R3) a direct get may be answered by one that lags: then `allow_direct` must go and
reads become `$JS.API.STREAM.MSG.GET`, which the leader answers.
"""

import json
from collections.abc import AsyncIterator, Mapping
from math import ceil
from typing import Any

from bus.backends.nats.errors import WRONG_LAST, code_of, refusal, unreachable
from bus.backends.nats.link import NatsLink
from bus.backends.nats.wire import Headers, parse_headers
from bus.errors import BusError, Closed, Conflict
from bus.keyvalue.nats_keys import is_marker, sequence_of, subject_of
from bus.keyvalue.nats_listing import Listing
from bus.keyvalue.nats_watch import follow, watch
from bus.keyvalue.protocol import ABSENT, Absent, Change, Current, Entry, Revision, Wish
from bus.sizes import check_value

_MARKER_TTL = 10
"""Seconds the mark of a deleted key stays, for watchers: deleted keys do not pile up."""

_TRIES = 20


class NatsKeyValue:
    """See `bus.keyvalue.protocol.KeyValue`. The link stays open when the store is closed."""

    def __init__(self, link: NatsLink) -> None:
        self._link = link
        self._root = f"$KV.{link.names.bucket.removeprefix('KV_')}"
        self._listing = Listing(link, self._root)
        self._made = False
        self._closed = False

    async def get(self, key: str) -> Entry | None:
        """See `KeyValue.get`."""
        await self._enter()
        found = await self._last(key)
        if found is None or is_marker(found[1]):
            return None
        return Entry(key, found[0], sequence_of(found[1]))

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
        await self._enter()
        lines = "" if ttl is None else f"Nats-TTL: {max(1, ceil(ttl))}s\r\n"
        if expect is ABSENT:
            return await self._create(key, value, lines)
        if expect is not None:
            lines += f"Nats-Expected-Last-Subject-Sequence: {expect}\r\n"
        return await self._store(key, value, lines)

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """See `KeyValue.delete`."""
        await self._enter()
        lines = f"KV-Operation: DEL\r\nNats-TTL: {_MARKER_TTL}s\r\n"
        for _ in range(_TRIES):
            found = await self._last(key)
            if found is None or is_marker(found[1]):
                return False
            revision = sequence_of(found[1])
            if expect is not None and revision != expect:
                return False
            condition = f"Nats-Expected-Last-Subject-Sequence: {revision}\r\n"
            try:
                await self._store(key, b"", lines + condition)
            except Conflict:
                continue
            return True
        raise unreachable(f"deleting {key!r}", "others keep changing it")

    async def list(self, prefix: str, *, after: str | None = None, limit: int = 500) -> list[Entry]:
        """See `KeyValue.list`."""
        await self._enter()
        return await self._listing.page(prefix, after, limit)

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """See `KeyValue.watch`."""
        return watch(self._link, self._root, prefix, self._enter)

    def follow(
        self,
        prefix: str,
        *,
        every: float,
        wish: Wish | None = None,  # noqa: ARG002 - the server tells by itself
    ) -> AsyncIterator[Change | Current]:
        """See `KeyValue.follow`."""
        return follow(self._link, self._root, prefix, self._enter, every=every)

    async def close(self) -> None:
        """See `KeyValue.close`."""
        self._closed = True

    async def _enter(self) -> None:
        if self._closed:
            raise Closed("the key-value store is closed")
        await self._link.ready("using the key-value store")
        if not self._made:
            await ensure_bucket(self._link)
            self._made = True

    async def _create(self, key: str, value: bytes, lines: str) -> Revision:
        """Put if absent. The last message of the key may be the mark of one that went."""
        last = 0
        for _ in range(_TRIES):
            condition = f"Nats-Expected-Last-Subject-Sequence: {last}\r\n"
            try:
                return await self._store(key, value, lines + condition)
            except Conflict:
                found = await self._last(key)
                if found is not None and not is_marker(found[1]):
                    raise
                last = 0 if found is None else sequence_of(found[1])
        raise unreachable(f"creating {key!r}", "others keep changing it")

    async def _store(self, key: str, value: bytes, lines: str) -> Revision:
        doing = f"writing {key!r}"
        subject = subject_of(self._root, key)
        headers = lines.encode()
        if headers:
            answer, _ = await self._link.request(subject, value, headers=headers, doing=doing)
        else:
            answer, _ = await self._link.request(subject, value, doing=doing)
        found = json.loads(answer)
        if "error" not in found:
            return int(found["seq"])
        error: BusError = refusal(found["error"], doing)
        if code_of(error) in WRONG_LAST:
            raise Conflict(
                f"the entry {key!r} is not what was expected",
                details=found["error"].get("description", ""),
                actions=("read it again and decide anew",),
            ) from error
        raise error

    async def _last(self, key: str) -> tuple[bytes, Headers] | None:
        subject = subject_of(self._root, key)
        body, block = await self._link.request(
            f"$JS.API.DIRECT.GET.{self._link.names.bucket}.{subject}", doing=f"reading {key!r}"
        )
        headers = parse_headers(block)
        return None if headers.status == 404 else (body, headers)


async def ensure_bucket(link: NatsLink) -> None:
    """Create the bucket's stream, or bring it up to date."""
    await link.ensure(bucket_config(link.names.bucket))


def bucket_config(name: str) -> Mapping[str, Any]:
    """The stream of that name, as it is made."""
    root = f"$KV.{name.removeprefix('KV_')}"
    return {
        "name": name,
        "subjects": [f"{root}.>"],
        "retention": "limits",
        "max_msgs_per_subject": 1,
        "discard": "new",
        "storage": "file",
        "num_replicas": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": _MARKER_TTL * 1_000_000_000,
        "deny_delete": True,
    }
