"""What a backend and a key-value store share: a connection for commands, and more for waiting.

Nothing is asked twice: a call on a connection that goes is `Unreachable`, and the next one
connects anew. Whoever made a link with `connect` closes it; a backend or a store that is closed
lets go only of what is its own.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bus.backends.redis import errors
from bus.backends.redis.dial import Address, dial
from bus.backends.redis.errors import ClosedByUs, Lost, Refused
from bus.backends.redis.scripts import Script
from bus.backends.redis.wire import Argument, Wire
from bus.errors import BusError, Closed
from bus.lockout import Lockouts
from contracts.clock import Clock

BEAT = 0.5
"""Seconds between two looks at each connection."""

SILENCE = 8
"""Looks without a sign of life, while an answer is to come, after which a connection is lost: it
is known within five seconds (promise 16)."""

_DIAL = 2.0
"""Seconds in which a connection must stand, but for the first."""


class RedisLink:
    """The connections of one event loop to the server at `url`, which has no password in it.

    `prefix` is what all keys of the fleet begin with. `lost` is called when the connection for
    commands goes.
    """

    def __init__(
        self,
        address: Address,
        fleet: str,
        *,
        url: str,
        lease: float,
        slices: int,
        clock: Clock,
        lockouts: Lockouts | None = None,
    ) -> None:
        self.prefix = f"{{muster:{fleet}}}"
        self.url = url
        self.lease = lease
        self.slices = slices
        self.clock = clock
        self.lost: list[Callable[[], None]] = []
        self._address = address
        self._wire: Wire | None = None
        self._wires: set[Wire] = set()
        self._connecting: asyncio.Task[Wire] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._lockout = (lockouts or Lockouts()).of(f"Redis at {url}")

    def start(self, wire: Wire) -> None:
        """Begin with a connection for commands that stands."""
        self._wire = wire
        self._wires.add(wire)
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def run(self, script: Script, *arguments: Argument, doing: str) -> Any:
        """The answer of a script to these arguments."""
        wire = await self.ready(doing)
        try:
            return await wire.ask("EVALSHA", script.sha, 1, self.prefix, *arguments)
        except Refused as error:
            if error.code != "NOSCRIPT":
                raise self._refusal(error, doing) from error
        except Lost as error:
            raise self.failure(error, doing) from error
        return await self.ask("EVAL", script.text, 1, self.prefix, *arguments, doing=doing)

    async def ask(self, *command: Argument, doing: str) -> Any:
        """The answer to a command."""
        wire = await self.ready(doing)
        try:
            return await wire.ask(*command)
        except Refused as error:
            raise self._refusal(error, doing) from error
        except Lost as error:
            raise self.failure(error, doing) from error

    async def ready(self, doing: str) -> Wire:
        """The connection for commands, made anew where it is gone. `Unreachable`, `Closed`."""
        wire = self._wire
        if wire is not None and wire.open and not self._closed:
            return wire
        if self._closed:
            raise Closed("the connection to Redis is closed", details=doing)
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(_seen)
        try:
            return await asyncio.shield(self._connecting)
        except (OSError, Lost, Refused, TimeoutError) as error:
            raise self._no_connection(error, doing) from error
        except asyncio.CancelledError:
            if self._closed:
                raise Closed("the connection to Redis was closed", details=doing) from None
            raise

    async def open(
        self, doing: str, *, silence: int = SILENCE, push: Callable[[Any], None] | None = None
    ) -> Wire:
        """One more connection, for whoever asks."""
        if self._closed:
            raise Closed("the connection to Redis is closed", details=doing)
        try:
            return await self._dial(silence, push)
        except (OSError, Lost, Refused, TimeoutError) as error:
            raise self._no_connection(error, doing) from error

    async def drained(self) -> None:
        """Wait while too much is unsent."""
        if self._wire is not None:
            await self._wire.drained()

    async def close(self) -> None:
        """Close every connection; whatever still waits raises `Closed`."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        for wire in list(self._wires):
            wire.drop()
        await asyncio.sleep(0)  # what was aborted closes its socket in the next turn

    def failure(self, error: Exception, doing: str) -> BusError:
        """The error to raise for one of a connection."""
        if self._closed and isinstance(error, ClosedByUs):
            return Closed("the connection to Redis was closed", details=doing)
        if isinstance(error, Refused):
            return self._refusal(error, doing)
        why = str(error) or "no answer in time"
        return errors.unreachable(doing, f"{self.url}: {why}")

    def _no_connection(self, error: Exception, doing: str) -> BusError:
        """The same for a connection that could not be made."""
        if isinstance(error, Refused) and errors.denied(error):
            return self._lockout.begun(str(error))
        return self.failure(error, doing)

    def _refusal(self, error: Refused, doing: str) -> BusError:
        """The error for an answer. One that says that another server is asked makes us connect
        anew: to that one, or to whoever has the name now."""
        place = errors.moved_to(error)
        if place is not None:
            host, port = place
            self._address = replace(self._address, host=host or self._address.host, port=port)
        if place is not None or error.code in {"READONLY", "UNBLOCKED"}:
            wire, self._wire = self._wire, None
            if wire is not None:
                wire.drop(Lost(str(error)))
            self._tell_lost()
        return errors.refusal(error, doing)

    async def _connect(self) -> Wire:
        self._wire = await self._dial(SILENCE, None)
        return self._wire

    async def _dial(self, silence: int, push: Callable[[Any], None] | None) -> Wire:
        async with asyncio.timeout(_DIAL):
            wire = await dial(self._address, self.gone, silence=silence, push=push)
        if self._closed or not wire.open:
            wire.drop()
            raise ClosedByUs("it was closed")
        self._wires.add(wire)
        self._lockout.over()
        return wire

    def gone(self, wire: Wire) -> None:
        """A connection is no more."""
        self._wires.discard(wire)
        if wire is self._wire:
            self._wire = None
            self._tell_lost()

    def _tell_lost(self) -> None:
        for call in list(self.lost):
            call()

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)
        for wire in list(self._wires):
            wire.beat()


def _seen(task: "asyncio.Task[Wire]") -> None:
    if not task.cancelled():
        task.exception()
