"""Which groups are bound to what: read anew whenever the version of the bindings has changed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from bus.backend import Lane, Message, is_owed
from bus.backends.kafka import statements
from bus.backends.kafka.names import part_of
from bus.backends.kafka.records import comes_back, returning
from bus.database.database import BusDatabase
from bus.unbound import not_bound, unroutable
from contracts.topics import matches_any

_ROUTES_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is bound; see the table `kafka_groups`."""

    gid: int
    name: str
    topic: str
    patterns: tuple[str, ...]
    cut: int
    widest: int
    slots: int

    def __hash__(self) -> int:
        return self.gid

    def rows_of(self, lane: Lane, slices: int) -> Sequence[int]:
        """The slices of rows that lie in `lane` for one who cuts lanes into `slices`."""
        return range(lane.slice, self.widest, slices)

    def part_of(self, m: Message) -> int:
        """The partition a message goes to: one that has its key again goes to the same."""
        if self.cut == 1:
            return part_of(m.lane.name, crc32(m.id.encode("utf-8", "replace")) % self.slots)
        return part_of(m.lane.name, m.lane.slice % self.cut)


@dataclass(frozen=True, slots=True)
class Bindings:
    """The groups at one version, by name."""

    version: int = -1
    groups: Mapping[str, Group] = field(default_factory=dict)
    _routes: dict[str, tuple[Group, ...]] = field(default_factory=dict)

    def targets(self, m: Message) -> tuple[Group, ...]:
        """The groups a message is for."""
        if m.group is not None:
            group = self.groups.get(m.group)
            return () if group is None else (group,)
        found = self._routes.get(m.topic)
        if found is None:
            groups = self.groups.values()
            found = tuple(g for g in groups if matches_any(g.patterns, m.topic))
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            self._routes[m.topic] = found
        return found

    def route(self, messages: Iterable[Message], *, owed: bool) -> "Routed":
        """Who gets what. Raises `Unroutable` for what must have a group and has none; with `owed`
        False, only what names its group must."""
        routed = Routed()
        places: defaultdict[str, defaultdict[int, list[Message]]]
        places = defaultdict(lambda: defaultdict(list))
        for m in messages:
            groups = self.targets(m)
            if not groups and (m.group is not None or (owed and is_owed(m))):
                raise unroutable(m, self.groups)
            if comes_back(m):
                routed.rows += [(group, returning(m, group.name)) for group in groups]
                continue
            for group in groups:
                places[group.name][group.part_of(m)].append(m)
        for name, parts in places.items():
            group = self.groups[name]
            routed.logged.update({(group, part): found for part, found in parts.items()})
        return routed


@dataclass(slots=True)
class Routed:
    """Messages by where they go: into the log, by group and partition, and as rows."""

    logged: dict[tuple[Group, int], list[Message]] = field(default_factory=dict)
    rows: list[tuple[Group, Message]] = field(default_factory=list)


class Groups:
    """Follows the bindings of the fleet."""

    def __init__(self, database: BusDatabase) -> None:
        self._database = database
        self.known = Bindings()

    async def current(self) -> Bindings:
        """The bindings as of now."""
        version = await self._database.fetchval(
            statements.VERSION, self._database.fleet, sure=False
        )
        return await self.at(version)

    async def at(self, version: int) -> Bindings:
        """The bindings at this version or a later one."""
        if version != self.known.version:
            rows = await self._database.fetch(statements.GROUPS, self._database.fleet, sure=False)
            found = [
                Group(
                    row["gid"],
                    row["name"],
                    row["topic"],
                    tuple(row["patterns"]),
                    row["cut"],
                    row["widest"],
                    row["slots"],
                )
                for row in rows
                if row["gid"] is not None
            ]
            version = rows[0]["version"]
            if version >= self.known.version:
                self.known = Bindings(version, {group.name: group for group in found})
        return self.known

    async def bound(self, name: str) -> Group:
        """The group of this name as it was last seen, looked for again if it was not. Raises
        `Unroutable`."""
        group = self.known.groups.get(name)
        if group is None:
            bindings = await self.current()
            group = bindings.groups.get(name)
            if group is None:
                raise not_bound(name, bindings.groups)
        return group
