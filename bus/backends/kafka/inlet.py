"""The inlet: a topic that others write, whose hand-overs are kept as those of a group.

So what one process has read and not routed comes to another when its lease is over, and what was
routed is deleted as everything that is done.
"""

from bus.backends.kafka import statements, topics
from bus.backends.kafka.groups import Group, Groups
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import INGRESS, LOGGED, inlet
from bus.database.database import BusDatabase
from contracts.clock import Clock

_DOING = "waiting at the ingress"
_MOST_BYTES = 1
"""The answer is not read for its records: at least one batch comes anyhow."""


async def opened(
    link: KafkaLink, database: BusDatabase, groups: Groups, *, fleet: str, clock: Clock
) -> Group:
    """The inlet, made if it is not there. One that somebody else has made is taken as it is, and
    given partitions until their number is one of ours. Raises bus errors."""
    topic = inlet(fleet)
    known = (await groups.current()).groups.get(INGRESS)
    if known is not None and len(await link.leaders(topic, _DOING)) <= known.slots * len(LOGGED):
        return known
    found = (await database.fetch(statements.FOUND, database.fleet, INGRESS, topic, 1))[0]
    await topics.create(link, topic, 1, clock)
    slots = -(-len(await link.leaders(topic, _DOING)) // len(LOGGED))
    await topics.grow(link, topic, slots * len(LOGGED), clock)
    await database.fetch(statements.PARTS, found["gid"], slots * len(LOGGED))
    await database.fetch(statements.BOUND, database.fleet, found["gid"], [], 1, slots)
    return await groups.bound(INGRESS)
