"""Nodes that speak with each other: members, guests, changes of both."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from consensus.raft.messages import Heartbeat
from consensus.transport.network import Network
from consensus.transport.outgoing import Dialing
from consensus.wire.hello import Speaker
from consensus.wire.messages import Parcel
from deploy.ports import LOOPBACK, free
from tests.consensus.transport.speaking import Desk, soon, terms
from tests.consensus.wire.words import PEER


class Member:
    """A node with a network, and what it heard."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.address = f"{LOOPBACK}:{free()}"
        self.heard: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        speaker = replace(PEER, node=node, name=self.address)
        dialing = Dialing(
            terms=terms(speaker),
            unreachable=lambda _: None,
            rng=random.Random(node),
        )
        self.network = Network(node, dialing, self._received, Desk())

    def _received(self, sender: Speaker, parcel: Parcel) -> None:
        self.heard.put_nowait((sender.node, parcel.message.term))

    def say(self, to: int, term: int) -> None:
        self.network.send(Parcel(Heartbeat(self.node, to, term, 0, 0)))

    async def hears(self) -> tuple[int, int]:
        return await soon(self.heard.get())


@asynccontextmanager
async def members(*nodes: int) -> AsyncIterator[list[Member]]:
    """Nodes that listen and know nobody yet."""
    made = [Member(node) for node in nodes]
    for one in made:
        await one.network.start(*_place(one.address))
    try:
        yield made
    finally:
        for one in made:
            await soon(one.network.close())


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.partition(":")
    return host, int(port)


async def test_every_member_hears_every_other() -> None:
    async with members(1, 2, 3) as nodes:
        for one in nodes:
            one.network.set_members({other.node: other.address for other in nodes})
            assert one.node not in one.network.lines()
        for one in nodes:
            for other in nodes:
                one.say(other.node, one.node)
        for one in nodes:
            heard = {await one.hears() for _ in range(2)}
            assert heard == {(other.node, other.node) for other in nodes if other is not one}


async def test_a_node_that_knows_nobody_yet_answers_who_calls_it() -> None:
    """So it is with one that is to join: its configuration comes from a leader it must answer."""
    async with members(1, 2) as (leader, joining):
        leader.network.set_members({1: leader.address, 2: joining.address})
        leader.say(2, 5)
        assert await joining.hears() == (1, 5)
        joining.say(1, 5)
        assert await leader.hears() == (2, 5)


async def test_a_guest_that_becomes_a_member_keeps_its_connection() -> None:
    async with members(1, 2) as (leader, joining):
        leader.network.set_members({1: leader.address, 2: joining.address})
        leader.say(2, 5)
        await joining.hears()
        line = joining.network.lines()[1]
        joining.network.set_members({1: leader.address, 2: joining.address})
        assert joining.network.lines()[1] is line


async def test_a_guest_that_leaves_is_dialled_no_more() -> None:
    async with members(1, 2) as (leader, joining):
        leader.network.set_members({2: joining.address})
        leader.say(2, 5)
        await joining.hears()
        assert set(joining.network.lines()) == {1}
        await soon(leader.network.close())
        while joining.network.lines():  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0)


async def test_a_member_that_is_removed_is_sent_nothing_more() -> None:
    async with members(1, 2) as (one, two):
        one.network.set_members({2: two.address})
        one.say(2, 1)
        assert await two.hears() == (1, 1)
        one.network.set_members({})
        one.say(2, 2)
        assert one.network.lines() == {}
        one.network.set_members({2: two.address})
        one.say(2, 3)
        assert await two.hears() == (1, 3)


async def test_a_member_that_moves_is_dialled_where_it_is() -> None:
    async with members(1, 2) as (one, two):
        one.network.set_members({2: f"{LOOPBACK}:{free()}"})
        one.network.set_members({2: two.address})
        one.say(2, 3)
        assert await two.hears() == (1, 3)


async def test_a_message_for_nobody_is_lost_without_a_word() -> None:
    async with members(1) as (one,):
        one.say(9, 1)
        assert one.network.lines() == {}
