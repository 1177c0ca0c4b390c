"""Runs the services of a process until a signal asks it to end."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol


class Service(Protocol):
    """Something that runs until it is told to stop, and then ends by itself."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...


async def serve(services: Sequence[Service]) -> None:
    """Run all until SIGTERM or SIGINT, or until one of them fails; then stop all and return when
    every one has ended. Raises the first failure."""
    tasks = [asyncio.create_task(service.run()) for service in services]

    def stop() -> None:
        for service in services:
            service.stop()

    with _on_signals(stop):
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if rest:
            stop()
            await asyncio.wait(rest)
    errors = [task.exception() for task in [*done, *rest]]
    for error in filter(None, errors):
        raise error


@contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
