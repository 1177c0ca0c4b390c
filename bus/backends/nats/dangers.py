"""Which settings of a fleet's streams break a promise. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from bus.examined import Danger

_KEPT = "what was accepted is kept until it is done"

_LIMITS = ("max_msgs", "max_bytes", "max_msgs_per_subject")


def dangers_of(info: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[Danger]:
    """What is dangerous in the `info` that a server gives of a stream which muster makes as `made`
    says."""
    config: Mapping[str, Any] = info["config"]
    yield from _deleting(config)
    yield from _limiting(config, made)
    if (info.get("cluster") or {}).get("name") and config.get("num_replicas", 1) == 1:
        yield _danger(
            config,
            name="replicas",
            said="lies on one server of its cluster",
            why="what was accepted is lost with that one's disk, and waits while it is away",
            edit="--replicas 3",
        )


def _deleting(config: Mapping[str, Any]) -> Iterator[Danger]:
    retention = config.get("retention", "limits")
    if retention != "limits":
        yield _danger(
            config,
            name="retention",
            said=f"has {retention} retention: the server removes messages by itself",
            why=_KEPT,
            edit="--retention limits",
        )
    if age := int(config.get("max_age", 0)):
        yield _danger(
            config,
            name="max_age",
            said=f"deletes what is older than {age / 1e9:g} s",
            why="a task that waits for longer is gone",
            edit="--max-age 0s",
        )


def _limiting(config: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[Danger]:
    """A limit of the server drops the oldest, or refuses also what a settle leaves behind."""
    discard, ours = config.get("discard", "old"), made.get("discard", "old")
    if discard != ours:
        yield _danger(
            config,
            name="discard",
            said=f"discards {discard} messages where a limit is reached",
            why=_KEPT if discard == "old" else "what is full has to take the ends of tasks",
            edit=f"--discard {ours}",
        )
    for name in _LIMITS:
        most, own = int(config.get(name, -1)), int(made.get(name, -1))
        if max(most, -1) != own:
            yield _danger(
                config,
                name=name,
                said=f"has a {name} of {most}",
                why="what goes beyond a limit of the server is dropped, or the end of a task is"
                " refused; bus.max_bytes is the limit that lets tasks end",
                edit=f"--{name.replace('_', '-')}={own}",
            )


def _danger(config: Mapping[str, Any], *, name: str, said: str, why: str, edit: str) -> Danger:
    stream = config["name"]
    return Danger(
        name=name,
        said=f"the stream {stream} {said}",
        why=why,
        do=f"`nats stream edit {stream} {edit}`",
        promise=1,
    )
