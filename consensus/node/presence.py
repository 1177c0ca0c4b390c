"""Which sessions are connected here, and since when those that are not are silent."""

import asyncio

from consensus.ledger.ledger import Ledger
from consensus.transport.calls import Client

_SESSIONS = 16
"""Of one connection that are remembered: more belong to no client."""


class Presence:
    """Sessions by their nonce. Seconds are of the event loop's clock."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._clients: dict[bytes, dict[Client, None]] = {}
        self._nonces: dict[Client, dict[bytes, None]] = {}
        self._gone: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def bind(self, client: Client, nonce: bytes) -> None:
        """The client has shown that it knows this nonce."""
        known = self._nonces.setdefault(client, {})
        if nonce not in known and len(known) < _SESSIONS:
            known[nonce] = None
            self._clients.setdefault(nonce, {})[client] = None

    def left(self, client: Client) -> None:
        """Its connection ended."""
        for nonce in self._nonces.pop(client, {}):
            clients = self._clients[nonce]
            del clients[client]
            if not clients:
                del self._clients[nonce]
                self._gone[nonce] = client.heard

    def roles(self, nonce: bytes) -> list[str] | None:
        """What the session of this nonce bids for, as far as this node knows; None where it knows
        no such session."""
        session, bidders = self._ledger.views.session_of(nonce), self._ledger.state.bidders
        if session is None:
            return None
        return [role for role in sorted(bidders) if session in bidders[role]]

    def silent(self, over_ms: int, since: float) -> list[int]:
        """Bidders of which nothing was heard for so long, nor before `since`, when this node began
        to listen for them."""
        state, now = self._ledger.state, asyncio.get_running_loop().time()
        before = now - over_ms / 1000
        self._gone = {nonce: heard for nonce, heard in self._gone.items() if heard > before}
        if since > before:
            return []
        bidders = sorted({session for role in state.bidders.values() for session in role})
        return [one for one in bidders if self._heard(state.sessions[one].nonce) <= before]

    def _heard(self, nonce: bytes) -> float:
        heard = [client.heard for client in self._clients.get(nonce, ())]
        return max(heard, default=self._gone.get(nonce, 0.0))
