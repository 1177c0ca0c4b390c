"""What is said where nothing is bound: the same on every broker. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from bus.backend import Message
from bus.errors import Unroutable
from contracts.topics import near


class Bound(Protocol):
    """What a broker knows of a group that is bound."""

    @property
    def patterns(self) -> Collection[str]:
        """The topics it wants."""
        ...


def unroutable(message: Message, groups: Mapping[str, Bound]) -> Unroutable:
    """The error for a message that no group of these gets; by name."""
    if message.group is not None:
        what, name, known = "group", message.group, set(groups)
    else:
        patterns = {pattern for group in groups.values() for pattern in group.patterns}
        what, name, known = "topic", message.topic, patterns
    return Unroutable(
        f"no group is bound to the {what} {name!r}",
        details=_similar(name, known),
        actions=("start a worker whose role asks for it", "check the spelling"),
    )


def not_bound(group: str, known: Iterable[str]) -> Unroutable:
    """The error for a call on a group that is not among the `known`."""
    return Unroutable(
        f"the group {group!r} is not bound",
        details=_similar(group, known),
        actions=("bind it before pulling",),
    )


def _similar(name: str, known: Iterable[str]) -> str:
    found = ", ".join(near(name, known))
    return f"bound and similar: {found}" if found else "nothing similar is bound"
