"""Dead letters of a bridge: foreign messages that cannot be tasks, kept until somebody decides.

Their headers are kept under names of their own, so that nobody takes them for those of a task.
"""

from collections.abc import Mapping

from bus.backend import MAX_BODY, Message
from bus.deadletters import DeadLetter
from bus.replays import EDITED_BY, replays_in
from contracts.ids import content_id
from contracts.outcomes import Reason
from workers.bridge.messages import Arrived
from workers.bridge.places import Crossing

_FOREIGN = "foreign-"
_OWN_ID = "muster-bridge-own-id"
_CUT = "muster-bridge-cut"
"""Bytes the body had, where it was too large to be kept."""

_MAX_HEADERS = 8 * 1024


def letter_of(
    crossing: Crossing,
    arrived: Arrived,
    *,
    reason: Reason,
    error: str,
    now: float,
    worker: str,
    back: Message | None = None,
) -> DeadLetter:
    """The dead letter of a foreign message; `back`: what it came back in when it was replayed.

    A body that no task may have is cut, and so are headers: what is missing is told, and lies
    where the message came from.
    """
    headers = _kept(arrived.headers)
    if arrived.own_id:
        headers[_OWN_ID] = arrived.own_id
    if len(arrived.body) > MAX_BODY:
        headers[_CUT] = str(len(arrived.body))
        error += f"; its first {MAX_BODY:,} bytes are kept, all {len(arrived.body):,} lie in "
        error += f"{crossing.place.shown}, {arrived.own_id or 'which gives it no name'}"
    own = {} if back is None else {n: v for n, v in back.headers.items() if _is_own(n)}
    return DeadLetter(
        id=back.id if back else content_id({**headers, "": crossing.group}, arrived.body),
        group=crossing.group,
        topic=crossing.topic,
        reason=reason,
        error=error,
        attempts=1,
        copy=back.copy if back else 0,
        worker=worker,
        died=now,
        replays=replays_in(back.headers) if back else 0,
        headers={**own, **headers},
        body=arrived.body[:MAX_BODY],
    )


def arrived_of(message: Message) -> Arrived | None:
    """The foreign message in a dead letter that came back; None for one that was cut and that
    nobody has given another body since."""
    if _CUT in message.headers and EDITED_BY not in message.headers:
        return None
    found = {
        name.removeprefix(_FOREIGN): value
        for name, value in message.headers.items()
        if name.startswith(_FOREIGN)
    }
    own_id = message.headers.get(_OWN_ID, "")
    return Arrived(body=message.body, headers=found, own_id=own_id)


def _is_own(name: str) -> bool:
    return not name.startswith(_FOREIGN)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """As many headers as a dead letter has room for, the first ones first."""
    kept: dict[str, str] = {}
    room = _MAX_HEADERS
    for name, value in headers.items():
        room -= 4 * (len(name) + len(value))
        if room > 0:
            kept[_FOREIGN + name] = value
    return kept
