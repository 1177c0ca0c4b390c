"""Dead letters: entries `dead/GROUP/ID` that keep everything until a person decides.

An entry is one line of JSON, then the body as it came: a body of the greatest size still fits
into one value.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from bus.backend import Backend, Lane, LaneName, Message
from bus.errors import Conflict, NotDead, ReplayRefused, TooLarge, Unroutable
from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import Entry, KeyValue, Revision
from bus.lanes import slice_of
from contracts.envelope import DEFAULT_TENANT, REPLAYED, SUSPECT
from contracts.errors import DecodeError
from contracts.outcomes import Reason

MAX_ERROR = 8 * 1024
"""Bytes of error text that are kept."""

_MAX_META = 49 * 1024
"""Bytes of all but the body: together they fit into one value."""

MAX_REPLAYS = 3
"""Replays of one task before `force` is asked for."""

REPLAYS = "muster-replays"
"""Header that counts replays, so that a task which dies again is known."""


class State(StrEnum):
    """`replaying` stays visible only when a replay was interrupted."""

    DEAD = "dead"
    REPLAYING = "replaying"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A task that will not run again by itself. Times are UTC epoch seconds."""

    id: str
    group: str
    topic: str
    reason: Reason
    error: str
    attempts: int
    copy: int
    worker: str
    died: float
    published: float = 0.0
    replays: int = 0
    state: State = State.DEAD
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self) -> bytes:
        """As the value of its entry."""
        meta = {name: getattr(self, name) for name in _META}
        meta["error"] = cut(self.error)
        line = to_json(meta)
        if len(line) > _MAX_META:
            line = to_json({**meta, "headers": _plain(self.headers)})
        return line + b"\n" + self.body


_META = tuple(f for f in DeadLetter.__dataclass_fields__ if f != "body")
_ADAPTER = TypeAdapter(DeadLetter)


def decode(value: bytes) -> DeadLetter:
    """The dead letter in an entry's value, or `DecodeError`."""
    meta, _, body = value.partition(b"\n")
    try:
        return _ADAPTER.validate_python({**from_json(meta), "body": body})
    except (ValidationError, ValueError, TypeError) as error:
        raise DecodeError("dead letter", f"cannot be read: {error}") from error


