"""How much lies in each lane, asked of the server."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bus.backend import Lag, Lane, LaneName
from bus.backends.nats.bindings import Binding, Generation
from bus.backends.nats.link import NatsLink
from bus.backends.nats.names import Cut, Names, is_exact
from bus.backends.nats.streams import Consumers, retry_consumers, task_consumers
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
        """What lies in each lane of a group, by slices as they are cut now. What lies in earlier
        generations counts to those."""
        count = binding.generations[-1].division.slices
        lanes = [Lane(name, number) for name in LaneName for number in range(count)]
        found = await asyncio.gather(
            *(
                self._retry(binding, Cut(lane.slice, count))
                if lane.name is LaneName.RETRY
                else self._lane(binding, lane, count)
                for lane in lanes
            )
        )
        return dict(zip(lanes, found, strict=True))

    async def is_empty(self, binding: Binding) -> bool:
        """Whether nothing waits, is delayed or leased."""
        names, group = self.names, binding.group
        tasks = [n for g in binding.generations for n in task_consumers(names, group, g)]
        later = [n for d, _ in binding.divisions() for n in retry_consumers(names, group, d)]
        infos = await asyncio.gather(
            *(self._consumers.info(names.tasks, name) for name in tasks),
            *(self._consumers.info(names.later, name) for name in later),
        )
        if any(info and (info["num_pending"] or info["num_ack_pending"]) for info in infos):
            return False
        return await self._delayed(names.schedules(group)) == 0

    async def _lane(self, binding: Binding, lane: Lane, count: int) -> Lag:
        asked = [
            self._generation(binding.group, lane.name, number, generation, until)
            for generation, until in binding.parts()
            for number in range(generation.division.slices)
            if number % count == lane.slice
        ]
        waiting, leased = _sums(await asyncio.gather(*asked))
        return Lag(waiting, 0, leased)

    async def _generation(
        self, group: str, lane: LaneName, number: int, generation: Generation, until: int | None
    ) -> "_Count":
        """Waiting and leased in one consumer. Where its filter takes more than was asked for,
        what waits there is not all the group's: unknown unless zero."""
        name = self.names.consumer(group, lane, generation.tag, number)
        whole = until is None and is_exact(generation.patterns)
        return await self._count(self.names.tasks, name, whole)

    async def _count(self, stream: str, name: str, whole: bool) -> "_Count":
        info = await self._consumers.info(stream, name)
        if info is None:
            return 0, 0
        pending: int | None = info["num_pending"]
        return (pending if whole or not pending else None), info["num_ack_pending"]

    async def _retry(self, binding: Binding, cut: Cut) -> Lag:
        names, group = self.names, binding.group
        asked = [
            self._count(names.later, names.retry_consumer(group, division.tag, n), until is None)
            for division, until in binding.divisions()
            for n in range(division.slices)
            if n % cut.count == cut.number
        ]
        whole = cut.count == 1
        words = [""] if whole else cut.words
        delayed = asyncio.gather(*(self._delayed(names.schedules(group, word)) for word in words))
        (waiting, leased), later = _sums(await asyncio.gather(*asked)), await delayed
        return Lag(waiting, sum(later), leased)

    async def _delayed(self, filter_: str) -> int:
        """Schedules on these subjects: the first one and how many follow (NATS ADR-31), so that
        a million of them cost one small answer."""
        names = self.names
        question = {"seq": 1, "batch": 1, "next_by_subj": filter_}
        await self._link.ready(_DOING)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def receive(_body: bytes, block: bytes | None) -> bool:
            headers = parse_headers(block)
            if not done.done():
                done.set_result(_delayed_in(headers.status, headers.server))
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


_Count = tuple[int | None, int]


def _sums(found: Sequence[_Count]) -> _Count:
    """Waiting, None where one is not known, and leased."""
    known = [waiting for waiting, _ in found if waiting is not None]
    return sum(known) if len(known) == len(found) else None, sum(leased for _, leased in found)


def _delayed_in(status: int, headers: Mapping[str, Any]) -> int:
    return 0 if status == 404 else 1 + int(headers["Nats-Num-Pending"])
