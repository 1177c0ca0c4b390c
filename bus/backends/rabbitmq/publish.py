"""Publishing: what may start now goes through the exchange, the rest becomes rows."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from bus.backend import Message, is_owed
from bus.backends.rabbitmq.errors import closed, unreachable
from bus.backends.rabbitmq.link import Pair, RabbitLink
from bus.backends.rabbitmq.names import Shape, key_of, queue_of
from bus.backends.rabbitmq.wire import properties
from bus.errors import Full, Unroutable
from bus.fullness import AGAIN
from bus.parking.bindings import Binding, Bindings
from bus.parking.parking import rows_of
from bus.unbound import unroutable

_SHARE = 500
"""Messages that are under way at once."""

Rows = list[tuple[int, Message]]
Puts = list[tuple[Message, Binding | None]]


def rests(message: Message) -> bool:
    """Whether it lies in the bus database: delayed, or come back."""
    return bool(message.due or message.copy)


class Publisher:
    """Publishes of one process."""

    def __init__(self, link: RabbitLink, bindings: Bindings) -> None:
        self._link = link
        self._bindings = bindings

    async def targets(self, messages: Sequence[Message], *, strict: bool) -> list[list[Binding]]:
        """For each message the groups it is for. Raises `Unroutable`, for the whole call."""
        if not messages:
            return []
        fresh = any(m.due and m.group is None for m in messages)
        return await self._bindings.targets(messages, strict=strict, fresh=fresh)

    async def send(self, puts: Puts, *, strict: bool) -> None:
        """Return when the broker has all of them on its disk."""
        for start in range(0, len(puts), _SHARE):
            pair = await self._link.pair()
            part = puts[start : start + _SHARE]
            task = self._link.spawn(self._send(pair, part, strict=strict))
            done, _ = await asyncio.wait([task], timeout=self._link.patience)
            if not done:
                if pair.blocked:
                    raise _blocked(self._link.where)
                self._link.drop(pair)
                raise unreachable(self._link.where, "no confirm")
            if task.cancelled():
                ended = unreachable(self._link.where, "the connection ended")
                raise closed() if self._link.is_closed else ended
            task.result()

    async def _send(self, pair: Pair, puts: Puts, *, strict: bool) -> None:
        if pair.blocked:
            raise _blocked(self._link.where)
        now = self._link.clock.wall()
        sending = [self._put(pair, m, to, now) for m, to in puts]
        with self._link.errors():
            results = await asyncio.gather(*sending, return_exceptions=True)
            lost: Message | None = None
            for (message, to), result in zip(puts, results, strict=True):
                if isinstance(result, PublishError):
                    if to is not None or (strict and is_owed(message)):
                        lost = lost or message
                elif isinstance(result, BaseException):
                    _check(result, self._link.where)
        if lost is not None:
            self._bindings.stale()
            raise await self._gone(lost)

    async def _gone(self, message: Message) -> Unroutable:
        known = await self._bindings.now()
        return unroutable(message, known)

    async def _put(self, pair: Pair, message: Message, to: Binding | None, now: float) -> Any:
        exchange, key = self._link.exchange, key_of(message.lane, message.topic)
        if to is not None:
            shape = Shape.read(to.facts)
            exchange, key = "", queue_of(exchange, to.group, message.lane, shape)
        return await pair.publisher.basic_publish(
            message.body,
            exchange=exchange,
            routing_key=key,
            mandatory=True,
            properties=properties(message, now),
            wait=False,
        )


def parted(messages: Sequence[Message], targets: Sequence[Sequence[Binding]]) -> tuple[Rows, Puts]:
    """What becomes rows, and what goes to the broker: with its group, if one is named."""
    rows: Rows = []
    puts: Puts = []
    for message, to in zip(messages, targets, strict=True):
        if rests(message):
            rows += rows_of(message, to)
        else:
            puts.append((message, to[0] if message.group is not None else None))
    return rows, puts


def _check(result: BaseException, where: str) -> None:
    """Raise what a publish ended with."""
    if isinstance(result, DeliveryError) and isinstance(result.frame, Basic.Nack):
        raise unreachable(where, "it refused to keep a message; see its log") from result
    if isinstance(result, asyncio.CancelledError):
        raise unreachable(where, "the connection ended") from result
    raise result


def _blocked(where: str) -> Full:
    return Full(
        "RabbitMQ takes no messages: an alarm of its memory or its disk",
        details=f"the RabbitMQ at {where} has blocked the connection; what waits still runs",
        actions=("see which: `rabbitmqctl status`", "start more workers", "or give it more room"),
        retry_after=AGAIN,
    )
