"""What a call keeps and settles, as the script `commit.lua` is told of it. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from bus.backend import Delivery
from bus.backends.redis.messages import Receipt
from bus.backends.redis.wire import Argument

PART = 510
"""Messages in one script, 500 tasks and what tells of them: it runs for some milliseconds, in which
nobody else is served."""

PART_BYTES = 4 * 1024 * 1024
"""Bytes after which a script takes no more of them."""

Outgoing = tuple[str, str, bytes, int]
"""A message ready to be sent: to which lines, its key and payload; with a due time (milliseconds)
it goes to one line."""

Held = Mapping[str, Collection[Receipt]]
"""What is to be settled, by line."""


def by_line(deliveries: Sequence[Delivery]) -> Held:
    """Each receipt once."""
    held: dict[str, dict[Receipt, None]] = {}
    for delivery in deliveries:
        receipt: Receipt = delivery.receipt  # type: ignore[assignment]
        of_line = held.get(receipt[0])
        if of_line is None:
            of_line = held[receipt[0]] = {}
        of_line[receipt] = None
    return held


def size_of(messages: Sequence[Outgoing]) -> int:
    """Bytes that they fill, in all lines."""
    return sum(len(payload) * (lines.count(" ") + 1) for lines, _, payload, _ in messages)


def parts(messages: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """Cut by number and bytes."""
    start = size = 0
    for end, (_, _, payload, _) in enumerate(messages):
        size += len(payload)
        if end > start and (end - start >= PART or size > PART_BYTES):
            yield messages[start:end]
            start, size = end, len(payload)
    if start < len(messages):
        yield messages[start:]


def told_receipts(held: Held) -> list[Argument]:
    """What the script is told of receipts."""
    found: list[Argument] = [len(held)]
    for line, receipts in held.items():
        found += (line, len(receipts), sum(size for _, _, size in receipts))
    for receipts in held.values():
        found += [token for _, token, _ in receipts]
    return found


def told_messages(messages: Sequence[Outgoing]) -> list[Argument]:
    """What the script is told of messages: those for the same lines follow each other."""
    routes: dict[str, list[Argument]] = {}
    later: list[Argument] = []
    for lines, key, payload, due in messages:
        if due:
            later += (lines, due, key, payload)
            continue
        direct = routes.get(lines)
        if direct is None:
            direct = routes[lines] = []
        direct += (key, payload)
    found: list[Argument] = [len(routes)]
    for lines, direct in routes.items():
        found += (lines, len(direct) // 2)
    for direct in routes.values():
        found += direct
    return found + later
