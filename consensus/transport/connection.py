"""The client's side: requests and their answers, subscriptions and what they bring."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator

from consensus.raft.types import NodeId
from consensus.transport.dialing import dial
from consensus.transport.errors import Failed, Lost, NoAnswer
from consensus.transport.greeting import Terms, greet
from consensus.transport.limits import Limits
from consensus.transport.link import Link
from consensus.wire.calls import Call, decode_call, encode_call
from consensus.wire.errors import Unreadable
from consensus.wire.frames import Frame, FrameKind
from consensus.wire.hello import Speaker, decode_text


class Subscription:
    """What a node pushes, in its order, without a gap. Iterate over it; it ends with `Lost` when
    the connection does, and normally after the node's last word, which is then `last`.

    One that is not read closes the connection after `room` pushes: nothing is ever dropped.
    """

    def __init__(self, connection: "Connection", number: int, room: int) -> None:
        self.last: bytes | None = None
        self._connection = connection
        self._number = number
        self._room = room
        self._pushed: deque[bytes] = deque()
        self._news = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (pushed := await self.next()) is not None:
            yield pushed

    async def next(self) -> bytes | None:
        """The next push; None after the last. Raises `Lost`, after what came before the end."""
        while not self._pushed:
            if self.last is not None:
                return None
            if self._connection.closed.is_set():
                raise Lost(self._connection.reason)
            self._news.clear()
            await self._news.wait()
        return self._pushed.popleft()

    def cancel(self) -> None:
        """Be told no more."""
        self._connection.unsubscribe(self._number)

    def pushed(self, body: bytes) -> bool:
        """Take what came; False where there is no room."""
        if len(self._pushed) < self._room:
            self._pushed.append(body)
            self._news.set()
            return True
        return False

    def ended(self, body: bytes | None) -> None:
        """Take the last word, or know that there is none."""
        self.last = body
        self._news.set()


class Connection:
    """A client's connection to one node, made by `connect`; it is not made again when it ends.

    `node` is who answered, `closed` is set at its end, `reason` says why. Any number of requests
    may be under way; each may be cancelled, which leaves open whether it was done.
    """

    def __init__(self, link: Link, node: Speaker, limits: Limits) -> None:
        self.node = node
        self.closed = link.closed
        self._link = link
        self._count = 0
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._subscriptions: dict[int, Subscription] = {}
        size = limits.client_bytes + 8
        link.open(self._receive, reads=size, writes=size)
        self._end = asyncio.get_running_loop().create_task(self._ended())

    @property
    def reason(self) -> str:
        """Why it ended; empty while it did not."""
        return self._link.reason

    @property
    def heard(self) -> float:
        """When the node said anything last, in seconds of the event loop's clock."""
        return self._link.heard

    async def request(self, body: bytes, *, timeout: float) -> bytes:
        """The node's answer.

        `NoAnswer`, `Lost`, `Failed`: nobody knows whether it was done. `TooLarge`: it was not sent.
        """
        return await self._ask(FrameKind.REQUEST, body, timeout)

    async def order(self, body: bytes, *, timeout: float) -> bytes:
        """As `request`, for operators; a node closes the connection of anybody else who does it."""
        return await self._ask(FrameKind.ORDER, body, timeout)

    async def subscribe(self, body: bytes, *, room: int = 1024) -> Subscription:
        """Be told; `room` is how many pushes may wait to be read here. Raises `Lost`."""
        await self._link.room()
        self._check()
        self._count += 1
        self._link.send(FrameKind.SUBSCRIBE, encode_call(self._count, body))
        made = self._subscriptions[self._count] = Subscription(self, self._count, room)
        return made

    def unsubscribe(self, number: int) -> None:
        """Ask to be told no more; what is on its way is ignored."""
        found = self._subscriptions.pop(number, None)
        if found is not None:
            found.ended(b"")
            self._link.send(FrameKind.UNSUBSCRIBE, encode_call(number, b""))

    async def close(self) -> None:
        """Say goodbye; ends within `grace_s`."""
        self._link.close("the client is done")
        await self.closed.wait()
        await asyncio.wait([self._end])

    def _check(self) -> None:
        if self.closed.is_set() or self._link.reason:
            raise Lost(self._link.reason)

    async def _ask(self, kind: FrameKind, body: bytes, seconds: float) -> bytes:
        number = 0
        try:
            async with asyncio.timeout(seconds):
                await self._link.room()
                self._check()
                self._count += 1
                number = self._count
                self._link.send(kind, encode_call(number, body))
                answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                self._asked[number] = answer
                return await answer
        except TimeoutError as error:
            raise NoAnswer(seconds) from error
        finally:
            self._asked.pop(number, None)

    def _receive(self, frame: Frame) -> None:
        if frame.kind == FrameKind.GOODBYE:
            self._link.goodbye(frame)
            return
        call = decode_call(frame.payload)
        if call.number > self._count:
            raise Unreadable(f"something of call {call.number}, which was never made")
        if frame.kind in {FrameKind.ANSWER, FrameKind.FAILED}:
            self._answered(frame.kind, call)
        elif frame.kind in {FrameKind.PUSH, FrameKind.ENDED}:
            self._pushed(frame.kind, call)
        else:
            raise Unreadable(f"a frame of kind {frame.kind} from a node")

    def _answered(self, kind: int, call: Call) -> None:
        """Late answers belong to nobody any more."""
        asked = self._asked.get(call.number)
        if asked is None or asked.done():
            return
        if kind == FrameKind.ANSWER:
            asked.set_result(call.body)
        else:
            asked.set_exception(Failed(decode_text(call.body)))

    def _pushed(self, kind: int, call: Call) -> None:
        subscription = self._subscriptions.get(call.number)
        if subscription is None:
            return
        if kind == FrameKind.ENDED:
            del self._subscriptions[call.number]
            subscription.ended(call.body)
        elif not subscription.pushed(call.body):
            self._link.close("a subscription is not read")

    async def _ended(self) -> None:
        await self.closed.wait()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(Lost(self.reason))
        for subscription in self._subscriptions.values():
            subscription.ended(None)


async def connect(
    address: str,
    terms: Terms,
    *,
    expected: NodeId | None = None,
    tls: ssl.SSLContext | None = None,
) -> Connection:
    """A connection to the node at `address`, proven on both sides; `expected` is the node that is
    meant. `Unreached`, `Refused` (why), `Lost`, `Unreadable` where something else answers."""
    link = await dial(address, terms.limits, tls)
    try:
        node = await greet(link, terms, calling=True, expected=expected)
    except BaseException:
        link.leave()
        raise
    return Connection(link, node, terms.limits)
