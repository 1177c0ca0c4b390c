"""How much lies in each lane, asked of the server."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from bus.backend import HIGH, LOW, NORMAL, RETRY, Lag, Lane
from bus.backends.nats.bindings import Binding, Generation
from bus.backends.nats.link import NatsLink
from bus.backends.nats.names import Names, is_exact
from bus.backends.nats.streams import Consumers
from bus.backends.nats.wire import parse_headers, pub

_DOING = "asking for the lag"


class Lags:
    """Counts by consumer information; one question per consumer, one for the delayed."""

    def __init__(self, link: NatsLink, consumers: Consumers) -> None:
        self._link = link
        self._consumers = consumers

    @property
    def names(self) -> Names:
        """The names of the fleet."""
        return self._link.names

    async def lag(self, binding: Binding) -> Mapping[Lane, Lag]:
        """What lies in each lane of a group."""
        lanes = [self._lane(binding, lane) for lane in (HIGH, NORMAL, LOW)]
        high, normal, low, retry = await asyncio.gather(*lanes, self._retry(binding.group))
        return {HIGH: high, RETRY: retry, NORMAL: normal, LOW: low}

    async def is_empty(self, binding: Binding) -> bool:
        """Whether nothing waits, is delayed or leased."""
        names = self.names
        asked = [
            self._consumers.info(names.tasks, names.consumer(binding.group, lane.name, g.tag))
            for g in binding.generations
            for lane in (HIGH, NORMAL, LOW)
        ]
        later = self._consumers.info(names.later, names.retry_consumer(binding.group))
        infos = await asyncio.gather(*asked, later)
        if any(info and (info["num_pending"] or info["num_ack_pending"]) for info in infos):
            return False
        return await self._delayed(binding.group) == 0

    async def _lane(self, binding: Binding, lane: Lane) -> Lag:
        found = await asyncio.gather(
            *(self._generation(binding.group, lane, g, u) for g, u in binding.parts())
        )
        leased = sum(leased for _, leased in found)
        waiting = [waiting for waiting, _ in found if waiting is not None]
        return Lag(sum(waiting) if len(waiting) == len(found) else None, 0, leased)

    async def _generation(
        self, group: str, lane: Lane, generation: Generation, until: int | None
    ) -> tuple[int | None, int]:
        """Waiting and leased in one consumer. Where its filter takes more than was asked for, or
        its time is over, what waits there is not all the group's: unknown unless zero."""
        name = self.names.consumer(group, lane.name, generation.tag)
        info = await self._consumers.info(self.names.tasks, name)
        if info is None:
            return 0, 0
        pending: int | None = info["num_pending"]
        if pending and (until is not None or not is_exact(generation.patterns)):
            pending = None
        return pending, info["num_ack_pending"]

    async def _retry(self, group: str) -> Lag:
        names = self.names
        info, delayed = await asyncio.gather(
            self._consumers.info(names.later, names.retry_consumer(group)), self._delayed(group)
        )
        if info is None:
            return Lag(0, delayed, 0)
        return Lag(info["num_pending"], delayed, info["num_ack_pending"])

    async def _delayed(self, group: str) -> int:
        """Schedules of a group: the first one and how many follow (NATS ADR-31), so that a
        million of them cost one small answer."""
        names = self.names
        question = {"seq": 1, "batch": 1, "next_by_subj": names.schedules(group)}
        await self._link.ready(_DOING)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def receive(_body: bytes, block: bytes | None) -> bool:
            headers = parse_headers(block)
            if not done.done():
                done.set_result(_count(headers.status, headers.server))
            return True

        def fail(error: Exception) -> None:
            if not done.done():
                done.set_exception(error)

        reply = self._link.expect(receive, fail)
        subject = f"$JS.API.DIRECT.GET.{names.later}"
        try:
            self._link.send(pub(subject, reply, json.dumps(question).encode()), _DOING)
            async with asyncio.timeout(5.0):
                return await done
        finally:
            self._link.ignore(reply)


def _count(status: int, headers: Mapping[str, Any]) -> int:
    return 0 if status == 404 else 1 + int(headers["Nats-Num-Pending"])
