"""Names on the broker: streams, subjects, consumers, and filters that do not overlap. Pure.

Subjects of a fleet, `N` its name, `L` a lane, `S` a slice, `G` a group:

* `muster.N.t.L.S.TOPIC`    routed by topic, to every group whose consumer filters it
* `muster.N.g.G.L.S.TOPIC`  copy 0 for one group only, in its priority lane
* `muster.N.r.G.S.L.TOPIC`  what comes back to one group: its retry lane
* `muster.N.s.G.S.ID.COPY`  a schedule, which the server moves to its `r` subject when due
* `$KV.MUSTER_N.KEY`        an entry of the key-value bucket

Slices are those of tenants, 0 to 15 (`SLICES`), whatever number a fleet pulls by. The first two
lie in `MUSTER_N_TASKS`, the next two in `MUSTER_N_LATER`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bus.backend import SLICES, Lane, LaneName
from contracts.errors import InvalidValue

_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPED = re.compile(r"=([0-9A-F]{2})")
_FLEET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z")


@lru_cache(maxsize=65536)
def token(word: str) -> str:
    """`word` as one word of a subject, whatever characters it has; `untoken` turns it back.

    Everything but letters, digits, `-` and `_` becomes `=` and two hexadecimal digits per UTF-8
    byte; the empty word is a lone `=`.
    """
    if _PLAIN.match(word):
        return word
    if not word:
        return "="
    return "".join(c if _PLAIN.match(c) else _escape(c) for c in word)


def _escape(char: str) -> str:
    return "".join(f"={byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=65536)
def untoken(word: str) -> str:
    """What `token` was given."""
    if "=" not in word:
        return word
    if word == "=":
        return ""
    raw = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), word)
    try:
        return raw.encode("latin-1").decode("utf-8", "surrogatepass")
    except UnicodeError:  # not from `token`
        return word


@dataclass(frozen=True, slots=True)
class Cut:
    """One of `count` parts of a lane: the tenants' slices that are `number` modulo `count`, so
    that every slice lies in one of them, whatever the count."""

    number: int
    count: int

    @property
    def words(self) -> list[str]:
        """What its filters have in the place of the slice."""
        return (
            ["*"] if self.count == 1 else [str(k) for k in range(self.number, SLICES, self.count)]
        )


def cuts(count: int) -> list[Cut]:
    """All parts of a lane."""
    return [Cut(number, count) for number in range(count)]


@dataclass(frozen=True, slots=True)
class Names:
    """Every name a fleet has on the broker."""

    fleet: str
    tasks: str
    later: str
    bucket: str
    root: str

    def subject(self, topic: str, lane: Lane) -> str:
        """Where a message routed by topic goes."""
        return f"{self.root}.t.{lane.name}.{lane.slice % SLICES}.{topic}"

    def direct(self, group: str, topic: str, lane: Lane) -> str:
        """Where a copy 0 for one group goes."""
        return f"{self.root}.g.{group}.{lane.name}.{lane.slice % SLICES}.{dotted(topic)}"

    def retry(self, group: str, topic: str, lane: Lane) -> str:
        """Where what comes back to a group goes; `lane` is the one its message tells."""
        return f"{self.root}.r.{group}.{lane.slice % SLICES}.{lane.name}.{dotted(topic)}"

    def schedule(self, group: str, lane: Lane, id: str, copy: int) -> str:  # noqa: A002 - its word
        """The one subject of a delayed copy: two schedules on one subject replace each other."""
        return f"{self.root}.s.{group}.{lane.slice % SLICES}.{token(id)}.{copy}"

    def schedules(self, group: str, slice_: str = "") -> str:
        """The filter of all delayed copies of a group, or of those of one tenants' slice."""
        return f"{self.root}.s.{group}.{slice_}{'.' if slice_ else ''}>"

    def directs(self, group: str) -> str:
        """The filter of all copies 0 that are for this group only."""
        return f"{self.root}.g.{group}.>"

    def retries(self, group: str) -> str:
        """The filter of a group's retry lane, all slices."""
        return f"{self.root}.r.{group}.>"

    def retry_filters(self, group: str, cut: Cut) -> list[str]:
        """The filters of a group's consumer for one cut of its retry lane."""
        if cut.count == 1:
            return [self.retries(group)]
        return [f"{self.root}.r.{group}.{word}.>" for word in cut.words]

    def filters(self, group: str, lane: LaneName, patterns: Sequence[str], cut: Cut) -> list[str]:
        """The filters of a group's consumer for one cut of `lane`."""
        wanted = cover(patterns)
        routed = [f"{self.root}.t.{lane}.{w}.{filter_}" for w in cut.words for filter_ in wanted]
        return [*routed, *(f"{self.root}.g.{group}.{lane}.{word}.>" for word in cut.words)]

    def consumer(self, group: str, lane: LaneName, generation: str, number: int = 0) -> str:
        """The consumer of a group, a lane, one of its cuts and a generation of its binding."""
        return f"{group}={lane}={number}={generation}"

    def retry_consumer(self, group: str, division: str = "", number: int = 0) -> str:
        """The consumer of one cut of a group's retry lane. It does not change with the patterns,
        only with the division into slices; that into one has no name."""
        return f"{group}={LaneName.RETRY}={number}" + (f"={division}" if division else "")


