"""The recorder as a process."""

from collections.abc import Callable
from functools import partial
from time import process_time

import psutil

from contracts.clock import SystemClock
from contracts.topics import EVENTS, RECORDER
from workers.engine.identity import Identity
from workers.fleet.drain import serve
from workers.fleet.membership import Membership
from workers.fleet.presence import Alive, Presence
from workers.health.probed import Watched, exit_soon, probed
from workers.health.watch import Watch
from workers.history.opening import open_history
from workers.history.recorder import Recorder
from workers.reporting import service_scraping
from workers.settings import Loaded
from workers.wiring import open_bus


async def record(loaded: Loaded, ready: Callable[[str], None]) -> None:
    """Record until SIGTERM or SIGINT; `ready` is called once it is bound and can be seen, with the
    URL of its probes. A history that is away is waited for. Raises `Unreachable` when the broker
    was away for `fleet.give_up` seconds, `PortTaken`, `SettingsError`, and what history raises
    that waiting does not mend."""
    clock, who = SystemClock(), Identity.of_this_process()

    async def gave_up() -> None:
        exit_soon()
        await bus.abandon()

    watch = Watch(clock, give_up=loaded.settings.fleet.give_up, gave_up=gave_up)
    scraping = service_scraping(loaded, who, clock)
    with probed(loaded.settings.health, watch, scraping.page) as url:
        bus = await open_bus(loaded, source=f"/muster/recorder/{who.name}")
        connect = partial(open_history, loaded, clock)
        recorder = Recorder(bus, connect, clock, name=who.name, lease=loaded.settings.fleet.lease)
        watch.over(recorder, bus.contact)
        scraping.over(bus, [RECORDER])
        look = _look(recorder, who, clock.wall(), url)
        tell, heard = partial(ready, url), bus.contact.heard
        shown = Presence(bus.store, clock, look, ready=recorder.ready, shown=tell, heard=heard)
        member = Membership(bus, clock, RECORDER, [EVENTS], ready=recorder.ready)
        try:
            await serve([Watched(recorder, watch), watch, shown, member])
        finally:
            await bus.close()


def _look(recorder: Recorder, who: Identity, since: float, health: str) -> Callable[[], Alive]:
    """What others see of it: events recorded and refused."""
    clock, process = SystemClock(), psutil.Process()

    def look() -> Alive:
        return Alive(
            role=RECORDER,
            worker=who.name,
            pid=who.pid,
            host=who.host,
            since=since,
            at=clock.wall(),
            concurrency=1,
            running=int(recorder.active),
            succeeded=recorder.counts.recorded,
            failed=recorder.counts.refused + recorder.counts.unreadable,
            draining=recorder.stopping,
            health=health,
            memory=process.memory_info().rss,
            cpu=process_time(),
        )

    return look
