"""Settling and extending: only what our own lease clock calls ours is touched.

The server never tells that an acknowledgement is stale, and a late one removes the message
under its new holder [tried]; so a lost receipt sends nothing. One that was killed may have
forgotten its latest hand-overs: it makes them again, and answers nobody who acknowledges what it
does not know [tried]. So after a reconnect the consumers are asked how far they got.
"""

import asyncio
from collections.abc import Iterable, Sequence

from bus.backend import Delivery, Message
from bus.backends.nats.link import NatsLink
from bus.backends.nats.publish import Publisher
from bus.backends.nats.receipts import Receipt, now, receipt
from bus.backends.nats.streams import Consumers
from bus.backends.nats.wire import parse_ack, pub, pub_all
from bus.sizes import check_sizes

_ACK = "+ACK"
_PROGRESS = "+WPI"


async def settle(
    link: NatsLink,
    publisher: Publisher,
    deliveries: Sequence[Delivery],
    then: Sequence[Message],
) -> list[Delivery]:
    """See `Backend.settle`."""
    check_sizes(then)
    await link.ready("settling")
    mine = await _ours(link, deliveries)
    if deliveries and not mine:
        return list(deliveries)
    for each in mine:
        each.settled = True
    kept = mine
    try:
        if then:
            await publisher.publish(then, owed=False)
            at = now(link.clock)
            kept = [each for each in mine if each.unexpired(at)]
        await acknowledge(link, kept)
    except BaseException:
        for each in mine:
            each.settled = False
        raise
    return _others(deliveries, set(map(id, kept)))


async def extend(link: NatsLink, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """See `Backend.extend`: work in progress for each, and an answer for the last of each
    consumer; the server takes those of one consumer in their order."""
    await link.ready("renewing leases")
    mine = await _ours(link, deliveries)
    at = now(link.clock)
    await _send(link, mine, _PROGRESS, "renewing leases")
    for each in mine:
        each.confirm(at)
    return _others(deliveries, set(map(id, mine)))


async def acknowledge(link: NatsLink, receipts: Sequence[Receipt]) -> None:
    """Tell the server they are done, and wait until it has taken that in."""
    await _send(link, receipts, _ACK, "settling")


async def _ours(link: NatsLink, deliveries: Iterable[Delivery]) -> list[Receipt]:
    """The receipts still ours, each once. What was last confirmed on an earlier connection is
    asked about first."""
    mine = _unexpired(link, map(receipt, deliveries))
    doubtful = [each for each in mine if each.confirmed[0] < link.since]
    if not doubtful:
        return mine
    await _give_up_forgotten(link, doubtful)
    return _unexpired(link, mine)


def _unexpired(link: NatsLink, receipts: Iterable[Receipt]) -> list[Receipt]:
    at = now(link.clock)
    return list({id(r): r for r in receipts if r.ours(at)}.values())


async def _give_up_forgotten(link: NatsLink, receipts: Iterable[Receipt]) -> None:
    """Lose what the broker no longer knows it has handed out."""
    held: dict[tuple[str, str], list[tuple[int, Receipt]]] = {}
    for each in receipts:
        ack = parse_ack(each.ack)
        held.setdefault((ack.stream, ack.consumer), []).append((ack.sequence, each))
    consumers = Consumers(link)
    infos = await asyncio.gather(*(consumers.info(*name) for name in held))
    for info, known in zip(infos, held.values(), strict=True):
        reached = info["delivered"]["stream_seq"] if info is not None else 0
        for sequence, each in known:
            if sequence > reached:
                each.settled = True


def _others(deliveries: Iterable[Delivery], mine: set[int]) -> list[Delivery]:
    return [d for d in deliveries if id(d.receipt) not in mine]


async def _send(
    link: NatsLink,
    receipts: Sequence[Receipt],
    word: str,
    doing: str,
) -> None:
    """Say `word` of each; the last of each consumer is answered."""
    if not receipts:
        await link.echo(doing)
        return
    last = {r.consumer: r for r in receipts}
    ends = set(map(id, last.values()))
    waiting: list[tuple[str, asyncio.Future[tuple[bytes, bytes | None]]]] = []
    commands = [pub_all([r.ack for r in receipts if id(r) not in ends], word)]
    for each in last.values():
        reply, future = link.reply_future()
        waiting.append((reply, future))
        commands.append(pub(each.ack, reply, word.encode()))
    try:
        link.send(b"".join(commands), doing)
        for reply, future in waiting:
            await link.wait_for(reply, future, doing)
    finally:
        for reply, future in waiting:
            link.ignore(reply)
            future.cancel()
