"""What a process does about its health besides its work: it answers, and it ends."""

import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from workers.health.endpoint import Answer, Endpoint, Page
from workers.health.settings import HealthSettings
from workers.health.watch import Watch

_GIVEN_UP = 3
"""The exit code of a process whose broker stayed away, as of any that cannot reach a service."""

STUCK = 1
"""The exit code of a process that has a handler which does not stop."""

_LEAVE = 2.0
"""Seconds a process whose broker stayed away has to end in good order."""

_log = structlog.get_logger("muster.health")


class Service(Protocol):
    """Something that runs until it is told to stop, and then ends by itself."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Watched:
    """Work with its watch, which ends with it."""

    work: Service
    watch: Watch

    async def run(self) -> None:
        """Work to the end."""
        try:
            await self.work.run()
        finally:
            self.watch.end()

    def stop(self) -> None:
        """Begin to end the work."""
        self.work.stop()


@contextmanager
def probed(
    settings: HealthSettings, watch: Watch, metrics: Callable[[], Awaitable[Page]] | None = None
) -> Iterator[str]:
    """Answer probes, and tell `metrics` where there are any; the URL, empty when that is turned
    off. Raises what `Endpoint.start` does."""
    if not settings.enabled:
        yield ""
        return
    pages: dict[str, Answer] = {"/livez": watch.livez, "/readyz": watch.readyz}
    if metrics is not None:
        pages["/metrics"] = metrics
    endpoint = Endpoint(pages)
    endpoint.start(settings.host, settings.port)
    _log.info("answering probes", **{page[1:]: endpoint.url + page for page in pages})
    try:
        yield endpoint.url
    finally:
        endpoint.close()


def exit_soon(code: int = _GIVEN_UP, seconds: float = _LEAVE) -> None:
    """Exit with `code` in so many seconds, whatever still hangs then."""
    end = threading.Timer(seconds, os._exit, (code,))
    end.daemon = True
    end.start()
