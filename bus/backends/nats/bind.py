"""Binding and unbinding: consumers first, then the entry that publishers and pullers go by.

A binding that changes gets new consumers; changing the filter of one deletes what was accepted
for the old filter [tried]. Who loses the compare-and-set on the entry deletes what it made.
"""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, timedelta

from bus.backends.nats.bindings import Binding, Bindings, Division, Generation, decode
from bus.backends.nats.errors import unreachable
from bus.backends.nats.lag import Lags
from bus.backends.nats.streams import Consumers, retry_consumers, task_consumers
from bus.errors import Conflict
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, KeyValue

_TRIES = 20

_HANDOVER = 0.5
"""Seconds the consumers of a binding that changes hand out nothing. Members follow bindings on
the connection they pull with and know within milliseconds."""


class Binder:
    """Keeps the entries `binding/GROUP` and the consumers they name in step. `slices`: into how
    many parts it cuts each lane; of processes that disagree the last to bind decides, and none
    loses anything."""

    def __init__(
        self,
        keyvalue: KeyValue,
        bindings: Bindings,
        consumers: Consumers,
        lags: Lags,
        *,
        slices: int,
    ) -> None:
        self._keyvalue = keyvalue
        self._bindings = bindings
        self._consumers = consumers
        self._lags = lags
        self._slices = slices
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
        last = old.generations[-1] if old is not None else None
        cut_anew = last is not None and last.division.slices != self._slices
        if old and last and not cut_anew and set(old.patterns) == set(wanted):
            await self._consumers.make(group, last)
            self._bindings.apply(old)
            return True
        await self._hold(old, retries=cut_anew)
        names = self._lags.names
        start = await self._consumers.next_sequence(names.tasks)
        division = await self._division(last, cut_anew)
        next_ = Generation(secrets.token_hex(4), wanted, start, division)
        await self._consumers.make(group, next_)
        new = Binding(group, (next_,)) if old is None else old.follow(next_)
        await self._hold(old, retries=cut_anew)
        if await self._put(new, entry.revision if entry is not None else None):
            return True
        await self._consumers.delete_generation(group, next_)
        if division.tag and (last is None or cut_anew):
            await self._consumers.delete_division(group, division)
        return False

    async def _division(self, last: Generation | None, cut_anew: bool) -> Division:
        """How the lanes are cut from now on: as before, or as this process is told to."""
        if last is not None and not cut_anew:
            return last.division
        if last is None and self._slices == 1:
            return Division()
        start = await self._consumers.next_sequence(self._lags.names.later)
        return Division(secrets.token_hex(4), self._slices, start)

    async def _hold(self, old: Binding | None, *, retries: bool) -> None:
        """Pause what is in force now until every member will know what comes after it: else one
        that does not know yet would take from it what the new consumers give to another."""
        if old is None:
            return
        until = await self._consumers.now() + timedelta(seconds=_HANDOVER)
        text = until.astimezone(UTC).isoformat()
        await self._consumers.pause(old.group, old.generations[-1], text, retries=retries)

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
            await self._consumers.delete_generation(binding.group, generation)
        await self._consumers.purge(binding.group)
        for division, _ in binding.divisions():
            await self._consumers.delete_division(binding.group, division)

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
            busy = await self._busy(binding)
            for generation, until in binding.parts()[:-1]:
                names = task_consumers(self._lags.names, group, generation)
                if generation.division in busy or not await self._drained(
                    self._lags.names.tasks, names, until
                ):
                    continue
                await self._consumers.delete_generation(group, generation)
                rest = rest.without(generation.tag)
            for division, _ in binding.divisions():
                if division not in dict(rest.divisions()):
                    await self._consumers.delete_division(group, division)
            if rest is not binding:
                await self._put(rest, binding.revision)

    async def _busy(self, binding: Binding) -> list[Division]:
        """Earlier divisions of which something lies in the retry lane."""
        names = self._lags.names
        return [
            division
            for division, until in binding.divisions()[:-1]
            if not await self._drained(
                names.later, retry_consumers(names, binding.group, division), until
            )
        ]

    async def _drained(self, stream: str, consumers: Sequence[str], until: int | None) -> bool:
        """Whether these have nothing from before `until` any more."""
        if until is None:
            return False
        for name in consumers:
            info = await self._consumers.info(stream, name)
            if info is None:
                continue
            passed = info["delivered"]["stream_seq"] >= until - 1
            if info["num_ack_pending"] or not (passed or info["num_pending"] == 0):
                return False
        return True
