"""Calls handlers: in the event loop, or in a thread, with the resources they ask for."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from contracts.envelope import Envelope
from workers.engine.threads import LoopBridge, Threads
from workers.sdk.blocking import SyncContext
from workers.sdk.context import Context, Runtime
from workers.sdk.errors import RoleError
from workers.sdk.role import Role

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Caller:
    """Calls the handler of one role. `given`: its resources, by parameter; asked at each call."""

    def __init__(self, role: Role, given: Callable[[], Mapping[str, Any]]) -> None:
        self.role = role
        self._given = given
        self.threads = Threads(role.name, role.concurrency)

    def call(
        self, payload: Any, task: Envelope, runtime: Runtime, stuck: Callable[[], None]
    ) -> Awaitable[Any]:
        """What the handler returns or raises. Cancelling this ends it: an `async` handler at once;
        a plain one is told, and `stuck` is called if it does not return (`Threads.run`)."""
        role = self.role
        given = self._given() if role.resources else _NOTHING
        if role.plain:
            return self._in_a_thread(payload, task, runtime, stuck, given)
        handled: Awaitable[Any] = role.handler(payload, Context(task, runtime), **given)
        return handled

    async def _in_a_thread(
        self,
        payload: Any,
        task: Envelope,
        runtime: Runtime,
        stuck: Callable[[], None],
        given: Mapping[str, Any],
    ) -> Any:
        role = self.role

        def blocking(bridge: LoopBridge) -> Any:
            return role.handler(payload, SyncContext(task, runtime, bridge), **given)

        value = await self.threads.run(blocking, stuck)
        if inspect.iscoroutine(value):
            value.close()
            raise RoleError(
                f"the handler of role {role.name} is a plain `def` and returned a coroutine",
                details=f"{role.file}:{role.line}: nobody awaits it in its thread",
                actions=("make it `async def`",),
            )
        return value
