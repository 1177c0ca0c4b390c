"""What a node does with whoever comes to its port: friends, strangers and enemies."""

import asyncio
import logging
import struct
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from consensus.transport.connection import connect
from consensus.transport.errors import Lost
from consensus.wire.errors import Refused, Why
from consensus.wire.frames import FrameKind, Outbox
from consensus.wire.hello import Hello, Party, Speaker, encode_hello
from consensus.wire.keys import Keys
from consensus.wire.messages import encode
from deploy.ports import LOOPBACK
from tests.consensus.transport.speaking import (
    ALL,
    HASTY,
    KEYS,
    LIMITS,
    append,
    heartbeat,
    listening,
    soon,
    stranger,
    terms,
)
from tests.consensus.wire.words import OPERATOR, OTHER, WORKER


async def test_what_a_peer_sends_is_heard_in_its_order() -> None:
    async with listening() as node, stranger(node.port) as peer:
        await peer.welcomed()
        for round_ in range(100):
            peer.say(FrameKind.MESSAGE, encode(heartbeat(round_)))
        heard = [await soon(node.ears.heard.get()) for _ in range(100)]
        assert heard == [(2, heartbeat(round_)) for round_ in range(100)]
        assert node.listener.counts()[Party.PEER] == 1


async def test_a_frame_may_come_byte_by_byte() -> None:
    async with listening() as node, stranger(node.port) as peer:
        await peer.welcomed()
        frame = peer.outbox.frame(FrameKind.MESSAGE, encode(append(1, 100)))
        for byte in frame:
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
        assert await soon(node.ears.heard.get()) == (2, append(1, 100))


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: ledger\r\n\r\n", b"\0" * 64, b"\xff" * 2000, b"\0\0\0\x05hello"],
)
async def test_garbage_ends_the_connection_and_nothing_else(data: bytes) -> None:
    async with listening() as node, stranger(node.port) as enemy, stranger(node.port) as peer:
        await peer.welcomed()
        enemy.writer.write(data)
        assert await soon(enemy.reader.read()) == b""
        peer.say(FrameKind.MESSAGE, encode(heartbeat(1)))
        assert await soon(node.ears.heard.get())


@pytest.mark.parametrize("speaker", [OTHER, WORKER, OPERATOR], ids=str)
async def test_whoever_has_another_key_is_refused_and_told_why(speaker: Speaker) -> None:
    wrong = Keys(Party.PEER, {party: key[::-1] for party, key in KEYS.items()})
    async with listening(terms(keys=wrong)) as node, stranger(node.port, speaker) as enemy:
        await enemy.introduced()
        assert (await enemy.refused()).why is Why.KEY
        assert node.listener.counts()[speaker.party] == 0


async def test_a_worker_that_says_it_is_a_peer_is_refused() -> None:
    async with listening() as node, stranger(node.port) as enemy:
        enemy.calling._keys = Keys(Party.PEER, {Party.PEER: KEYS[Party.WORKER]})
        await enemy.introduced()
        assert (await enemy.refused()).why is Why.KEY


@pytest.mark.parametrize(
    ("speaker", "why"),
    [
        (replace(OTHER, cluster=8), Why.CLUSTER),
        (replace(OTHER, protocols=(2, 3)), Why.VERSION),
        (replace(OTHER, node=1), Why.NODE),
    ],
)
async def test_a_speaker_that_is_not_meant_is_told_why(speaker: Speaker, why: Why) -> None:
    async with listening() as node, stranger(node.port, speaker) as peer:
        peer.say(FrameKind.HELLO, peer.calling.hello())
        assert (await peer.refused()).why is why


async def test_nothing_of_a_speaker_is_heard_before_its_proof() -> None:
    """Nor is it asked for admission, which would note its seq."""
    asked = []

    async def admit(speaker: Speaker) -> None:
        asked.append(speaker)

    async with listening(terms(admit=admit)) as node, stranger(node.port) as enemy:
        enemy.say(FrameKind.HELLO, enemy.calling.hello())
        await enemy.wanted(FrameKind.HELLO)
        enemy.say(FrameKind.MESSAGE, encode(heartbeat(1)))
        await enemy.ended()
        assert asked == []
        assert node.ears.heard.empty()


async def test_a_peer_that_is_not_who_it_was_is_refused_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def admit(speaker: Speaker) -> None:
        if speaker.seq < 10:
            raise Refused(Why.IDENTITY, f"{speaker} had 10 and comes with {speaker.seq}")

    caplog.set_level(logging.WARNING)
    async with listening(terms(admit=admit)) as node:
        for _ in range(3):
            async with stranger(node.port, replace(OTHER, seq=9)) as peer:
                await peer.introduced()
                peer.calling.check(await peer.wanted(FrameKind.PROOF))
                peer.inbox.seal(peer.calling.receives())
                refused = await peer.refused()
                assert refused.why is Why.IDENTITY
                assert "comes with 9" in refused.details
        async with stranger(node.port, replace(OTHER, seq=10)) as peer:
            await peer.welcomed()
            assert (await soon(node.ears.came.get())).seq == 10
        assert node.listener.telling.counts["refused IDENTITY"] == 3
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "comes with 9" in line]) == 1


