"""Binding and unbinding: consumers first, then the entry that publishers and pullers go by.

A binding that changes gets new consumers; changing the filter of one deletes what was accepted
for the old filter [tried]. Who loses the compare-and-set on the entry deletes what it made.
"""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, timedelta

from bus.backends.nats.bindings import Binding, Bindings, Generation, decode
from bus.backends.nats.errors import unreachable
from bus.backends.nats.lag import Lags
from bus.backends.nats.streams import PRIORITIES, Consumers
from bus.errors import Conflict
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, KeyValue

_TRIES = 20

_HANDOVER = 0.5
"""Seconds the consumers of a binding that changes hand out nothing. Members follow bindings on
the connection they pull with and know within milliseconds."""


class Binder:
    """Keeps the entries `binding/GROUP` and the consumers they name in step."""

    def __init__(
        self, keyvalue: KeyValue, bindings: Bindings, consumers: Consumers, lags: Lags
    ) -> None:
        self._keyvalue = keyvalue
        self._bindings = bindings
        self._consumers = consumers
        self._lags = lags
        self._lock = asyncio.Lock()

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`. Patterns are compared as sets."""
        wanted = tuple(sorted(set(patterns)))
        async with self._lock:
            for _ in range(_TRIES):
                if await self._bind_once(group, wanted):
                    return
        raise unreachable(f"binding {group!r}", "others keep changing its binding")

    async def _bind_once(self, group: str, wanted: tuple[str, ...]) -> bool:
        entry = await self._keyvalue.get(keys.binding(group))
        old = decode(entry) if entry is not None else None
        if old is not None and set(old.patterns) == set(wanted):
            last = old.generations[-1]
            await self._consumers.make(group, last)
            self._bindings.apply(old)
            return True
        await self._hold(old)
        start = await self._consumers.next_sequence()
        next_ = Generation(secrets.token_hex(4), wanted, start)
        await self._consumers.make(group, next_)
        new = Binding(group, (next_,)) if old is None else old.follow(next_)
        await self._hold(old)
        if await self._put(new, entry.revision if entry is not None else None):
            return True
        await self._consumers.delete_generation(group, next_.tag)
        return False

    async def _hold(self, old: Binding | None) -> None:
        """Pause what is in force now until every member will know what comes after it: else one
        that does not know yet would take from it what the new consumers give to another."""
        if old is None:
            return
        until = await self._consumers.now() + timedelta(seconds=_HANDOVER)
        text = until.astimezone(UTC).isoformat()
        await self._consumers.pause(old.group, old.generations[-1], text)

    async def _put(self, binding: Binding, expect: int | None) -> bool:
        try:
            revision = await self._keyvalue.put(
                keys.binding(binding.group),
                binding.encode(),
                expect=ABSENT if expect is None else expect,
            )
        except Conflict:
            return False
        self._bindings.apply(Binding(binding.group, binding.generations, revision))
        return True

    async def unbind(self, group: str, *, drop: bool) -> None:
        """See `Backend.unbind`. The entry goes first, so that publishers see it; where
        something came in meanwhile it is put back."""
        async with self._lock:
            entry = await self._keyvalue.get(keys.binding(group))
            if entry is None:
                return
            binding = decode(entry)
            if not drop:
                await self._refuse_if_busy(binding)
            if not await self._keyvalue.delete(keys.binding(group), expect=entry.revision):
                raise unreachable(f"unbinding {group!r}", "its binding changes just now")
            try:
                if not drop:
                    await self._refuse_if_busy(binding)
            except Conflict:
                await self._put(binding, None)
                raise
            self._bindings.drop(group)
            await self._forget(binding)

    async def _forget(self, binding: Binding) -> None:
        for generation in binding.generations:
            await self._consumers.delete_generation(binding.group, generation.tag)
        await self._consumers.purge(binding.group)
        names = self._lags.names
        await self._consumers.delete(names.later, names.retry_consumer(binding.group))

    async def _refuse_if_busy(self, binding: Binding) -> None:
        if await self._lags.is_empty(binding):
            return
        raise Conflict(
            f"messages are waiting for {binding.group!r}",
            details="a group is only forgotten when nothing waits, is delayed or leased",
            actions=("let its workers finish", "drop what waits, knowingly"),
        )

    async def retire(self, group: str) -> None:
        """Delete consumers of earlier generations that have nothing of their own left."""
        async with self._lock:
            entry = await self._keyvalue.get(keys.binding(group))
            if entry is None:
                return
            binding = rest = decode(entry)
            for generation, until in binding.parts()[:-1]:
                if until is not None and await self._drained(group, generation, until):
                    await self._consumers.delete_generation(group, generation.tag)
                    rest = rest.without(generation.tag)
            if rest is not binding:
                await self._put(rest, binding.revision)

    async def _drained(self, group: str, generation: Generation, until: int) -> bool:
        names = self._lags.names
        for lane in PRIORITIES:
            info = await self._consumers.info(
                names.tasks, names.consumer(group, lane, generation.tag)
            )
            if info is None:
                continue
            passed = info["delivered"]["stream_seq"] >= until - 1
            if info["num_ack_pending"] or not (passed or info["num_pending"] == 0):
                return False
        return True
