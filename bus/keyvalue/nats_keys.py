"""Keys as subjects, and what an entry's message says. Pure."""

from bus.backends.nats.names import token, untoken
from bus.backends.nats.wire import Headers


def subject_of(root: str, key: str) -> str:
    """The subject of a key: its words, each a word of the subject."""
    return ".".join([root, *(token(word) for word in key.split("/"))])


def filter_of(root: str, prefix: str) -> str:
    """The filter of all keys under a prefix, which ends with `/` or is empty."""
    return f"{root}.>" if not prefix else subject_of(root, prefix[:-1]) + ".>"


def key_of(root: str, subject: str) -> str:
    """The key of a subject."""
    return "/".join(untoken(word) for word in subject[len(root) + 1 :].split("."))


def is_marker(headers: Headers) -> bool:
    """Whether a message stands for a key that is gone."""
    return "KV-Operation" in headers.own or "Nats-Marker-Reason" in headers.server


def sequence_of(headers: Headers) -> int:
    """The revision of an entry that was read."""
    return int(headers.server["Nats-Sequence"])
