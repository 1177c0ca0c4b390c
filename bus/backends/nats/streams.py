"""The two streams of a fleet and the consumers on them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bus.backend import LaneName
from bus.backends.nats.bindings import Division, Generation
from bus.backends.nats.errors import NOT_FOUND, code_of
from bus.backends.nats.gauge import LIMIT
from bus.backends.nats.link import NatsLink
from bus.backends.nats.names import Names, cuts
from bus.errors import BusError
from bus.fullness import MAX_BYTES

PRIORITIES = (LaneName.HIGH, LaneName.NORMAL, LaneName.LOW)
"""The lanes of the tasks stream, each a consumer per group and generation."""

WINDOW = 120
"""Seconds within which the same dedupe key is the same message (promise 4)."""


async def ensure_streams(link: NatsLink) -> None:
    """Create both streams, or bring them up to date.

    Interest or work-queue retention would remove a message at its acknowledgement, each with a
    sync of its own: 3 k/s. Here nothing is removed but by `sweep`, many at once.
    """
    limit = link.max_bytes or await _limit(link) or MAX_BYTES
    for config in stream_configs(link.names, limit):
        await link.ensure(config)


def stream_configs(names: Names, limit: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The streams of what is new and of what comes back, as they are made; `limit` in bytes."""
    shared = {
        "storage": "file",
        "num_replicas": 1,
        "retention": "limits",
        "allow_direct": True,
        "allow_atomic": True,
        "duplicate_window": WINDOW * 1_000_000_000,
    }
    tasks = {
        **shared,
        "name": names.tasks,
        "subjects": [f"{names.root}.t.>", f"{names.root}.g.>"],
        "discard": "new",
        "metadata": {LIMIT: str(limit)},
    }
    # Neither has a size limit of its own: see `gauge`.
    later = {
        **shared,
        "name": names.later,
        "subjects": [f"{names.root}.r.>", f"{names.root}.s.>"],
        "allow_msg_schedules": True,
        "allow_rollup_hdrs": True,
    }
    return tasks, later


def task_consumers(names: Names, group: str, generation: Generation) -> list[str]:
    """The names of a generation's consumers on the tasks stream."""
    count = generation.division.slices
    return [
        names.consumer(group, lane, generation.tag, number)
        for lane in PRIORITIES
        for number in range(count)
    ]


def retry_consumers(names: Names, group: str, division: Division) -> list[str]:
    """The names of a division's consumers on the later stream."""
    return [names.retry_consumer(group, division.tag, n) for n in range(division.slices)]


async def _limit(link: NatsLink) -> int | None:
    """What the fleet may fill, as somebody has set it before."""
    name = f"STREAM.INFO.{link.names.tasks}"
    try:
        info = await link.api(name, doing="asking for the limit of the fleet")
    except BusError as error:
        if code_of(error) in NOT_FOUND:
            return None
        raise
    return int((info["config"].get("metadata") or {}).get(LIMIT, 0)) or None


class Consumers:
    """Makes, looks at and deletes durable pull consumers."""

    def __init__(self, link: NatsLink) -> None:
        self._link = link

    async def next_sequence(self, stream: str) -> int:
        """The sequence a message published now would get at the earliest."""
        name = f"STREAM.INFO.{stream}"
        info = await self._link.api(name, doing="asking for the end of the stream")
        return int(info["state"]["last_seq"]) + 1

    async def make(self, group: str, generation: Generation) -> None:
        """The consumers of a generation and of the retry lane. Where they start is part of
        their configuration, so a broker that is killed at once still knows it. Making them again
        is no change, except for the lease."""
        names, division = self._link.names, generation.division
        later = _from(division.start) if division.tag else {}
        for cut in cuts(division.slices):
            name = names.retry_consumer(group, division.tag, cut.number)
            await self._create(names.later, name, names.retry_filters(group, cut), later)
            for lane in PRIORITIES:
                name = names.consumer(group, lane, generation.tag, cut.number)
                filters = names.filters(group, lane, generation.patterns, cut)
                await self._create(names.tasks, name, filters, _from(generation.start))

    async def _create(
        self, stream: str, name: str, filters: Sequence[str], start: Mapping[str, Any]
    ) -> None:
        config = {
            "name": name,
            "durable_name": name,
            "ack_policy": "explicit",
            "ack_wait": int(self._link.lease * 1e9),
            "max_ack_pending": -1,
            "max_deliver": -1,
            "filter_subjects": list(filters),
            **start,
        }
        body = {"stream_name": stream, "config": config}
        await self._link.api(
            f"CONSUMER.CREATE.{stream}.{name}", body, doing=f"making the consumer {name}"
        )

    async def pause(self, group: str, generation: Generation, until: str, *, retries: bool) -> None:
        """Hand out nothing from a generation until then (RFC 3339, the server's clock), nor from
        its retry lane where `retries` says so."""
        names = self._link.names
        found = [f"{names.tasks}.{n}" for n in task_consumers(names, group, generation)]
        if retries:
            later = retry_consumers(names, group, generation.division)
            found += [f"{names.later}.{name}" for name in later]
        for name in found:
            await self._link.api(
                f"CONSUMER.PAUSE.{name}", {"pause_until": until}, doing=f"pausing {name}"
            )

    async def now(self) -> datetime:
        """The server's clock."""
        name = f"STREAM.INFO.{self._link.names.tasks}"
        info = await self._link.api(name, doing="asking for the time")
        return datetime.fromisoformat(info["ts"])

    async def info(self, stream: str, name: str) -> dict[str, Any] | None:
        """What the server knows of a consumer; None if there is none."""
        try:
            return await self._link.api(f"CONSUMER.INFO.{stream}.{name}", doing=f"asking {name}")
        except BusError as error:
            if code_of(error) in NOT_FOUND:
                return None
            raise

    async def delete(self, stream: str, name: str) -> None:
        """Delete; what only it wanted goes with it."""
        try:
            await self._link.api(f"CONSUMER.DELETE.{stream}.{name}", doing=f"deleting {name}")
        except BusError as error:
            if code_of(error) not in NOT_FOUND:
                raise

    async def delete_generation(self, group: str, generation: Generation) -> None:
        """Delete the consumers of one generation, but for its retry lane."""
        for name in task_consumers(self._link.names, group, generation):
            await self.delete(self._link.names.tasks, name)

    async def delete_division(self, group: str, division: Division) -> None:
        """Delete the consumers of the retry lane as it was cut."""
        for name in retry_consumers(self._link.names, group, division):
            await self.delete(self._link.names.later, name)

    async def purge(self, group: str) -> None:
        """Drop all that is for this group only."""
        names = self._link.names
        for stream, filter_ in (
            (names.tasks, names.directs(group)),
            (names.later, names.retries(group)),
            (names.later, names.schedules(group)),
        ):
            await self._link.api(
                f"STREAM.PURGE.{stream}", {"filter": filter_}, doing=f"purging {group}"
            )


def _from(sequence: int) -> dict[str, Any]:
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": sequence}
