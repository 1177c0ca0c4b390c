"""The recorder as a process."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from contracts.topics import EVENTS, RECORDER
from workers.fleet.membership import Membership
from workers.fleet.presence import Alive, Presence
from workers.fleet.supervised import Ready
from workers.history.opening import open_history
from workers.history.recorder import Recorder
from workers.service_process import Post, service_process
from workers.settings import Loaded


async def record(loaded: Loaded, ready: Ready) -> None:
    """Record until SIGTERM or SIGINT; `ready` is called once it is bound and can be seen. A history
    that is away is waited for. Raises what `service_process` does, and what history raises that
    waiting does not mend."""
    async with service_process(loaded, RECORDER) as post:
        bus, clock = post.bus, post.clock
        connect, lease = partial(open_history, loaded, clock), loaded.settings.fleet.lease
        recorder = Recorder(bus, connect, clock, name=post.who.name, lease=lease)
        shown = Presence(
            bus.store,
            clock,
            _look(recorder, post),
            ready=recorder.ready,
            shown=partial(ready, post.url, post.who.name),
            heard=bus.contact.heard,
        )
        member = Membership(bus, clock, RECORDER, [EVENTS], ready=recorder.ready)
        await post.serve(recorder, [RECORDER], shown, member)


def _look(recorder: Recorder, post: Post) -> Callable[[], Alive]:
    """What others see of it: events recorded and refused."""

    def look() -> Alive:
        return replace(
            post.alive(RECORDER),
            running=int(recorder.active),
            succeeded=recorder.counts.recorded,
            failed=recorder.counts.refused + recorder.counts.unreadable,
            draining=recorder.stopping,
        )

    return look
