"""What one node sends to a peer that answers, is away, hangs, lies, or is somebody else."""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.transport.greeting import Terms
from consensus.transport.outgoing import Dialing, Outgoing
from consensus.wire.errors import Refused, Why
from consensus.wire.frames import FrameKind
from consensus.wire.hello import Party, Speaker
from consensus.wire.keys import Keys
from consensus.wire.messages import Parcel, decode
from deploy.ports import LOOPBACK, free
from tests.certificates import issued
from tests.consensus.transport.speaking import (
    HASTY,
    LIMITS,
    Called,
    Node,
    Stopwatch,
    Stranger,
    answering,
    append,
    heartbeat,
    listening,
    soon,
    terms,
)
from tests.consensus.wire.words import OTHER, PEER
from tests.proxy import proxied


class Lines:
    """Outgoing connections of node 1, and what was said of them."""

    def __init__(self) -> None:
        self.unreachable: asyncio.Queue[int] = asyncio.Queue()
        self.clock = Stopwatch()
        self.open: list[Outgoing] = []

    def to(
        self,
        address: str,
        *,
        peer: int = 2,
        on: Terms | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Outgoing:
        dialing = Dialing(
            terms=on or terms(),
            unreachable=self.unreachable.put_nowait,
            clock=self.clock,
            rng=random.Random(1),
            tls=tls,
        )
        line = Outgoing(peer, address, dialing)
        self.open.append(line)
        line.start()
        return line

    async def close(self) -> None:
        for line in self.open:
            await soon(line.close())


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    made = Lines()
    yield made
    await made.close()


def to_two(parcel: Parcel) -> Parcel:
    """From node 1 to node 2."""
    return replace(parcel, message=replace(parcel.message, sender=1, to=2))


def beat(round_: int) -> Parcel:
    return to_two(heartbeat(round_))


async def until(state: Callable[[], bool]) -> None:
    """Let everything run until it is so."""
    async with asyncio.timeout(20):
        while not state():  # noqa: ASYNC110 - no event says what a test wants to know
            await asyncio.sleep(0)


async def messages(peer: Stranger, count: int) -> list[Parcel]:
    return [decode(await peer.wanted(FrameKind.MESSAGE)) for _ in range(count)]


async def test_messages_arrive_in_their_order(lines: Lines) -> None:
    async with listening(terms(OTHER)) as node:
        line = lines.to(node.address)
        await until(lambda: line.connected)
        for round_ in range(1000):
            line.send(beat(round_))
        heard = [await soon(node.ears.heard.get()) for _ in range(1000)]
        assert heard == [(1, beat(round_)) for round_ in range(1000)]
        assert line.dropped == 0


async def test_what_is_sent_before_there_is_a_connection_waits_for_it(lines: Lines) -> None:
    async with listening(terms(OTHER)) as node:
        line = lines.to(node.address)
        line.send(beat(1))
        assert await soon(node.ears.heard.get()) == (1, beat(1))


async def test_what_waited_too_long_for_a_connection_is_not_sent(lines: Lines) -> None:
    on = terms(limits=replace(LIMITS, stale_s=0.0))
    async with listening(terms(OTHER)) as node:
        line = lines.to(node.address, on=on)
        line.send(beat(1))
        await until(lambda: line.connected)
        line.send(beat(2))
        assert await soon(node.ears.heard.get()) == (1, beat(2))
        assert line.dropped == 1
        assert await soon(lines.unreachable.get()) == 2, "what was lost is told"


async def test_many_small_messages_leave_in_one_write(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(terms(OTHER)) as node:
        line = lines.to(node.address)
        await until(lambda: line.connected)
        assert line._link is not None
        assert line._link._transport is not None
        writes: list[int] = []
        write = line._link._transport.write

        def counted(data: bytes) -> None:
            writes.append(len(data))
            write(data)

        monkeypatch.setattr(line._link._transport, "write", counted)
        for round_ in range(200):
            line.send(beat(round_))
        for _ in range(200):
            await soon(node.ears.heard.get())
        assert len(writes) == 1


async def test_a_lost_connection_is_told_and_made_again(lines: Lines) -> None:
    async with answering() as called:
        line = lines.to(called.address)
        first = await (await called.next()).welcoming()
        await until(lambda: line.connected)
        await first.close()
        assert await soon(lines.unreachable.get()) == 2
        second = await (await called.next()).welcoming()
        line.send(beat(1))
        assert await messages(second, 1) == [beat(1)]


async def test_a_connection_that_is_cut_is_told_and_made_again(lines: Lines) -> None:
    async with (
        listening(terms(OTHER)) as node,
        proxied(f"ledger://{node.address}") as proxy,
    ):
        line = lines.to(f"{LOOPBACK}:{proxy.port}")
        await until(lambda: line.connected)
        await proxy.cut()
        assert await soon(lines.unreachable.get()) == 2
        await proxy.mend()
        await until(lambda: line.connected)
        line.send(beat(7))
        while (await soon(node.ears.heard.get()))[1] != beat(7):
            pass


async def test_attempts_wait_longer_and_longer_up_to_the_cap(lines: Lines) -> None:
    lines.to(f"{LOOPBACK}:{free()}")
    await until(lambda: len(lines.clock.slept) >= 12)
    slept = lines.clock.slept
    longest = [0.05, 0.1, 0.2, 0.4] + [0.5] * 8
    assert all(top / 2 <= one <= top for one, top in zip(slept, longest, strict=False))


async def test_a_peer_that_is_away_costs_a_bounded_memory(lines: Lines) -> None:
    on = terms(limits=replace(LIMITS, queue_messages=50, stale_s=1000.0))
    line = lines.to(f"{LOOPBACK}:{free()}", on=on)
    for round_ in range(500):
        line.send(beat(round_))
    assert line.waiting == 50
    assert line.dropped == 450
    assert await soon(lines.unreachable.get()) == 2


async def never_reading(called: Called, line: Outgoing, megabytes: int) -> int:
    """How many bytes wait in this process for a peer that reads nothing after its welcome."""
    peer = await called.next()
    await peer.welcoming()
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: line.connected)
    link = line._link
    assert link is not None
    most = 0
    for index in range(1, megabytes * 16):
        line.send(to_two(append(index, 64 << 10)))
        await asyncio.sleep(0)
        waits = link._transport.get_write_buffer_size() if link._transport else 0
        most = max(most, line._backlog.bytes + link._unsent_bytes + waits)
    return most


async def test_a_peer_that_never_reads_costs_a_bounded_memory(lines: Lines) -> None:
    on = terms(limits=replace(LIMITS, queue_bytes=1 << 20, stall_s=60.0))
    async with answering() as called:
        line = lines.to(called.address, on=on)
        most = await never_reading(called, line, 24)
        assert (1 << 20) // 2 < most < 2 << 20
        assert line.dropped > 100
        assert lines.unreachable.qsize() > 0


async def test_a_peer_that_never_reads_loses_its_connection_in_the_end(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the system does not end it."""
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    async with answering() as called:
        line = lines.to(called.address, on=terms(limits=replace(HASTY, hello_s=5.0)))
        await never_reading(called, line, 24)
        await soon(called.next())
        assert line.dropped > 0 or line.waiting > 0


async def test_closing_waits_for_no_peer_that_never_reads(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    async with answering() as called:
        line = lines.to(called.address, on=terms(limits=replace(LIMITS, grace_s=0.1)))
        await never_reading(called, line, 8)
        async with asyncio.timeout(LIMITS.stall_s / 2):
            await line.close()


async def test_a_peer_that_hangs_delays_no_other(lines: Lines) -> None:
    async with answering() as called, listening(terms(OTHER)) as node:
        hanging = lines.to(called.address)
        line = lines.to(node.address)
        await never_reading(called, hanging, 8)
        await until(lambda: line.connected)
        line.send(beat(1))
        assert await soon(node.ears.heard.get()) == (1, beat(1))


async def test_a_peer_that_reads_late_gets_what_is_left_in_its_order(lines: Lines) -> None:
    on = terms(limits=replace(LIMITS, queue_messages=100, stall_s=60.0))
    async with answering() as called:
        line = lines.to(called.address, on=on)
        await never_reading(called, line, 24)
        assert line.waiting == 100, "more than a connection may hold at once"
        called.all[0].writer.transport.resume_reading()  # type: ignore[attr-defined]
        last, found = 24 * 16 - 1, 0
        while found < last:
            (parcel,) = await messages(called.all[0], 1)
            index = parcel.message.entries[0].index  # type: ignore[union-attr]
            assert index > found
            found = index
        assert line.dropped > 0


async def test_a_port_that_takes_connections_and_is_silent_is_given_up(lines: Lines) -> None:
    async with answering() as called:
        line = lines.to(called.address, on=terms(limits=HASTY))
        await called.next()
        await called.next()
        assert not line.connected


async def refused(lines: Lines, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """The line was refused several times, for this, and said it once."""
    count = len(lines.clock.slept)
    await until(lambda: len(lines.clock.slept) > count + 3)
    assert not lines.open[0].connected
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if text in line and line.startswith("node 2 at")]) == 1


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (replace(OTHER, node=3), "node 3 '127.0.0.1:2' answers where node 2 should"),
        (replace(OTHER, cluster=8), "of another cluster"),
        (replace(OTHER, protocols=(2, 9)), "speaks protocols 2 to 9, node 1"),
    ],
)
async def test_a_node_that_is_not_meant_is_refused_and_said_once(
    lines: Lines, caplog: pytest.LogCaptureFixture, other: Speaker, text: str
) -> None:
    caplog.set_level(logging.WARNING)
    async with listening(terms(other)) as node:
        lines.to(node.address)
        await refused(lines, caplog, text)


async def test_different_keys_are_refused_and_said_once(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    wrong = Keys(Party.PEER, {Party.PEER: b"w" * 32})
    async with listening(terms(OTHER)) as node:
        lines.to(node.address, on=terms(keys=wrong))
        await refused(lines, caplog, "different keys")
        assert node.ears.came.empty()


async def test_whoever_has_no_key_cannot_pass_for_a_node(lines: Lines) -> None:
    """It takes the connection, says the right hello, and guesses the proof."""
    async with answering() as called:
        line = lines.to(called.address)
        enemy = await called.next()
        enemy.called.meet(await enemy.wanted(FrameKind.HELLO))
        enemy.say(FrameKind.HELLO, enemy.called.hello())
        await enemy.wanted(FrameKind.PROOF)
        enemy.say(FrameKind.PROOF, b"p" * 32)
        line.send(beat(1))
        assert (await enemy.refused()).why is Why.KEY


async def test_a_node_that_is_called_and_not_who_it_was_is_refused_and_told(lines: Lines) -> None:
    async def admit(speaker: Speaker) -> None:
        raise Refused(Why.IDENTITY, f"{speaker} is older than it was")

    async with answering() as called:
        lines.to(called.address, on=terms(admit=admit))
        peer = await called.next()
        peer.called.meet(await peer.wanted(FrameKind.HELLO))
        peer.say(FrameKind.HELLO, peer.called.hello())
        peer.called.check(await peer.wanted(FrameKind.PROOF))
        peer.say(FrameKind.PROOF, peer.called.prove())
        peer.outbox.seal(peer.called.sends())
        peer.inbox.seal(peer.called.receives())
        peer.say(FrameKind.WELCOME)
        told = await peer.refused()
        assert told.why is Why.IDENTITY
        assert "older than it was" in told.details


async def test_a_called_peer_that_says_anything_but_goodbye_loses_the_connection(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering() as called:
        lines.to(called.address)
        peer = await (await called.next()).welcoming()
        peer.say(FrameKind.MESSAGE, b"x" * 20)
        await peer.ended()
        await called.next()
    assert "a frame of kind 16 from a peer that was called" in caplog.text


async def test_each_connection_tells_the_seq_of_its_moment(lines: Lines) -> None:
    seq = iter(range(5, 100))
    on = replace(terms(), introduce=lambda: replace(PEER, seq=next(seq)))
    async with answering() as called:
        lines.to(called.address, on=on)
        for expected in (5, 6):
            peer = await called.next()
            hello = peer.called.meet(await peer.wanted(FrameKind.HELLO))
            assert hello.speaker.seq == expected
            await peer.close()


async def test_an_admission_that_breaks_is_no_end_of_dialling(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    tries = iter(range(10))

    async def admit(speaker: Speaker) -> None:
        if next(tries) < 2:
            raise RuntimeError("the disk is gone")

    async with listening(terms(OTHER)) as node:
        line = lines.to(node.address, on=terms(admit=admit))
        await until(lambda: line.connected)
    assert "the disk is gone" in caplog.text


async def test_a_peer_that_says_goodbye_is_dialled_again_and_no_warning(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering() as called:
        line = lines.to(called.address)
        peer = await (await called.next()).welcoming()
        await until(lambda: line.connected)
        peer.say(FrameKind.GOODBYE, b"the node is closing")
        await (await called.next()).welcoming()
        assert await soon(lines.unreachable.get()) == 2
    assert caplog.records == []


async def test_closing_says_goodbye_and_dials_no_more(lines: Lines) -> None:
    async with answering() as called:
        line = lines.to(called.address)
        peer = await (await called.next()).welcoming()
        await until(lambda: line.connected)
        await soon(line.close())
        assert await peer.wanted(FrameKind.GOODBYE) == b"the node closes the connection"
        await peer.ended()
        assert called.callers.empty()
        assert lines.unreachable.empty()


@asynccontextmanager
async def tls_node(folder: Path) -> AsyncIterator[tuple[Node, ssl.SSLContext]]:
    """A node that speaks TLS, and what trusts it."""
    files = issued(folder)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.chain, files.key)
    async with listening(terms(OTHER), tls=server) as node:
        yield node, ssl.create_default_context(cafile=files.authority)


async def test_tls_carries_all_of_it(lines: Lines, tmp_path: Path) -> None:
    async with tls_node(tmp_path) as (node, trusting):
        line = lines.to(node.address, tls=trusting)
        for index in range(1, 20):
            line.send(to_two(append(index, 100_000)))
        for index in range(1, 20):
            assert await soon(node.ears.heard.get()) == (1, to_two(append(index, 100_000)))


async def test_a_certificate_that_nobody_trusts_is_a_clear_warning(
    lines: Lines, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_node(tmp_path) as (node, _):
        lines.to(node.address, tls=ssl.create_default_context())
        await until(lambda: len(lines.clock.slept) > 2)
    assert "certificate verify failed" in caplog.text.lower()


async def test_a_proxy_that_hangs_is_a_slow_peer_and_no_more(lines: Lines) -> None:
    """Nothing passes, and nobody hears of it: what is sent meanwhile is bounded."""
    on = terms(limits=replace(LIMITS, queue_bytes=1 << 20, stall_s=60.0))
    async with listening(terms(OTHER)) as node, proxied(f"ledger://{node.address}") as proxy:
        line = lines.to(f"{LOOPBACK}:{proxy.port}", on=on)
        await until(lambda: line.connected)
        proxy.hang()
        sent = 0
        while not line.dropped:
            sent += 1
            line.send(to_two(append(sent, 64 << 10)))
            await asyncio.sleep(0)
        await proxy.mend()
        line.send(beat(99))
        while (await soon(node.ears.heard.get()))[1] != beat(99):
            pass
