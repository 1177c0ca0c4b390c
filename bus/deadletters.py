"""Dead letters: entries `dead/GROUP/ID` that keep everything until a person decides.

An entry is one line of JSON, then the body as it came: a body of the greatest size still fits
into one value.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from bus import refusals
from bus import replays as told
from bus.backend import MAX_BODY, Backend, Lane, LaneName, Message
from bus.errors import Conflict, TooLarge, Unroutable
from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import Entry, KeyValue, Revision
from bus.lanes import slice_of
from contracts.deeds import Deed
from contracts.envelope import DEFAULT_TENANT
from contracts.errors import DecodeError
from contracts.events import Event
from contracts.outcomes import Reason

MAX_ERROR = 8 * 1024
"""Bytes of error text that are kept."""

_MAX_META = 49 * 1024
"""Bytes of all but the body: together they fit into one value."""

MAX_REPLAYS = 3
"""Replays of one task before `force` is asked for."""


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

    @property
    def tenant(self) -> str:
        """Whose task it is."""
        return unquote(self.headers.get("muster-tenant", DEFAULT_TENANT))

    @property
    def replayed_by(self) -> str:
        """Who replayed it last (user@host); empty if nobody did, or it is not known."""
        return told.said_in(self.headers, told.REPLAYED_BY)

    @property
    def forced(self) -> bool:
        """Whether its last replay went over the guard."""
        return told.FORCED in self.headers

    @property
    def edited_by(self) -> str:
        """Who changed its payload last (user@host); empty if nobody did."""
        return told.said_in(self.headers, told.EDITED_BY)

    @property
    def edited(self) -> str:
        """When that was, in RFC 3339; empty if never."""
        return told.said_in(self.headers, told.EDITED)

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


def guard(letter: DeadLetter, *, force: bool) -> None:
    """Raise `ReplayRefused` for a letter that was replayed `MAX_REPLAYS` times, unless `force`."""
    if letter.replays >= MAX_REPLAYS and not force:
        why = f"it died each time, last of {letter.reason}: {letter.error[:120]}"
        raise refusals.replayed_often(letter.id, letter.replays, why)


def _untold(_events: Sequence[Event], _deeds: Sequence[Deed]) -> Sequence[Message]:
    return ()


class DeadLetters:
    """The dead letters of all groups. Safe to use from several processes at once. `told` makes the
    messages that tell events and deeds; they leave in one call with what is replayed."""

    def __init__(
        self,
        store: KeyValue,
        backend: Backend,
        told: Callable[[Sequence[Event], Sequence[Deed]], Sequence[Message]] = _untold,
    ) -> None:
        self._store = store
        self._backend = backend
        self._told = told

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

    async def replay(
        self,
        group: str,
        task: str,
        *,
        now: float,
        force: bool = False,
        by: str = "",
        deed: Deed | None = None,
    ) -> DeadLetter:
        """Give the task back to its group with all attempts, and forget the dead letter.

        Taken exactly once, however many ask at once; an interrupted replay stays visible as
        `replaying` and asking again completes it under the same dedupe key. `by` (user@host) and
        whether it was forced stay with the task; that it was part of `deed` leaves with it. Raises
        `NotDead`, `ReplayRefused` after `MAX_REPLAYS`, and whatever publishing raises.
        """
        entry = await self._entry(group, task)
        letter = decode(entry.value)
        revision = entry.revision
        claimed = letter
        if letter.state is State.DEAD:
            forced = letter.replays >= MAX_REPLAYS
            headers = told.signed(letter.headers, by=by, forced=forced)
            claim = self._claim(replace(letter, headers=headers), revision, force)
            claimed, revision = await claim
        try:
            message = _again(claimed, now)
            deeds = () if deed is None else (deed.to(task, group, claimed.copy - 1),)
            telling = self._told(told.telling(message, now=now), deeds)
            await self._backend.publish([message, *telling])
        except (Unroutable, TooLarge):  # nothing of it was sent
            await self._give_back(letter, revision)
            raise
        await self._store.delete(entry.key, expect=revision)
        return claimed

    async def edit(self, seen: DeadLetter, body: bytes, *, by: str, now: float) -> DeadLetter:
        """Give the dead task another body. `seen`: the letter as it was looked at; `by`
        (user@host) and when stay with the task. Raises `NotDead`, also while it is being replayed,
        `Conflict` where somebody else has changed it since, `TooLarge`."""
        if len(body) > MAX_BODY:
            raise TooLarge(
                f"the payload has {len(body):,} bytes",
                details=f"a task may have {MAX_BODY:,}",
                actions=("make it smaller",),
            )
        entry = await self._entry(seen.group, seen.id)
        letter = decode(entry.value)
        if letter.state is State.REPLAYING:
            raise refusals.on_its_way(seen.group, seen.id)
        if letter != seen:
            raise refusals.changed(seen.group, seen.id)
        new = replace(letter, body=body, headers=told.edited(letter.headers, by=by, at=now))
        try:
            await self._store.put(entry.key, new.encode(), expect=entry.revision)
        except Conflict as error:
            raise refusals.changed(seen.group, seen.id) from error
        return new

    async def purge(self, group: str, task: str) -> DeadLetter:
        """Forget the dead letter, or raise `NotDead`: also while it is being replayed, since its
        task may be on its way already."""
        entry = await self._entry(group, task)
        if decode(entry.value).state is State.REPLAYING:
            raise refusals.on_its_way(group, task)
        if not await self._store.delete(entry.key, expect=entry.revision):
            raise refusals.taken(group, task)
        return decode(entry.value)

    async def _give_back(self, letter: DeadLetter, revision: Revision) -> None:
        """Undo a claim, unless somebody else goes on with it."""
        with suppress(Conflict):
            key = keys.dead(letter.group, letter.id)
            await self._store.put(key, letter.encode(), expect=revision)

    async def _claim(
        self, letter: DeadLetter, revision: Revision, force: bool
    ) -> tuple[DeadLetter, Revision]:
        guard(letter, force=force)
        claimed = replace(
            letter, state=State.REPLAYING, copy=letter.copy + 1, replays=letter.replays + 1
        )
        key = keys.dead(letter.group, letter.id)
        try:
            return claimed, await self._store.put(key, claimed.encode(), expect=revision)
        except Conflict as error:
            raise refusals.taken(letter.group, letter.id) from error

    async def _entry(self, group: str, task: str) -> Entry:
        entry = await self._store.get(keys.dead(group, task))
        if entry is None:
            raise refusals.not_dead(group, task)
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
    """The next copy of a dead task. One that died of a crash stays suspect."""
    suspect = letter.reason is Reason.CRASH
    copies = {"copy": letter.copy, "replays": letter.replays}
    return Message(
        id=letter.id,
        copy=letter.copy,
        topic=letter.topic,
        body=letter.body,
        headers=told.again(letter.headers, suspect=suspect, now=now, **copies),
        lane=Lane(LaneName.RETRY, slice_of(letter.tenant)),
        group=letter.group,
    )
