"""Publishing: what is asked for in the same moment leaves together, under keys that hold."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from bus.backend import Backend, Message
from bus.batching import Batcher
from bus.errors import Full, TooLarge, Unroutable
from bus.keyvalue import keys
from bus.keyvalue.protocol import KeyValue
from bus.patience import Patience
from bus.settling import to_message
from bus.sizes import check_sizes
from contracts.envelope import Envelope

_ROOM = 500
"""Bytes that later copies of a task add to its headers: copy, attempt, replays, reserved slots."""


class Publishing:
    """Sends tasks, and remembers those whose ids shall hold."""

    def __init__(self, backend: Backend, store: KeyValue, patience: Patience) -> None:
        self._backend = backend
        self._store = store
        self._persist = patience.persist
        blames = (Unroutable, TooLarge, Full)
        self._batcher = Batcher(self._send, blames=blames, lanes=2)
        self._follow_ups = Batcher(self._send_follow_ups, blames=blames)

    async def publish(
        self,
        tasks: Sequence[Envelope],
        *,
        group: str | None,
        due: float,
        hold: float,
        follow_up: bool,
    ) -> frozenset[str]:
        """See `Bus.publish`."""
        held = await self._held(tasks) if hold else frozenset()
        new = [task for task in tasks if task.id not in held]
        messages = [to_message(task, group=group, due=due) for task in new]
        check_sizes(messages, room=_ROOM)
        batcher = self._follow_ups if follow_up else self._batcher
        if messages:
            await self._persist(lambda: batcher.ask(messages))
        if hold:
            ids = [task.id for task in new]
            await self._persist(lambda: self.hold(ids, hold))
        return held

    async def hold(self, ids: Iterable[str], seconds: float) -> None:
        """Note that these tasks are published. The window of the dedupe key covers the time in
        between: a note that comes first would lose the task of a publisher that dies."""
        ttl = max(1.0, seconds)
        notes = [self._store.put(keys.published(task), b"", ttl=ttl) for task in ids]
        await asyncio.gather(*notes)

    async def _held(self, tasks: Sequence[Envelope]) -> frozenset[str]:
        found = [self._persist(partial(self._is_held, task.id)) for task in tasks]
        held = await asyncio.gather(*found)
        return frozenset(task.id for task, known in zip(tasks, held, strict=True) if known)

    async def _is_held(self, task: str) -> bool:
        return await self._store.get(keys.published(task)) is not None

    async def close(self) -> None:
        """Finish what was asked."""
        await self._batcher.close()
        await self._follow_ups.close()

    async def _send(self, messages: Sequence[Message]) -> Sequence[None]:
        await self._backend.publish(messages)
        return [None] * len(messages)

    async def _send_follow_ups(self, messages: Sequence[Message]) -> Sequence[None]:
        await self._backend.publish(messages, follow_up=True)
        return [None] * len(messages)
