"""Which group wants which topics: entries `binding/GROUP`, followed, and read before a refusal."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from bus.errors import BusError, Closed
from bus.keyvalue import keys
from bus.keyvalue.protocol import Entry, KeyValue, Removed, Snapshot
from contracts.clock import Clock
from contracts.topics import matches_any

_log = logging.getLogger(__name__)
_AGAIN_AFTER = 1.0
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Division:
    """How a group's lanes are cut: into how many `slices`. Its retry consumers are named after
    its `tag` and want what lies in the later stream from `start` on."""

    tag: str = ""
    slices: int = 1
    start: int = 1


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of consumers of a group: what they want from the sequence `start` on, up to the
    start of the next generation."""

    tag: str
    patterns: tuple[str, ...]
    start: int
    division: Division = Division()


@dataclass(frozen=True, slots=True)
class Binding:
    """What a group wants. The last generation is in force, those before are being drained."""

    group: str
    generations: tuple[Generation, ...]
    revision: int = 0

    @property
    def patterns(self) -> tuple[str, ...]:
        """What publishers go by."""
        return self.generations[-1].patterns

    def parts(self) -> list[tuple[Generation, int | None]]:
        """Each generation with the sequence from which on the next one takes over."""
        untils = [generation.start for generation in self.generations[1:]]
        return list(zip(self.generations, [*untils, None], strict=True))

    def divisions(self) -> list[tuple[Division, int | None]]:
        """Each division with the sequence of the later stream at which the next takes over."""
        found = list(dict.fromkeys(generation.division for generation in self.generations))
        untils = [division.start for division in found[1:]]
        return list(zip(found, [*untils, None], strict=True))

    def follow(self, generation: Generation) -> "Binding":
        """The binding after a change."""
        return replace(self, generations=(*self.generations, generation))

    def without(self, tag: str) -> "Binding":
        """The binding once the generation `tag` is drained."""
        return replace(self, generations=tuple(g for g in self.generations if g.tag != tag))

    def encode(self) -> bytes:
        """The value of its entry."""
        old = [asdict(generation) for generation in self.generations]
        return json.dumps({"patterns": self.patterns, "generations": old}).encode()


def decode(entry: Entry) -> Binding:
    """The binding in an entry."""
    value: dict[str, Any] = json.loads(entry.value)
    generations = tuple(
        Generation(g["tag"], tuple(g["patterns"]), g["start"], Division(**g.get("division", {})))
        for g in value["generations"]
    )
    return Binding(entry.key.partition("/")[2], generations, entry.revision)


class Bindings:
    """All bindings of the fleet as this process knows them. `changed` are told the group."""

    def __init__(self, keyvalue: KeyValue, clock: Clock) -> None:
        self.fresh = False
        self._clock = clock
        self._read = 0.0
        self.changed: list[Callable[[str], None]] = []
        self._keyvalue = keyvalue
        self._all: dict[str, Binding] = {}
        self._routes: dict[str, tuple[str, ...]] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read them all, then follow."""
        await self.refresh()
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def get(self, group: str) -> Binding | None:
        """The binding of `group`, as known."""
        return self._all.get(group)

    def groups(self) -> Mapping[str, Binding]:
        """All, as known."""
        return self._all

    def targets(self, topic: str) -> tuple[str, ...]:
        """The groups that want `topic`, as known."""
        found = self._routes.get(topic)
        if found is None:
            found = tuple(b.group for b in self._all.values() if matches_any(b.patterns, topic))
            if len(self._routes) > 4096:
                self._routes.clear()
            self._routes[topic] = found
        return found

    def doubt(self) -> None:
        """The connection was lost: what is known may be old until it is read again."""
        self.fresh = False

    async def refresh(self) -> None:
        """Know every binding whose `bind` has returned anywhere."""
        found: list[Entry] = []
        while True:
            after = found[-1].key if found else None
            page = await self._keyvalue.list(keys.binding(), after=after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                break
        self._replace(found)
        self._read = self._clock.monotonic()
        self.fresh = True

    def age(self) -> float:
        """Seconds since the last `refresh`; what is followed is newer."""
        return self._clock.monotonic() - self._read

    def apply(self, binding: Binding) -> None:
        """Know this one."""
        known = self._all.get(binding.group)
        if known is None or known.revision < binding.revision:
            self._all[binding.group] = binding
            self._tell(binding.group)

    def drop(self, group: str) -> None:
        """Know that this group is not bound."""
        if self._all.pop(group, None) is not None:
            self._tell(group)

    def _replace(self, entries: list[Entry]) -> None:
        new = {b.group: b for b in map(decode, entries)}
        for group in set(self._all) - set(new):
            self.drop(group)
        for binding in new.values():
            self.apply(binding)

    def _tell(self, group: str) -> None:
        self._routes.clear()
        for callback in list(self.changed):
            callback(group)

    async def _follow(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(
                    self._keyvalue.watch(keys.binding())  # type: ignore[type-var]
                ) as changes:
                    async for change in changes:
                        if isinstance(change, Snapshot):
                            self._replace(list(change.entries))
                        elif isinstance(change, Removed):
                            self.drop(change.key.partition("/")[2])
                        else:
                            self.apply(decode(change.entry))
            except Closed:
                return
            except (BusError, ValueError, KeyError):
                _log.warning("bindings cannot be followed, trying again", exc_info=True)
                await asyncio.sleep(_AGAIN_AFTER)
