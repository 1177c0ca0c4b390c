"""The bus: puts the rooms together and has no policy of its own."""

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bus.announcing import Announcer
from bus.backend import Backend, Delivery, Lane, Message
from bus.claiming import Claims
from bus.contact import Contact
from bus.crashes import CrashCounter
from bus.deadletters import DeadLetter, DeadLetters
from bus.endings import Endings
from bus.errors import TooLarge, Unroutable
from bus.forgetting import Forgetter
from bus.keyvalue.protocol import KeyValue
from bus.lanes import Puller
from bus.limits import Reservations
from bus.members import Members
from bus.outcomes import Outcomes
from bus.parts import Parts
from bus.patience import Patience
from bus.places import Places
from bus.publishing import Publishing
from bus.quotas import NO_QUOTAS, Quotas
from bus.settling import Finished, Plan, hand_back, plan
from bus.stop_view import StopView
from bus.stops import Stops, check_due
from bus.suspects import Blame
from bus.unread import Unread
from contracts.clock import Clock
from contracts.deeds import Deed
from contracts.envelope import Envelope
from contracts.events import Event
from contracts.limits import Rate
from contracts.outcomes import Reject
from contracts.results import Result
from contracts.topics import RECORDER


class Bus:
    """Publish, pull and settle tasks, with what belongs to them: dead letters and outcomes.

    Give it a backend and a store on the same broker; `close` closes both, then calls `release`
    for what they share, which may be called again. `lease`, in seconds, is how long places of
    limited concurrencies are held without a sign of life. `contact` knows how long ago the broker
    has answered. `slices`: into how many each lane is cut, by tenant; each gets its turn.
    """

    def __init__(
        self,
        backend: Backend,
        store: KeyValue,
        *,
        clock: Clock,
        source: str = "/muster",
        rng: random.Random | None = None,
        lease: float = 10.0,
        quotas: Mapping[str, Rate] = NO_QUOTAS,
        release: Callable[[], Awaitable[None]] | None = None,
        slices: int = 1,
    ) -> None:
        self.store = store
        self.contact = Contact(lambda: backend.extend(()), clock)
        self.outcomes = Outcomes(store)
        self._backend = backend
        self._clock = clock
        self._pullers: defaultdict[str, Puller] = defaultdict(partial(Puller, slices))
        self._release = release
        self._members = Members(store, clock, backend.bind)
        unread = Unread(self._unread, clock)
        self._announcer = Announcer(self._send_unasked, clock, source, unread)
        self.dead = DeadLetters(store, backend, self._announcer.messages)
        self._rng = rng or random.Random()
        self.rates = Reservations(store, clock, self._rng)
        self.places = Places(store, clock, self._rng, lease)
        self.quotas = Quotas(store, clock, self._rng, quotas)
        patience = Patience(clock, self._rng)
        self._persist = patience.persist
        self.stops, self.stop_view = Stops(store, clock, self._persist), StopView(store, clock)
        self.claims, self.parts = Claims(store, self._persist), Parts(store, self._persist)
        stopped = self.stop_view.stopped
        self.crashes = CrashCounter(self.known, self.settle, store, clock, stopped=stopped)
        self._publishing = Publishing(backend, store, patience, self._announcer.published)
        self._forgetter = Forgetter(backend, self._announcer, self.contact.heard)
        rooms = (self.outcomes, self.dead, self._announcer)
        self.endings = Endings(backend, *rooms, persist=self._persist, bury=self._bury)

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """Route what matches `patterns` to `group` from now on, and nothing else; see
        `Backend.bind`. For a group whose members are all alike; others `join`."""
        await self._backend.bind(group, patterns)

    async def join(self, group: str, patterns: Sequence[str]) -> None:
        """Be a member of `group`, which is bound to what all its members ask for; see
        `Members.join`. Then `stay`."""
        await self._members.join(group, patterns)

    async def stay(self, group: str, patterns: Sequence[str]) -> None:
        """Say that a member is still there, every `members.RENEW` seconds; see `Members.stay`."""
        await self._members.stay(group, patterns)

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """Retire a group, and forget who was in it; see `Backend.unbind`."""
        await self._backend.unbind(group, drop=drop)
        await self._members.forget(group)

    async def publish(
        self,
        tasks: Sequence[Envelope],
        *,
        group: str | None = None,
        due: float = 0.0,
        hold: float = 0.0,
        follow_up: bool = False,
    ) -> frozenset[str]:
        """Return when every task is safe on the broker; see `Backend.publish`.

        With `group` they go to that group only. Back-pressure and a broker that is away are
        waited out for `PATIENCE` seconds under the same dedupe keys; then `Full` or
        `Unreachable` is raised.

        With `hold`, their ids hold for so many seconds, beyond the window of the dedupe key: what
        was published with `hold` before is left out, and its ids are returned. `follow_up`: a run
        under way publishes them; see `Backend.publish`. `InvalidValue`: due after `LATEST_DUE`.
        """
        check_due(due, self._clock.wall())
        ask = self._publishing.publish
        held = await ask(tasks, group=group, due=due, hold=hold, follow_up=follow_up)
        if tasks:
            self.contact.heard()
        return held

    async def hold(self, ids: Iterable[str], seconds: float) -> None:
        """Let the ids of published tasks hold, as `publish` does with `hold`. Tries once."""
        await self._publishing.hold(ids, seconds)

    def tell(self, event: Event) -> None:
        """Send an event soon, together with others; nobody may be listening."""
        self._announcer.tell(event)

    def tell_start(self, delivery: Delivery, made: Callable[[], Event]) -> None:
        """Send the event of a run's start soon, unless the run ends before: then its end tells
        when it began. `made` is called when it leaves."""
        self._announcer.tell_start(delivery, made)

    async def tell_deed(self, deed: Deed) -> None:
        """Tell what an operator has done; on return it is kept for history. Waits as `publish`."""
        await self._persist(lambda: self._announcer.tell_deed(deed))

    async def mark(self, name: str) -> None:
        """Send a mark to whoever listens to events: one who forgets nothing and gets them in
        order has, with it, got all that was accepted before this call. Tries once."""
        await self._announcer.mark(name)

    async def pull(
        self,
        group: str,
        *,
        free: int,
        ahead: int = 0,
        returning: int = 0,
        wait: float = 10.0,
        blame: Blame | None = None,
    ) -> list[Delivery]:
        """Up to `free` deliveries to start now; with `free` 0, `ahead` of them to start soon.

        They are to start in the order returned: of ten starts nine go to the highest lane that
        has something, one to a lower lane (see `bus.lanes`), counted over all pulls of a group.

        Read ahead are first copies, and at most `returning` that come back: for places that the
        next runs to end leave free.

        Waits up to `wait` seconds for the first. One call of the backend, so that nothing is
        half-owned when it is cancelled. Raises what `Backend.pull` raises. With `blame`, a task
        that comes back from a crash is not among them: its attempt is counted beside this call,
        and it comes again as a suspect or is a dead letter.
        """
        puller, limit = self._pullers[group], free or ahead
        turns = puller.plan(limit, None if free else returning)
        found = await self._backend.pull(group, turns, limit=limit, wait=wait)
        if found:
            self.contact.heard()
        puller.note(found)
        return puller.order(found if blame is None else self.crashes.sift(found, blame))

    async def known(self, delivery: Delivery, task: Envelope) -> Result | None:
        """The outcome of `task` if it is there already: an earlier run may have ended just
        before it could settle. Asks the store only where there can have been one. Another
        group's outcome of the same task says nothing about this one."""
        if task.reply is None or not (delivery.earlier or task.copy):
            return None
        found = await self.outcomes.get(task.reply, task.id)
        return found if found is not None and found.role == delivery.group else None

    async def settle(self, finished: Finished) -> Plan | None:
        """Make safe what must exist after this run, then forget its input.

        Returns what was done, or None when the delivery was no longer ours: then its result
        was not accepted. A broker that is away is waited for as long as the lease can last. A next
        copy too large to send is a dead letter. What may be started once has one end, the first.
        """
        if finished.claim is not None:
            finished = await self.claims.end(finished)
        settlement = plan(finished, self._rng)
        keeps = settlement.dead is not None or settlement.result is not None
        if keeps and not await self.endings.keep(finished, settlement):
            return None
        try:
            ours = await self._forget(finished.delivery, settlement)
        except TooLarge as error:
            if not settlement.then:
                raise
            refused = Reject("its next copy cannot be sent", error=str(error))
            return await self.settle(replace(finished, outcome=refused))
        if not ours:
            return None
        self.crashes.end(finished)
        return settlement

    async def forget(self, delivery: Delivery) -> bool:
        """Settle a delivery that leaves nothing behind; False when it was no longer ours."""
        return await self._forget(delivery, Plan())

    async def forget_all(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Settle deliveries that leave nothing behind, in one call; those no longer ours."""
        lost = await self._persist(lambda: self._backend.settle(deliveries))
        self.contact.heard()
        return lost

    async def hand_back(
        self, delivery: Delivery, task: Envelope | None, *, due: float = 0.0
    ) -> bool:
        """Give a task back unrun or unfinished: available at `due` or at once, no attempt used.
        False when it was no longer ours to give."""
        return await self._forget(delivery, Plan(then=(hand_back(delivery, task, due),)))

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew leases; returns those that were no longer ours."""
        return await self._backend.extend(deliveries)

    async def lag(self, group: str) -> dict[Lane, object]:
        """What lies in each lane of a group; see `Backend.lag`."""
        return dict(await self._backend.lag(group))

    def untold(self) -> Mapping[str, int]:
        """Events that were dropped, by why: `away` is the broker, `unread` too much of them."""
        return {"away": self._announcer.untold, "unread": self._announcer.left_out}

    async def abandon(self) -> None:
        """Let go of a broker that is given up: what is under way raises `Closed`. Then `close`."""
        if self._release is not None:
            await self._release()

    async def close(self) -> None:
        """Finish what was asked, then let go of the broker."""
        await self.stop_view.close()
        await self.crashes.close()
        await self.places.close()
        await self._publishing.close()
        await self._forgetter.close()
        await self._announcer.close()
        await self.store.close()
        await self._backend.close()
        if self._release is not None:
            await self._release()

    async def _bury(self, delivery: Delivery, dead: DeadLetter) -> bool:
        """Put a dead letter with a whole lease ahead, or not at all: the task of a stale holder
        goes on elsewhere."""
        if await self._backend.extend([delivery]):
            return False
        await self.dead.put(dead)
        return True

    def _forget(self, delivery: Delivery, settlement: Plan) -> Awaitable[bool]:
        """Whether it was ours to forget."""
        return self._persist(partial(self._forgetter.forget, delivery, settlement))

    async def _unread(self) -> int:
        """Messages that wait to be moved into history; none where nobody does that."""
        try:
            lanes = (await self._backend.lag(RECORDER)).values()
        except Unroutable:
            return 0
        return sum(lag.waiting or 0 for lag in lanes)

    async def _send_unasked(self, messages: Sequence[Message]) -> None:
        await self._backend.settle((), then=messages)
