"""What a person decides about tasks under way: cancel, purge, pause, resume, retry; and retire."""

from collections.abc import Mapping, Sequence
from typing import Any

from bus.backend import Lag
from bus.bus import Bus
from bus.deadletters import DeadLetter
from bus.errors import BusError, NotDead, Unroutable
from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.stops import Kind, Mark
from contracts.clock import Clock
from contracts.deeds import Action, Concerned, Deed, Scope
from contracts.envelope import MAX_ID
from contracts.errors import InvalidValue
from contracts.topics import RECORDER, near
from workers.fleet.errors import RoleInUse
from workers.fleet.operator import deed, whoami
from workers.fleet.presence import present
from workers.sdk.errors import UnknownRole


class Steering:
    """The part of a fleet's client that changes what is under way. What was done is told, once it
    is (`contracts.deeds`): where that cannot be, it is done all the same, and the error says so."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self.bus = bus
        self._clock = clock

    async def cancel(
        self,
        *tasks: str,
        role: str | None = None,
        tenant: str | None = None,
        subject: str | None = None,
        every: bool = False,
        reason: str = "",
    ) -> list[Mark]:
        """Stop tasks, queued, delayed or running: from a second after this returned on none of
        their attempts starts, and what runs is ended within two seconds. They end as cancelled,
        for whoever waits, and leave no dead letter; dead letters are not touched.

        Either ids (the tasks they call are stopped with them; an id nobody knows is no error: it
        stops a task that comes later), or one of `role`, `tenant`, `subject` and `every`: what was
        published until now. Raises `InvalidValue`, `UnknownRole`, `Unreachable`.
        """
        kinds = {Kind.ROLE: role, Kind.TENANT: tenant, Kind.SUBJECT: subject}
        given = [(kind, _named(kind, name)) for kind, name in kinds.items() if name is not None]
        if bool(tasks) + len(given) + every != 1:
            raise InvalidValue(
                "say which tasks are meant",
                details="either ids, or one of role, tenant, subject and all of them",
                actions=("cancel one kind after the other: each is a decision of its own",),
            )
        if role is not None:
            await self._check_role(role)
        given += [(Kind.TASK, _named(Kind.TASK, task)) for task in tasks]
        if every:
            marks = [await self.bus.stops.put_all(by=whoami(), reason=reason)]
        else:
            marks = await self._stop(given, reason)
        await self._tell(_cancelled(given, role or "", reason, self._clock.wall()))
        return marks

    async def _stop(self, given: Sequence[tuple[Kind, str]], reason: str) -> list[Mark]:
        """Put a mark for each."""
        by = whoami()
        return [await self.bus.stops.put(*each, by=by, reason=reason) for each in given]

    async def purge(self, role: str, *, reason: str = "") -> int | None:
        """Cancel all that was published to `role` until now. Returns how many tasks waited, those
        put off included; None where the broker cannot say. Raises as `cancel`."""
        waiting = await self.waiting(role)
        await self._stop([(Kind.ROLE, role)], reason)
        await self._tell_of(Action.EMPTY, role, count=waiting, reason=reason)
        return waiting

    async def waiting(self, role: str) -> int | None:
        """How many tasks wait for `role`, those put off included. Raises `UnknownRole`."""
        return _sum(await self._check_role(role))

    async def pause(self, role: str, *, reason: str = "") -> None:
        """From a second after this returned on, `role` starts nothing until it is resumed; what
        runs, runs on, and publishing goes on. Raises `UnknownRole`, `Unreachable`."""
        await self._check_role(role)
        await self.bus.stops.put(Kind.PAUSE, role, by=whoami(), reason=reason)
        await self._tell_of(Action.PAUSE, role, reason=reason)

    async def resume(self, role: str) -> bool:
        """End a pause; False when there was none. Raises `UnknownRole`, `Unreachable`."""
        lifted = await self.bus.stops.lift(Kind.PAUSE, role)
        if lifted:
            await self._tell_of(Action.RESUME, role)
        else:
            await self._check_role(role)
        return lifted

    async def retire(self, role: str, *, drop: bool = False) -> None:
        """Forget `role`: what only it listened to is no longer accepted, and a pause of it ends.
        With `drop` what waits for it is lost without an outcome; its dead letters stay. Raises
        `UnknownRole`, `RoleInUse` while a worker of it lives, `Conflict` while anything waits and
        is not dropped, `Unreachable`."""
        waiting = await self.waiting(role)
        if role == RECORDER:
            raise RoleInUse(
                "the group that moves events into history is not retired",
                details="every process of the fleet binds it again, and what it drops is missing",
                actions=("keep no history: history.url = none",),
            )
        working = await present(self.bus.store, role)
        if working:
            where = ", ".join(sorted({f"{one.pid} on {one.host}" for one in working}))
            many = len(working) > 1
            raise RoleInUse(
                f"{len(working)} worker{'s' * many} of {role} still live{'s' * (not many)}",
                details=f"they would bind it again: process {where}",
                actions=("end them first; one whose machine died is forgotten after 15 s",),
            )
        await self.bus.unbind(role, drop=drop)
        await self.bus.stops.lift(Kind.PAUSE, role)
        await self._tell_of(Action.RETIRE, role, count=waiting if drop else None, dropped=drop)

    async def retry(self, task: str, *, force: bool = False) -> list[DeadLetter]:
        """Give a dead task back to every role in which it is dead, with all its attempts. Earlier
        stops do not count for it any more. Raises `NotDead`, `ReplayRefused` unless `force`."""
        letters = await self.bus.dead.find(task)
        if not letters:
            raise NotDead(
                f"{task} is not a dead letter of any role",
                details="it runs, waits, has ended otherwise, or was never there",
                actions=("list what is dead: `muster dlq ls`",),
            )
        now = self._clock.wall()
        replay, by = self.bus.dead.replay, whoami()
        said = deed(Action.RETRY, now, Scope.TASK, task, forced=force)
        return [
            await replay(x.group, x.id, now=now, force=force, by=by, deed=said) for x in letters
        ]

    async def _tell_of(self, action: Action, role: str, **said: Any) -> None:
        now = self._clock.wall()
        await self._tell(deed(action, now, Scope.ROLE, role, role=role, **said))

    async def _tell(self, done: Deed) -> None:
        try:
            await self.bus.tell_deed(done)
        except BusError as error:
            error.details += "; it is done, but history will not know who did it"
            raise

    async def _check_role(self, role: str) -> dict[object, Lag]:
        """What lies in the lanes of a role that is bound; raises `UnknownRole` else."""
        try:
            lags = await self.bus.lag(_named(Kind.ROLE, role))
        except Unroutable as error:
            close = near(role, await self._roles(), limit=2)
            raise UnknownRole(
                f"there is no role {role!r}",
                details=f"did you mean {' or '.join(close)}?" if close else "none is like it",
                actions=("see all of them: `muster ps`",),
            ) from error
        return {lane: lag for lane, lag in lags.items() if isinstance(lag, Lag)}

    async def _roles(self) -> Sequence[str]:
        bound = entries(self.bus.store, keys.binding())
        return [entry.key.removeprefix(keys.binding()) async for entry in bound]


def _cancelled(given: Sequence[tuple[Kind, str]], role: str, reason: str, now: float) -> Deed:
    """What is told of a cancellation: of tasks by their ids, else of all of a kind, or of all."""
    if not given:
        return deed(Action.CANCEL, now, Scope.FLEET, reason=reason)
    (kind, name), *more = given
    scope, target = Scope(kind.value), "" if more else name
    tasks = tuple(Concerned(task) for kind, task in given if kind is Kind.TASK)
    return deed(Action.CANCEL, now, scope, target, role=role, tasks=tasks, reason=reason)


def _sum(lags: Mapping[object, Lag]) -> int | None:
    counts = [count for lag in lags.values() for count in (lag.waiting, lag.delayed)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _named(kind: Kind, name: str) -> str:
    if not name or len(name) > MAX_ID or not name.isprintable():
        raise InvalidValue(
            f"{name[:40]!r} is not the name of a {kind}",
            details=f"it has 1 to {MAX_ID} printable characters",
            actions=(f"name the {kind}",),
        )
    return name