async def test_a_frame_that_was_changed_ends_the_connection_unread() -> None:
    async with listening() as node, stranger(node.port) as peer:
        await peer.welcomed()
        frame = bytearray(peer.outbox.frame(FrameKind.MESSAGE, encode(heartbeat(1))))
        frame[20] ^= 1
        peer.writer.write(bytes(frame))
        await peer.ended()
        assert node.ears.heard.empty()


async def test_a_frame_that_is_repeated_ends_the_connection_unread() -> None:
    async with listening() as node, stranger(node.port) as peer:
        await peer.welcomed()
        peer.writer.write(peer.say(FrameKind.MESSAGE, encode(heartbeat(1))))
        await peer.ended()
        assert await soon(node.ears.heard.get()) == (2, heartbeat(1))
        assert node.ears.heard.empty()


async def test_frames_in_another_order_end_the_connection_unread() -> None:
    async with listening() as node, stranger(node.port) as peer:
        await peer.welcomed()
        frames = [peer.outbox.frame(FrameKind.MESSAGE, encode(heartbeat(n))) for n in range(2)]
        peer.writer.write(frames[1] + frames[0])
        await peer.ended()
        assert node.ears.heard.empty()


async def test_a_frame_turned_back_ends_the_connection() -> None:
    async with listening() as node, stranger(node.port, WORKER) as enemy:
        await enemy.welcomed()
        mirror = Outbox(LIMITS.client_bytes)
        mirror.seal(enemy.calling.receives())
        mirror.frame(FrameKind.WELCOME, b"")
        enemy.writer.write(mirror.frame(FrameKind.REQUEST, b"\0" * 8))
        await enemy.ended()
        assert node.desk.asked.empty()


async def test_frames_of_an_earlier_connection_are_worth_nothing() -> None:
    """All that a peer said, repeated by somebody who heard it but has no key."""
    async with listening() as node:
        async with stranger(node.port) as peer:
            await peer.welcomed()
            peer.say(FrameKind.MESSAGE, encode(heartbeat(1)))
            await soon(node.ears.heard.get())
            proof = peer.calling.prove()
        async with stranger(node.port) as enemy:
            enemy.say(FrameKind.HELLO, enemy.calling.hello())
            await enemy.wanted(FrameKind.HELLO)
            enemy.say(FrameKind.PROOF, proof)
            assert (await enemy.refused()).why is Why.KEY
        assert node.ears.heard.empty()


async def test_a_peer_cannot_speak_for_another() -> None:
    async with listening() as node, stranger(node.port) as peer:
        await peer.welcomed()
        peer.say(FrameKind.MESSAGE, encode(heartbeat(1, sender=3)))
        await peer.ended()
        assert node.ears.heard.empty()


@pytest.mark.parametrize(
    ("speaker", "kind"),
    [
        (WORKER, FrameKind.MESSAGE),
        (WORKER, FrameKind.ORDER),
        (OPERATOR, FrameKind.MESSAGE),
        (WORKER, FrameKind.ANSWER),
        (OTHER, FrameKind.REQUEST),
        (OTHER, FrameKind.ORDER),
    ],
)
async def test_each_kind_of_speaker_may_say_only_its_own(speaker: Speaker, kind: FrameKind) -> None:
    async with listening() as node, stranger(node.port, speaker) as enemy:
        await enemy.welcomed()
        enemy.say(kind, encode(heartbeat(1)))
        await enemy.ended()
        assert node.ears.heard.empty()
        assert node.desk.asked.empty()
        assert node.desk.orders == []


async def test_a_frame_that_is_too_large_ends_the_connection_before_it_is_there() -> None:
    async with listening() as node, stranger(node.port, WORKER) as enemy:
        await enemy.welcomed()
        enemy.writer.write(struct.pack(">I", LIMITS.client_bytes + 100))
        await enemy.ended()


async def test_a_connection_that_is_cut_in_a_frame_is_over_and_the_part_unread() -> None:
    async with listening() as node, stranger(node.port) as peer:
        await peer.welcomed()
        await soon(node.ears.came.get())
        frame = peer.outbox.frame(FrameKind.MESSAGE, encode(append(1, 1000)))
        peer.writer.write(frame[:-1])
        peer.writer.write_eof()
        assert (await soon(node.ears.went.get())).node == 2
        assert node.ears.heard.empty()


@pytest.mark.parametrize("said", [0, 1, 2])
async def test_whoever_does_not_introduce_itself_in_time_is_sent_away(said: int) -> None:
    """Half-open: it connects, and goes silent at each step."""
    async with listening(terms(limits=HASTY)) as node, stranger(node.port) as slow:
        if said:
            slow.say(FrameKind.HELLO, slow.calling.hello())
        if said > 1:
            slow.calling.meet(await slow.wanted(FrameKind.HELLO))
            slow.say(FrameKind.PROOF, slow.calling.prove())
        await soon(slow.reader.read())
        assert slow.reader.at_eof()


