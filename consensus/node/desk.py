"""What a node does for its clients: commands, reads, orders, subscriptions."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from consensus.ledger import entries
from consensus.ledger.answers import Refused
from consensus.ledger.commands import InSession, OpenSession
from consensus.ledger.entries import UnknownCommand
from consensus.node.compacting import Around
from consensus.node.leading import Leading
from consensus.node.orders import Orders
from consensus.node.presence import Presence
from consensus.node.proposals import Proposals, Superseded, Unknown
from consensus.node.reads import Reads
from consensus.node.subscribers import Subscribers
from consensus.raft.errors import Busy, ChangeRefused, NoSpace, NotLeader
from consensus.service.replies import (
    Answered,
    Invalid,
    Moved,
    Postponed,
    Reply,
    Shown,
    encode_reply,
)
from consensus.service.requests import (
    CommandAsked,
    ListAsked,
    NewsWanted,
    PingAsked,
    ReadAsked,
    StatusAsked,
    decode_order,
    decode_request,
)
from consensus.service.shown import shown
from consensus.transport.calls import Client, Subscriber
from consensus.wire.errors import Unreadable
from contracts.auctions import Refusal
from contracts.errors import InvalidValue, MusterError

_log = logging.getLogger(__name__)
MOST_LISTED = 64
"""Auctions of one answer: with eight full bids each they fit a frame."""


class Desk:
    """See `consensus.transport.calls.Handler`. `address_of` tells where a node is reached."""

    def __init__(
        self,
        around: Around,
        parts: tuple[Leading, Proposals, Reads, Orders],
        audience: tuple[Presence, Subscribers],
        told: tuple[Callable[[], str], Callable[[], dict[str, Any]]],
    ) -> None:
        self._a = around
        self._ledger = around.machine.ledger
        self._leading, self._proposals, self._reads, self._orders = parts
        self._presence, self._subscribers = audience
        self._leader_address, self._status = told

    async def answer(self, client: Client, body: bytes) -> bytes:
        return encode_reply(await self._told(self._answer(client, body)))

    async def order(self, client: Client, body: bytes) -> bytes:
        _log.info("%s orders %r", client, body)
        return encode_reply(await self._told(self._order(body)))

    def subscribed(self, subscriber: Subscriber) -> None:
        wanted = self._subscribers.add(subscriber)
        if isinstance(wanted, NewsWanted):
            self._presence.bind(subscriber.client, wanted.nonce)

    def unsubscribed(self, subscriber: Subscriber) -> None:
        self._subscribers.remove(subscriber)

    def connected(self, client: Client) -> None:
        pass

    def disconnected(self, client: Client) -> None:
        self._presence.left(client)

    async def _told(self, work: Awaitable[Reply]) -> Reply:
        """What comes of it, or how the client is told that nothing does."""
        counters = self._a.counters
        try:
            reply = await work
        except (NotLeader, Superseded, Unknown):
            counters.moved += 1
            return Moved(self._leader_address())
        except (Busy, NoSpace) as error:
            counters.postponed += 1
            return Postponed(str(error))
        except (InvalidValue, UnknownCommand, ChangeRefused, Unreadable) as error:
            return _invalid(error)
        return reply

    async def _order(self, body: bytes) -> Reply:
        order = decode_order(body)
        await self._orders.do(order)
        return Shown({"done": order.do})

    async def _answer(self, client: Client, body: bytes) -> Reply:
        match decode_request(body):
            case CommandAsked() as asked:
                self._presence.bind(client, asked.nonce)
                return await self._command(asked)
            case ReadAsked(key=key):
                await self._read()
                auction = self._ledger.views.auction(key)
                return Shown({"auction": shown(auction) if auction else None})
            case ListAsked(after=after, limit=limit):
                await self._read()
                found = self._ledger.views.auctions(after, min(limit, MOST_LISTED))
                return Shown({"auctions": [shown(auction) for auction in found]})
            case StatusAsked():
                return Shown(self._status())
            case PingAsked(nonce=nonce):
                return self._ping(client, nonce)

    def _ping(self, client: Client, nonce: bytes) -> Reply:
        """Whether it is worth asking this node anything that needs a leader."""
        if nonce:
            self._presence.bind(client, nonce)
        if self._leading.term is None:
            raise NotLeader(self._a.core.leader)
        return Shown({"leads": True, "roles": self._presence.roles(nonce)})

    async def _read(self) -> None:
        self._a.counters.reads += 1
        future = self._reads.ask()
        self._a.wake()
        await future

    async def _command(self, asked: CommandAsked) -> Reply:
        """Propose a client's command once it was seen that the client may say it."""
        clock = await self._leading.ready()
        entry = entries.decode(asked.entry, self._ledger.state.version)
        command = entry.command
        if entries.is_of_leader(command):
            raise InvalidValue("only the ledger itself says that", details=type(command).__name__)
        entries.check(command)
        if isinstance(command, OpenSession):
            if command.nonce != asked.nonce:
                raise InvalidValue("a session is opened under the nonce that is shown with it")
        elif isinstance(command, InSession) and not await self._is_own(asked.nonce, entry.session):
            return Answered(Refused(Refusal.UNKNOWN_SESSION))
        clock = self._leading.clock or clock
        index, term = self._a.core.propose(entries.stamped(asked.entry, clock.now))
        self._a.counters.commands += 1
        future = self._proposals.add(index, term)
        self._a.wake()
        answer = await future
        return Answered(answer if answer is not None else Refused(Refusal.INVALID))

    async def _is_own(self, nonce: bytes, session: int) -> bool:
        """Whether the session is that of the nonce. A leader that was overtaken may not know a
        session yet: it says so only once it has asked whether it still leads."""
        if self._ledger.views.session_of(nonce) == session:
            return True
        await self._read()
        return self._ledger.views.session_of(nonce) == session


def _invalid(error: MusterError) -> Invalid:
    return Invalid(error.message, error.details, error.actions)
