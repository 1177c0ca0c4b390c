"""Those who asked this node to be told, and what they are told."""

from typing import TypeVar

from consensus.ledger.ledger import Ledger
from consensus.service.replies import Push, encode_push
from consensus.service.requests import EndWanted, NewsWanted, Wanted, decode_wanted
from consensus.transport.calls import Subscriber
from consensus.wire.errors import Unreadable
from contracts.auctions import Opening, Won

N = TypeVar("N", str, bytes)


class Subscribers:
    """Bidders by the nonce of their session, and whoever waits for the end of an auction.

    A bidder that subscribes is told all that waits for it; so it is after a snapshot was put in
    place. It may be told the same more than once, and never too little.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.told = 0
        """How many pushes there were."""
        self._ledger = ledger
        self._news: dict[bytes, dict[Subscriber, None]] = {}
        self._ends: dict[str, dict[Subscriber, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._news.values())) + sum(map(len, self._ends.values()))

    def add(self, subscriber: Subscriber) -> Wanted | None:
        """Tell it from now on; what it wanted, None where that cannot be read."""
        try:
            wanted = decode_wanted(subscriber.body)
        except Unreadable:
            subscriber.end(b"")
            return None
        if isinstance(wanted, NewsWanted):
            self._news.setdefault(wanted.nonce, {})[subscriber] = None
            self._tell_all(wanted.nonce, subscriber)
        else:
            self._ends.setdefault(wanted.key, {})[subscriber] = None
            self.ended(wanted.key)
        return wanted

    def remove(self, subscriber: Subscriber) -> None:
        """Tell it no more."""
        wanted = decode_wanted(subscriber.body)
        if isinstance(wanted, NewsWanted):
            _forget(self._news, wanted.nonce, subscriber)
        elif isinstance(wanted, EndWanted):
            _forget(self._ends, wanted.key, subscriber)

    def bidder(self, told: Opening | Won) -> None:
        """Something a bidder has to hear."""
        session = self._ledger.state.sessions.get(told.session)
        if session is not None:
            for subscriber in self._news.get(session.nonce, ()):
                self._push(subscriber, told)

    def ended(self, key: str) -> None:
        """The auction of this key may have ended."""
        if key not in self._ends:
            return
        auction = self._ledger.views.auction(key)
        if auction is not None and auction.phase.ended:
            for subscriber in self._ends.pop(key):
                self.told += 1
                subscriber.end(encode_push(auction))

    def restored(self) -> None:
        """Anything may have happened."""
        for nonce, subscribers in list(self._news.items()):
            for subscriber in subscribers:
                self._tell_all(nonce, subscriber)
        for key in list(self._ends):
            self.ended(key)

    def _tell_all(self, nonce: bytes, subscriber: Subscriber) -> None:
        session = self._ledger.views.session_of(nonce)
        if session is not None:
            for told in self._ledger.views.waiting_for(session):
                self._push(subscriber, told)

    def _push(self, subscriber: Subscriber, told: Push) -> None:
        self.told += 1
        subscriber.push(encode_push(told))


def _forget(held: dict[N, dict[Subscriber, None]], name: N, subscriber: Subscriber) -> None:
    found = held.get(name, {})
    found.pop(subscriber, None)
    if not found:
        held.pop(name, None)
