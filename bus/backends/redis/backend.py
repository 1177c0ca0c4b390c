"""The Redis backend: its parts put together."""

from collections.abc import Mapping, Sequence
from typing import Any

from bus.backend import Delivery, Lag, Lane, LaneName, Message, Turn
from bus.backends.redis.bindings import Bindings
from bus.backends.redis.commit import Committer
from bus.backends.redis.ingress import Ingress
from bus.backends.redis.link import RedisLink
from bus.backends.redis.messages import Receipt, lane_of
from bus.backends.redis.pull import Pulls
from bus.backends.redis.room import Room
from bus.backends.redis.scripts import BIND, LAG, RENEW, UNBIND
from bus.backends.redis.wire import Argument
from bus.errors import Closed, Conflict
from contracts.errors import InvalidValue


class RedisBackend:
    """See `bus.backend.Backend`. The link stays open when the backend is closed: whoever made it
    closes it."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._bindings = Bindings(link)
        room = Room(link, self._all_lags)
        self._committer = Committer(link, self._bindings, room)
        self._ingress = Ingress(link, self._bindings, room)
        self._pulls = Pulls(link, self._bindings, lambda: self._closed)
        self._closed = False

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`."""
        self._check()
        wanted = " ".join(sorted(set(patterns)))
        await self._link.run(BIND, group, self._link.slices, wanted, doing=f"binding {group!r}")

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """See `Backend.unbind`."""
        self._check()
        waiting = await self._link.run(UNBIND, group, int(drop), doing=f"unbinding {group!r}")
        if waiting:
            raise Conflict(
                f"messages are waiting for {group!r}",
                details=f"{waiting:,} wait, are delayed or are leased",
                actions=("let its workers finish", "drop what waits, knowingly"),
            )

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """See `Backend.publish`."""
        self._check()
        await self._committer.publish(messages, follow_up=follow_up)

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        if limit < 1:
            raise InvalidValue(f"limit is {limit}", details="pull at least one message")
        self._check()
        self._ingress.touch()
        return await self._pulls.pull(group, lanes, limit, wait)

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        self._check()
        return await self._committer.settle(deliveries, then)

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`. The server knows the receipts: any connection will do."""
        self._check()
        if not deliveries:
            await self._link.ask("PING", doing="renewing leases")
            return []
        receipts: list[Argument] = []
        for delivery in deliveries:
            receipt: Receipt = delivery.receipt  # type: ignore[assignment]
            receipts += receipt[:2]
        lease = round(self._link.lease * 1000)
        flags = await self._link.run(RENEW, lease, *receipts, doing="renewing leases")
        return [delivery for delivery, mine in zip(deliveries, flags, strict=True) if not mine]

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """See `Backend.lag`. Exact."""
        self._check()
        (answer,) = await self._link.run(LAG, group, doing="counting what waits")
        if answer == -1:
            await self._bindings.look("counting what waits")
            raise self._bindings.not_bound(group)
        return self._lags(answer)

    async def close(self) -> None:
        """See `Backend.close`."""
        if not self._closed:
            self._closed = True
            await self._ingress.close()
            await self._pulls.close()

    def _check(self) -> None:
        if self._closed:
            raise Closed("the backend is closed")

    async def _all_lags(self) -> Mapping[str, Mapping[Lane, Lag]]:
        groups = list(self._bindings.names())
        answers = await self._link.run(LAG, *groups, doing="counting what waits")
        pairs = zip(groups, answers, strict=True)
        return {group: self._lags(answer) for group, answer in pairs if answer != -1}

    def _lags(self, answer: Sequence[Sequence[Any]]) -> Mapping[Lane, Lag]:
        """What lies in each lane of this process: the sum of the lines it takes from."""
        slices = self._link.slices
        found = {Lane(name, number): Lag(0, 0, 0) for name in LaneName for number in range(slices)}
        for name, waiting, delayed, leased in answer:
            lane = lane_of(name.decode(), slices)
            before = found[lane]
            found[lane] = Lag(
                (before.waiting or 0) + waiting,
                (before.delayed or 0) + delayed,
                (before.leased or 0) + leased,
            )
        return found
