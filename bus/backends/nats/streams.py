"""The two streams of a fleet and the consumers on them."""

from collections.abc import Sequence
from typing import Any

from bus.backend import LaneName
from bus.backends.nats.errors import EXISTS, NOT_FOUND, code_of
from bus.backends.nats.link import NatsLink
from bus.errors import BusError

PRIORITIES = (LaneName.HIGH, LaneName.NORMAL, LaneName.LOW)
"""The lanes of the tasks stream, each a consumer per group and generation."""

WINDOW = 120
"""Seconds within which the same dedupe key is the same message (promise 4)."""


async def ensure_streams(link: NatsLink) -> None:
    """Create both streams, or leave them as they are."""
    names = link.names
    shared = {
        "storage": "file",
        "num_replicas": 1,
        "allow_atomic": True,
        "duplicate_window": WINDOW * 1_000_000_000,
    }
    tasks = {
        **shared,
        "name": names.tasks,
        "subjects": [f"{names.root}.t.>", f"{names.root}.g.>"],
        "retention": "interest",
        "discard": "new",
    }
    # Schedules and `discard: new` exclude each other (10052); without a size limit it has no say.
    later = {
        **shared,
        "name": names.later,
        "subjects": [f"{names.root}.r.>", f"{names.root}.s.>"],
        "retention": "workqueue",
        "allow_msg_schedules": True,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }
    for config in (tasks, later):
        await _ensure(link, config)


async def _ensure(link: NatsLink, config: dict[str, Any]) -> None:
    doing = f"making the stream {config['name']}"
    await link.api(f"STREAM.CREATE.{config['name']}", config, doing=doing)


class Consumers:
    """Makes, looks at and deletes durable pull consumers."""

    def __init__(self, link: NatsLink) -> None:
        self._link = link

    async def make(
        self, group: str, generation: str, patterns: Sequence[str], *, new: bool
    ) -> dict[str, int]:
        """The consumers of a generation; per lane the first sequence they deliver. Making them
        again is no change, except for the lease."""
        names = self._link.names
        await self.make_retry(group)
        starts: dict[str, int] = {}
        for lane in PRIORITIES:
            name = names.consumer(group, lane, generation)
            filters = names.filters(group, lane, patterns)
            info = await self._create(names.tasks, name, filters, "new", only=new)
            starts[lane] = info["delivered"]["stream_seq"] + 1
        return starts

    async def make_retry(self, group: str) -> None:
        """The consumer of the retry lane."""
        names = self._link.names
        await self._create(
            names.later, names.retry_consumer(group), [names.retries(group)], "all", only=False
        )

    async def _create(
        self, stream: str, name: str, filters: Sequence[str], policy: str, *, only: bool
    ) -> dict[str, Any]:
        config = {
            "name": name,
            "durable_name": name,
            "ack_policy": "explicit",
            "ack_wait": int(self._link.lease * 1e9),
            "max_ack_pending": -1,
            "max_deliver": -1,
            "deliver_policy": policy,
            "filter_subjects": list(filters),
        }
        body: dict[str, Any] = {"stream_name": stream, "config": config}
        if only:
            body["action"] = "create"
        return await self._link.api(
            f"CONSUMER.CREATE.{stream}.{name}", body, doing=f"making the consumer {name}"
        )

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

    async def delete_generation(self, group: str, generation: str) -> None:
        """Delete the consumers of one generation."""
        names = self._link.names
        for lane in PRIORITIES:
            await self.delete(names.tasks, names.consumer(group, lane, generation))

    async def purge_later(self, group: str) -> None:
        """Drop all that waits or is delayed for a group in the later stream."""
        names = self._link.names
        for filter_ in (names.retries(group), names.schedules(group)):
            await self._link.api(
                f"STREAM.PURGE.{names.later}", {"filter": filter_}, doing=f"purging {group}"
            )


__all__ = ["EXISTS", "PRIORITIES", "WINDOW", "Consumers", "ensure_streams"]