def names_of(fleet: str) -> Names:
    """The names of `fleet`, or `InvalidValue` when it cannot be part of a stream's name."""
    if not _FLEET.match(fleet):
        raise InvalidValue(
            f"{fleet!r} is not a usable fleet name",
            details="a broker's names hold letters, digits, '-' and '_' only, here up to 32",
            actions=("choose a name such as demo or team-a",),
        )
    stem = f"MUSTER_{fleet}"
    return Names(fleet, f"{stem}_TASKS", f"{stem}_LATER", f"KV_{stem}", f"muster.{fleet}")


@lru_cache(maxsize=8192)
def dotted(topic: str) -> str:
    """A topic as words of a subject, also one that is not valid."""
    return ".".join(token(word) for word in topic.split("."))


@lru_cache(maxsize=8192)
def undotted(words: str) -> str:
    """What `dotted` was given."""
    return ".".join(untoken(word) for word in words.split("."))


@lru_cache(maxsize=8192)
@lru_cache(maxsize=4096)
def parse_subject(subject: str) -> tuple[str, Lane]:
    """Topic and lane of a delivered message."""
    kind, rest = subject.split(".", 3)[2:]
    if kind == "t":
        lane, slice_, topic = rest.split(".", 2)
        return topic, _lane(lane, slice_)
    _, first, second, topic = rest.split(".", 3)
    lane, slice_ = (first, second) if kind == "g" else (second, first)
    return undotted(topic), _lane(lane, slice_)


def _lane(name: str, slice_: str) -> Lane:
    return Lane(LaneName(name), int(slice_))


def cover(patterns: Iterable[str]) -> list[str]:
    """Filters that take everything `patterns` ask for and do not overlap (else the server
    refuses them: 10138). Where patterns overlap without one holding the other, both become a
    wider filter; `is_exact` tells."""
    filters = sorted({f for pattern in patterns for f in _filters(pattern)})
    while (pair := _overlapping(filters)) is not None:
        a, b = pair
        rest = [f for f in filters if f not in pair]
        filters = sorted({*rest, _join(a, b)})
    return filters


def is_exact(patterns: Sequence[str]) -> bool:
    """Whether `cover(patterns)` takes nothing beyond them."""
    asked = {f for pattern in patterns for f in _filters(pattern)}
    return set(cover(patterns)) <= asked


def _filters(pattern: str) -> list[str]:
    """`code.#` is one word or more: on NATS `code` and `code.>`."""
    if pattern == "#":
        return [">"]
    if pattern.endswith(".#"):
        return [pattern[:-2], pattern[:-1] + ">"]
    return [pattern]


def _overlapping(filters: Sequence[str]) -> tuple[str, str] | None:
    pairs = ((a, b) for i, a in enumerate(filters) for b in filters[i + 1 :])
    return next((pair for pair in pairs if overlap(*pair)), None)


def overlap(a: str, b: str) -> bool:
    """Whether some subject matches both filters."""
    mine, theirs = a.split("."), b.split(".")
    for x, y in zip(mine, theirs, strict=False):
        if ">" in (x, y):
            return True
        if "*" not in (x, y) and x != y:
            return False
    return len(mine) == len(theirs)


def _join(a: str, b: str) -> str:
    """The narrowest filter that holds two overlapping ones."""
    words: list[str] = []
    for x, y in zip(a.split("."), b.split("."), strict=False):
        if ">" in (x, y):
            return ".".join([*words, ">"])
        words.append(x if x == y else "*")
    return ".".join(words)
