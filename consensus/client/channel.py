"""One connection to the leader, found again whenever it is lost."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Iterable, Sequence

from consensus.service.replies import Moved, Shown, decode_reply
from consensus.service.requests import PingAsked, StatusAsked, encode_request
from consensus.transport.connection import Connection, connect
from consensus.transport.dialing import Patience
from consensus.transport.greeting import Terms
from consensus.wire.errors import Refused, Unreadable
from contracts.clock import Clock
from contracts.errors import MusterError

_log = logging.getLogger(__name__)
PATIENCE = Patience(first=0.02, cap=0.25)
"""Between rounds over all nodes: an election takes about half a second, and a client should be
there soon after it, without filling a cluster that has none with requests."""


class Channel:
    """Looks for the leader at all `addresses`, and at those that nodes name, until it is closed.

    `connected` is called for each new connection to a leader. `nonce` gives that of the session, so
    that the node knows whose connection this is. `answer_s`: a node that says nothing for so long
    hangs.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        terms: Terms,
        *,
        clock: Clock,
        rng: random.Random,
        tls: ssl.SSLContext | None = None,
        answer_s: float = 2.0,
        nonce: Callable[[], bytes] = bytes,
        connected: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        if not addresses:
            raise ValueError("a client needs the address of a node")
        self.answer_s = answer_s
        self.reason = "no node was asked yet"
        """Why there is no leader, as far as is known."""
        self._seeds = tuple(addresses)
        self._members: tuple[str, ...] = ()
        self._terms = terms
        self._tls = tls
        self._clock = clock
        self._rng = rng
        self._nonce = nonce
        self._connected = connected
        self._hint = ""
        self._current: Connection | None = None
        self._found = asyncio.Event()
        self._doubted = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def leader(self) -> Connection:
        """A connection to the leader, as soon as there is one."""
        while self._current is None:
            await self._found.wait()
        return self._current

    def doubt(self, connection: Connection, hint: str = "") -> None:
        """It does not lead, or does not answer; `hint` is where the leader may be."""
        if connection is self._current:
            self._current = None
            self._found.clear()
            self._hint = hint
            self._doubted.set()

    async def close(self) -> None:
        """Look no more, and say goodbye."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _keep(self) -> None:
        tries = 0
        while True:
            try:
                connection = await self._round()
                if connection is not None:
                    tries = 0
                    await self._live(connection)
                    continue
            except Exception:  # noqa: BLE001 - callers wait for the next connection
                _log.exception("looking for the leader of the ledger failed; it goes on")
            tries += 1
            await self._clock.sleep(PATIENCE.delay(tries, self._rng))

    async def _live(self, connection: Connection) -> None:
        """One connection to a leader, to its end."""
        try:
            await self._use(connection)
        finally:
            self._current = None
            self._found.clear()
            await connection.close()

    async def _use(self, connection: Connection) -> None:
        """Until its end, or somebody doubts that it is the leader's."""
        self._doubted.clear()
        self._current = connection
        self._found.set()
        self._connected(connection)
        closed = asyncio.ensure_future(connection.closed.wait())
        doubted = asyncio.ensure_future(self._doubted.wait())
        try:
            await self._learn(connection)
            await asyncio.wait((closed, doubted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
            doubted.cancel()

    async def _learn(self, connection: Connection) -> None:
        """Members come and go; their leader knows them."""
        try:
            body = await connection.request(encode_request(StatusAsked()), timeout=self.answer_s)
            reply = decode_reply(body)
        except MusterError:
            return
        if isinstance(reply, Shown):
            self._members = tuple(str(member["address"]) for member in reply.body["members"])

    async def _round(self) -> Connection | None:
        """Ask each node once, those first that others name as leader."""
        waiting = self._candidates()
        asked: dict[str, None] = {}
        while waiting:
            address = waiting.pop(0)
            if address in asked:
                continue
            asked[address] = None
            found = await self._ask(address)
            if isinstance(found, Connection):
                return found
            if found and found not in asked:
                waiting.insert(0, found)
        return None

    def _candidates(self) -> list[str]:
        known = list(dict.fromkeys((*self._seeds, *self._members)))
        self._rng.shuffle(known)
        hint, self._hint = self._hint, ""
        return [hint, *known] if hint else known

    async def _ask(self, address: str) -> "Connection | str":
        """A connection if that node leads; else where it says that the leader is."""
        try:
            connection = await connect(address, self._terms, tls=self._tls)
        except (MusterError, OSError) as error:
            self._miss(address, error)
            return ""
        kept = False
        try:
            body = encode_request(PingAsked(self._nonce()))
            reply = decode_reply(await connection.request(body, timeout=self.answer_s))
            kept = isinstance(reply, Shown)
            if kept:
                return connection
            self.reason = f"{address} does not lead"
            return reply.address if isinstance(reply, Moved) else ""
        except MusterError as error:
            self._miss(address, error)
            return ""
        finally:
            if not kept:
                await connection.close()

    def _miss(self, address: str, error: Exception) -> None:
        self.reason = f"{address}: {error}"
        level = logging.WARNING if isinstance(error, Refused | Unreadable) else logging.DEBUG
        _log.log(level, "the ledger at %s: %s", address, error)


def addresses_of(text: str | Iterable[str]) -> tuple[str, ...]:
    """Addresses from a list, or from one text with commas."""
    found = text.split(",") if isinstance(text, str) else list(text)
    return tuple(one.strip() for one in found if one.strip())
