"""The states of a task in a role, and which of two things that happened to it counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

from contracts.events import Kind


class State(StrEnum):
    """Where a task stands with a role."""

    WAITING = "waiting"
    DELAYED = "delayed"
    RUNNING = "running"
    RETRYING = "retrying"
    SNOOZED = "snoozed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

UNFINISHED = frozenset(State) - FINISHED

HANDLED = "handled"
"""Kept in place of a state by what was published to whoever is bound, once a role has taken it:
the rows of roles tell the state then."""


class Step(IntEnum):
    """How far an event brings its copy. Among the events of a task in a role the greatest of
    (copy, step, time, hash of the id) tells the state, in whatever order they arrive: a late
    start of an earlier copy, or of one that has ended, changes nothing. What is told of an auction
    counts as little as a replay: its task waits."""

    PUBLISHED = 0
    REPLAYED = 1
    BEGUN = 2
    GIVEN_BACK = 3
    ENDED = 4


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an event of a kind comes to."""

    state: State
    step: Step


MEANINGS: Mapping[Kind, Meaning] = MappingProxyType(
    {
        Kind.PUBLISHED: Meaning(State.WAITING, Step.PUBLISHED),
        Kind.REPLAYED: Meaning(State.WAITING, Step.REPLAYED),
        Kind.STARTED: Meaning(State.RUNNING, Step.BEGUN),
        Kind.PROGRESS: Meaning(State.RUNNING, Step.BEGUN),
        Kind.RETURNED: Meaning(State.WAITING, Step.GIVEN_BACK),
        Kind.RETRIED: Meaning(State.RETRYING, Step.GIVEN_BACK),
        Kind.SNOOZED: Meaning(State.SNOOZED, Step.GIVEN_BACK),
        Kind.SUCCEEDED: Meaning(State.SUCCEEDED, Step.ENDED),
        Kind.FAILED: Meaning(State.FAILED, Step.ENDED),
        Kind.CANCELLED: Meaning(State.CANCELLED, Step.ENDED),
        Kind.AUCTION_OPENED: Meaning(State.WAITING, Step.REPLAYED),
        Kind.AUCTION_AWARDED: Meaning(State.WAITING, Step.REPLAYED),
        Kind.AUCTION_CLOSED: Meaning(State.WAITING, Step.REPLAYED),
    }
)


def shown(stored: str, due: float | None, now: float) -> State:
    """The state as a reader sees it: what waits for its time is delayed."""
    state = State(stored)
    return State.DELAYED if state is State.WAITING and due and due > now else state
