"""Topics, patterns and group names.

A *topic* is dotted words: `code.review.python`. A *pattern* is a topic in which `*` stands for
exactly one word and `#`, only as the last word, for zero or more. A *group* is a consumer that
gets every message matching its patterns once; a role's name is its group.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from contracts.errors import InvalidTopic

MAX_TOPIC = 200
"""Characters in a topic or pattern; leaves room for prefixes within every broker's limit."""

RESERVED = "muster"
"""First word of the topics muster itself publishes on; users may bind to them."""

EVENTS = "muster.events"
"""Topic of the batches of `contracts.events`."""

RECORDER = "recorder"
"""The group that moves events into history."""

SCHEDULER = "scheduler"
"""The service that publishes by the clock; it is no group, and nothing is routed to it."""

_WORD = re.compile(r"[A-Za-z0-9_-]+\Z")
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


@lru_cache(maxsize=8192)
def check_topic(topic: str) -> str:
    """Return `topic` if it is one; raise `InvalidTopic` that says what is wrong."""
    words = _words(topic, "topic")
    bad = next((word for word in words if not _WORD.match(word)), None)
    if bad is not None:
        raise _invalid("topic", topic, f"the word {bad!r} is not letters, digits, '-' or '_'")
    return topic


@lru_cache(maxsize=8192)
def check_pattern(pattern: str) -> str:
    """Return `pattern` if it is one; raise `InvalidTopic` that says what is wrong."""
    words = _words(pattern, "pattern")
    if "#" in words[:-1]:
        raise _invalid("pattern", pattern, "'#' may only be the last word")
    bad = next((w for w in words if w not in {"*", "#"} and not _WORD.match(w)), None)
    if bad is not None:
        reason = f"the word {bad!r} is neither '*', '#' nor letters, digits, '-' or '_'"
        raise _invalid("pattern", pattern, reason)
    return pattern


def check_group(group: str) -> str:
    """Return `group` if it is a usable role or group name, else raise `InvalidTopic`."""
    if not _GROUP.match(group):
        raise _invalid("group", group, "use 1 to 64 of a-z, 0-9, '-' and '_', no '-' or '_' first")
    return group


def publishable(topic: str) -> str:
    """Return `topic` if users may publish on it: a topic whose first word is not reserved."""
    check_topic(topic)
    if topic.split(".", 1)[0] == RESERVED:
        raise _invalid("topic", topic, f"the first word {RESERVED!r} is kept for muster itself")
    return topic


@lru_cache(maxsize=65536)
def matches(pattern: str, topic: str) -> bool:
    """Whether `topic` is one that `pattern` asks for."""
    want, have = pattern.split("."), topic.split(".")
    if want[-1] == "#":
        want = want[:-1]
        if len(have) < len(want):
            return False
        have = have[: len(want)]
    return len(want) == len(have) and all(w in ("*", h) for w, h in zip(want, have, strict=True))


def matches_any(patterns: Iterable[str], topic: str) -> bool:
    """Whether at least one of `patterns` asks for `topic`."""
    return any(matches(pattern, topic) for pattern in patterns)


def near(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """Names that a person who wrote `name` may have meant, best first."""
    return difflib.get_close_matches(name, sorted(set(known)), n=limit, cutoff=0.5)


def _words(text: str, what: str) -> Sequence[str]:
    if not text:
        raise _invalid(what, text, "it is empty")
    if len(text) > MAX_TOPIC:
        raise _invalid(what, text[:40] + "…", f"it is longer than {MAX_TOPIC} characters")
    return text.split(".")


def _invalid(what: str, text: str, reason: str) -> InvalidTopic:
    return InvalidTopic(
        f"{text!r} is not a valid {what}",
        details=reason,
        actions=("write dotted words such as code.review.python",),
    )
