"""What a Redis server says of itself, and which of its settings break a promise. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bus.examined import Danger

OLDEST = (7, 0)
"""The first server whose scripts can say that they make room (`flags=allow-oom`)."""

_USUAL = 16 * 2**30 // 3
"""Bytes of memory of a machine that does not tell: three quarters of it are 4 GiB."""

SETTINGS = ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")


@dataclass(frozen=True, slots=True)
class Facts:
    """`info`: the lines of INFO; `settings`: those of `SETTINGS`, None if they may not be seen."""

    info: Mapping[str, str]
    settings: Mapping[str, str] | None

    @property
    def program(self) -> str:
        """Redis, or what speaks like it."""
        return self.info.get("server_name", "redis-server")

    @property
    def version(self) -> str:
        """Of the program."""
        name = f"{self.program}_version"
        return self.info.get(name, self.info.get("redis_version", "unknown"))

    @property
    def old(self) -> bool:
        """Whether it lacks what a promise needs."""
        words = self.info.get("redis_version", "").split(".")
        numbers = tuple(int(word) for word in words[:2] if word.isdigit())
        return bool(numbers) and numbers < OLDEST


def info_of(text: bytes) -> dict[str, str]:
    """The lines of INFO."""
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def dangers_of(facts: Facts) -> Sequence[Danger]:
    """What somebody should know who relies on this server."""
    return [*_storage(facts), *_memory(facts), *_replication(facts)]


def _storage(facts: Facts) -> Iterator[Danger]:
    why = "what was accepted survives a machine that stops only if each write is synced"
    do = "CONFIG SET appendonly yes; CONFIG SET appendfsync always; CONFIG REWRITE"
    if facts.info.get("aof_enabled") == "0":
        yield Danger(
            name="appendonly",
            said="appendonly is no: what Redis holds is lost when it stops",
            why=why,
            do=do,
            promise=1,
        )
    elif facts.settings is None:
        yield Danger(
            name="appendfsync",
            said="appendfsync cannot be seen: this user may not use CONFIG GET",
            why=why,
            do="look in the server's file for `appendfsync always`, or allow CONFIG|GET",
            promise=1,
        )
    elif (sync := facts.settings.get("appendfsync")) not in {None, "always"}:
        yield Danger(
            name="appendfsync",
            said=f"appendfsync is {sync}: a crash of the machine loses what was accepted last",
            why=why,
            do="CONFIG SET appendfsync always; CONFIG REWRITE",
            promise=1,
        )


def _memory(facts: Facts) -> Iterator[Danger]:
    policy = facts.info.get("maxmemory_policy", "noeviction")
    if facts.settings is not None:
        policy = facts.settings.get("maxmemory-policy", policy)
    if policy != "noeviction":
        yield Danger(
            name="maxmemory-policy",
            said=f"maxmemory-policy is {policy}: Redis forgets tasks when it is short of memory",
            why="what was accepted is kept until it is done",
            do="CONFIG SET maxmemory-policy noeviction; CONFIG REWRITE",
            promise=1,
        )
    if facts.info.get("maxmemory") == "0":
        yield Danger(
            name="maxmemory",
            said="maxmemory is not set: only bus.max_bytes ends what tasks may fill",
            why="a server that runs out of memory is killed; one that is full drains",
            do=f"CONFIG SET maxmemory {_most(facts.info)}; CONFIG REWRITE",
            promise=21,
        )


def _most(info: Mapping[str, str]) -> str:
    """What `maxmemory` may be: a quarter of the machine is left for what changes while the log is
    rewritten, and for others."""
    total = int(info.get("total_system_memory", 0)) or _USUAL
    return f"{total * 3 // 4 // 2**20}mb"


def _replication(facts: Facts) -> Iterator[Danger]:
    info = facts.info
    if info.get("role") == "slave":
        yield Danger(
            name="replica",
            said="this server is a replica of another",
            why="tasks are published to and pulled from the primary only",
            do="name the primary in the url of the bus",
            promise=16,
        )
    elif info.get("connected_slaves", "0") != "0":
        yield Danger(
            name="replicas",
            said=f"{info['connected_slaves']} replicas follow this server, some moments behind",
            why="one that takes over has not all that was accepted: Redis does not wait for it",
            do="let the primary come back instead, or accept that loss",
            promise=1,
        )
