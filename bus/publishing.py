"""Publishing: what is asked for in the same moment leaves together, under keys that hold."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
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
from contracts.events import Publication

_ROOM = 600
"""Bytes that later copies of a task add to its headers: copy, attempt, replays, reserved slots, the
first run of its trace."""


_Sent = tuple[Message, Publication]
"""A task on its way out, and what is told of it."""


class Publishing:
    """Sends tasks together with what tells of them, and remembers those whose ids shall hold.

    `told` makes the messages that tell of them: they leave in one call with their tasks, so that
    a task that was accepted can be known of.
    """

    def __init__(
        self,
        backend: Backend,
        store: KeyValue,
        patience: Patience,
        told: Callable[[Sequence[Publication]], Sequence[Message]],
    ) -> None:
        self._backend = backend
        self._store = store
        self._persist = patience.persist
        self._told = told
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
        role = group or ""
        told: list[Publication] = [(task, role, due) for task in new]
        sent: list[_Sent] = [*zip(messages, told, strict=True)]
        batcher = self._follow_ups if follow_up else self._batcher
        if sent:
            await self._persist(lambda: batcher.ask(sent))
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

    async def _send(self, sent: Sequence[_Sent]) -> Sequence[None]:
        await self._backend.publish(self._messages(sent))
        return [None] * len(sent)

    async def _send_follow_ups(self, sent: Sequence[_Sent]) -> Sequence[None]:
        await self._backend.publish(self._messages(sent), follow_up=True)
        return [None] * len(sent)

    def _messages(self, sent: Sequence[_Sent]) -> list[Message]:
        """The tasks, and at the end what tells of them: who hears of one can find it."""
        return [*(message for message, _ in sent), *self._told([told for _, told in sent])]
