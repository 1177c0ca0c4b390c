"""Messages and lanes as the bus database keeps them. Pure."""

import json

from bus.backend import RETRY, SLICES, Lane, LaneName, Message


def head_of(message: Message) -> str:
    """All of a message but its body."""
    lane = message.lane
    return json.dumps(
        [
            message.id,
            message.copy,
            message.topic,
            dict(message.headers),
            lane.name.value,
            lane.slice,
            message.due,
            message.group,
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def message_of(head: str, body: bytes) -> Message:
    """The message whose `head_of` this is."""
    id_, copy, topic, headers, lane, slice_, due, group = json.loads(head)
    return Message(id_, copy, topic, body, headers, Lane(LaneName(lane), slice_), due, group)


def resting_lane(message: Message) -> Lane:
    """The lane a message lies in: what is delayed and what comes back lies in the retry lane."""
    if message.due or message.copy:
        return Lane(RETRY.name, message.lane.slice)
    return message.lane


def slices_of(lane: Lane, slices: int) -> range:
    """The slices that tenants are spread over which one lane of a fleet with so many has."""
    return range(lane.slice % slices, SLICES, slices)