def cut(text: str, most: int = MAX_ERROR) -> str:
    """At most `most` bytes of `text`, printable but for line breaks and tabs."""
    clean = "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text[:most])
    return clean.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers without control characters, which take six bytes each as JSON."""
    return {_printable(name): _printable(value) for name, value in headers.items()}


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


class DeadLetters:
    """The dead letters of all groups. Safe to use from several processes at once."""

    def __init__(self, store: KeyValue, backend: Backend) -> None:
        self._store = store
        self._backend = backend

    async def put(self, letter: DeadLetter) -> None:
        """Keep `letter`; one of the same task that is already there gives way to it."""
        await self._store.put(keys.dead(letter.group, letter.id), letter.encode())

    async def get(self, group: str, task: str) -> DeadLetter:
        """The dead letter, or `NotDead`."""
        return decode((await self._entry(group, task)).value)

    async def find(self, task: str) -> list[DeadLetter]:
        """The dead letters of a task in every group."""
        return [letter async for letter in self.all() if letter.id == task]

    async def all(self, group: str = "") -> AsyncIterator[DeadLetter]:
        """Every dead letter of a group, or of all groups, without consuming any. One that cannot
        be read, such as a later release's, is among them and says so."""
        async for entry in entries(self._store, keys.dead(group), page=100):
            yield _readable(entry)

    async def replay(self, group: str, task: str, *, now: float, force: bool = False) -> DeadLetter:
        """Give the task back to its group with all attempts, and forget the dead letter.

        Taken exactly once, however many ask at once; an interrupted replay stays visible as
        `replaying` and asking again completes it under the same dedupe key. Raises `NotDead`,
        `ReplayRefused` after `MAX_REPLAYS`, and whatever publishing raises.
        """
        entry = await self._entry(group, task)
        letter = decode(entry.value)
        revision = entry.revision
        claimed = letter
        if letter.state is State.DEAD:
            claimed, revision = await self._claim(letter, revision, force)
        try:
            await self._backend.publish([_again(claimed, now)])
        except (Unroutable, TooLarge):  # nothing of it was sent
            await self._give_back(letter, revision)
            raise
        await self._store.delete(entry.key, expect=revision)
        return claimed

    async def purge(self, group: str, task: str) -> DeadLetter:
        """Forget the dead letter, or raise `NotDead`: also while it is being replayed, since its
        task may be on its way already."""
        entry = await self._entry(group, task)
        if decode(entry.value).state is State.REPLAYING:
            raise _on_its_way(group, task)
        if not await self._store.delete(entry.key, expect=entry.revision):
            raise _taken(group, task)
        return decode(entry.value)

    async def _give_back(self, letter: DeadLetter, revision: Revision) -> None:
        """Undo a claim, unless somebody else goes on with it."""
        with suppress(Conflict):
            key = keys.dead(letter.group, letter.id)
            await self._store.put(key, letter.encode(), expect=revision)

    async def _claim(
        self, letter: DeadLetter, revision: Revision, force: bool
    ) -> tuple[DeadLetter, Revision]:
        if letter.replays >= MAX_REPLAYS and not force:
            raise ReplayRefused(
                f"{letter.id} has been replayed {letter.replays} times already",
                details=f"it died each time, last of {letter.reason}: {letter.error[:120]}",
                actions=("mend the cause first", "or repeat with --force"),
            )
        claimed = replace(
            letter, state=State.REPLAYING, copy=letter.copy + 1, replays=letter.replays + 1
        )
        key = keys.dead(letter.group, letter.id)
        try:
            return claimed, await self._store.put(key, claimed.encode(), expect=revision)
        except Conflict as error:
            raise _taken(letter.group, letter.id) from error

    async def _entry(self, group: str, task: str) -> Entry:
        entry = await self._store.get(keys.dead(group, task))
        if entry is None:
            raise NotDead(
                f"{task} is not a dead letter of {group}",
                details="it was never dead, or has been replayed or purged",
                actions=("list them with `muster dlq ls`",),
            )
        return entry


def _readable(entry: Entry) -> DeadLetter:
    try:
        return decode(entry.value)
    except DecodeError as error:
        return DeadLetter(
            id=keys.last_word(entry.key),
            group=entry.key.split("/")[1],
            topic="",
            reason=Reason.INVALID,
            error=f"this entry cannot be read: {error}",
            attempts=0,
            copy=0,
            worker="",
            died=0.0,
        )


def _again(letter: DeadLetter, now: float) -> Message:
    """The next copy of a dead task: all attempts back, a deadline that has passed dropped. One
    that died of a crash stays suspect."""
    headers = {n: v for n, v in letter.headers.items() if n != "muster-attempt"}
    headers[REPLAYS] = str(letter.replays)
    if letter.reason is Reason.CRASH:
        headers[SUSPECT] = "1"
    if "ce-id" in headers:
        headers[REPLAYED] = repr(now)
        headers["muster-copy"] = str(letter.copy)
    if _passed(headers.get("muster-deadline"), now):
        del headers["muster-deadline"]
    tenant = unquote(headers.get("muster-tenant", DEFAULT_TENANT))
    return Message(
        id=letter.id,
        copy=letter.copy,
        topic=letter.topic,
        body=letter.body,
        headers=headers,
        lane=Lane(LaneName.RETRY, slice_of(tenant)),
        group=letter.group,
    )


def _passed(deadline: str | None, now: float) -> bool:
    try:
        return deadline is not None and float(deadline) <= now
    except ValueError:
        return False


def _taken(group: str, task: str) -> NotDead:
    return NotDead(
        f"{task} is no longer a dead letter of {group}",
        details="somebody else replayed or purged it at the same moment",
        actions=("list what is left with `muster dlq ls`",),
    )


def _on_its_way(group: str, task: str) -> NotDead:
    return NotDead(
        f"{task} is being replayed to {group}",
        details="a replay has begun; its task may be on its way already",
        actions=(f"complete it: `muster dlq replay {task}`",),
    )


def replays_in(headers: Mapping[str, Any]) -> int:
    """How often the task with these headers has been replayed."""
    value = str(headers.get(REPLAYS, "0"))
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0