async def test_too_many_that_do_not_introduce_themselves_are_sent_away_at_once() -> None:
    limits = replace(LIMITS, strangers=2)
    async with (
        listening(terms(limits=limits)) as node,
        stranger(node.port) as one,
        stranger(node.port),
    ):
        async with stranger(node.port) as third:
            await third.ended()
        assert node.listener.telling.counts["turned away"] == 1
        await one.welcomed()
        async with stranger(node.port, replace(OTHER, node=3)) as fourth:
            await fourth.welcomed()


async def test_each_kind_of_speaker_has_its_own_room() -> None:
    limits = replace(LIMITS, workers=1)
    async with listening(terms(limits=limits)) as node:
        first = await connect(node.address, terms(WORKER))
        with pytest.raises(Refused) as caught:
            await connect(node.address, terms(WORKER))
        assert caught.value.why is Why.CROWDED
        operator = await connect(node.address, terms(OPERATOR))
        await first.close()
        await soon(node.desk.gone.get())
        again = await connect(node.address, terms(WORKER))
        for one in (operator, again):
            await one.close()


async def test_a_peer_that_comes_again_takes_the_place_of_its_old_connection() -> None:
    """Whose end this node may not have noticed."""
    async with listening() as node, stranger(node.port) as old, stranger(node.port) as new:
        await old.welcomed()
        await soon(node.ears.came.get())
        await new.welcomed()
        await soon(node.ears.came.get())
        await old.ended()
        new.say(FrameKind.MESSAGE, encode(heartbeat(1)))
        assert await soon(node.ears.heard.get())
        assert node.ears.went.empty(), "it is still here"


async def test_a_closing_node_says_goodbye_and_refuses_who_comes() -> None:
    async with listening() as node, stranger(node.port) as peer:
        await peer.welcomed()
        await soon(node.ears.came.get())
        await soon(node.listener.close())
        assert await peer.wanted(FrameKind.GOODBYE) == b"the node is closing"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, node.port)


async def outcome(asked: Awaitable[bytes]) -> bytes | None:
    """The answer; None where the connection ended before."""
    try:
        return await asked
    except Lost:
        return None


async def test_a_closing_node_answers_what_is_worked_on_and_reads_nothing_more() -> None:
    async with listening() as node:
        node.desk.may[b"slow"] = asyncio.Event()
        worker = await connect(node.address, terms(WORKER))
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(worker.request(b"slow", timeout=10))
            assert await soon(node.desk.asked.get()) == b"slow"
            closing = group.create_task(node.listener.close())
            late = group.create_task(outcome(worker.request(b"late", timeout=10)))
            for _ in range(20):  # turns of the loop in which it comes to the node
                await asyncio.sleep(0)
            node.desk.may[b"slow"].set()
            assert await slow == b"slow by WORKER"
            await closing
        assert late.result() is None
        assert node.desk.asked.empty(), "it was never begun"
        await soon(worker.closed.wait())
        with pytest.raises(Lost, match="the node is closing"):
            await worker.request(b"late", timeout=10)


async def test_closing_waits_for_nobody_for_ever() -> None:
    """A handler that hangs, a stranger that is silent, an admission that never ends."""
    never = asyncio.Event()

    async def admit(speaker: Speaker) -> None:
        if speaker.party is Party.PEER:
            await never.wait()

    limits = replace(LIMITS, grace_s=0.1)
    async with listening(terms(admit=admit, limits=limits)) as node:
        node.desk.may[b"slow"] = asyncio.Event()
        async with (
            stranger(node.port),
            stranger(node.port) as peer,
            stranger(node.port, WORKER) as worker,
        ):
            await peer.introduced()
            await worker.welcomed()
            worker.say(FrameKind.REQUEST, b"\0" * 8 + b"slow")
            await soon(node.desk.asked.get())
            await soon(node.listener.close())
            assert node.desk.cancelled.get_nowait() == b"slow"


async def test_where_both_say_insecure_no_keys_are_needed() -> None:
    async with listening(terms(keys=Keys.none())) as node:
        worker = await connect(node.address, terms(WORKER, keys=Keys.none()))
        assert await worker.request(b"x", timeout=10) == b"x by WORKER"
        await worker.close()
        with pytest.raises(Refused, match="insecure"):
            await connect(node.address, terms(WORKER))


async def test_no_key_is_no_silent_door() -> None:
    """A node with keys never falls back to none, whatever the other side says."""
    async with listening(terms(keys=ALL)) as node, stranger(node.port, WORKER) as enemy:
        enemy.say(FrameKind.HELLO, encode_hello(Hello(WORKER, b"n" * 32, insecure=True)))
        assert (await enemy.refused()).why is Why.KEY
