"""The consumers of a group, and the lanes they are pulled in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from bus.backend import Lane, LaneName
from bus.backends.nats.bindings import Binding
from bus.backends.nats.names import Names, is_exact
from bus.backends.nats.streams import PRIORITIES, retry_consumers


@dataclass(frozen=True, slots=True)
class Source:
    """A consumer to pull from. What it hands out from `until` on, or what `patterns` do not ask
    for (None: all is asked for), is not the group's."""

    stream: str
    consumer: str
    lane: Lane
    until: int | None = None
    patterns: tuple[str, ...] | None = None


def sources(names: Names, binding: Binding, slices: int) -> dict[str, Source]:
    """The consumers of a group by name, those of earlier generations first. Whatever number of
    slices they are made for, each is in a lane of those that this process pulls by."""
    group, found = binding.group, []
    for division, end in binding.divisions():
        for number, consumer in enumerate(retry_consumers(names, group, division)):
            lane = Lane(LaneName.RETRY, number % slices)
            found.append(Source(names.later, consumer, lane, end))
    for generation, until in binding.parts():
        patterns = None if is_exact(generation.patterns) else generation.patterns
        for name in PRIORITIES:
            for number in range(generation.division.slices):
                consumer = names.consumer(group, name, generation.tag, number)
                lane = Lane(name, number % slices)
                found.append(Source(names.tasks, consumer, lane, until, patterns))
    return {source.consumer: source for source in found}


def by_lane(found: Mapping[str, Source]) -> dict[Lane, list[Source]]:
    """The same by their lanes."""
    lanes: dict[Lane, list[Source]] = {}
    for source in found.values():
        lanes.setdefault(source.lane, []).append(source)
    return lanes
