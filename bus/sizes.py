"""What is too large is refused before anything is sent, with the same words on every broker."""

from collections.abc import Iterable

from bus.backend import MAX_BODY, MAX_HEADERS, Message
from bus.errors import TooLarge
from bus.keyvalue.protocol import MAX_VALUE


def check_sizes(messages: Iterable[Message], *, room: int = 0) -> None:
    """Raise `TooLarge` for the first message over a limit; its headers leave `room` bytes free."""
    for message in messages:
        if len(message.body) > MAX_BODY:
            raise _too_large(message, "body", len(message.body), MAX_BODY)
        headers = message.headers
        size = len("".join([*headers, *headers.values()]))
        if size * 4 > MAX_HEADERS - room:  # a character has four bytes at most: count them
            texts = (text for pair in headers.items() for text in pair)
            size = sum(len(text.encode("utf-8", "replace")) for text in texts)
        if size > MAX_HEADERS - room:
            raise _too_large(message, "headers", size, MAX_HEADERS - room)


def check_value(key: str, value: bytes) -> None:
    """Raise `TooLarge` for a value that no store has to take."""
    if len(value) > MAX_VALUE:
        raise TooLarge(
            f"a value may have {MAX_VALUE:,} bytes",
            details=f"{key!r} got {len(value):,}",
            actions=("store large content elsewhere and keep a reference",),
        )


def _too_large(message: Message, part: str, size: int, limit: int) -> TooLarge:
    return TooLarge(
        f"the {part} of {message.id or 'a message'} has {size:,} bytes, more than {limit:,}",
        details="muster has no hidden blob store: a task carries what it says",
        actions=("put large data where workers can read it, and send its address",),
    )
