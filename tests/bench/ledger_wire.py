"""`python -m tests.bench.ledger_wire [messages]`: what the ledger's network takes.

Encoding and decoding; then two processes on this machine, over loopback, under uvloop, every frame
authenticated: messages one way, messages that are each answered, requests of a client.
"""

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection as Pipe

import uvloop

from consensus.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from consensus.raft.types import Entry, Kind
from consensus.transport.connection import connect
from consensus.transport.dialing import parse
from consensus.transport.network import Network
from consensus.transport.outgoing import Dialing
from consensus.wire.hello import Speaker
from consensus.wire.messages import Parcel, decode, encode
from deploy.ports import LOOPBACK, free
from tests.consensus.transport.speaking import Desk, terms
from tests.consensus.wire.words import PEER, WORKER

MESSAGES = 200_000
BURST = 50
"""Messages that are sent between two turns of the event loop."""
ROUNDS = 5
AHEAD = 2000
"""Messages that may be without an answer: a leader has a limit, too."""


def told(name: str, call: Callable[[], object], times: int) -> None:
    """Print the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            call()
        best = min(best, time.perf_counter() - began)
    print(f"{name:44} {best / times * 1e6:8.2f} µs")


def entries(count: int) -> tuple[Entry, ...]:
    return tuple(Entry(index, 3, Kind.COMMAND, b"x" * 200) for index in range(1, count + 1))


def appended(count: int) -> Parcel:
    """An Append of so many entries of 200 bytes."""
    return Parcel(Append(1, 2, 3, 0, 3, entries(count), 0), 11)


BEAT = Parcel(Heartbeat(1, 2, 3, 0, 0), 11)


def encoding() -> None:
    """Microseconds to encode and to decode."""
    for name, parcel, times in (
        ("AppendReply", Parcel(AppendReply(2, 1, 3, accepted=True, index=9), 11), 20_000),
        ("Append of 1 entry of 200 bytes", appended(1), 20_000),
        ("Append of 64 entries of 200 bytes", appended(64), 1_000),
    ):
        told(f"encode {name}", partial(encode, parcel), times)
        told(f"decode {name}", partial(decode, encode(parcel)), times)


class Node:
    """A node that counts what it hears, and answers it if it is to."""

    def __init__(self, node: int) -> None:
        self.address = f"{LOOPBACK}:{free()}"
        speaker = replace(PEER, node=node, name=self.address)
        dialing = Dialing(terms=terms(speaker), unreachable=lambda _: None)
        self.network = Network(node, dialing, self._received, Desk())
        self.heard = 0
        self.answers = False
        self._news = asyncio.Event()

    async def start(self) -> None:
        await self.network.start(*parse(self.address))

    def _received(self, sender: Speaker, parcel: Parcel) -> None:
        self.heard += 1
        self._news.set()
        if self.answers:
            self.network.send(Parcel(HeartbeatReply(2, sender.node, 3, 0), parcel.seq))

    async def until(self, count: int) -> None:
        """Return when so many messages were heard."""
        while self.heard < count:
            self._news.clear()
            await self._news.wait()


def second(pipe: Pipe, count: int, answers: bool) -> None:
    """The other process: tells its address, then the seconds that `count` messages took."""

    async def run() -> None:
        loop, node = asyncio.get_running_loop(), Node(2)
        node.answers = answers
        await node.start()
        pipe.send(node.address)
        over = loop.run_in_executor(None, pipe.recv)
        if count:
            await node.until(1)
            used = time.process_time()
            await node.until(count)
            pipe.send(time.process_time() - used)
        await over
        await node.network.close()

    uvloop.run(run())


async def messages(
    address: str, pipe: Pipe, *, parcel: Parcel, count: int, answers: bool = False
) -> None:
    """Print how many per second, by the clock and by each process's core."""
    node = Node(1)
    await node.start()
    node.network.set_members({2: address})
    line = node.network.lines()[2]
    while not line.connected:  # noqa: ASYNC110 - nothing is measured yet
        await asyncio.sleep(0.01)
    began, used = time.perf_counter(), time.process_time()
    for sent in range(0, count, BURST):
        while line.waiting:  # noqa: ASYNC110 - the other side is slower
            await asyncio.sleep(0)
        if answers:
            await node.until(sent - AHEAD)
        for _ in range(BURST):
            node.network.send(parcel)
        await asyncio.sleep(0)
    theirs = await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    await node.until(count if answers else 0)
    seconds, mine = time.perf_counter() - began, time.process_time() - used
    print(
        f"  {count / seconds:10,.0f}/s; per second of a core: here {count / mine:,.0f}, "
        f"there {count / theirs:,.0f}; lost {line.dropped}"
    )
    await node.network.close()


async def requests(address: str, _pipe: Pipe, *, at_once: int, count: int) -> None:
    """Requests of one client, and their answers."""
    connection = await connect(address, terms(WORKER))

    async def client() -> None:
        for _ in range(count // at_once):
            await connection.request(b"x" * 100, timeout=60)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(client())
    seconds = time.perf_counter() - began
    print(f"  {count / seconds:10,.0f}/s, {at_once} at once")
    await connection.close()


def beside(
    part: Callable[[str, Pipe], Coroutine[None, None, None]], count: int, *, answers: bool = False
) -> None:
    """Run `part` here, and the other node in a process of its own."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=second, args=(there, count, answers))
    process.start()
    uvloop.run(part(here.recv(), here))
    here.send(None)
    process.join(5)
    if process.is_alive():
        process.kill()


def main() -> None:
    """Print all of it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    encoding()
    for name, parcel in (("Heartbeat", BEAT), ("Append of 1 entry of 200 bytes", appended(1))):
        print(f"one way, {name}:")
        beside(partial(messages, parcel=parcel, count=count), count)
        print(f"each answered, {name}:")
        beside(partial(messages, parcel=parcel, count=count, answers=True), count, answers=True)
    print("requests of 100 bytes, answers of 110:")
    for at_once in (1, 64):
        beside(partial(requests, at_once=at_once, count=count // 10), 0)


if __name__ == "__main__":
    main()
