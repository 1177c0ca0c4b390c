"""Whether a message could be of a correct node. What could not is never believed."""

from collections.abc import Iterable
from typing import assert_never

from consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    SnapChunk,
    SnapReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.raft.types import LIMIT, Configuration, Entry, Kind


def is_sound(m: Message) -> bool:
    """Whether all numbers are in range and fit each other; the types are right already."""
    return 0 < m.sender < LIMIT and 0 < m.term < LIMIT and _content_is_sound(m)


def _content_is_sound(m: Message) -> bool:
    match m:
        case Append():
            return _in_range(m.prev_index, m.prev_term, m.commit) and _follows(m)
        case AppendReply():
            return _in_range(m.index, m.rejected, m.hint_term)
        case VoteRequest():
            return _in_range(m.last_index, m.last_term) and m.last_term < m.term
        case Heartbeat():
            return _in_range(m.commit, m.round)
        case HeartbeatReply():
            return _in_range(m.round)
        case SnapChunk():
            return _is_sound_chunk(m)
        case SnapReply():
            return _in_range(m.index, m.staged)
        case VoteReply() | TimeoutNow():
            return True
        case _:
            assert_never(m)


def _in_range(*numbers: int) -> bool:
    return min(numbers) >= 0 and max(numbers) < LIMIT


def _follows(m: Append) -> bool:
    """The entries follow each other and the place they belong, in terms that never fall."""
    index, term = m.prev_index, m.prev_term
    for entry in m.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= m.term or entry.term == 0:
            return False
        term = entry.term
    return index < LIMIT and term <= m.term and _configurations_are_sound(m.entries)


def _configurations_are_sound(entries: Iterable[Entry]) -> bool:
    try:
        found = [Configuration.decode(e.data) for e in entries if e.kind is Kind.CONFIGURATION]
    except ValueError:
        return False
    return all(configuration.voters for configuration in found)


def _is_sound_chunk(m: SnapChunk) -> bool:
    meta = m.meta
    if not _in_range(meta.index, meta.term, meta.size, meta.crc, m.offset, m.length, m.staged):
        return False
    inside = m.offset + m.length <= meta.size and m.staged <= meta.size
    return inside and meta.term <= m.term and bool(meta.configuration.voters)
