"""Who gets what: the bindings of all groups as last read, with the version they have.

Every script that routes or pulls is told that version, and refuses an older one; then the bindings
are read again. So one implementation of patterns serves all brokers, and yet nothing is ever routed
by a binding that has been replaced.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bus import unbound
from bus.backend import Lane, LaneName, Message
from bus.backends.redis.link import RedisLink
from bus.backends.redis.messages import lane_name
from bus.backends.redis.scripts import BINDINGS
from bus.errors import Unroutable
from contracts.topics import matches_any

_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Binding:
    """What a group asks for, and into how many slices its lanes are cut: `slices` for what comes
    from now on, `width` at most ever, so that many lines may still have something."""

    patterns: tuple[str, ...]
    slices: int
    width: int


class Bindings:
    """All bindings of the fleet."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._groups: Mapping[str, Binding] = {}
        self._routes: dict[tuple[str, Lane], str] = {}
        self.version = b""

    async def look(self, doing: str) -> None:
        """Read them again; both answers are of one moment."""
        version, pairs = await self._link.run(BINDINGS, doing=doing)
        self.version = version
        self._groups = {
            name.decode(): _binding(value.decode())
            for name, value in zip(pairs[::2], pairs[1::2], strict=True)
        }
        self._routes.clear()

    def get(self, group: str) -> Binding | None:
        """The binding of a group, if it has one."""
        return self._groups.get(group)

    def names(self) -> Collection[str]:
        """All groups that are bound."""
        return self._groups.keys()

    def targets(self, topic: str) -> list[str]:
        """The groups that want a topic."""
        return [g for g, binding in self._groups.items() if matches_any(binding.patterns, topic)]

    def route(self, topic: str, lane: Lane) -> str:
        """The lines of all groups that want a topic, joined by blanks."""
        known = self._routes.get((topic, lane))
        if known is None:
            known = " ".join(self.line(group, lane) for group in self.targets(topic))
            if len(self._routes) >= _KEPT:
                self._routes.clear()
            self._routes[topic, lane] = known
        return known

    def line(self, group: str, lane: Lane) -> str:
        """The line of a bound group that a lane and slice is kept in."""
        return f"{group}:{lane_name(lane.name, lane.slice % self._groups[group].slices)}"

    def lanes(self, group: str, lane: Lane) -> list[str]:
        """Every name under which a lane of this process may lie, however it was cut before."""
        width = self._groups[group].width
        numbers = range(lane.slice, max(width, lane.slice + 1), self._link.slices)
        return [lane_name(lane.name, number) for number in numbers]

    def unroutable(self, message: Message) -> Unroutable:
        """The error for a message nobody gets."""
        return unbound.unroutable(message, self._groups)

    def not_bound(self, group: str) -> Unroutable:
        """The error for a call on a group that is not there."""
        return unbound.not_bound(group, self._groups)


def home_of(message: Message) -> Lane:
    """The lane a message lies in: what comes back, or is delayed, in that for retries."""
    if message.due or message.copy:
        return Lane(LaneName.RETRY, message.lane.slice)
    return message.lane


def _binding(text: str) -> Binding:
    width, slices, *patterns = text.split(" ")
    return Binding(tuple(filter(None, patterns)), int(slices), int(width))
